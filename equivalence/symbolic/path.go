package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// laterLevels is by how much the level of a variable grows when something
// between two stages (routing, address translation) gives it a new value.
const laterLevels = 1 << 26

// Later returns the variable that stands for the value that a variable has
// behind the n-th change by the stack.
func Later(l bdd.Level, n int) bdd.Level { return l + bdd.Level(n)*laterLevels }

// Accepted is the function of a stage with what follows when it accepts left
// open: it continues.
func (s *Space) Accepted(stage bdd.Ref) bdd.Ref {
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict == Accept {
			l.Verdict, l.By = Continue, 0
		}
		return s.Leaf(l)
	}), stage)
}

// Finished is the function of a path: what still continues is accepted.
func (s *Space) Finished(path bdd.Ref) bdd.Ref { return s.Base(path, Accept, 0) }

// At fixes the variables of which a situation says the value.
func (s *Space) At(at Situation, f bdd.Ref) bdd.Ref {
	fixed := map[bdd.Level]bool{}
	fix := func(g Group, n uint64) {
		for i, l := range s.Levels(g) {
			fixed[l] = n>>(g.Width()-1-i)&1 == 1
		}
	}
	fix(Hook, uint64(at.Hook))
	switch at.Hook {
	case packet.Prerouting, packet.Input:
		fix(OutName, 0)
	case packet.Output:
		fix(InName, 0)
	}
	if at.Early {
		fix(Tracking, 0)
		fix(CTDirection, 0)
	}
	return s.Restrict(f, func(l bdd.Level) (bool, bool) {
		v, ok := fixed[l]
		return v, ok
	})
}

// NATAsked is the function of the nat stages at a hook, in order: the packets that
// start a connection ask them until one translates.
func (s *Space) NATAsked(stages []bdd.Ref) bdd.Ref {
	f := s.next
	for _, stage := range stages {
		open := s.Map(s.NewMapping(func(v uint32) bdd.Ref {
			l := s.LeafOf(v)
			if l.Verdict == Accept && !s.translates(l.Effect) {
				l.Verdict, l.By = Continue, 0
			}
			return s.Leaf(l)
		}), stage)
		f = s.Sequence(f, open)
	}
	starts := s.Or(s.Number(s.Variables(Tracking), uint64(packet.New)), s.Number(s.Variables(Tracking), uint64(packet.Related)))
	return s.ITE(starts, s.Accepted(f), s.next)
}

func (s *Space) translates(e Effect) bool {
	return slices.ContainsFunc(s.Events(e), func(t Token) bool {
		return slices.Contains([]string{"snat", "dnat", "masquerade", "redirect"}, t.Kind)
	})
}

// Tracked is what connection tracking does to a packet between two stages: one
// that a rule exempted has no connection.
func (s *Space) Tracked() bdd.Ref {
	var levels []bdd.Level
	var cells []Cell
	set := func(g Group, n uint64) {
		for i, l := range s.Levels(g) {
			levels = append(levels, l)
			cells = append(cells, Cell(n>>(g.Width()-1-i)&1))
		}
	}
	set(Tracking, uint64(packet.Untracked))
	set(CTDirection, 0)
	exempt := s.Leaf(Leaf{Verdict: Continue, Effect: s.Write(levels, cells)})
	return s.ITE(s.Bit(Notrack), exempt, s.giving())
}

// Reassembled is what becomes of parts of a datagram between two hooks: the first
// comes out of it as the whole, of which only the headers are those of the part,
// and the others go into it. read are the variables that matter behind it.
//
// Kernel: net/ipv4/ip_input.c, ip_local_deliver; net/ipv4/ip_fragment.c,
// ip_frag_reasm.
func (s *Space) Reassembled(turn int, read []bdd.Level) bdd.Ref {
	levels := s.Levels(MoreFragments)
	cells := []Cell{Zero}
	for _, g := range []Group{Length, TransportBytes, Transport, TCPOption, MSS} {
		for _, l := range s.Levels(g) {
			if slices.Contains(read, l) {
				levels = append(levels, l)
				cells = append(cells, Old(Later(l, turn), false))
			}
		}
	}
	whole := s.Leaf(Leaf{Verdict: Continue, Effect: s.Write(levels, cells)})
	later := s.Not(s.Number(s.Bits(Fragment), 0))
	return s.ITE(later, s.Leaf(Leaf{Verdict: Drop}), s.ITE(s.Bit(MoreFragments), whole, s.next))
}

// Rerouted follows a stage that has local packets routed again when it changed
// what routing depends on.
//
// Kernel: net/netfilter/nft_chain_route.c, net/ipv4/netfilter/iptable_mangle.c.
func (s *Space) Rerouted(stage bdd.Ref) bdd.Ref {
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict != Accept && l.Verdict != Continue {
			return s.Leaf(l)
		}
		changed := bdd.False
		for _, to := range s.WrittenLevels(l.Effect) {
			if g, _, ok := GroupOf(to); ok && routed(g) {
				changed = s.Or(changed, s.Xor(s.valueAfter(l.Effect, to), s.Var(to)))
			}
		}
		again := l
		again.Effect = s.Then(l.Effect, s.Event(Token{Kind: rerouteKind}))
		return s.ITE(changed, s.Leaf(again), s.Leaf(l))
	}), stage)
}

// routed reports whether routing depends on a group.
func routed(g Group) bool {
	return g == Mark || g == Source || g == Destination || g == TOS
}

// Turn is what the stack does to a packet between two stages, the n-th time on
// its path: changed groups have new values behind it. What it decides by, and
// the old values of what it changes, are an event, so that paths are equal only
// when they are equal there. more are variables that change, too.
func (s *Space) Turn(n int, observed, changed []Group, more ...bdd.Level) bdd.Ref {
	var seen []Cell
	for _, g := range observed {
		for _, l := range s.Levels(g) {
			seen = append(seen, Old(l, false))
		}
	}
	levels := slices.Clone(more)
	for _, g := range changed {
		levels = append(levels, s.Levels(g)...)
	}
	var cells []Cell
	for _, l := range levels {
		cells = append(cells, Old(Later(l, n), false))
	}
	e := s.Then(s.Event(Token{Kind: routeKind, Cells: seen}), s.Write(levels, cells))
	return s.Leaf(Leaf{Verdict: Continue, Effect: e})
}
