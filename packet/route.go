package packet

import (
	"fmt"
	"net/netip"
)

// documentation holds the IPv4 networks of the first devices of a default host
// (RFC 5737); further ones are taken from 198.18.0.0/15 (RFC 2544).
var documentation = []string{"192.0.2.", "198.51.100.", "203.0.113."}

// DefaultHost returns a host with lo, an Ethernet device for each name, and two
// more of other names. The same names give the same host.
//
// The n-th device besides lo, counted from 0, has index n+2, MAC
// 02:00:00:00:00:n+1, MTU 1500, and as addresses the .1 of 192.0.2.0/24,
// 198.51.100.0/24 and 203.0.113.0/24 for the first three and of 198.18.n.0/24
// for the others, and 2001:db8:n::1/64. The default routes go through the first
// device by the .254 and the ::fe of its network. Forwarding is on.
func DefaultHost(devices []string) *Host {
	h := &Host{Forwarding: true}
	h.Devices = append(h.Devices, Device{
		Name: "lo", Index: 1, Loopback: true, MTU: 65536,
		Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")},
	})
	add := func(name string) {
		if name == "" || h.Device(name) != nil {
			return
		}
		n := len(h.Devices) - 1
		network := fmt.Sprintf("198.18.%d.", n)
		if n < len(documentation) {
			network = documentation[n]
		}
		h.Devices = append(h.Devices, Device{
			Name: name, Index: uint32(n + 2), Ethernet: true, MTU: 1500,
			MAC: [6]byte{2, 0, 0, 0, uint8((n + 1) >> 8), uint8(n + 1)},
			Addrs: []netip.Prefix{
				netip.MustParsePrefix(network + "1/24"),
				netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::1/64", n)),
			},
		})
	}
	for _, name := range devices {
		// 198.18.0.0/15 has room for 256 networks of the form above.
		if len(h.Devices) < 250 {
			add(name)
		}
	}
	for i, more := 0, len(h.Devices)+2; len(h.Devices) < more; i++ {
		add(fmt.Sprintf("net%d", i))
	}
	first := h.Devices[1]
	v4, v6 := first.Addrs[0].Addr().As4(), first.Addrs[1].Addr().As16()
	v4[3], v6[15] = 254, 0xfe
	h.Routes = []Route{
		{To: netip.MustParsePrefix("0.0.0.0/0"), Device: first.Name, Via: netip.AddrFrom4(v4), Type: Unicast},
		{To: netip.MustParsePrefix("::/0"), Device: first.Name, Via: netip.AddrFrom16(v6), Type: Unicast},
	}
	return h
}

// Lookup returns the route to an address as the kernel would choose it: local
// and broadcast addresses first, then the longest prefix of the networks of
// the devices and of the main table, then multicast. ok is false when there is
// none.
//
// Kernel: net/ipv4/fib_frontend.c (the rules: local, main), fib_trie.c.
func (h *Host) Lookup(dst netip.Addr) (route Route, ok bool) {
	full := dst.BitLen()
	for _, d := range h.Devices {
		for _, a := range d.Addrs {
			switch {
			case a.Addr() == dst || d.Loopback && a.Contains(dst) && (dst.Is6() || lastOf(a) != dst):
				return Route{To: netip.PrefixFrom(dst, full), Device: "lo", Type: Local}, true
			case dst.Is6() && h.Forwarding && a.Bits() < 127 && a.Masked().Addr() == dst:
				// The subnet-router anycast address, RFC 4291 section 2.6.1.
				return Route{To: netip.PrefixFrom(dst, full), Device: "lo", Type: Anycast}, true
			case a.Bits() < 31 && dst.Is4() && lastOf(a) == dst:
				return Route{To: netip.PrefixFrom(dst, full), Device: d.Name, Type: Broadcast}, true
			}
		}
	}
	best := -1
	for _, d := range h.Devices {
		for _, a := range d.Addrs {
			if a.Contains(dst) && a.Bits() > best {
				best, route = a.Bits(), Route{To: a.Masked(), Device: d.Name, Type: Unicast}
			}
		}
	}
	for _, r := range h.Routes {
		if r.To.Contains(dst) && r.To.Bits() > best {
			best, route = r.To.Bits(), r
		}
	}
	switch {
	case dst.IsMulticast():
		route.Type = Multicast
	case dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		route.Type = Broadcast
	}
	return route, best >= 0
}

// LookupBy returns the route to an address by one device, as the kernel looks for
// link-local addresses of IPv6. The devices of a host have none themselves.
//
// Kernel: net/ipv6/route.c, rt6_need_strict.
func (h *Host) LookupBy(dst netip.Addr, device string) (route Route, ok bool) {
	best := -1
	if d := h.Device(device); d != nil {
		for _, a := range d.Addrs {
			if a.Contains(dst) && a.Bits() > best {
				best, route = a.Bits(), Route{To: a.Masked(), Device: device, Type: Unicast}
			}
		}
	}
	for _, r := range h.Routes {
		if r.Device == device && r.To.Contains(dst) && r.To.Bits() > best {
			best, route = r.To.Bits(), r
		}
	}
	return route, best >= 0
}

// Output returns the device by which a local packet to dst leaves and the
// source address it gets there. The device is "" when there is no way.
//
// Kernel: net/ipv4/route.c, ip_route_output_key_hash_rcu, which takes 0.0.0.0 for
// this host.
func (h *Host) Output(dst netip.Addr) (device string, src netip.Addr) {
	if dst.Is6() && dst.IsUnspecified() {
		return "lo", netip.IPv6Loopback() // measured on Linux 6.18
	}
	if dst == netip.IPv4Unspecified() {
		return "lo", netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	r, ok := h.Lookup(dst)
	if !ok || r.Device == "" {
		return "", netip.Addr{}
	}
	if r.Type == Local || r.Type == Anycast {
		return r.Device, dst
	}
	d := h.Device(r.Device)
	if d == nil {
		return "", netip.Addr{}
	}
	next := dst
	if r.Via.IsValid() {
		next = r.Via
	}
	for _, a := range d.Addrs {
		if a.Addr().Is4() != dst.Is4() {
			continue
		}
		if !src.IsValid() {
			src = a.Addr()
		}
		if a.Contains(next) {
			return d.Name, a.Addr()
		}
	}
	return d.Name, src
}

// lastOf returns the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
