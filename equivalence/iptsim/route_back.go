package iptsim

import (
	"net/netip"

	"nftmigrate/packet"
)

// back is the way to the packet's source: the type of its route, Unspec for none,
// and its device. Of IPv6 routes to one network it takes the one by the incoming
// device; an address of the link is looked for there alone.
//
// Kernel: net/ipv4/netfilter/ipt_rpfilter.c, rpfilter_lookup_reverse;
// net/ipv6/netfilter/ip6t_rpfilter.c, rpfilter_lookup_reverse6.
func (v *view) back() (packet.RouteType, string) {
	h := v.f.Host
	if h == nil {
		return packet.Unspec, ""
	}
	a := v.address(false)
	if kind, device := ownAddress(h, a); kind != packet.Unspec {
		return kind, device
	}
	link := a.Is6() && a.IsLinkLocalUnicast()
	kind, device, longest := packet.Unspec, "", -1
	take := func(to netip.Prefix, by string, t packet.RouteType) {
		switch {
		case !to.Contains(a) || link && by != v.f.In || to.Bits() < longest:
		case to.Bits() > longest || a.Is6() && by == v.f.In:
			kind, device, longest = t, by, to.Bits()
		}
	}
	for i := range h.Devices {
		for _, p := range h.Devices[i].Addrs {
			take(p.Masked(), h.Devices[i].Name, packet.Unicast)
		}
	}
	for _, r := range h.Routes {
		take(r.To, r.Device, r.Type)
	}
	switch kind {
	case packet.Blackhole, packet.Unreachable, packet.Prohibit:
		return packet.Unspec, ""
	}
	return kind, device
}

// ownAddress looks an address up among those of the host: its own, of IPv4 those
// of the loopback network and the broadcast ones, of IPv6 those of every router.
func ownAddress(h *packet.Host, a netip.Addr) (packet.RouteType, string) {
	for i := range h.Devices {
		d := &h.Devices[i]
		for _, p := range d.Addrs {
			if a.Is4() {
				if kind := local4(d, p, a); kind != packet.Unspec {
					return kind, d.Name
				}
				continue
			}
			switch {
			case p.Addr() == a:
				return packet.Local, d.Name
			case p.Addr().Is6() && h.Forwarding && p.Bits() < 127 && p.Masked().Addr() == a:
				return packet.Anycast, d.Name
			}
		}
	}
	return packet.Unspec, ""
}
