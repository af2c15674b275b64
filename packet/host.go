package packet

import "net/netip"

// A Host is what the packets meet: devices, addresses, routes. The machines
// take routing answers from it, and a kernel namespace is set up like it.
type Host struct {
	Devices    []Device
	Routes     []Route // besides those that follow from the addresses of devices
	Forwarding bool
}

// A Device is a network device.
type Device struct {
	Name     string
	Index    uint32 // as the kernel will number it; lo is 1
	MAC      [6]byte
	Ethernet bool // of type Ethernet; lo is not
	Loopback bool
	MTU      int
	Addrs    []netip.Prefix // the host's addresses with their on-link prefix
	Group    uint32
}

// A RouteType is a kernel route type.
//
// Kernel: include/uapi/linux/rtnetlink.h, RTN_*.
type RouteType uint8

// The route types.
const (
	Unspec RouteType = iota
	Unicast
	Local
	Broadcast
	Anycast
	Multicast
	Blackhole
	Unreachable
	Prohibit
)

// A Route is an entry of the main table.
type Route struct {
	To     netip.Prefix
	Device string // "" for types without a device
	Via    netip.Addr
	Type   RouteType
}

// Device returns the device of a name, or nil.
func (h *Host) Device(name string) *Device {
	for i := range h.Devices {
		if h.Devices[i].Name == name {
			return &h.Devices[i]
		}
	}
	return nil
}
