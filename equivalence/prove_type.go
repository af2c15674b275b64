package equivalence

import (
	"net/netip"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// typeGroups are the variables of the type that routing gives an address: over
// all devices, by the incoming one, and by the outgoing one.
type typeGroups struct{ all, in, out symbolic.Group }

var (
	sourceTypes      = typeGroups{symbolic.SourceType, symbolic.SourceTypeIn, symbolic.SourceTypeOut}
	destinationTypes = typeGroups{symbolic.DestinationType, symbolic.DestinationTypeIn, symbolic.DestinationTypeOut}
)

// usually is bound, with the types that addresses have on the host of a start, and
// the ways back.
func usually(s *symbolic.Space, bound func(bdd.Level) bool, st start) func(bdd.Level) bool {
	kind := func(a netip.Addr) packet.RouteType {
		if r, ok := st.host.Lookup(a); ok && r.Type != packet.Unspec {
			return r.Type
		}
		return packet.Unicast
	}
	source, destination := kind(st.spec.Src), kind(st.spec.Dst)
	return func(l bdd.Level) bool {
		if bit, back := s.WayBackBit(l); back {
			// The source is a neighbour.
			return bit == symbolic.WayBackType || packet.Unicast>>(symbolic.WayBackType-1-bit)&1 == 1
		}
		g, bit, ok := symbolic.GroupOf(l)
		if !ok || g < symbolic.SourceType || g > symbolic.DestinationTypeOut {
			return bound(l)
		}
		of := source
		if g == symbolic.DestinationType || g == symbolic.DestinationTypeIn || g == symbolic.DestinationTypeOut {
			of = destination
		}
		return of>>(g.Width()-1-bit)&1 == 1
	}
}

// wantedType is the type that a class asks of an address, Unspec for none, with
// whether it asks that the incoming and the outgoing device give it.
func (b *builder) wantedType(of typeGroups) (kind packet.RouteType, in, out bool) {
	read := func(g symbolic.Group) packet.RouteType {
		if !b.asks(g) {
			return packet.Unspec
		}
		n, _ := b.number(g)
		return packet.RouteType(n)
	}
	byIn, byOut := read(of.in), read(of.out)
	kind = read(of.all)
	for _, by := range []packet.RouteType{byIn, byOut} {
		if (kind == packet.Unspec || kind == packet.Unicast) && by != packet.Unspec {
			kind = by
		}
	}
	return kind, byIn != packet.Unicast, byOut != packet.Unicast
}

// addressTypes chooses addresses that can have the types that are asked for: a
// broadcast address ends in ones.
func (b *builder) addressTypes() {
	if b.space.Version != 4 {
		return
	}
	for _, of := range []struct {
		types typeGroups
		group symbolic.Group
		addr  *netip.Addr
	}{{sourceTypes, symbolic.Source, &b.spec.Src}, {destinationTypes, symbolic.Destination, &b.spec.Dst}} {
		if kind, _, _ := b.wantedType(of.types); kind != packet.Broadcast || special4(*of.addr) {
			continue
		}
		a := of.addr.As4()
		levels := b.space.Levels(of.group)
		for bit := range 2 {
			if _, set := b.path[levels[len(levels)-1-bit]]; !set {
				a[3] |= 1 << bit
			}
		}
		*of.addr = netip.AddrFrom4(a)
	}
}

// special4 reports whether an address is of its type on every host.
func special4(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() || a == broadcast4 }

// route changes a host so that addresses have the types that are asked for.
func (b *builder) route(h *packet.Host, out string) {
	give := func(types typeGroups, a netip.Addr) {
		kind, in, outward := b.wantedType(types)
		if kind == packet.Unspec || !a.IsValid() || b.space.Version == 4 && special4(a) {
			return
		}
		d := b.typeGiver(h, out, in, outward)
		if d == nil {
			return
		}
		switch kind {
		case packet.Unicast:
			disown(h, a)
		case packet.Local:
			disown(h, a)
			d.Addrs = append(d.Addrs, netip.PrefixFrom(a, a.BitLen()))
		case packet.Broadcast:
			const bits = 30
			disown(h, a)
			if a.Is4() && a.As4()[3]&3 == 3 {
				d.Addrs = append(d.Addrs, netip.PrefixFrom(a.Prev(), bits))
			}
		}
	}
	give(sourceTypes, b.spec.Src)
	give(destinationTypes, b.spec.Dst)
}

// wayBack changes a host so that the way back to the source is as a class asks.
func (b *builder) wayBack(h *packet.Host) {
	kind, byIn, asked := b.space.WayBackOn(b.path, b.usual)
	a := b.spec.Src
	if !asked || b.spec.In == "" || kind > packet.Local || !a.IsValid() {
		return
	}
	var by *packet.Device
	for i := range h.Devices {
		if d := &h.Devices[i]; !d.Loopback && (d.Name == b.spec.In) == byIn {
			by = d
		}
	}
	disown(h, a)
	whole := netip.PrefixFrom(a, a.BitLen())
	switch {
	case kind == packet.Unspec:
		h.Routes = append(h.Routes, packet.Route{To: whole, Type: packet.Unreachable})
	case by == nil:
	case kind == packet.Unicast:
		h.Routes = append(h.Routes, packet.Route{To: whole, Type: packet.Unicast, Device: by.Name})
	default:
		by.Addrs = append(by.Addrs, whole)
	}
}

// typeGiver is the device that has an address: the incoming one or the outgoing
// one where they may, else another.
func (b *builder) typeGiver(h *packet.Host, out string, in, outward bool) *packet.Device {
	for _, want := range []struct {
		name string
		may  bool
	}{{b.spec.In, in}, {out, outward}} {
		if d := h.Device(want.name); want.may && d != nil && !d.Loopback {
			return d
		}
	}
	for i := range h.Devices {
		d := &h.Devices[i]
		if !d.Loopback && (in || d.Name != b.spec.In) && (outward || d.Name != out) {
			return d
		}
	}
	return nil
}
