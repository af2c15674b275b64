package equivalence

import (
	"net/netip"
	"slices"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// witness makes the packet of a point.
func (m *model) witness(p point) (witness, bool) {
	b := builder{space: m.space, start: p.start, path: p.path, usual: p.usual}
	w, ok := b.build(p.out)
	return w, ok && m.fit(&w, p, m.leaves(b))
}

// leaves is the device by which the packet of a builder leaves.
func (m *model) leaves(b builder) string {
	names := m.space.Names().Representatives()
	if class, asked := b.number(symbolic.OutName); asked && int(class) < len(names) {
		return names[class]
	}
	return b.start.out
}

// fit makes a host on which the packet of a point takes the way of its start.
func (m *model) fit(w *witness, p point, out string) bool {
	m.routeTypes(w, p)
	s := &w.spec
	if has, asked := m.asked(p, symbolic.HasLink); asked && has == 0 && s.Link != nil {
		s.Link = nil
		if d := w.host.Device(s.In); d != nil {
			d.Ethernet = false
		}
	}
	passes := (p.hook == packet.Forward || p.hook == packet.Postrouting) && s.In != ""
	if to, ok := w.host.Lookup(s.Dst); passes && ok && to.Type != packet.Unicast {
		// What is passed on is not for a network of the host itself.
		for i := range w.host.Devices {
			d := &w.host.Devices[i]
			d.Addrs = slices.DeleteFunc(d.Addrs, func(a netip.Prefix) bool { return a.Masked().Contains(s.Dst) && !d.Loopback })
		}
		w.host.Routes = append(w.host.Routes, packet.Route{To: netip.PrefixFrom(s.Dst, s.Dst.BitLen()), Device: out, Type: packet.Unicast})
	}
	pkt, err := s.Packet()
	w.packet = pkt
	return err == nil
}

// asked is what the way of a point through a diagram asks of a group.
func (m *model) asked(p point, g symbolic.Group) (n uint64, asked bool) {
	for _, l := range m.space.Levels(g) {
		v, ok := p.path[l]
		asked = asked || ok
		n <<= 1
		if v {
			n |= 1
		}
	}
	return n, asked
}

// routeTypes gives a packet addresses of which routing says what a point asks for,
// as far as it does not ask for others.
func (m *model) routeTypes(w *witness, p point) {
	for _, side := range []struct {
		address symbolic.Group
		types   []symbolic.Group
		to      *netip.Addr
	}{
		{symbolic.Source, []symbolic.Group{symbolic.SourceType, symbolic.SourceTypeIn, symbolic.SourceTypeOut}, &w.spec.Src},
		{symbolic.Destination, []symbolic.Group{symbolic.DestinationType, symbolic.DestinationTypeIn, symbolic.DestinationTypeOut}, &w.spec.Dst},
	} {
		for _, g := range side.types {
			n, ok := m.asked(p, g)
			if !ok {
				continue
			}
			if a, ok := w.ofType(packet.RouteType(n), m.space.Version); ok && m.allows(p, side.address, a) {
				*side.to = a
			}
		}
	}
}

// ofType is an address of the host's surroundings with a route type.
func (w *witness) ofType(t packet.RouteType, version int) (netip.Addr, bool) {
	d := w.host.Device(w.spec.In)
	if d == nil || d.Loopback {
		d = &w.host.Devices[1]
	}
	for _, p := range d.Addrs {
		if p.Addr().Is4() != (version == 4) {
			continue
		}
		switch t {
		case packet.Local:
			return p.Addr(), true
		case packet.Broadcast:
			if version != 4 {
				return netip.Addr{}, false
			}
			a := p.Addr().As4()
			for i := range a {
				a[i] |= 0xff >> min(8, max(0, p.Bits()-8*i))
			}
			return netip.AddrFrom4(a), true
		}
	}
	switch {
	case t == packet.Multicast && version == 4:
		return netip.AddrFrom4([4]byte{224, 0, 0, 1}), true
	case t == packet.Multicast:
		return netip.IPv6LinkLocalAllNodes(), true
	}
	return netip.Addr{}, false
}

// allows reports whether a point leaves an address the choice to be another.
func (m *model) allows(p point, g symbolic.Group, a netip.Addr) bool {
	raw := a.AsSlice()
	for i, l := range m.space.Levels(g) {
		if v, ok := p.path[l]; ok && v != (raw[i/8]>>(7-i%8)&1 == 1) {
			return false
		}
	}
	return true
}
