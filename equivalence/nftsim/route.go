package nftsim

import (
	"cmp"
	"net/netip"

	"nftmigrate/packet"
)

// route is what a lookup found: the routing tables as the kernel makes them of
// the host's devices, addresses and routes.
type route struct {
	kind   packet.RouteType
	to     netip.Prefix
	device string
	via    netip.Addr
}

// localRoute looks an address up in the table of the host's own addresses.
//
// Kernel: net/ipv4/fib_frontend.c, fib_add_ifaddr: an address is local, so is
// the network of a loopback device, and the last address of a network of more
// than two addresses is a broadcast address.
func localRoute(h *packet.Host, a netip.Addr) (route, bool) {
	var found route
	best := -1
	take := func(r route) {
		if r.to.Contains(a) && r.to.Bits() > best {
			found, best = r, r.to.Bits()
		}
	}
	for _, d := range h.Devices {
		for _, p := range d.Addrs {
			own := netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			take(route{kind: packet.Local, to: own, device: d.Name})
			if d.Loopback && p.Addr().Is4() {
				take(route{kind: packet.Local, to: p.Masked(), device: d.Name})
			}
			if p.Addr().Is4() && p.Bits() < 31 {
				take(route{kind: packet.Broadcast, to: netip.PrefixFrom(broadcast(p), 32), device: d.Name})
			}
		}
	}
	return found, best >= 0
}

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for k := range b {
		b[k] |= uint8(^uint32(0) >> p.Bits() >> (24 - 8*k))
	}
	return netip.AddrFrom4(b)
}

// multicast6 is the network of all IPv6 multicast addresses.
var multicast6 = netip.MustParsePrefix("ff00::/8")

// lookupRoute looks an address up in the local and then in the main table.
// An IPv6 address of the link is looked up on the one device only, when there
// is one.
//
// Kernel: net/ipv6/netfilter/nft_fib_ipv6.c, nft_fib6_flowi_init.
func lookupRoute(h *packet.Host, a netip.Addr, device string) (route, bool) {
	onLink := device != "" && a.Is6() && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast())
	if r, ok := localRoute(h, a); ok && (!onLink || r.device == device) {
		return r, true
	}
	var found route
	best := -1
	take := func(r route) {
		if r.to.Contains(a) && r.to.Bits() > best && (!onLink || r.device == device) {
			found, best = r, r.to.Bits()
		}
	}
	for _, d := range h.Devices {
		if d.Loopback {
			continue
		}
		for _, p := range d.Addrs {
			take(route{kind: packet.Unicast, to: p.Masked(), device: d.Name})
		}
		take(route{kind: packet.Multicast, to: multicast6, device: d.Name})
	}
	for _, r := range h.Routes {
		take(route{kind: r.Type, to: r.To, device: r.Device, via: r.Via})
	}
	return found, best >= 0
}

// Routes that answer with an error.
var refusing = map[packet.RouteType]bool{
	packet.Blackhole: true, packet.Unreachable: true, packet.Prohibit: true,
}

// addressType4 is the type of an IPv4 address, as seen from a device or, with
// "", from the host.
//
// Kernel: net/ipv4/fib_frontend.c, __inet_dev_addr_type: it asks the local
// table only, so what is not the host's own is unicast, with or without a
// route to it.
func addressType4(h *packet.Host, a netip.Addr, device string) packet.RouteType {
	switch {
	case a.IsUnspecified(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return packet.Broadcast
	case a.IsMulticast():
		return packet.Multicast
	}
	if r, ok := localRoute(h, a); ok && (device == "" || device == r.device) {
		return r.kind
	}
	return packet.Unicast
}

// addressType6 is the type of an IPv6 address, as seen from a device or, with
// "", from the host. link is the device that the packet is at.
//
// Kernel: net/ipv6/netfilter/nft_fib_ipv6.c, __nft_fib6_eval_type. The first
// address of a network on a device is an anycast address.
func addressType6(h *packet.Host, a netip.Addr, device, link string) packet.RouteType {
	own := false
	if d := h.Device(device); d != nil {
		for _, p := range d.Addrs {
			own = own || p.Addr() == a
		}
	}
	r, ok := lookupRoute(h, a, cmp.Or(device, link))
	switch {
	case !ok:
		return packet.Unreachable
	case refusing[r.kind]:
		return r.kind
	case r.kind != packet.Local && device == "" && everyRouters(h, a):
		return packet.Anycast
	case r.kind != packet.Local && !r.via.IsValid() && r.to.Bits() < 127 && r.to.Masked().Addr() == a:
		return packet.Anycast
	case own, device == "" && r.kind == packet.Local:
		return packet.Local
	case a.IsMulticast():
		return packet.Multicast
	case a.IsUnspecified():
		return packet.Unspec
	}
	return packet.Unicast
}
