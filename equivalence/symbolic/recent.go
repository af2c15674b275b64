package symbolic

import (
	"fmt"
	"time"

	"nftmigrate/equivalence/bdd"
)

// A RecentList is one question about a list of recent addresses, with all that
// is remembered to answer it: was an address seen at least Hits times within
// Seconds? Rules ask it for the source or the destination of a packet under the
// mask, remember that one of them is seen now, and forget one.
//
// A list of which rules ask several questions is as many of these, all of which
// change together: whether two questions have one memory or one each makes no
// difference to the answers.
//
// The answer has Hits bits, of which all are set when the address was seen that
// often: a machine can hold each of the last times in a place of its own, and
// ask them one by one. The order of the bits means nothing.
type RecentList struct {
	Version int
	Mask    []byte // in network byte order
	Seconds uint32 // 0: of any age
	Hits    int    // at least 1
}

// RecentKind is the kind of the instances of lists.
const RecentKind = "recent addresses"

// recentAnswers is how often a packet can ask and change a list within a stage.
const recentAnswers = 24

// assumeRings is what the equivalence of lists rests on, beside the declared
// deviations.
const assumeRings Assumption = "a list of recent addresses and a ring of timed sets answer alike, to a tick of a kernel " +
	"with HZ 250, as long as no set is full (TestRingIsList in equivalence/nftsim)"

// Instance describes the list as a state.
func (l *RecentList) Instance() Instance {
	words := fmt.Sprintf("IPv%d mask %x, seen at least %d times", l.Version, l.Mask, l.Hits)
	if l.Seconds != 0 {
		words += fmt.Sprintf(" within %d s", l.Seconds)
	}
	return Instance{
		Kind: RecentKind, Parameters: words, Width: 2 * l.Hits, Turns: l.Hits,
		Lasts: time.Duration(l.Seconds) * time.Second, Mask: l.Mask, Answers: recentAnswers, Reads: []Group{Source, Destination}, Assumption: assumeRings,
	}
}

// Bit is the place of a bit in the answer about one side of a packet.
func (l *RecentList) Bit(destination bool, hit int) int {
	if destination {
		return l.Hits + hit
	}
	return hit
}

// SeenBit is one bit of the answer of a list.
func (s *Space) SeenBit(slot Slot, l *RecentList, destination bool, hit int) bdd.Ref {
	return s.Var(s.answer(slot, 0, l.Bit(destination, hit)))
}

// Seen is the answer of a list about one side of a packet.
func (s *Space) Seen(slot Slot, l *RecentList, destination bool) bdd.Ref {
	f := bdd.True
	for hit := l.Hits - 1; hit >= 0; hit-- {
		f = s.And(s.SeenBit(slot, l, destination, hit), f)
	}
	return f
}

// RecentKey is the address that a list looks up for a packet.
func (s *Space) RecentKey(l *RecentList, destination bool) Word {
	g := Source
	if destination {
		g = Destination
	}
	w := s.Bits(g)
	for i := range w {
		if l.Mask[i/8]>>(7-i%8)&1 == 0 {
			w[i] = bdd.False
		}
	}
	return w
}

// Remember is the effect that an address is seen now.
func (s *Space) Remember(slot Slot, l *RecentList, destination bool) Effect {
	return s.changeRecent("remember", slot, l, destination)
}

// Forget is the effect that an address is taken out of a list.
func (s *Space) Forget(slot Slot, l *RecentList, destination bool) Effect {
	return s.changeRecent("forget", slot, l, destination)
}

// changeRecent is the event of a change, behind which the answers about all
// addresses are other ones.
func (s *Space) changeRecent(kind string, slot Slot, l *RecentList, destination bool) Effect {
	var cells []Cell
	for _, f := range s.RecentKey(l, destination) {
		cell := Zero
		if f != bdd.False {
			cell = Old(s.Level(f), false)
		}
		cells = append(cells, cell)
	}
	in := s.InstanceOf(slot)
	event := s.Event(Token{Kind: kind, Text: in.Kind + " " + in.Parameters, Cells: cells, Slot: slot + 1})
	return s.Then(event, s.shift(slot, 1))
}

// commuting reports whether the order of two events has no consequence: they
// change unlike lists.
func commuting(t, u Token) bool {
	changes := func(t Token) bool { return t.Slot != 0 && (t.Kind == "remember" || t.Kind == "forget") }
	return changes(t) && changes(u) && t.Slot != u.Slot
}
