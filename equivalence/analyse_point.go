package equivalence

import (
	"net/netip"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A point is a packet as an assignment, near an ordinary one.
type point struct {
	start
	path    map[bdd.Level]bool
	unusual int
}

// value is what a variable is at the point.
func (p *point) value() func(l bdd.Level) bool {
	// Most variables are asked many times, and have small levels.
	const few = 1 << 12
	var known [few]int8
	ask := func(l bdd.Level) bool {
		if v, ok := p.path[l]; ok {
			return v
		}
		return p.usual(l)
	}
	return func(l bdd.Level) bool {
		switch {
		case l >= few:
			return ask(l)
		case known[l] == 0:
			known[l] = -1
			if ask(l) {
				known[l] = 1
			}
		}
		return known[l] > 0
	}
}

// points are packets of a class, the most ordinary first.
func (m *model) points(class bdd.Ref, at *scope) []point {
	var list []point
	for _, st := range m.starts(at.hook, at.early) {
		path, ok := m.space.Pick(class, st.usual)
		if !ok {
			continue
		}
		p := point{start: st, path: path}
		for l, v := range path {
			if v != st.usual(l) {
				p.unusual++
			}
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(x, y point) int { return x.unusual - y.unusual })
	return list
}

// witness makes the packet of a point. One without a link header arrives by a
// device that has none, and one that a host sends to itself goes to an address
// that the host has by its devices.
func (m *model) witness(p point) (witness, bool) {
	b := builder{space: m.space, start: p.start, path: p.path, usual: p.usual}
	w, ok := b.build(p.out)
	if !ok {
		return w, false
	}
	if has, asked := b.number(symbolic.HasLink); asked && has == 0 {
		w.spec.Link = nil
		if d := w.host.Device(w.spec.In); d != nil {
			d.Ethernet = false
		}
	}
	if kind, _, _ := b.wantedType(destinationTypes); kind == packet.Local && p.hook == packet.Output {
		to := m.space.Levels(symbolic.Destination)
		for _, d := range w.host.Devices {
			for _, own := range d.Addrs {
				if !d.Loopback && p.allows(to, own.Addr()) {
					w.spec.Dst = own.Addr()
				}
			}
		}
	}
	pkt, err := w.spec.Packet()
	w.packet = pkt
	return w, err == nil
}

// allows reports whether an address has the bits that a point asks for.
func (p *point) allows(levels []bdd.Level, a netip.Addr) bool {
	raw := a.AsSlice()
	if len(levels) != 8*len(raw) {
		return false
	}
	for i, l := range levels {
		if v, ok := p.path[l]; ok && v != (raw[i/8]>>(7-i%8)&1 == 1) {
			return false
		}
	}
	return true
}
