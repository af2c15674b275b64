package symbolic

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

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
	// Firm instances that refused a packet refuse it again, and are not changed by
	// that: a bucket is as empty as before, since no time passes meanwhile.
	Firm bool
	// Loose, when not "", is the code of a declared deviation with which the
	// state also pairs with one of the same kind whose Parameters differ.
	Loose string
	// Needs are the codes of deviations without which the state is not what
	// Parameters say: it pairs only when all of them are accepted.
	Needs []string
	// Answers is how often a packet can ask within a stage; 0 is the default.
	Answers int
	// Reads are the groups that select the entry. A rule that writes them makes
	// a packet meet another entry, of which the answers are others.
	Reads []Group
	// Assumption, when not "", is what a proof with answers of the state assumes.
	Assumption Assumption
	// Lasts is the time after which the state has forgotten a packet, or given
	// back what one took; 0 is never, or not known.
	Lasts time.Duration
	// Mask are the bits of an address that select the entry, nil when none do.
	Mask []byte
	// Identity is equal for the instances of both IP versions exactly when they
	// are the same state.
	Identity any
	// Name is what people call it, "" when only Kind and Parameters tell. Place
	// is where it stands.
	Name, Place string
}

// String says name and place in words.
func (i Instance) String() string {
	words := i.Name
	if words == "" {
		words = i.Kind + " " + i.Parameters
	}
	if i.Place != "" {
		words += " (" + i.Place + ")"
	}
	return words
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
	if int(l) < instanceLevels || int(l) >= s.slotsEnd {
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
	defer func() { s.slotsEnd = at }()
	for n, i := range list {
		width := max(i.Width, 1)
		turns := maxTurns
		switch {
		case i.Answers != 0:
			turns = i.Answers
		case width > 1:
			turns = maxWideTurns
		}
		s.slots = append(s.slots, slot{i, at, width, turns})
		at += width * turns
		for _, g := range i.Reads {
			if s.readers == nil {
				s.readers = map[Group][]Slot{}
			}
			s.readers[g] = append(s.readers[g], Slot(n))
		}
	}
}

// moved are the shifts of the instances whose entry depends on variables that
// are written.
func (s *Space) moved(written []write) []shift {
	if s.readers == nil {
		return nil
	}
	var list []shift
	for _, b := range written {
		g, _, ok := GroupOf(b.to)
		if !ok {
			continue
		}
		for _, slot := range s.readers[g] {
			if !slices.ContainsFunc(list, func(sh shift) bool { return sh.slot == slot }) {
				list = append(list, shift{slot, 1})
			}
		}
	}
	slices.SortFunc(list, func(a, b shift) int { return cmp.Compare(a.slot, b.slot) })
	return list
}

// refused returns the variable that says that a slot has refused the packet.
func (s *Space) refused(slot Slot) bdd.Level { return bdd.Level(s.slotsEnd + int(slot)) }

// Refused holds for packets that a firm instance has refused within the stage.
func (s *Space) Refused(slot Slot) bdd.Ref {
	if !s.Firm || !s.slots[slot].instance.Firm {
		return bdd.False
	}
	return s.Var(s.refused(slot))
}

// Refusal is the effect that an instance refuses the packet.
func (s *Space) Refusal(slot Slot) Effect {
	if !s.Firm || !s.slots[slot].instance.Firm {
		return NoEffect
	}
	return s.Write([]bdd.Level{s.refused(slot)}, []Cell{One})
}

// Unrefused is the function of a stage for packets that no instance has refused
// yet.
func (s *Space) Unrefused(f bdd.Ref) bdd.Ref {
	first, end := bdd.Level(s.slotsEnd), bdd.Level(s.slotsEnd+len(s.slots))
	if !slices.ContainsFunc(s.Support(f), func(l bdd.Level) bool { return l >= first && l < end }) {
		return f
	}
	return s.Restrict(f, func(l bdd.Level) (bool, bool) { return false, l >= first && l < end })
}

// InstanceOf returns the instance of a slot.
func (s *Space) InstanceOf(slot Slot) Instance { return s.slots[slot].instance }

// InstanceAt is InstanceOf; ok is false when there are not so many slots.
func (s *Space) InstanceAt(slot Slot) (in Instance, ok bool) {
	if int(slot) >= len(s.slots) {
		return in, false
	}
	return s.slots[slot].instance, true
}

// AnswersOn lists the answers of a slot of which an assignment sets any bit, in
// the order in which a packet gets them; other bits are 0.
func (s *Space) AnswersOn(slot Slot, path map[bdd.Level]bool) []uint64 {
	var list []uint64
	of := s.slots[slot]
	for turn := range of.turns {
		n, set := uint64(0), false
		for bit := range of.width {
			v, ok := path[s.answer(slot, turn, bit)]
			set = set || ok
			n <<= 1
			if v {
				n |= 1
			}
		}
		if set {
			list = append(list, n)
		}
	}
	return list
}

// ExtensionKind is the kind of the instances that say whether a packet has an IPv6
// extension header: the first bit of the answer. The number of the header is the
// parameter.
const ExtensionKind = "IPv6 extension header"

// extensionNumber is the number of the header that an instance of [ExtensionKind] is
// about.
func extensionNumber(in Instance) uint8 {
	n, _ := strconv.ParseUint(in.Parameters, 10, 8)
	return uint8(n)
}

// ExtensionOn says of an extension header whether an assignment has it there, and
// its first bytes, of which those that are not set are 0. ok is false when the
// assignment says nothing of it.
func (s *Space) ExtensionOn(path map[bdd.Level]bool, number uint8) (first []byte, there, ok bool) {
	for slot, of := range s.slots {
		if of.instance.Kind != ExtensionKind || of.instance.Parameters != fmt.Sprint(number) {
			continue
		}
		there, ok = path[s.answer(Slot(slot), 0, 0)]
		first = make([]byte, of.width/8)
		for bit := range 8 * len(first) {
			value, set := path[s.answer(Slot(slot), 0, 1+bit)]
			if ok = ok || set; value {
				first[bit/8] |= 0x80 >> (bit % 8)
			}
		}
	}
	return first, there, ok
}

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

// SlotOf returns the slot of a variable; ok is false for one that is no answer.
func (s *Space) SlotOf(l bdd.Level) (slot Slot, ok bool) {
	slot, _, _, ok = s.instanceOf(l)
	return slot, ok
}

// WhereRead holds for packets with which it matters what a slot answers: yes to
// all or no to all.
func (s *Space) WhereRead(f bdd.Ref, slot Slot) bdd.Ref {
	answer := func(value bool) bdd.Ref {
		return s.Restrict(f, func(l bdd.Level) (bool, bool) {
			of, ok := s.SlotOf(l)
			return value, ok && of == slot
		})
	}
	return s.Apply(s.NewOp("unlike", func(f, g bdd.Ref) (bdd.Ref, bool) {
		switch {
		case f == g:
			return bdd.False, true
		case s.IsTerminal(f) && s.IsTerminal(g):
			return bdd.True, true
		}
		return 0, false
	}), answer(true), answer(false))
}

// WhereEvent holds for packets with a kind of event of a slot.
func (s *Space) WhereEvent(f bdd.Ref, slot Slot, kind string) bdd.Ref {
	return s.Map(s.Flag(func(l Leaf) bool {
		return slices.ContainsFunc(s.Events(l.Effect), func(t Token) bool { return t.Slot == slot+1 && t.Kind == kind })
	}), f)
}

// EventKinds lists the kinds of the events of a slot, in order.
func (s *Space) EventKinds(f bdd.Ref, slot Slot) []string {
	var list []string
	for _, v := range s.Terminals(f) {
		for _, t := range s.Events(s.LeafOf(v).Effect) {
			if t.Slot == slot+1 && !slices.Contains(list, t.Kind) {
				list = append(list, t.Kind)
			}
		}
	}
	slices.Sort(list)
	return list
}
