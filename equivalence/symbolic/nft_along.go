package symbolic

import (
	"cmp"
	"slices"

	"nftmigrate/equivalence/bdd"
)

// A machine whose rules hold words in registers reads the packet at one time
// and uses what it read at another, behind its own writes. The functions here
// put effects together whose parameters all speak of the packet as the rule
// met it, where [Space.Then] takes the second for one of the packet that the
// first left behind.

// Along is the effect of two effects of one rule, both in terms of the packet
// before the first. Where both write a bit, the second stands.
func (s *Space) Along(first, second Effect) Effect {
	if first == NoEffect || second == NoEffect {
		return first + second
	}
	a, b := s.effects.all[first], s.effects.all[second]
	return s.effects.intern(effect{
		events: s.concat(a.events, b.events, &writeSet{}),
		writes: s.override(a.writes, s.effects.writes[b.writes]),
	})
}

// Set is an effect that also sets the variables of levels, to cells that speak
// of the packet before it. Unlike [Space.Write] behind it, it takes a write back
// when a cell is the old value.
func (s *Space) Set(e Effect, levels []bdd.Level, cells []Cell) Effect {
	var w writeSet
	for i, l := range levels {
		w.bits = append(w.bits, write{l, cells[i]})
	}
	w.shifts = s.moved(w.bits)
	a := s.effects.all[e]
	return s.effects.intern(effect{events: a.events, writes: s.override(a.writes, w)})
}

// MoveOn is an effect that also moves the answers of an instance on, without an
// event of its own.
func (s *Space) MoveOn(e Effect, slot Slot) Effect { return s.Along(e, s.shift(slot, 1)) }

// override is a set of writes with those of another put over it.
func (s *Space) override(writes uint32, next writeSet) uint32 {
	old := s.effects.writes[writes]
	out := writeSet{bits: slices.Clone(old.bits), shifts: slices.Clone(old.shifts)}
	for _, b := range next.bits {
		i, found := slices.BinarySearchFunc(out.bits, b.to, func(b write, l bdd.Level) int { return cmp.Compare(b.to, l) })
		switch same := b.cell == Old(b.to, false); {
		case found && same:
			out.bits = slices.Delete(out.bits, i, i+1)
		case found:
			out.bits[i].cell = b.cell
		case !same:
			out.bits = slices.Insert(out.bits, i, b)
		}
	}
	for _, sh := range next.shifts {
		if i := slices.IndexFunc(out.shifts, func(o shift) bool { return o.slot == sh.slot }); i >= 0 {
			out.shifts[i].by += sh.by
		} else {
			out.shifts = append(out.shifts, sh)
		}
	}
	slices.SortFunc(out.shifts, func(a, b shift) int { return cmp.Compare(a.slot, b.slot) })
	return s.internWrites(out)
}

// After returns a word as it is behind an effect: bits that the effect writes
// are what it writes, in terms of the packet before.
func (s *Space) After(e Effect, w Word) Word {
	if !s.writes(e) {
		return w
	}
	set := s.writesOf(e)
	after := s.NewSubstitution(func(l bdd.Level) (bdd.Ref, bool) {
		c := s.cellAfter(set, l)
		return s.CellFunction(c), c != Old(l, false)
	}, nil)
	out := make(Word, len(w))
	for i, f := range w {
		out[i] = s.Substitute(after, f)
	}
	return out
}
