package symbolic

import (
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
	// Where holds for the packets of the class.
	Where bdd.Ref
}

// Compare lists the classes of packets that f and g do not provably treat alike,
// among those for which domain holds. explains says whether the deviation of a
// code is accepted. Events are compared in order, and writes by the value that
// they leave; of packets that are dropped, only what others can see: events, and
// what was written to the connection.
func (s *Space) Compare(f, g, domain bdd.Ref, explains func(code string) bool) []Class {
	c := &comparer{space: s, explains: explains, known: map[compared]uint32{}}
	c.outcomes = append(c.outcomes, compared{}, compared{relation: Unlike})
	opaque := s.opaque(f)
	op := s.NewOp("compare", func(f, g bdd.Ref) (bdd.Ref, bool) {
		if f == g && !opaque {
			return s.Terminal(0), true
		}
		a, okA := s.leafAt(f)
		b, okB := s.leafAt(g)
		if okA && okB {
			return s.Terminal(c.leaves(a, b)), true
		}
		return 0, false
	})
	r := s.Apply(op, f, g)
	byClass := map[compared]bdd.Ref{}
	var order []compared
	for _, v := range s.Terminals(r) {
		o := c.outcomes[v]
		if o.relation == Equal && o.condition == 0 {
			continue
		}
		where := s.Map(s.NewMapping(func(w uint32) bdd.Ref {
			switch {
			case w != v:
				return bdd.False
			case o.condition != 0:
				return c.conditions[o.condition-1]
			}
			return bdd.True
		}), r)
		o.condition = 0
		if where = s.And(where, domain); where == bdd.False {
			continue
		}
		if old, ok := byClass[o]; ok {
			where = s.Or(old, where)
		} else {
			order = append(order, o)
		}
		byClass[o] = where
	}
	var classes []Class
	for _, o := range order {
		classes = append(classes, Class{Relation: o.relation, Why: o.why, ByA: o.byA, ByB: o.byB, Where: byClass[o]})
	}
	return classes
}

// compared is the outcome of comparing two leaves.
type compared struct {
	relation Relation
	why      string
	byA, byB int
	// condition, when not 0, names under which condition the outcome holds;
	// elsewhere the leaves are equal.
	condition int
}

type comparer struct {
	space      *Space
	explains   func(code string) bool
	outcomes   []compared
	known      map[compared]uint32
	conditions []bdd.Ref
}

// leaves compares two leaves and returns the number of the outcome.
func (c *comparer) leaves(a, b Leaf) uint32 {
	s := c.space
	if a.Verdict == Undecided || b.Verdict == Undecided {
		why := a.Why
		if a.Verdict != Undecided {
			why = b.Why
		}
		return c.intern(compared{relation: Unknown, why: why})
	}
	differ := bdd.True
	if a.Verdict == b.Verdict {
		differ = s.Or(c.events(a, b), c.writes(a, b))
	}
	if differ == bdd.False {
		return 0
	}
	out := compared{relation: Unlike, byA: a.By, byB: b.By}
	for _, code := range c.codes(a, b) {
		if c.explains(code) {
			out = compared{relation: Explained, why: code}
			break
		}
	}
	if differ != bdd.True {
		c.conditions = append(c.conditions, differ)
		out.condition = len(c.conditions)
	}
	return c.intern(out)
}

func (c *comparer) intern(o compared) uint32 {
	if id, ok := c.known[o]; ok {
		return id
	}
	id := uint32(len(c.outcomes))
	c.outcomes = append(c.outcomes, o)
	c.known[o] = id
	return id
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

// events is where the events of two leaves with the same verdict differ.
func (c *comparer) events(a, b Leaf) bdd.Ref {
	s := c.space
	listA, listB := c.observable(a), c.observable(b)
	if len(listA) != len(listB) {
		return bdd.True
	}
	differ := bdd.False
	for i, t := range listA {
		u := listB[i]
		if t.Kind != u.Kind || t.Text != u.Text || t.Slot != u.Slot || len(t.Cells) != len(u.Cells) {
			return bdd.True
		}
		for k, cell := range t.Cells {
			if cell != u.Cells[k] {
				differ = s.Or(differ, s.Xor(s.CellFunction(cell), s.CellFunction(u.Cells[k])))
			}
		}
	}
	return differ
}

func (c *comparer) observable(l Leaf) []Token {
	list := c.space.Events(l.Effect)
	if l.Verdict == Drop {
		list = slices.DeleteFunc(list, func(t Token) bool { return t.Kind == routeKind })
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

// writes is where the values that two leaves with the same verdict leave differ.
func (c *comparer) writes(a, b Leaf) bdd.Ref {
	s := c.space
	differ := bdd.False
	levels := append(s.WrittenLevels(a.Effect), s.WrittenLevels(b.Effect)...)
	slices.Sort(levels)
	for _, l := range slices.Compact(levels) {
		g, _, _ := GroupOf(l)
		if g == Notrack || a.Verdict == Drop && g != CTMark && g != CTLabels {
			continue
		}
		differ = s.Or(differ, s.Xor(s.valueAfter(a.Effect, l), s.valueAfter(b.Effect, l)))
	}
	return differ
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
