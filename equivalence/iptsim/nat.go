package iptsim

import (
	"net/netip"
	"slices"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// translate resolves what a NAT target asks for and leaves it to the core of
// NAT to carry out. Where no address can be found the packet is dropped.
func translate(v *view, e predicate.NAT) (outcome predicate.Outcome, unknown string) {
	n := &packet.NATEvent{
		Destination: e.Destination, Min: e.Min, Max: e.Max,
		MinPort: e.MinPort, MaxPort: e.MaxPort, FromZero: e.FromZero, Flags: e.Flags,
	}
	if e.Shifted {
		port, truth := v.Field(predicate.Field{ID: predicate.DstPort})
		if truth != predicate.Yes {
			return 0, "shifting the port of a packet without one"
		}
		n.MinPort = shifted(e, uint16(port.Lo))
		n.MaxPort, n.FromZero = n.MinPort, n.MinPort == 0
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

// shifted is the port that a port is mapped to; the distance to the base counts
// round the ports, and round the span.
//
// Kernel: net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple.
func shifted(e predicate.NAT, port uint16) uint16 {
	width := uint32(e.MaxPort) - uint32(e.MinPort) + 1
	return uint16(uint32(e.MinPort) + uint32(port-e.Base)%width)
}

// dynamic are the ways to choose an address by the packet.
var dynamic = map[string]func(v *view, e predicate.NAT) netip.Addr{
	"masquerade": masquerade, "redirect": redirect, "netmap": netmap,
}

// masquerade chooses the address of packets that leave by the outgoing device.
//
// Kernel: net/netfilter/nf_nat_masquerade.c.
func masquerade(v *view, _ predicate.NAT) netip.Addr {
	if dst := v.address(true); dst.Is6() {
		return sourceOf6(v.f.Host, v.f.Out, dst)
	}
	return sourceOf4(v.f.Host, v.f.Out, v.address(true))
}

// sourceOf4 is the address of the device in whose network the next hop is, else
// the first of the device, else that of another device. The scope of loopback
// addresses is too small to be seen elsewhere.
//
// Kernel: net/ipv4/devinet.c, inet_select_addr.
func sourceOf4(h *packet.Host, out string, dst netip.Addr) netip.Addr {
	if d := h.Device(out); d != nil {
		next := dst
		if r, ok := mainRoute(h, dst, out); ok && r.Via.IsValid() && !onLink(d, dst) {
			next = r.Via
		}
		if a := preferred4(d, next); a.IsValid() {
			return a
		}
	}
	for i := range h.Devices {
		if a := preferred4(&h.Devices[i], netip.Addr{}); a.IsValid() {
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

// preferred4 returns the address of a device that suits a peer best.
func preferred4(d *packet.Device, peer netip.Addr) netip.Addr {
	var first netip.Addr
	for _, p := range d.Addrs {
		switch {
		case !p.Addr().Is4() || p.Addr().IsLoopback():
		case p.Contains(peer):
			return p.Addr()
		case !first.IsValid():
			first = p.Addr()
		}
	}
	return first
}

// sourceOf6 is, of the addresses of all devices, the destination itself, else
// one of a scope that reaches it, else one of the outgoing device, else one with
// the same policy label, else the one with the longest common prefix. For what stays on a link only the addresses
// of the device count.
//
// Kernel: net/ipv6/addrconf.c, ipv6_dev_get_saddr (RFC 6724, section 5).
func sourceOf6(h *packet.Host, out string, dst netip.Addr) netip.Addr {
	var best netip.Addr
	highest := -1
	for i := range h.Devices {
		d := &h.Devices[i]
		if d.Name != out && (dst.IsMulticast() || dst.IsLinkLocalUnicast()) {
			continue
		}
		for _, p := range slices.Backward(d.Addrs) { // the kernel puts new ones first
			a := p.Addr()
			if !a.Is6() {
				continue
			}
			score := min(commonPrefix(a, dst), p.Bits())
			if labelOf6(a) == labelOf6(dst) {
				score += 1 << 8
			}
			if d.Name == out {
				score += 1 << 9
			}
			narrow := func(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() }
			if narrow(a) == narrow(dst) {
				score += 1 << 10
			}
			if a == dst {
				score += 1 << 11
			}
			if score > highest {
				best, highest = a, score
			}
		}
	}
	return best
}

// labels6 is the kernel's policy table; the first network that holds an address
// gives its label.
//
// Kernel: net/ipv6/addrlabel.c, ip6addrlbl_init_table (RFC 6724, section 2.1).
var labels6 = []netip.Prefix{
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("2001:10::/28"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3ffe::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("::/0"),
}

func labelOf6(a netip.Addr) int {
	return slices.IndexFunc(labels6, func(p netip.Prefix) bool { return holds6(p, a) })
}

// holds6 is Contains for a prefix of mapped addresses as well.
func holds6(p netip.Prefix, a netip.Addr) bool {
	n := 0
	for n < p.Bits() && bit6(p.Addr(), n) == bit6(a, n) {
		n++
	}
	return n == p.Bits()
}

func bit6(a netip.Addr, n int) byte { b := a.As16(); return b[n/8] >> (7 - n%8) & 1 }

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
// the first of the incoming device, which in IPv6 is the one added last.
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
	addrs := slices.Clone(d.Addrs)
	if dst.Is6() {
		slices.Reverse(addrs)
	}
	for _, p := range addrs {
		a := p.Addr()
		if a.Is4() == dst.Is4() && (a.Is4() || reach(dst) == "" || reach(dst) == reach(a)) {
			return a
		}
	}
	return netip.Addr{}
}

// reaches are the networks of IPv6 whose addresses are not global for the
// kernel; of those that hold an address the first counts.
//
// Kernel: net/ipv6/addrconf_core.c, __ipv6_addr_type.
var reaches = []struct {
	of    netip.Prefix
	reach string
}{
	{netip.MustParsePrefix("::/128"), ""},
	{netip.MustParsePrefix("::1/128"), "host"},
	{netip.MustParsePrefix("::/96"), "compatible with IPv4"},
	{netip.MustParsePrefix("fe80::/10"), "link"},
	{netip.MustParsePrefix("fec0::/10"), "site"},
}

// multicastReaches go by the last digit of the first group.
var multicastReaches = map[byte]string{1: "host", 2: "link", 5: "site"}

// reach says how far an address is known, "" when everywhere.
func reach(a netip.Addr) string {
	if a.IsMulticast() {
		return multicastReaches[a.As16()[1]&15]
	}
	for _, r := range reaches {
		if holds6(r.of, a) {
			return r.reach
		}
	}
	return ""
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
