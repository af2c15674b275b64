package symbolic

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// WayBackKind is the kind of the instances that say what the routing tables have
// for the source of a packet: the type of the route, [WayBackType] bits wide, 0 for
// none, and whether it is by the device that the packet came from. What else chooses
// the route are the parameters, and the rules that write it are what Reads names. No
// question changes the answer.
const WayBackKind = "way back"

// The answer of an instance of [WayBackKind].
const (
	WayBackType  = 4
	wayBackTurns = 16
	// WayBackDevice is the deviation of IPv6 routes to one network by several devices, of
	// which each language takes another when the device is to choose.
	WayBackDevice = "rpfilter-several-routes"
)

// WayBack describes a way back: whether the mark of the packet chooses it, and
// whether the device that the packet came from does, as it does in IPv6.
func WayBack(mark, device bool) Instance {
	in := Instance{
		Kind: WayBackKind, Parameters: "to the source", Width: WayBackType + 1, Silent: true, Answers: wayBackTurns,
		Reads: []Group{TOS}, Assumption: assumeLocal,
	}
	if mark {
		in.Parameters += " by the mark"
		in.Reads = append(in.Reads, Mark)
	}
	if device {
		in.Parameters += " by the device"
		in.Needs = []string{WayBackDevice}
	}
	in.Identity = in.Parameters
	return in
}

// WayBackBit returns which bit of a way back a variable is.
func (s *Space) WayBackBit(l bdd.Level) (bit int, ok bool) {
	slot, _, bit, ok := s.instanceOf(l)
	return bit, ok && s.slots[slot].instance.Kind == WayBackKind
}

// WayBackOn says which way back an assignment asks for, and where it is silent what
// usual says. asked is false when it says nothing.
func (s *Space) WayBackOn(path map[bdd.Level]bool, usual func(bdd.Level) bool) (kind packet.RouteType, byIn, asked bool) {
	for slot, of := range s.slots {
		if of.instance.Kind != WayBackKind || asked {
			continue
		}
		kind = 0
		for bit := range WayBackType + 1 {
			l := s.answer(Slot(slot), 0, bit)
			v, set := path[l]
			if asked = asked || set; !set {
				v = usual(l)
			}
			switch {
			case bit == WayBackType:
				byIn = v
			case v:
				kind |= 1 << (WayBackType - 1 - bit)
			}
		}
	}
	return kind, byIn, asked
}

// waysBack are what the type of the source, which the local table gives it, says of
// the ways back: that table is asked first, and no other has routes of its types. Two
// addresses and groups have their types without it.
//
// Kernel: net/ipv4/fib_frontend.c, __inet_dev_addr_type; net/ipv4/fib_rules.c,
// fib_default_rules_init; net/ipv6/fib6_rules.c.
func (d *domain) waysBack() {
	s := d.space
	met := map[Slot]bool{}
	for _, l := range d.answers {
		slot, _, _, ok := s.instanceOf(l)
		if !ok || met[slot] || s.slots[slot].instance.Kind != WayBackKind {
			continue
		}
		met[slot] = true
		for turn := range s.slots[slot].turns {
			w := make(Word, s.slots[slot].width)
			for bit := range w {
				w[bit] = s.Var(s.answer(slot, turn, bit))
			}
			d.wayBack(w[:WayBackType], w[WayBackType])
		}
	}
}

func (d *domain) wayBack(kind Word, byIn bdd.Ref) {
	s := d.space
	is := func(of packet.RouteType) bdd.Ref { return s.Number(kind, uint64(of)) }
	source := func(of packet.RouteType) bdd.Ref { return d.is(SourceType, uint64(of)) }
	d.implies(is(packet.Unspec), s.Not(byIn))
	if s.Version == 6 {
		d.require(s.Not(s.Xor(is(packet.Local), source(packet.Local))))
		d.require(s.Or(s.Or(is(packet.Unspec), is(packet.Unicast)), s.Or(is(packet.Local), is(packet.Anycast))))
		return
	}
	address := s.Bits(Source)
	ones := bdd.True
	for _, bit := range address {
		ones = s.And(ones, bit)
	}
	own := bdd.False // the local table has it
	for _, of := range []packet.RouteType{packet.Local, packet.Broadcast, packet.Anycast} {
		own = s.Or(own, source(of))
	}
	own = s.Diff(own, s.Or(ones, s.Number(address, 0)))
	for _, of := range []packet.RouteType{packet.Local, packet.Broadcast, packet.Anycast} {
		d.implies(s.And(own, source(of)), is(of))
		if d.used[SourceTypeIn] {
			by := d.is(SourceTypeIn, uint64(of))
			d.implies(s.And(own, source(of)), s.Not(s.Xor(by, byIn)))
		}
	}
	d.implies(s.Not(own), s.Or(is(packet.Unspec), is(packet.Unicast)))
}
