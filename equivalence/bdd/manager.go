package bdd

import (
	"errors"
	"fmt"
	"math"
)

// Ref is a function. Equal functions of one Manager have equal Refs; a Ref
// means nothing to another Manager.
type Ref uint32

// False and True are the terminals of the values 0 and 1, in every Manager.
const (
	False Ref = 0
	True  Ref = 1
)

// hole is the terminal that stands for "no value yet" inside this package. It
// has no value and never leaves it.
const hole Ref = 2

// Level is the place of a variable in the order, small levels at the top of a
// diagram. Levels need not be contiguous and must be below 1<<30.
type Level = uint32

const (
	maxLevel      Level = 1<<30 - 1
	terminalLevel Level = math.MaxUint32
)

// Options bounds the work of a Manager.
type Options struct {
	// MaxNodes is the number of nodes a Manager may hold. Zero is no bound but
	// the one of a Ref, 1<<32-1. A node costs 12 bytes, and 8 to 16 bytes
	// in the tables.
	MaxNodes int

	// Stop, when not nil, is asked after every 65,536 steps of work; an error
	// ends the work, and [Manager.Try] returns it.
	Stop func() error
}

// ErrNodes tells that work needed more nodes than [Options] allows.
var ErrNodes = errors.New("bdd: the budget of nodes ran out")

// Manager holds functions and the tables that keep them unique. The zero value
// is not usable; call [New]. It is not safe for concurrent use.
type Manager struct {
	nodes     store
	unique    []Ref // open addressing, a power of two; 0 is an empty place
	inner     int   // nodes in unique
	terminals map[uint32]Ref

	limit int
	stop  func() error
	steps uint32
	left  int // steps, see TryWithin

	binary cache // (operation, f, g) and (mapping, f, 0)
	choice cache // (c, f, g) of ITE
	ops    uint32
	// generation counts the failed Trys: what was remembered before one may
	// name nodes that are gone.
	generation int

	and, or, xor, diff, over *Op

	walked []uint32 // of each node the walk that last came there
	walks  uint32
	todo   []Ref
}

// New returns a Manager that holds the functions False and True.
func New(o Options) *Manager {
	m := &Manager{
		unique:    make([]Ref, 1<<12),
		terminals: map[uint32]Ref{0: False, 1: True},
		limit:     math.MaxUint32,
		left:      math.MaxInt,
		stop:      o.Stop,
		binary:    newCache(),
		choice:    newCache(),
	}
	for _, n := range [...]node{False: {}, True: {low: 1}, hole: {high: 1}} {
		n.level = terminalLevel
		m.nodes.add(n)
	}
	if o.MaxNodes > 0 && o.MaxNodes < m.limit {
		m.limit = o.MaxNodes
	}
	m.and = m.newOp("And", true, decideAnd)
	m.or = m.newOp("Or", true, decideOr)
	m.xor = m.newOp("Xor", true, decideXor)
	m.diff = m.newOp("Diff", false, decideDiff)
	m.over = m.newOp("over", false, m.decideOver)
	return m
}

// exhausted is the panic that ends work without budget.
type exhausted struct{ err error }

func (e exhausted) Error() string { return e.err.Error() + " (outside of Try)" }

// Try runs work. When the budget runs out inside, Try ends the work and returns
// [ErrNodes], or the error of [Options].Stop; other panics pass. Outside of Try,
// running out of budget is a panic.
//
// When Try returns an error, every function that work made anew is gone and its
// nodes are free again: Refs that work left in variables or maps of the caller
// must not be used, see [Manager.Generation]. Functions from before are as they
// were. This costs O(nodes from before).
func (m *Manager) Try(work func()) (err error) {
	mark := m.nodes.length
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exhausted:
			err = p.err
			m.rollBack(mark)
		default:
			panic(p)
		}
	}()
	work()
	return nil
}

// TryWithin is Try with a budget of its own: no more than so many new nodes, and
// ten steps of work for each.
func (m *Manager) TryWithin(nodes int, work func()) error {
	limit, left := m.limit, m.left
	defer func() { m.limit, m.left = limit, left }()
	m.limit = min(m.limit, m.nodes.length+nodes)
	m.left = min(m.left, 10*nodes)
	return m.Try(work)
}

// Reset forgets all functions but False and True, and keeps the memory. Nothing
// that was made before may be used again, operations and mappings included.
func (m *Manager) Reset() {
	m.nodes.length = len([...]Ref{False, True, hole})
	m.inner = 0
	m.terminals = map[uint32]Ref{0: False, 1: True}
	clear(m.unique)
	m.binary.reset()
	m.choice.reset()
	m.generation++
}

// Generation counts the Trys that failed. A memo of Refs that was filled inside
// a Try holds good while Generation is what it was when the memo was begun.
func (m *Manager) Generation() int { return m.generation }

// rollBack forgets every node from mark on.
func (m *Manager) rollBack(mark int) {
	for f := mark; f < m.nodes.length; f++ {
		if n := m.nodes.at(Ref(f)); n.level == terminalLevel {
			delete(m.terminals, uint32(n.low))
		} else {
			m.inner--
		}
	}
	m.nodes.cut(mark)
	clear(m.unique)
	m.fillUnique()
	m.binary = newCache()
	m.choice = newCache()
	m.generation++
}

// step counts a unit of work and asks Stop now and then.
func (m *Manager) step() {
	if m.left--; m.left < 0 {
		panic(exhausted{ErrNodes})
	}
	m.steps++
	if m.steps&(1<<16-1) == 0 && m.stop != nil {
		if err := m.stop(); err != nil {
			panic(exhausted{err})
		}
	}
}

// Terminal returns the constant function of value.
func (m *Manager) Terminal(value uint32) Ref {
	if f, ok := m.terminals[value]; ok {
		return f
	}
	f := m.add(node{level: terminalLevel, low: Ref(value)})
	m.terminals[value] = f
	return f
}

// Value returns the value of a constant function; ok is false when f depends on
// a variable.
func (m *Manager) Value(f Ref) (value uint32, ok bool) {
	n := *m.nodes.at(f)
	if n.level != terminalLevel {
		return 0, false
	}
	return uint32(n.low), true
}

// IsTerminal tells whether f is a constant function.
func (m *Manager) IsTerminal(f Ref) bool { return m.nodes.at(f).level == terminalLevel }

// Level returns the first variable f depends on. Of a terminal it is a number
// greater than every Level.
func (m *Manager) Level(f Ref) Level { return m.nodes.at(f).level }

// Low returns what f is when its first variable is 0. It panics for a terminal.
func (m *Manager) Low(f Ref) Ref { return m.split(f).low }

// High returns what f is when its first variable is 1. It panics for a terminal.
func (m *Manager) High(f Ref) Ref { return m.split(f).high }

func (m *Manager) split(f Ref) node {
	n := *m.nodes.at(f)
	if n.level == terminalLevel {
		panic(fmt.Sprintf("bdd: the terminal %d has no branches", n.low))
	}
	return n
}

// Make returns the function that is low where the variable of l is 0 and high
// where it is 1. Both must depend only on variables of greater levels; Make
// panics when they do not, and [Manager.ITE] has no such condition.
func (m *Manager) Make(l Level, low, high Ref) Ref {
	if l > maxLevel || l >= m.nodes.at(low).level || l >= m.nodes.at(high).level {
		panic(fmt.Sprintf("bdd: level %d above branches of the levels %d and %d", l, m.nodes.at(low).level, m.nodes.at(high).level))
	}
	return m.make(l, low, high)
}

// Var returns the function that is True where the variable of l is 1.
func (m *Manager) Var(l Level) Ref { return m.Make(l, False, True) }

// NotVar returns the function that is True where the variable of l is 0.
func (m *Manager) NotVar(l Level) Ref { return m.Make(l, True, False) }

// Size returns the number of nodes the Manager holds, terminals included.
func (m *Manager) Size() int { return m.nodes.length }

// make is Make for branches whose levels are known to be greater.
func (m *Manager) make(l Level, low, high Ref) Ref {
	if low == high {
		return low
	}
	p := m.probe(l, low, high)
	for m.unique[p.at] != 0 {
		f := m.unique[p.at]
		if n := m.nodes.at(f); n.low == low && n.high == high && n.level == l {
			return f
		}
		p.next()
	}
	f := m.add(node{l, low, high})
	m.unique[p.at] = f
	m.inner++
	if m.inner > len(m.unique)/2 {
		m.unique = make([]Ref, 2*len(m.unique))
		m.fillUnique()
	}
	return f
}

// A probe is the places at which a node is looked for, one after the other.
type probe struct {
	at, mask, hash uint64
	steps          int
}

// Nodes are mostly made one upon the other, so a probe begins near the place that
// follows that of the newer branch: what is made in a row is near together in
// memory. Terminals, and what else was made first, have too many nodes above them
// for that. Where it is crowded, a probe goes on somewhere else.
const (
	probeNear    = 1 << 10
	probeFirst   = 1 << 12
	probeCrowded = 1 << 7
)

func (m *Manager) probe(l Level, low, high Ref) probe {
	p := probe{mask: uint64(len(m.unique) - 1), hash: hash(l, low, high)}
	p.at = p.hash & p.mask
	if newer := max(low, high); newer >= probeFirst {
		p.at = (2*uint64(newer) + p.hash%probeNear) & p.mask
	}
	return p
}

func (p *probe) next() {
	p.at = (p.at + 1) & p.mask
	if p.steps++; p.steps == probeCrowded {
		p.at = p.hash & p.mask
	}
}

// branch is make for branches of any levels.
func (m *Manager) branch(l Level, low, high Ref) Ref {
	if l < m.nodes.at(low).level && l < m.nodes.at(high).level {
		return m.make(l, low, high)
	}
	return m.ITE(m.Var(l), high, low)
}

// add appends a node that is not there yet.
func (m *Manager) add(n node) Ref {
	if m.nodes.length >= m.limit {
		panic(exhausted{ErrNodes})
	}
	m.step()
	return m.nodes.add(n)
}

// fillUnique enters all nodes into an empty table.
func (m *Manager) fillUnique() {
	for f := range m.nodes.length {
		n := m.nodes.at(Ref(f))
		if n.level == terminalLevel {
			continue
		}
		p := m.probe(n.level, n.low, n.high)
		for m.unique[p.at] != 0 {
			p.next()
		}
		m.unique[p.at] = Ref(f)
	}
}
