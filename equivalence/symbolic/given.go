package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// A template says of a new connection what its first packet cannot carry: a
// helper, and which events listeners are told. The group Given is the number of
// what the packet's template says, 0 when it says nothing; the numbers are those
// of the space.

// givenMax is how many templates there can be.
const givenMax = 255

// GivenNumber returns the number of what a template says. ok is false when there
// are too many.
func (s *Space) GivenNumber(g packet.Given) (n uint64, ok bool) {
	if g == (packet.Given{}) {
		return 0, true
	}
	at := slices.Index(s.given, g)
	if at < 0 {
		if len(s.given) == givenMax {
			return 0, false
		}
		at = len(s.given)
		s.given = append(s.given, g)
	}
	return uint64(at + 1), true
}

// GivenTokens are the events of a connection that gets something.
func GivenTokens(g packet.Given) (list []Token) {
	for _, e := range g.Events() {
		switch e := e.(type) {
		case packet.HelperEvent:
			list = append(list, Token{Kind: "helper", Text: e.String()})
		case packet.EventMaskEvent:
			list = append(list, Token{Kind: "event mask", Text: e.String()})
		}
	}
	return list
}

// Unconfirmed holds for packets whose connection, if they have one, nothing has
// confirmed yet: the first of each.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, IPS_CONFIRMED.
func (s *Space) Unconfirmed() bdd.Ref {
	const confirmed = 3
	status := s.Bits(CTStatus)
	return s.Not(status[len(status)-1-confirmed])
}

// giving is what tracking does with what templates say: a new connection gets
// it, and one that another one expected the choice of events only.
//
// Kernel: net/netfilter/nf_conntrack_core.c, init_conntrack.
func (s *Space) giving() bdd.Ref {
	if len(s.given) == 0 {
		return s.next
	}
	w := s.Variables(Given)
	gone := s.Write(s.Levels(Given), make([]Cell, Given.Width())) // zeros
	f := s.Leaf(Leaf{Verdict: Continue, Effect: gone})
	first := func(state packet.State) bdd.Ref {
		return s.And(s.Number(s.Variables(Tracking), uint64(state)), s.Unconfirmed())
	}
	for i, g := range s.given {
		for _, gets := range []struct {
			state packet.State
			given packet.Given
		}{{packet.New, g}, {packet.Related, g.Expected()}} {
			e := gone
			for _, t := range GivenTokens(gets.given) {
				e = s.Then(e, s.Event(t))
			}
			f = s.ITE(s.And(s.Number(w, uint64(i+1)), first(gets.state)), s.Leaf(Leaf{Verdict: Continue, Effect: e}), f)
		}
	}
	return f
}
