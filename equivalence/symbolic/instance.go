package symbolic

import (
	"fmt"

	"nftmigrate/equivalence/bdd"
)

// An Instance is a state that rules consult: a rate bucket, a counter, a
// generator of random numbers, a set that packets change. Both sides describe
// theirs; the prover pairs those that are alike, and only then are they the same
// variables and events.
type Instance struct {
	// Kind and Parameters say in words what it is, the same words on both sides
	// for states that behave the same: "limit", "1 per 20s burst 5".
	Kind, Parameters string
	// Key names what selects the entry within the state, "" when it is one for
	// all packets.
	Key string
	// Width is the number of bits of an answer: 1 for yes or no.
	Width int
	// Below, when not 0, bounds the answer taken as a number.
	Below uint64
	// Turns is about how many packets take the state once around, such as those
	// that empty a bucket; 0 is not known.
	Turns int
	// Silent instances are not changed by being asked: random numbers.
	Silent bool
	// Loose, when not "", is the code of a declared deviation with which the
	// state also pairs with one of the same kind whose Parameters differ.
	Loose string
	// Identity is equal for the instances of both IP versions exactly when they
	// are the same state.
	Identity any
	// Place is where it stands, for people.
	Place string
}

// How many times one packet can ask one instance within a stage: a bucket, and
// something with answers of many bits.
const (
	maxTurns     = 64
	maxWideTurns = 8
)

// A Slot is an instance in a space: both sides of a pair have the same slot.
type Slot int

// answer returns the variable of a bit of the n-th answer of a slot.
func (s *Space) answer(slot Slot, turn, bit int) bdd.Level {
	return bdd.Level(s.slots[slot].first + turn*s.slots[slot].width + bit)
}

// instanceOf returns the slot, turn and bit of a variable of an instance.
func (s *Space) instanceOf(l bdd.Level) (slot Slot, turn, bit int, ok bool) {
	if int(l) < instanceLevels || l >= laterLevels || len(s.slots) == 0 {
		return 0, 0, 0, false
	}
	lo, hi := 0, len(s.slots)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; s.slots[mid].first <= int(l) {
			lo = mid
		} else {
			hi = mid
		}
	}
	at := int(l) - s.slots[lo].first
	return Slot(lo), at / s.slots[lo].width, at % s.slots[lo].width, true
}

type slot struct {
	instance            Instance
	first, width, turns int
}

// addSlots lays out the variables of instances.
func (s *Space) addSlots(list []Instance) {
	at := instanceLevels
	for _, i := range list {
		width := max(i.Width, 1)
		turns := maxTurns
		if width > 1 {
			turns = maxWideTurns
		}
		s.slots = append(s.slots, slot{i, at, width, turns})
		at += width * turns
	}
}

// InstanceOf returns the instance of a slot.
func (s *Space) InstanceOf(slot Slot) Instance { return s.slots[slot].instance }

// Ask returns the answer of an instance, most significant bit first, and the
// effect of having asked it. A packet that asks again gets another answer: the
// effect moves later answers on.
func (s *Space) Ask(slot Slot) (Word, Effect) {
	w := make(Word, s.slots[slot].width)
	for bit := range w {
		w[bit] = s.Var(s.answer(slot, 0, bit))
	}
	e := s.shift(slot, 1)
	if in := s.slots[slot].instance; !in.Silent {
		e = s.Then(s.Event(Token{Kind: "ask", Text: fmt.Sprintf("%s %s", in.Kind, in.Parameters), Slot: slot + 1}), e)
	}
	return w, e
}

// Peek returns the answer without the effect of asking.
func (s *Space) Peek(slot Slot) Word {
	w := make(Word, s.slots[slot].width)
	for bit := range w {
		w[bit] = s.Var(s.answer(slot, 0, bit))
	}
	return w
}

// AskedSlots lists the slots that an effect asks or changes, in order.
func (s *Space) AskedSlots(e Effect) []Slot {
	var list []Slot
	for _, t := range s.Events(e) {
		if t.Slot > 0 {
			list = append(list, t.Slot-1)
		}
	}
	return list
}

// WhereAsked holds for packets whose leaf asks or changes a slot.
func (s *Space) WhereAsked(f bdd.Ref, slot Slot) bdd.Ref {
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		for _, asked := range s.AskedSlots(s.LeafOf(v).Effect) {
			if asked == slot {
				return bdd.True
			}
		}
		return bdd.False
	}), f)
}
