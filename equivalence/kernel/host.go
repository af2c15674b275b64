package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// tunDevice is the node that makes TAP and TUN devices.
const tunDevice = "/dev/net/tun"

// A setting is a file below /proc/sys/net and what is written to it. They are
// of the namespace of the thread that opens them.
type setting struct {
	path, value string
	// optional settings are left alone where the kernel does not have them or
	// does not let a user namespace write them.
	optional bool
}

// settings make the stack forward, believe sources, and keep quiet.
//
// Kernel: Documentation/networking/ip-sysctl.rst, nf_conntrack-sysctl.rst.
func settings(h *packet.Host) []setting {
	forward := forwarding(h)
	list := []setting{
		{"ipv4/ip_forward", forward, false},
		{"ipv4/icmp_ratelimit", "0", false},
		{"ipv4/icmp_ratemask", "0", false},
		{"ipv4/icmp_msgs_per_sec", "1000000", true},
		{"ipv6/icmp/ratelimit", "0", true},
		{"ipv6/icmp/ratemask", "", true},
		{"netfilter/nf_conntrack_events", "1", true},
		{"netfilter/nf_conntrack_log_invalid", "0", true},
		// What arrives on the loopback device is routed as from outside.
		{"ipv4/conf/lo/route_localnet", "1", false},
	}
	for _, conf := range []string{"all", "default", "lo"} {
		list = append(list, deviceSettings(conf, forward)...)
	}
	return list
}

// forwarding is the value of the settings that make the host forward.
func forwarding(h *packet.Host) string {
	if h.Forwarding {
		return "1"
	}
	return "0"
}

// deviceSettings are those of one device, or of all or the default.
func deviceSettings(name, forward string) []setting {
	v4, v6 := "ipv4/conf/"+name+"/", "ipv6/conf/"+name+"/"
	return []setting{
		{v4 + "forwarding", forward, false},
		{v4 + "rp_filter", "0", false},
		{v4 + "accept_local", "1", false},
		{v4 + "log_martians", "0", false},
		{v4 + "send_redirects", "0", false},
		{v6 + "disable_ipv6", "0", true},
		{v6 + "forwarding", forward, true},
		{v6 + "accept_ra", "0", true},
		{v6 + "autoconf", "0", true},
		{v6 + "addr_gen_mode", "1", true}, // no link-local address
		{v6 + "accept_dad", "0", true},
		{v6 + "dad_transmits", "0", true},
		{v6 + "router_solicitations", "0", true},
	}
}

func applySettings(list []setting) error {
	for _, s := range list {
		err := os.WriteFile("/proc/sys/net/"+s.path, []byte(s.value+"\n"), 0)
		if err != nil && !s.optional {
			return fmt.Errorf("configure the namespace: %w", err)
		}
	}
	return nil
}

// buildHost makes the devices, addresses and routes of a host in the namespace
// of the calling thread and returns the descriptors of the devices by name.
func buildHost(h *packet.Host) (map[string]int, error) {
	devices := map[string]int{}
	if err := fillHost(h, devices); err != nil {
		closeAll(devices)
		return nil, err
	}
	return devices, nil
}

func fillHost(h *packet.Host, devices map[string]int) error {
	if err := applySettings(settings(h)); err != nil {
		return err
	}
	route, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("open a route socket: %w", err)
	}
	defer route.Close()
	for i := range h.Devices {
		d := &h.Devices[i]
		if !d.Loopback {
			fd, err := newDevice(d)
			if err != nil {
				return err
			}
			devices[d.Name] = fd
			if err := applySettings(deviceSettings(d.Name, forwarding(h))); err != nil {
				return err
			}
		}
		if err := configureDevice(route, d); err != nil {
			return fmt.Errorf("configure device %s: %w", d.Name, err)
		}
	}
	for _, r := range h.Routes {
		if err := addRoute(route, h, r); err != nil {
			return fmt.Errorf("add route to %s: %w", r.To, err)
		}
	}
	return awaitAddresses(route, h)
}

func closeAll(descriptors map[string]int) {
	for _, fd := range descriptors {
		unix.Close(fd)
	}
}

// newDevice makes a TAP device, or a TUN device when it is not Ethernet.
//
// Kernel: Documentation/networking/tuntap.rst.
func newDevice(d *packet.Device) (fd int, err error) {
	fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return -1, &MissingError{"device node", tunDevice, err}
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, &MissingError{"kernel feature", "CONFIG_TUN", err}
	case err != nil:
		return -1, &MissingError{"right", "to open " + tunDevice, err}
	}
	if err := attach(fd, d); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make device %q: %w", d.Name, err)
	}
	return fd, nil
}

// attach turns an opened device node into the device. The device stays when the
// descriptor is closed and goes with the namespace: the kernel takes down all
// devices of a namespace at once, while nobody waits, where each by itself
// takes some 30 ms of a close or of the end of a process.
func attach(fd int, d *packet.Device) error {
	if strings.ContainsRune(d.Name, '%') {
		return errors.New("the kernel takes a % for a pattern")
	}
	if d.Index != 0 {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETIFINDEX, int(d.Index)); err != nil {
			return fmt.Errorf("number it: %w", err)
		}
	}
	request, err := unix.NewIfreq(d.Name)
	if err != nil {
		return err
	}
	mode := uint16(unix.IFF_TUN)
	if d.Ethernet {
		mode = unix.IFF_TAP
	}
	request.SetUint16(mode | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
}

// Message bodies of rtnetlink, in host byte order.
//
// Man page: rtnetlink(7).

func linkBody(index uint32, flags, change uint32) []byte {
	return join([]byte{unix.AF_UNSPEC, 0, 0, 0}, ne32(index), ne32(flags), ne32(change))
}

func configureDevice(c *netlink.Conn, d *packet.Device) error {
	var attrs []byte
	if d.MTU != 0 {
		attrs = append(attrs, attr(unix.IFLA_MTU, ne32(uint32(d.MTU)))...)
	}
	if d.Ethernet && !d.Loopback {
		attrs = append(attrs, attr(unix.IFLA_ADDRESS, d.MAC[:])...)
	}
	if d.Group != 0 {
		attrs = append(attrs, attr(unix.IFLA_GROUP, ne32(d.Group))...)
	}
	if d.Loopback {
		attrs = nil
	}
	// Without address resolution there is no neighbour traffic, and no
	// multicast group of each address.
	if err := routeRequest(c, unix.RTM_NEWLINK, 0, linkBody(d.Index, unix.IFF_NOARP, unix.IFF_NOARP), attrs); err != nil {
		return err
	}
	if err := routeRequest(c, unix.RTM_NEWLINK, 0, linkBody(d.Index, unix.IFF_UP, unix.IFF_UP), nil); err != nil {
		return err
	}
	for _, a := range d.Addrs {
		if err := addAddress(c, d, a); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	return nil
}

func addAddress(c *netlink.Conn, d *packet.Device, a netip.Prefix) error {
	family, scope := byte(unix.AF_INET), byte(unix.RT_SCOPE_UNIVERSE)
	if a.Addr().Is6() {
		family = unix.AF_INET6
	}
	if a.Addr().IsLoopback() {
		scope = unix.RT_SCOPE_HOST
	}
	body := join([]byte{family, byte(a.Bits()), 0, scope}, ne32(d.Index))
	addr := a.Addr().AsSlice()
	attrs := join(attr(unix.IFA_LOCAL, addr), attr(unix.IFA_ADDRESS, addr), attr(unix.IFA_FLAGS, ne32(unix.IFA_F_NODAD)))
	err := routeRequest(c, unix.RTM_NEWADDR, netlink.Create|netlink.Excl, body, attrs)
	if d.Loopback && errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func addRoute(c *netlink.Conn, h *packet.Host, r packet.Route) error {
	family := byte(unix.AF_INET)
	if r.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	kind := r.Type
	if kind == packet.Unspec {
		kind = packet.Unicast
	}
	scope, flags := byte(unix.RT_SCOPE_UNIVERSE), uint32(0)
	var attrs []byte
	attrs = append(attrs, attr(unix.RTA_DST, r.To.Addr().AsSlice())...)
	if r.Via.IsValid() {
		attrs = append(attrs, attr(unix.RTA_GATEWAY, r.Via.AsSlice())...)
		flags = unix.RTNH_F_ONLINK
	} else if r.Device != "" && family == unix.AF_INET {
		scope = unix.RT_SCOPE_LINK
		if kind == packet.Local {
			scope = unix.RT_SCOPE_HOST
		}
	}
	if r.Device != "" {
		d := h.Device(r.Device)
		if d == nil {
			return fmt.Errorf("there is no device %q", r.Device)
		}
		attrs = append(attrs, attr(unix.RTA_OIF, ne32(d.Index))...)
	}
	body := join([]byte{family, byte(r.To.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, byte(kind)}, ne32(flags))
	return routeRequest(c, unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, body, attrs)
}

func routeRequest(c *netlink.Conn, kind netlink.HeaderType, flags netlink.HeaderFlags, body, attrs []byte) error {
	_, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   join(body, attrs),
	})
	return err
}

// addressTimeout bounds the wait for IPv6 addresses.
const addressTimeout = 10 * time.Second

// awaitAddresses waits until each IPv6 address of the host is local: the kernel
// adds the route to it from a work queue.
//
// Kernel: net/ipv6/addrconf.c, addrconf_dad_work.
func awaitAddresses(c *netlink.Conn, h *packet.Host) error {
	deadline := time.Now().Add(addressTimeout)
	for _, d := range h.Devices {
		for _, a := range d.Addrs {
			for a.Addr().Is6() {
				local, err := isLocal(c, a.Addr())
				if err != nil {
					return fmt.Errorf("look for address %s: %w", a.Addr(), err)
				}
				if local {
					break
				}
				if time.Now().After(deadline) {
					return fmt.Errorf("configure device %s: address %s did not become local in %v", d.Name, a.Addr(), addressTimeout)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	return nil
}

// isLocal asks the kernel for the route to an IPv6 address.
func isLocal(c *netlink.Conn, a netip.Addr) (bool, error) {
	body := join([]byte{unix.AF_INET6, 128, 0, 0, 0, 0, 0, 0}, ne32(0))
	replies, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   join(body, nfnetlink.AppendAttr(nil, unix.RTA_DST, a.AsSlice())),
	})
	if errors.Is(err, unix.ENETUNREACH) {
		return false, nil
	}
	if err != nil || len(replies) == 0 || len(replies[0].Data) < 12 {
		return false, err
	}
	return replies[0].Data[7] == unix.RTN_LOCAL, nil
}
