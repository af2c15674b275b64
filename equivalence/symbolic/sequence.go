package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
)

// Sequence is the function of f, and where f continues, of g behind it.
func (s *Space) Sequence(f, g bdd.Ref) bdd.Ref {
	switch {
	case f == s.next:
		return g
	case g == s.next:
		return f
	}
	before := s.moving(f)
	r := s.Apply(s.sequence, f, g)
	after := s.moving(g)
	if len(before) == 0 && len(after) == 0 {
		return r
	}
	if len(before) > 0 {
		support := s.Support(g)
		occur := before[:0:0]
		for _, w := range before {
			if !s.touchesAny(w, support) {
				occur = append(occur, w)
				continue
			}
			if where := s.whereContinues(f, w); where != bdd.False {
				occur = append(occur, w)
				r = s.ITE(where, s.Apply(s.sequence, f, s.behindWrites(w, g)), r)
			}
		}
		before = occur
	}
	s.noteMoving(r, before, after)
	return r
}

// moving lists the sets of writes with which a function may continue, so that
// later reads are to be looked at; some may not occur. Events do not matter.
func (s *Space) moving(f bdd.Ref) []uint32 {
	if !s.anyWrites {
		return nil
	}
	if list, ok := s.movingWrites[f]; ok {
		return list
	}
	var list []uint32
	for _, v := range s.Terminals(f) {
		if l := s.LeafOf(v); l.Verdict == Continue && s.writes(l.Effect) {
			list = append(list, s.effects.all[l.Effect].writes)
		}
	}
	list = unique(list)
	s.movingWrites[f] = list
	return list
}

// noteMoving says with which writes a sequence may continue: with those of
// either part alone, and with one after the other. Of many it says nothing, and
// they are looked for when they are asked for.
func (s *Space) noteMoving(r bdd.Ref, before, after []uint32) {
	const few = 16
	if _, ok := s.movingWrites[r]; ok || (len(before)+1)*(len(after)+1) > few {
		return
	}
	list := append(slices.Clone(before), after...)
	for _, w := range before {
		for _, next := range after {
			list = append(list, s.after(&s.effects.writes[w], next))
		}
	}
	s.movingWrites[r] = unique(list)
}

// sequenceLeaf continues a leaf of f with g, as far as the effect of f changes
// nothing that g reads.
func (s *Space) sequenceLeaf(f, g bdd.Ref) (bdd.Ref, bool) {
	l, ok := s.leafAt(f)
	if !ok {
		return 0, false
	}
	if l.Verdict != Continue {
		return f, true
	}
	return s.prepend(l.Effect, g), true
}

// prepend puts an effect before the leaves of a function.
func (s *Space) prepend(e Effect, g bdd.Ref) bdd.Ref {
	if e == NoEffect {
		return g
	}
	m := s.prepends[e]
	if m == nil {
		m = s.NewMapping(func(v uint32) bdd.Ref {
			l := s.LeafOf(v)
			l.Effect = s.Then(e, l.Effect)
			return s.Leaf(l)
		})
		s.prepends[e] = m
	}
	return s.Map(m, g)
}

// Behind is the function of g for packets that already had an effect.
func (s *Space) Behind(e Effect, g bdd.Ref) bdd.Ref {
	if !s.touches(e, g) {
		return s.prepend(e, g)
	}
	return s.prepend(e, s.behindWrites(s.effects.all[e].writes, g))
}

// behindWrites is g with what it decides by as it is behind writes. Its leaves
// still speak of what they find.
func (s *Space) behindWrites(id uint32, g bdd.Ref) bdd.Ref {
	w := s.effects.writes[id]
	return s.Substitute(s.NewSubstitution(func(l bdd.Level) (bdd.Ref, bool) {
		c := s.cellAfter(&w, l)
		if c == Old(l, false) {
			return 0, false
		}
		return s.CellFunction(c), true
	}, nil), g)
}

// CellFunction is the function that a cell is.
func (s *Space) CellFunction(c Cell) bdd.Ref {
	l, complement, ok := c.Variable()
	switch {
	case !ok:
		return bdd.Ref(c)
	case complement:
		return s.NotVar(l)
	}
	return s.Var(l)
}

// touches reports whether an effect changes a variable that g depends on.
func (s *Space) touches(e Effect, g bdd.Ref) bool {
	return s.writes(e) && s.touchesAny(s.effects.all[e].writes, s.Support(g))
}

// writes reports whether an effect changes variables.
func (s *Space) writes(e Effect) bool {
	w := s.writesOf(e)
	return len(w.bits) > 0 || len(w.shifts) > 0
}

func (s *Space) touchesAny(writes uint32, levels []bdd.Level) bool {
	w := &s.effects.writes[writes]
	for _, l := range levels {
		if s.cellAfterQuiet(w, l) {
			return true
		}
	}
	return false
}

// cellAfterQuiet reports whether a variable has another value behind writes.
func (s *Space) cellAfterQuiet(w *writeSet, l bdd.Level) bool {
	if slot, _, _, ok := s.instanceOf(l); ok {
		return slices.ContainsFunc(w.shifts, func(sh shift) bool { return sh.slot == slot })
	}
	_, ok := slices.BinarySearchFunc(w.bits, l, func(b write, l bdd.Level) int { return int(b.to) - int(l) })
	return ok
}

// whereContinues holds for packets with which f continues behind writes.
func (s *Space) whereContinues(f bdd.Ref, writes uint32) bdd.Ref {
	return s.Map(s.Flag(func(l Leaf) bool { return l.Verdict == Continue && s.effects.all[l.Effect].writes == writes }), f)
}

// List is the function of rules in order.
func (s *Space) List(rules []bdd.Ref) bdd.Ref {
	switch len(rules) {
	case 0:
		return s.next
	case 1:
		return rules[0]
	}
	half := len(rules) / 2
	return s.Sequence(s.List(rules[:half]), s.List(rules[half:]))
}

// Chain is the function of a chain of rules: at its end the packet continues.
func (s *Space) Chain(rules []bdd.Ref) bdd.Ref { return s.List(rules) }

// Jump is the function of a rule that jumps to a chain where a condition holds,
// behind an effect of the rule itself.
func (s *Space) Jump(where bdd.Ref, e Effect, chain bdd.Ref) bdd.Ref {
	return s.ITE(where, s.Behind(e, s.backFrom(chain)), s.next)
}

// backFrom is the function of a chain as the one that jumps to it sees it.
func (s *Space) backFrom(chain bdd.Ref) bdd.Ref {
	if f, ok := s.jumped[chain]; ok {
		return f
	}
	f := chain
	for _, v := range s.Terminals(chain) {
		if s.LeafOf(v).Verdict == Return {
			f = s.Map(s.returned, chain)
			break
		}
	}
	s.jumped[chain] = f
	return f
}

// Goto is Jump that does not come back: at the end of the chain the packet
// returns to where this one was jumped to from.
func (s *Space) Goto(where bdd.Ref, e Effect, chain bdd.Ref) bdd.Ref {
	return s.ITE(where, s.Behind(e, s.Map(s.gone, chain)), s.next)
}

// Base is the function of a stage: what returns from its chain, or runs off its
// end, meets the policy.
func (s *Space) Base(chain bdd.Ref, policy Verdict, by int) bdd.Ref {
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict == Continue || l.Verdict == Return {
			l.Verdict, l.By = policy, by
		}
		return s.Leaf(l)
	}), chain)
}

// Cells turns a word into the cells of what is written or named, under a
// condition, and calls with for each class of packets with one list of cells.
// The functions that with returns are put together: each holds for its class.
func (s *Space) Cells(w Word, with func(cells []Cell) bdd.Ref) bdd.Ref {
	cells := make([]Cell, len(w))
	for i, f := range w {
		if v, ok := s.Value(f); ok {
			cells[i] = Cell(v)
			continue
		}
		l := s.Level(f)
		switch {
		case s.Low(f) == bdd.False && s.High(f) == bdd.True:
			cells[i] = Old(l, false)
		case s.Low(f) == bdd.True && s.High(f) == bdd.False:
			cells[i] = Old(l, true)
		default:
			return s.split(w, with)
		}
	}
	return with(cells)
}

// split decides the topmost variable of the bits that are no plain cells.
func (s *Space) split(w Word, with func(cells []Cell) bdd.Ref) bdd.Ref {
	top, found := bdd.Level(0), false
	for _, f := range w {
		if s.IsTerminal(f) || s.IsTerminal(s.Low(f)) && s.IsTerminal(s.High(f)) {
			continue
		}
		if l := s.Level(f); !found || l < top {
			top, found = l, true
		}
	}
	side := func(value bool) bdd.Ref {
		half := make(Word, len(w))
		for i, f := range w {
			half[i] = s.Restrict(f, func(l bdd.Level) (bool, bool) { return value, l == top })
		}
		return s.Cells(half, with)
	}
	return s.ITE(s.Var(top), side(true), side(false))
}
