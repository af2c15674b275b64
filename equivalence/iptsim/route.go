package iptsim

import (
	"net/netip"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// address returns the source or destination of the packet.
func (v *view) address(destination bool) netip.Addr {
	data := v.f.Data
	at, size := 12, 4
	if v.version == 6 {
		at, size = 8, 16
	}
	if destination {
		at += size
	}
	a, _ := netip.AddrFromSlice(data[at : at+size])
	return a
}

// addressType is the route type of an address. A device restricts the lookup to
// what hangs on it; "" does not.
func (v *view) addressType(destination bool, device string) (predicate.Bits, bool) {
	if v.f.Host == nil {
		return predicate.Bits{}, false
	}
	a := v.address(destination)
	kind := type6
	if a.Is4() {
		kind = type4
	}
	return predicate.Number(uint64(kind(v.f.Host, a, device))), true
}

// type4 looks an address up in the table of local addresses, and in no other:
// what is not there is unicast, whatever the routes say.
//
// Kernel: net/ipv4/fib_frontend.c, inet_dev_addr_type; net/netfilter/xt_addrtype.c.
func type4(h *packet.Host, a netip.Addr, device string) packet.RouteType {
	b := a.As4()
	switch {
	case b == [4]byte{}, b == [4]byte{255, 255, 255, 255}:
		return packet.Broadcast
	case b[0]>>4 == 0xe:
		return packet.Multicast
	}
	for i := range h.Devices {
		d := &h.Devices[i]
		if device != "" && d.Name != device {
			continue
		}
		for _, p := range d.Addrs {
			if kind := local4(d, p, a); kind != packet.Unspec {
				return kind
			}
		}
	}
	return packet.Unicast
}

// local4 is the type that one address of a device gives another address, or
// Unspec. The kernel adds a route to the address itself and to the broadcast
// address of its network, and for the loopback one to the whole network.
//
// Kernel: net/ipv4/fib_frontend.c, fib_add_ifaddr.
func local4(d *packet.Device, p netip.Prefix, a netip.Addr) packet.RouteType {
	if !p.Addr().Is4() {
		return packet.Unspec
	}
	if p.Addr() == a {
		return packet.Local
	}
	if !p.Contains(a) {
		return packet.Unspec
	}
	inside := predicate.Addr(a).And(predicate.Ones(32 - p.Bits()))
	switch {
	case p.Bits() < 31 && inside == predicate.Ones(32-p.Bits()):
		return packet.Broadcast
	case d.Loopback:
		return packet.Local
	}
	return packet.Unspec
}

// allGroups6 is the route to all groups of IPv6 (RFC 4291 section 2.7).
var allGroups6 = netip.MustParsePrefix("ff00::/8")

// type6 looks an address up as a packet to it would be routed. The address that
// a route begins with is the anycast address of the network; to the kernel the
// network of all groups has one, too.
//
// Kernel: net/netfilter/xt_addrtype.c, match_lookup_rt6.
func type6(h *packet.Host, a netip.Addr, device string) packet.RouteType {
	switch {
	case a == allGroups6.Addr():
		return packet.Anycast
	case allGroups6.Contains(a):
		return packet.Multicast
	}
	reachable := packet.Unreachable
	for i := range h.Devices {
		d := &h.Devices[i]
		for _, p := range d.Addrs {
			switch {
			case !p.Addr().Is6() || device != "" && d.Name != device:
			case p.Addr() == a:
				return packet.Local
			case p.Bits() < 127 && p.Masked().Addr() == a:
				return packet.Anycast
			case p.Contains(a):
				reachable = packet.Unicast
			}
		}
	}
	if reachable == packet.Unicast {
		return reachable
	}
	if r, ok := mainRoute(h, a, device); ok && r.Type == packet.Unicast {
		return packet.Unicast
	}
	return packet.Unreachable
}

// mainRoute returns the longest route of the main table.
func mainRoute(h *packet.Host, a netip.Addr, device string) (route packet.Route, ok bool) {
	longest := -1
	for _, r := range h.Routes {
		if (device == "" || r.Device == device) && r.To.Contains(a) && r.To.Bits() > longest {
			longest, route = r.To.Bits(), r
		}
	}
	return route, longest >= 0
}

// routeMTU returns the MTU of the way to an address; ok is false when there is
// no way.
func routeMTU(h *packet.Host, a netip.Addr) (mtu int, ok bool) {
	if h == nil {
		return 0, false
	}
	longest := -1
	for i := range h.Devices {
		d := &h.Devices[i]
		for _, p := range d.Addrs {
			switch {
			case p.Addr() == a, d.Loopback && p.Contains(a), a.Is6() && p.Bits() < 127 && p.Masked().Addr() == a:
				if lo := loopback(h); lo != nil {
					return lo.MTU, true
				}
				return d.MTU, true
			case p.Contains(a) && p.Bits() > longest:
				longest, mtu = p.Bits(), d.MTU
			}
		}
	}
	if r, found := mainRoute(h, a, ""); found && r.To.Bits() > longest {
		d := h.Device(r.Device)
		if d == nil {
			return 0, false
		}
		longest, mtu = r.To.Bits(), d.MTU
	}
	return mtu, longest >= 0
}

func loopback(h *packet.Host) *packet.Device {
	for i := range h.Devices {
		if h.Devices[i].Loopback {
			return &h.Devices[i]
		}
	}
	return nil
}
