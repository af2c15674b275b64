package bdd

import (
	"cmp"
	"fmt"
	"slices"
)

// Op is a binary operation on functions of any terminals. Make one with
// [Manager.NewOp].
type Op struct {
	manager  *Manager
	name     string
	key      uint32 // identity in the cache
	commutes bool
	decide   func(f, g Ref) (Ref, bool)
}

// NewOp makes an operation. Apply asks decide with every pair of subfunctions
// before it splits them. decide returns the result when it can tell: it must
// when both are terminals, and the more it tells for a terminal and another
// function, or for equal functions, the faster the operation is. What it tells
// must follow from the two functions alone, point by point. It may call methods
// of the Manager. The name is for messages.
func (m *Manager) NewOp(name string, decide func(f, g Ref) (Ref, bool)) *Op {
	return m.newOp(name, false, decide)
}

func (m *Manager) newOp(name string, commutes bool, decide func(f, g Ref) (Ref, bool)) *Op {
	return &Op{manager: m, name: name, key: m.newKey(), commutes: commutes, decide: decide}
}

// newKey returns an identity for the cache of binary operations.
func (m *Manager) newKey() uint32 {
	m.ops++
	return m.ops
}

// Apply returns the function that is, at every point, the operation of what f
// and g are there. It takes O(nodes of f × nodes of g) at worst, as long as
// the cache holds. It panics when op is of another Manager, or cannot decide for
// a pair of terminals.
func (m *Manager) Apply(op *Op, f, g Ref) Ref {
	if op.manager != m {
		panic(fmt.Sprintf("bdd: the operation %s is of another Manager", op.name))
	}
	return m.apply(op, f, g)
}

func (m *Manager) apply(op *Op, f, g Ref) Ref {
	if op.commutes && f > g {
		f, g = g, f
	}
	if r, ok := op.decide(f, g); ok {
		return r
	}
	if r, ok := m.binary.get(op.key, f, g); ok {
		return r
	}
	a, b := *m.nodes.at(f), *m.nodes.at(g)
	l := min(a.level, b.level)
	if l == terminalLevel {
		panic(fmt.Sprintf("bdd: %s does not tell what it makes of the terminals %d and %d", op.name, a.low, b.low))
	}
	m.step()
	if a.level != l {
		a.low, a.high = f, f
	}
	if b.level != l {
		b.low, b.high = g, g
	}
	low := m.apply(op, a.low, b.low)
	high := m.apply(op, a.high, b.high)
	r := m.make(l, low, high)
	m.binary.put(op.key, f, g, r)
	return r
}

// And returns f and g. Like all operations of sets it is for Boolean functions:
// it panics when it comes upon another terminal, which it may not.
func (m *Manager) And(f, g Ref) Ref {
	a, b := m.nodes.at(f), m.nodes.at(g)
	if a.level > b.level {
		f, g, a, b = g, f, b, a
	}
	// Where one variable is decided above the other function, as in a cube, there
	// is nothing to remember: each node is met once.
	if a.level < b.level && g > True {
		switch {
		case a.low == False:
			return m.make(a.level, False, m.And(a.high, g))
		case a.high == False:
			return m.make(a.level, m.And(a.low, g), False)
		}
	}
	return m.apply(m.and, f, g)
}

// All returns the conjunction of Boolean functions, True when there are none.
// Conditions about different variables are put together from the last variable
// up, so that nothing is made that is not part of the result.
func (m *Manager) All(conditions ...Ref) Ref { return m.IfAll(conditions, True, False) }

// IfAll returns f where all conditions hold and g elsewhere.
func (m *Manager) IfAll(conditions []Ref, f, g Ref) Ref {
	sorted := append(make([]Ref, 0, 16), conditions...)
	slices.SortStableFunc(sorted, func(a, b Ref) int { return cmp.Compare(m.nodes.at(b).level, m.nodes.at(a).level) })
	r := f
	for _, c := range sorted {
		r = m.ITE(c, r, g)
	}
	return r
}

// Or returns f or g, of Boolean functions.
func (m *Manager) Or(f, g Ref) Ref { return m.apply(m.or, f, g) }

// Xor returns where the Boolean functions f and g differ.
func (m *Manager) Xor(f, g Ref) Ref { return m.apply(m.xor, f, g) }

// Diff returns f and not g, of Boolean functions.
func (m *Manager) Diff(f, g Ref) Ref { return m.apply(m.diff, f, g) }

// Not returns the complement of the Boolean function f, in O(nodes of f).
func (m *Manager) Not(f Ref) Ref { return m.apply(m.xor, f, True) }

// The operands of a commutative operation come with the smaller Ref first, so a
// False or True is f if there is one.

func decideAnd(f, g Ref) (Ref, bool) {
	switch {
	case f == False:
		return False, true
	case f == True || f == g:
		return g, true
	}
	return 0, false
}

func decideOr(f, g Ref) (Ref, bool) {
	switch {
	case f == True:
		return True, true
	case f == False || f == g:
		return g, true
	}
	return 0, false
}

func decideXor(f, g Ref) (Ref, bool) {
	switch {
	case f == g:
		return False, true
	case f == False:
		return g, true
	}
	return 0, false
}

func decideDiff(f, g Ref) (Ref, bool) {
	switch {
	case f == False || g == True || f == g:
		return False, true
	case g == False:
		return f, true
	}
	return 0, false
}

// decideOver is of the operation "f where it has a value, else g".
func (m *Manager) decideOver(f, g Ref) (Ref, bool) {
	switch {
	case f == hole:
		return g, true
	case g == hole || f == g || m.IsTerminal(f):
		return f, true
	}
	return 0, false
}

// ITE returns f where the Boolean function c is True and g where it is False. f
// and g have any terminals. It panics when it comes upon another terminal of c.
func (m *Manager) ITE(c, f, g Ref) Ref {
	switch {
	case c == True || f == g:
		return f
	case c == False:
		return g
	case f == True && g == False:
		return c
	}
	n, a, b := *m.nodes.at(c), *m.nodes.at(f), *m.nodes.at(g)
	if n.level < a.level && n.level < b.level { // see And
		switch {
		case n.low == False:
			return m.make(n.level, g, m.ITE(n.high, f, g))
		case n.high == False:
			return m.make(n.level, m.ITE(n.low, f, g), g)
		}
	}
	if r, ok := m.choice.get(uint32(c), f, g); ok {
		return r
	}
	if n.level == terminalLevel {
		panic(fmt.Sprintf("bdd: ITE of a condition with the terminal %d", n.low))
	}
	m.step()
	l := min(n.level, a.level, b.level)
	if n.level != l {
		n.low, n.high = c, c
	}
	if a.level != l {
		a.low, a.high = f, f
	}
	if b.level != l {
		b.low, b.high = g, g
	}
	low := m.ITE(n.low, a.low, b.low)
	high := m.ITE(n.high, a.high, b.high)
	r := m.make(l, low, high)
	m.choice.put(uint32(c), f, g, r)
	return r
}
