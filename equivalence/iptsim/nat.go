package iptsim

import (
	"net/netip"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// translate resolves what a NAT target asks for and leaves it to the core of
// NAT to carry out. Where no address can be found the packet is dropped.
func translate(v *view, e predicate.NAT) (outcome predicate.Outcome, unknown string) {
	n := &packet.NATEvent{
		Destination: e.Destination, Min: e.Min, Max: e.Max,
		MinPort: e.MinPort, MaxPort: e.MaxPort, Flags: e.Flags,
	}
	if e.Dynamic != "" {
		resolve := dynamic[e.Dynamic]
		if resolve == nil {
			return 0, "translation by " + e.Dynamic
		}
		if v.f.Host == nil {
			return 0, "translation without a host"
		}
		if e.Dynamic == "masquerade" && v.f.Tracking.Entry != nil && v.f.Tracking.Entry.Original.Src == netip.IPv4Unspecified() {
			return predicate.Accept, ""
		}
		n.Min = resolve(v, e)
		n.Max = n.Min
		if !n.Min.IsValid() {
			return predicate.Drop, ""
		}
	}
	v.f.NAT = n
	return 0, ""
}

// dynamic are the ways to choose an address by the packet.
var dynamic = map[string]func(v *view, e predicate.NAT) netip.Addr{
	"masquerade": masquerade, "redirect": redirect, "netmap": netmap,
}

// masquerade chooses the address of the outgoing device: of IPv4 the one in
// whose network the next hop is, of IPv6 the one with the longest common
// prefix, else the first; without any, one of another device.
//
// Kernel: net/netfilter/nf_nat_masquerade.c; net/ipv4/devinet.c,
// inet_select_addr; net/ipv6/addrconf.c, ipv6_dev_get_saddr.
func masquerade(v *view, _ predicate.NAT) netip.Addr {
	h, dst := v.f.Host, v.address(true)
	if d := h.Device(v.f.Out); d != nil {
		next := dst
		if r, ok := mainRoute(h, dst, d.Name); ok && r.Via.IsValid() && !onLink(d, dst) {
			next = r.Via
		}
		if a := preferred(d, next); a.IsValid() {
			return a
		}
	}
	for i := range h.Devices {
		if a := preferred(&h.Devices[i], dst); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

func onLink(d *packet.Device, a netip.Addr) bool {
	for _, p := range d.Addrs {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// preferred returns the address of a device that suits a peer best. The scope
// of loopback addresses is too small to be seen elsewhere.
func preferred(d *packet.Device, peer netip.Addr) netip.Addr {
	best, longest := netip.Addr{}, -1
	for _, p := range d.Addrs {
		if p.Addr().Is4() != peer.Is4() || p.Addr().IsLoopback() {
			continue
		}
		common := 0
		switch {
		case peer.Is6():
			common = commonPrefix(p.Addr(), peer)
		case p.Contains(peer):
			common = 1
		}
		if common > longest {
			best, longest = p.Addr(), common
		}
	}
	return best
}

func commonPrefix(a, b netip.Addr) int {
	n := 0
	for n < 128 {
		p, err := a.Prefix(n + 1)
		if err != nil || !p.Contains(b) {
			break
		}
		n++
	}
	return n
}

// redirect chooses an address of the host: of loopback for local packets, else
// the first of the incoming device.
//
// Kernel: net/netfilter/nf_nat_redirect.c.
func redirect(v *view, _ predicate.NAT) netip.Addr {
	dst := v.address(true)
	if v.f.Hook == packet.Output {
		if dst.Is4() {
			return netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		return netip.IPv6Loopback()
	}
	d := v.device(v.f.In)
	if d == nil {
		return netip.Addr{}
	}
	for _, p := range d.Addrs {
		a := p.Addr()
		if a.Is4() == dst.Is4() && (a.Is4() || a.IsLinkLocalUnicast() == dst.IsLinkLocalUnicast()) {
			return a
		}
	}
	return netip.Addr{}
}

// netmap puts a network before the host part of the packet's address.
//
// Kernel: net/netfilter/xt_NETMAP.c.
func netmap(v *view, e predicate.NAT) netip.Addr {
	p, err := e.Min.Prefix(e.Bits)
	if err != nil {
		return netip.Addr{}
	}
	own := v.address(e.Destination)
	if own.Is4() != e.Min.Is4() {
		return netip.Addr{}
	}
	host := predicate.Ones(own.BitLen() - e.Bits)
	b := predicate.Addr(p.Addr()).Or(predicate.Addr(own).And(host)).Bytes()
	if own.Is4() {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}
