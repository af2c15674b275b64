package symbolic

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
)

// A Relation is how the two sides treat a class of packets.
type Relation uint8

// The relations.
const (
	Equal     Relation = iota // never listed
	Unlike                    // other verdicts, events or writes
	Explained                 // unlike, and a declared deviation says why
	Unknown                   // something is not modelled
)

// A Class is a class of packets that two functions do not provably treat alike.
type Class struct {
	Relation Relation
	// Why is the code of the deviation (Explained) or what is not modelled
	// (Unknown).
	Why string
	// ByA and ByB are the deciding rules, in spaces with provenance.
	ByA, ByB int
	// Where holds for the packets of the class. Part says that it does not for all
	// of them: a class can be too ragged to be written down (Space.Parts).
	Where bdd.Ref
	Part  bool
}

// Compare lists the classes of packets that f and g do not provably treat alike,
// among those for which domain holds. explains says whether the deviation of a
// code is accepted. Events are compared in order, and writes by the value that
// they leave; of packets that are dropped, only what others can see: events, and
// what was written to the connection.
//
// Verdicts and events come first, then each bit that either side writes. Where
// several bits differ, a class is that of one of them.
func (s *Space) Compare(f, g, domain bdd.Ref, explains func(code string) bool) []Class {
	if f == g && !s.opaque(f) {
		return nil
	}
	c := &comparer{space: s, explains: explains, domain: domain, known: map[string]uint32{}, outcomes: []outcome{{}}}
	c.verdicts(s.eventful(f), s.eventful(g))
	c.written(f, g)
	return c.classes
}

// eventful is a function without writes in its leaves.
func (s *Space) eventful(f bdd.Ref) bdd.Ref {
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		l.Effect = s.effects.intern(effect{events: s.effects.all[l.Effect].events})
		return s.Leaf(l)
	}), f)
}

// An outcome is what comes of comparing two leaves: nothing, or a class of
// packets, where one of some conditions holds when there are any.
type outcome struct {
	Class
	conditions []bdd.Ref
}

type comparer struct {
	space    *Space
	explains func(code string) bool
	domain   bdd.Ref
	outcomes []outcome // 0 is equal
	known    map[string]uint32
	classes  []Class
	settled  bdd.Ref // packets of which verdicts or events differ
	part     bool    // classes grow too large to be written down
}

// verdicts compares verdicts and events.
func (c *comparer) verdicts(f, g bdd.Ref) {
	s := c.space
	opaque := s.opaque(f)
	r := s.Apply(s.NewOp("compare", func(f, g bdd.Ref) (bdd.Ref, bool) {
		if f == g && !opaque {
			return s.Terminal(0), true
		}
		a, okA := s.leafAt(f)
		b, okB := s.leafAt(g)
		if okA && okB {
			return s.Terminal(c.leaves(a, b)), true
		}
		return 0, false
	}), f, g)
	c.settled = bdd.False
	for _, v := range s.Terminals(r) {
		if v == 0 {
			continue
		}
		o := c.outcomes[v]
		is := s.And(c.domain, s.Where(r, v))
		if o.conditions == nil {
			c.add(o.Class, is)
			c.settled = s.Or(c.settled, is)
			continue
		}
		for _, condition := range o.conditions {
			if where := s.And(is, condition); where != bdd.False {
				c.add(o.Class, where)
				c.settled = s.Or(c.settled, where)
				break
			}
		}
	}
}

// add adds packets to a class.
func (c *comparer) add(k Class, where bdd.Ref) {
	if where == bdd.False {
		return
	}
	for i := range c.classes {
		o := &c.classes[i]
		if o.Relation == k.Relation && o.Why == k.Why && o.ByA == k.ByA && o.ByB == k.ByB {
			if c.part {
				o.Part = true
				return
			}
			o.Where = c.space.Or(o.Where, where)
			return
		}
	}
	k.Where, k.Part = where, c.part
	c.classes = append(c.classes, k)
}

// leaves compares two leaves without writes and returns the number of the
// outcome.
func (c *comparer) leaves(a, b Leaf) uint32 {
	o := outcome{Class: Class{Relation: Unlike, ByA: a.By, ByB: b.By}}
	equal := false
	switch {
	case a.Verdict == Undecided:
		o.Class = Class{Relation: Unknown, Why: a.Why}
	case b.Verdict == Undecided:
		o.Class = Class{Relation: Unknown, Why: b.Why}
	case a.Verdict == b.Verdict:
		equal, o.conditions = c.events(a, b)
	}
	if equal {
		return 0
	}
	if o.Relation == Unlike {
		for _, code := range c.codes(a, b) {
			if c.explains(code) {
				o.Class = Class{Relation: Explained, Why: code}
				break
			}
		}
	}
	key := fmt.Sprint(o.Class, o.conditions)
	id, ok := c.known[key]
	if !ok {
		id = uint32(len(c.outcomes))
		c.outcomes = append(c.outcomes, o)
		c.known[key] = id
	}
	return id
}

// ragged is the number of nodes from which on packets are no longer kept apart by
// the bits that differ: that two numbers are unlike whose bits stand apart takes
// twice as many for each bit more.
const ragged = 1_000

// written compares the values that each side leaves in the variables that either
// writes, for packets that are not in a class yet.
func (c *comparer) written(f, g bdd.Ref) {
	s := c.space
	var levels []bdd.Level
	for _, side := range []bdd.Ref{f, g} {
		for _, v := range s.Terminals(side) {
			levels = append(levels, s.WrittenLevels(s.LeafOf(v).Effect)...)
		}
	}
	slices.Sort(levels)
	levels = slices.Compact(levels)
	if len(levels) == 0 {
		return
	}
	open := s.Diff(c.domain, c.settled)
	for _, l := range levels {
		group, _, ok := GroupOf(l)
		if group == Notrack || group == Template || group == Helped || group == PathMSS || !ok {
			continue // none that anybody sees
		}
		where := s.And(open, s.Xor(s.left(f, l), s.left(g, l)))
		if where == bdd.False {
			continue
		}
		c.byRules(where, f, g)
		if c.part = c.part || s.Parts && s.Count(open) > ragged; c.part {
			continue
		}
		if open = s.Diff(open, where); open == bdd.False {
			return
		}
	}
}

// left is the value that a function leaves in a variable, as far as it matters:
// of what is dropped, only the connection's.
func (s *Space) left(f bdd.Ref, l bdd.Level) bdd.Ref {
	group, _, _ := GroupOf(l)
	lasting := group == CTMark || group == CTLabels || group == CTSecmark
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		leaf := s.LeafOf(v)
		if leaf.Verdict == Undecided || leaf.Verdict == Drop && !lasting {
			return bdd.False
		}
		return s.valueAfter(leaf.Effect, l)
	}), f)
}

// byRules adds packets to classes by the rules that decide about them, and the
// deviations that their leaves name.
func (c *comparer) byRules(where, f, g bdd.Ref) {
	s := c.space
	outside := s.Leaf(Leaf{Why: "outside"})
	var pairs []Class
	known := map[Class]uint32{}
	r := s.Apply(s.NewOp("rules", func(f, g bdd.Ref) (bdd.Ref, bool) {
		if f == outside || g == outside {
			return s.Terminal(0), true
		}
		a, okA := s.leafAt(f)
		b, okB := s.leafAt(g)
		if !okA || !okB {
			return 0, false
		}
		k := Class{Relation: Unlike, ByA: a.By, ByB: b.By}
		for _, code := range c.codes(a, b) {
			if c.explains(code) {
				k = Class{Relation: Explained, Why: code}
				break
			}
		}
		id, ok := known[k]
		if !ok {
			pairs = append(pairs, k)
			id = uint32(len(pairs))
			known[k] = id
		}
		return s.Terminal(id), true
	}), s.ITE(where, f, outside), g)
	for _, v := range s.Terminals(r) {
		if v == 0 {
			continue
		}
		c.add(pairs[v-1], s.Where(r, v))
	}
}

// codes lists the deviations under which the leaves may differ.
func (c *comparer) codes(a, b Leaf) []string {
	var codes []string
	for _, l := range []Leaf{a, b} {
		if l.Why != "" {
			codes = append(codes, l.Why)
		}
		for _, t := range c.space.Events(l.Effect) {
			if t.Deviation != "" {
				codes = append(codes, t.Deviation)
			}
		}
	}
	if c.prefixesApart(a, b) {
		codes = append(codes, "log-prefix-characters")
	}
	return codes
}

// Internal events exist for the composition of paths; what is dropped later does
// not show them.
const (
	routeKind   = "route"
	rerouteKind = "reroute"
)

// events compares the events of two leaves with the same verdict: they are equal
// always, or unless one of some conditions holds, or, without conditions, never.
func (c *comparer) events(a, b Leaf) (equal bool, unless []bdd.Ref) {
	s := c.space
	listA, listB := c.observable(a), c.observable(b)
	if len(listA) != len(listB) {
		return false, nil
	}
	for i, t := range listA {
		u := listB[i]
		if t.Kind != u.Kind || t.Text != u.Text || t.Slot != u.Slot || len(t.Cells) != len(u.Cells) {
			return false, nil
		}
		for k, cell := range t.Cells {
			if cell == u.Cells[k] {
				continue
			}
			switch condition := s.Xor(s.CellFunction(cell), s.CellFunction(u.Cells[k])); condition {
			case bdd.True:
				return false, nil
			default:
				unless = append(unless, condition)
			}
		}
	}
	return unless == nil, unless
}

func (c *comparer) observable(l Leaf) []Token {
	list := c.space.Events(l.Effect)
	if l.Verdict == Drop {
		list = slices.DeleteFunc(list, func(t Token) bool { return t.Kind == routeKind })
	}
	for i := range list {
		for at := i; at > 0 && list[at].Slot < list[at-1].Slot && commuting(list[at-1], list[at]); at-- {
			list[at-1], list[at] = list[at], list[at-1]
		}
	}
	return list
}

// prefixesApart reports whether the events of two leaves are alike but for
// characters that the text of nft cannot write in prefixes of messages.
func (c *comparer) prefixesApart(a, b Leaf) bool {
	listA, listB := c.observable(a), c.observable(b)
	spelled := strings.NewReplacer(`\"`, `'`, `$`, `S`)
	return slices.EqualFunc(listA, listB, func(t, u Token) bool {
		return t.Kind == u.Kind && t.Slot == u.Slot && (t.Text == u.Text || t.Kind == "log" && spelled.Replace(t.Text) == u.Text)
	})
}

// valueAfter is the value of a variable behind an effect.
func (s *Space) valueAfter(e Effect, l bdd.Level) bdd.Ref {
	if c, ok := s.Written(e, l); ok {
		return s.CellFunction(c)
	}
	return s.Var(l)
}

// opaque reports whether a function has leaves that are not modelled.
func (s *Space) opaque(f bdd.Ref) bool {
	for _, v := range s.Terminals(f) {
		if s.LeafOf(v).Verdict == Undecided {
			return true
		}
	}
	return false
}
