package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// A symbolicField is a field as a number of variables, and where a packet has it.
type symbolicField struct {
	word    symbolic.Word
	present bdd.Ref
	// scale is by how much the variables' unit is finer than the field's, 0 is
	// not at all.
	scale uint64
	known bool
	hook  bool // depends on the hook
}

// partly are the fields of which some places are not modelled.
var partly = map[predicate.FieldID]bool{predicate.TransportByte: true, predicate.TransportWord: true, predicate.HeaderThere: true,
	predicate.HeaderByte: true, predicate.HeaderWord: true, predicate.HeaderWhole: true, predicate.HeaderSet: true,
	predicate.PacketByte: true, predicate.PacketWord: true, predicate.BackType: true, predicate.BackByIn: true}

// field returns the variables of a field.
func (c *compiler) field(f predicate.Field) symbolicField {
	if at := c.space.Standing(); at != c.standing {
		clear(c.fields)
		c.standing = at
	}
	if v, ok := c.fields[f]; ok {
		if v.hook {
			c.space.NoteHook()
		}
		return v
	}
	var v symbolicField
	if read := symbolicFields[f.ID]; read != nil {
		hook := c.space.ReadsHook(func() { v = read(c, f.Arg) })
		v.known, v.hook = v.known || !partly[f.ID], hook
	}
	c.fields[f] = v
	return v
}

// pure is the function of a predicate that consults no state and no random
// number and is modelled altogether; ok is false for another.
func (c *compiler) pure(p predicate.Predicate) (f bdd.Ref, ok bool) {
	s := c.space
	if walk, ok := chunksOf(p); ok {
		return c.chunks(walk), true
	}
	if _, asks := recentOf(p); asks {
		return 0, false
	}
	if _, asks := instanceOf(p); asks {
		return 0, false
	}
	switch p := p.(type) {
	case predicate.Const:
		if p {
			return bdd.True, true
		}
		return bdd.False, true
	case predicate.Stateful:
		return bdd.True, constant(p.Instance)
	case predicate.All:
		parts := make([]bdd.Ref, len(p))
		for i, part := range p {
			if parts[i], ok = c.pure(part); !ok {
				return 0, false
			}
		}
		return s.All(parts...), true
	case predicate.Any:
		f = bdd.False
		for _, part := range p {
			g, ok := c.pure(part)
			if !ok {
				return 0, false
			}
			f = s.Or(f, g)
		}
		return f, true
	case predicate.Not:
		g, ok := c.pure(p.P)
		if !ok {
			return 0, false
		}
		return s.Not(g), true
	case predicate.Member:
		return c.member(p)
	}
	return c.test(p)
}

// test is the function of a test of one field.
func (c *compiler) test(p predicate.Predicate) (f bdd.Ref, ok bool) {
	fields := predicate.FieldsOf(p)
	if len(fields) != 1 {
		return 0, false
	}
	v := c.field(fields[0])
	if !v.known {
		return 0, false
	}
	f, ok = c.compare(v, p)
	return c.space.And(v.present, f), ok
}

// compare is the function of a test for packets that have the field.
func (c *compiler) compare(v symbolicField, p predicate.Predicate) (bdd.Ref, bool) {
	switch p := p.(type) {
	case predicate.Present:
		return bdd.True, true
	case predicate.Between:
		return c.between(v, p.Low, p.High), true
	case predicate.In:
		f := bdd.False
		for _, span := range p.Spans {
			f = c.space.Or(f, c.between(v, span.Low, span.High))
		}
		return f, true
	case predicate.Masked:
		return c.masked(v.word, p.Mask, p.Value), v.scale == 0
	}
	return 0, false
}

// masked holds when word & mask == value.
func (c *compiler) masked(w symbolic.Word, mask, value predicate.Bits) bdd.Ref {
	s, f := c.space, bdd.True
	inside := predicate.Ones(len(w))
	if !value.And(mask.And(inside).Not()).IsZero() {
		return bdd.False
	}
	for i := len(w) - 1; i >= 0; i-- {
		place := len(w) - 1 - i
		switch {
		case !bitOf(mask, place):
		case bitOf(value, place):
			f = s.And(w[i], f)
		default:
			f = s.And(s.Not(w[i]), f)
		}
	}
	return f
}

func bitOf(b predicate.Bits, place int) bool { return b.Shift(-place).Lo&1 == 1 }

// between holds when low <= word <= high.
func (c *compiler) between(v symbolicField, low, high predicate.Bits) bdd.Ref {
	if v.scale != 0 {
		most := ^uint64(0) / v.scale
		low = predicate.Number(min(low.Lo, most) * v.scale)
		if high.Lo >= most {
			high = predicate.Ones(64)
		} else {
			high = predicate.Number(high.Lo*v.scale + v.scale - 1)
		}
	}
	s, w := c.space, v.word
	all := predicate.Ones(len(w))
	if all.Less(low) || high.Less(low) {
		return bdd.False
	}
	if all.Less(high) {
		high = all
	}
	if low == high {
		return c.masked(w, all, low)
	}
	atLeast, atMost := bdd.True, bdd.True
	for i := len(w) - 1; i >= 0; i-- {
		place := len(w) - 1 - i
		if bitOf(low, place) {
			atLeast = s.And(w[i], atLeast)
		} else {
			atLeast = s.Or(w[i], atLeast)
		}
		if bitOf(high, place) {
			atMost = s.Or(s.Not(w[i]), atMost)
		} else {
			atMost = s.Diff(atMost, w[i])
		}
	}
	return s.And(atLeast, atMost)
}

// predicate is the function of a test with states: it continues where the test
// holds and skips the rule elsewhere.
func (c *compiler) predicate(p predicate.Predicate, what string) bdd.Ref {
	s := c.space
	if f, ok := c.pure(p); ok {
		return s.ITE(f, s.Next(), c.skip(symbolic.NoEffect))
	}
	switch p := p.(type) {
	case predicate.All:
		var parts []bdd.Ref
		for _, part := range p {
			parts = append(parts, c.predicate(part, what))
		}
		return s.List(parts)
	case predicate.Any:
		// Not all of the negations.
		var parts []bdd.Ref
		for _, part := range p {
			parts = append(parts, c.negated(c.predicate(part, what)))
		}
		return c.negated(s.List(parts))
	case predicate.Not:
		return c.negated(c.predicate(p.P, what))
	case predicate.SetLabel:
		return c.setLabel(p)
	}
	if recent, ok := recentOf(p); ok {
		return c.recent(recent)
	}
	if o, ok := optionsOf(p); ok {
		return c.headerOptions(o, what)
	}
	i, asks := instanceOf(p)
	if !asks {
		return c.unsure(what)
	}
	if state, ok := p.(predicate.Stateful); ok {
		if h, ok := state.Instance.(predicate.Hashlimit); ok && h.Window == 0 {
			return c.askHashlimit(h)
		}
	}
	slot := c.slots[scoped{c.rule, c.asked}]
	c.asked++
	answer, effect := s.Ask(slot)
	var holds bdd.Ref
	switch p := p.(type) {
	case predicate.Stateful:
		switch state := p.Instance.(type) {
		case predicate.Nth:
			holds = s.Number(answer, uint64(state.Packet))
		default:
			holds = answer[0]
		}
	default:
		var ok bool
		if holds, ok = c.compare(symbolicField{word: answer}, p); !ok {
			return c.unsure(i.Kind)
		}
	}
	return c.asksOf(slot, holds, effect)
}

// setLabel gives a connection a label, and skips the rule where there is none.
//
// Kernel: net/netfilter/xt_connlabel.c, connlabel_mt.
func (c *compiler) setLabel(p predicate.SetLabel) bdd.Ref {
	s := c.space
	level := symbolic.CTLabels.Level(labelPlace(p.Bit))
	set := s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: s.Write([]bdd.Level{level}, []symbolic.Cell{symbolic.One})})
	return s.ITE(s.HasEntry(), set, c.skip(symbolic.NoEffect))
}

// labelPlace is which bit of the labels a label is: bytes are in order, and bits in
// them from the last.
func labelPlace(n uint8) int { return int(n)/8*8 + 7 - int(n)%8 }

// asksOf is the function of a question to a state, by where its answer holds.
func (c *compiler) asksOf(slot symbolic.Slot, holds bdd.Ref, effect symbolic.Effect) bdd.Ref {
	s := c.space
	asked := s.ITE(holds, s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: effect}), c.skip(s.Then(effect, s.Refusal(slot))))
	return s.ITE(s.Refused(slot), c.skip(symbolic.NoEffect), asked)
}

// negated swaps packets that continue and packets that are skipped.
func (c *compiler) negated(f bdd.Ref) bdd.Ref {
	s := c.space
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		switch {
		case l.By == skipped:
			l.Verdict, l.By = symbolic.Continue, 0
		case l.Verdict == symbolic.Continue:
			l.Verdict, l.By = symbolic.Accept, skipped
		}
		return s.Leaf(l)
	}), f)
}
