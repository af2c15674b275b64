package symbolic

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
)

// A Cell is one bit of what is written or named by an event: a constant, or the
// value that a variable had when the packet entered the stage, or its
// complement.
type Cell uint32

// The constant cells.
const (
	Zero Cell = 0
	One  Cell = 1
)

// Old is the cell of a variable's old value, or of its complement.
func Old(l bdd.Level, complement bool) Cell {
	c := Cell(2 + 2*l)
	if complement {
		c++
	}
	return c
}

// Variable returns the variable of a cell; ok is false for constants.
func (c Cell) Variable() (l bdd.Level, complement, ok bool) {
	if c < 2 {
		return 0, false, false
	}
	return bdd.Level((c - 2) / 2), (c-2)%2 == 1, true
}

// A Token is an event that others can observe. Two tokens are the same event
// when all their parts are equal.
type Token struct {
	Kind string // "log", "reject", "snat", "ask", ...
	Text string // constant parameters, in words that both sides use
	// Cells are the parameters that depend on the packet.
	Cells []Cell
	Slot  Slot // of the instance that is asked or changed, plus 1; 0 is none
	// Deviation, when not "", says that the event is known not to exist on the
	// other side and is declared under this code.
	Deviation string
}

// String says the token in words.
func (t Token) String() string {
	s := t.Kind
	if t.Text != "" {
		s += " " + t.Text
	}
	return s
}

// An Effect is a list of events and a set of writes, without their order among
// each other: parameters of events speak of values before the writes.
type Effect uint32

// NoEffect neither emits nor writes.
const NoEffect Effect = 0

// effect is the content of an Effect.
type effect struct {
	events uint32 // of effects.lists
	writes uint32 // of effects.writes
}

// A write is one bit that is set.
type write struct {
	to   bdd.Level
	cell Cell
}

// writeSet is sorted by level. shifts moves the answers of instances on.
type writeSet struct {
	bits   []write
	shifts []shift
}

type shift struct {
	slot Slot
	by   int
}

// effects are the hash-consed effects of a space.
type effects struct {
	tokens   []Token
	tokenIDs map[string]uint32
	lists    []cons // 0 is the empty list
	listIDs  map[cons]uint32
	writes   []writeSet // 0 is none
	writeIDs map[string]uint32
	all      []effect
	ids      map[effect]Effect
	then     map[[2]Effect]Effect
}

// cons is a list of events: those before, and the last one.
type cons struct{ before, token uint32 }

func newEffects() effects {
	return effects{
		tokens: []Token{{}}, tokenIDs: map[string]uint32{},
		lists: []cons{{}}, listIDs: map[cons]uint32{},
		writes: []writeSet{{}}, writeIDs: map[string]uint32{"": 0},
		all: []effect{{}}, ids: map[effect]Effect{{}: 0},
		then: map[[2]Effect]Effect{},
	}
}

func (e *effects) intern(x effect) Effect {
	if id, ok := e.ids[x]; ok {
		return id
	}
	id := Effect(len(e.all))
	e.all = append(e.all, x)
	e.ids[x] = id
	return id
}

func (e *effects) internList(c cons) uint32 {
	if id, ok := e.listIDs[c]; ok {
		return id
	}
	id := uint32(len(e.lists))
	e.lists = append(e.lists, c)
	e.listIDs[c] = id
	return id
}

func (e *effects) internToken(t Token) uint32 {
	key := fmt.Sprintf("%q%q%v %d %q", t.Kind, t.Text, t.Cells, t.Slot, t.Deviation)
	if id, ok := e.tokenIDs[key]; ok {
		return id
	}
	id := uint32(len(e.tokens))
	e.tokens = append(e.tokens, t)
	e.tokenIDs[key] = id
	return id
}

func (s *Space) internWrites(w writeSet) uint32 {
	s.anyWrites = s.anyWrites || len(w.bits)+len(w.shifts) > 0
	return s.effects.internWrites(w)
}

func (e *effects) internWrites(w writeSet) uint32 {
	var b strings.Builder
	for _, bit := range w.bits {
		fmt.Fprintf(&b, "%d=%d ", bit.to, bit.cell)
	}
	for _, s := range w.shifts {
		fmt.Fprintf(&b, "%d+%d ", s.slot, s.by)
	}
	key := b.String()
	if id, ok := e.writeIDs[key]; ok {
		return id
	}
	id := uint32(len(e.writes))
	e.writes = append(e.writes, w)
	e.writeIDs[key] = id
	return id
}

// Event is the effect of one event.
func (s *Space) Event(t Token) Effect {
	list := s.effects.internList(cons{0, s.effects.internToken(t)})
	return s.effects.intern(effect{events: list})
}

// Write is the effect of setting bits of a group, the first of cells being the
// most significant bit of the group's last len(cells) bits. Bits that keep their
// value are left out.
func (s *Space) Write(levels []bdd.Level, cells []Cell) Effect {
	var w writeSet
	for i, l := range levels {
		if cells[i] != Old(l, false) {
			w.bits = append(w.bits, write{l, cells[i]})
		}
	}
	slices.SortFunc(w.bits, func(a, b write) int { return int(a.to) - int(b.to) })
	w.shifts = s.moved(w.bits)
	return s.effects.intern(effect{writes: s.internWrites(w)})
}

func (s *Space) shift(slot Slot, by int) Effect {
	return s.effects.intern(effect{writes: s.internWrites(writeSet{shifts: []shift{{slot, by}}})})
}

// writesOf returns the writes of an effect.
func (s *Space) writesOf(e Effect) *writeSet { return &s.effects.writes[s.effects.all[e].writes] }

// cellAfter is the value of a variable behind an effect.
func (s *Space) cellAfter(w *writeSet, l bdd.Level) Cell {
	if slot, turn, bit, ok := s.instanceOf(l); ok {
		for _, sh := range w.shifts {
			if sh.slot == slot {
				turn += sh.by
			}
		}
		if turn >= s.slots[slot].turns {
			panic(tooManyTurns{s.slots[slot].instance})
		}
		return Old(s.answer(slot, turn, bit), false)
	}
	i, ok := slices.BinarySearchFunc(w.bits, l, func(b write, l bdd.Level) int { return int(b.to) - int(l) })
	if ok {
		return w.bits[i].cell
	}
	return Old(l, false)
}

// ErrTurns is returned by [Space.Try] when a packet can ask an instance more
// often than there are variables for its answers.
var ErrTurns = errors.New("a packet asks one state too often within a stage")

// tooManyTurns is the panic that becomes ErrTurns.
type tooManyTurns struct{ instance Instance }

// Try runs work on the space; running out of a budget inside becomes its error.
func (s *Space) Try(work func()) error {
	return turned(func() error { return s.Manager.Try(work) })
}

// TryWithin is Try with a budget of its own, see [bdd.Manager.TryWithin].
func (s *Space) TryWithin(nodes int, work func()) error {
	return turned(func() error { return s.Manager.TryWithin(nodes, work) })
}

// turned makes an error of too many turns.
func turned(try func() error) (err error) {
	defer func() {
		switch t := recover().(type) {
		case nil:
		case tooManyTurns:
			err = fmt.Errorf("%w: %s %s", ErrTurns, t.instance.Kind, t.instance.Parameters)
		default:
			panic(t)
		}
	}()
	return try()
}

func (s *Space) renameCell(w *writeSet, c Cell) Cell {
	l, complement, ok := c.Variable()
	if !ok {
		return c
	}
	after := s.cellAfter(w, l)
	if !complement {
		return after
	}
	if after < 2 {
		return 1 - after
	}
	return ((after - 2) ^ 1) + 2
}

// Then is the effect of one effect after another.
func (s *Space) Then(first, second Effect) Effect {
	if first == NoEffect {
		return second
	}
	if second == NoEffect {
		return first
	}
	key := [2]Effect{first, second}
	if e, ok := s.effects.then[key]; ok {
		return e
	}
	a, b := s.effects.all[first], s.effects.all[second]
	w := s.effects.writes[a.writes]
	e := s.effects.intern(effect{
		events: s.concat(a.events, b.events, &w),
		writes: s.after(&w, b.writes),
	})
	s.effects.then[key] = e
	return e
}

// concat appends events, whose parameters are read behind writes.
func (s *Space) concat(before, events uint32, w *writeSet) uint32 {
	if events == 0 {
		return before
	}
	c := s.effects.lists[events]
	before = s.concat(before, c.before, w)
	t := s.effects.tokens[c.token]
	if len(t.Cells) > 0 && (len(w.bits) > 0 || len(w.shifts) > 0) {
		cells := make([]Cell, len(t.Cells))
		for i, cell := range t.Cells {
			cells[i] = s.renameCell(w, cell)
		}
		t.Cells = cells
		return s.effects.internList(cons{before, s.effects.internToken(t)})
	}
	return s.effects.internList(cons{before, c.token})
}

// after is the set of writes that a set and then another make.
func (s *Space) after(w *writeSet, second uint32) uint32 {
	next := s.effects.writes[second]
	var out writeSet
	for _, b := range w.bits {
		if _, again := slices.BinarySearchFunc(next.bits, b.to, func(b write, l bdd.Level) int { return int(b.to) - int(l) }); !again {
			out.bits = append(out.bits, b)
		}
	}
	for _, b := range next.bits {
		if cell := s.renameCell(w, b.cell); cell != Old(b.to, false) {
			out.bits = append(out.bits, write{b.to, cell})
		}
	}
	slices.SortFunc(out.bits, func(a, b write) int { return int(a.to) - int(b.to) })
	out.shifts = slices.Clone(w.shifts)
	for _, sh := range next.shifts {
		if i := slices.IndexFunc(out.shifts, func(o shift) bool { return o.slot == sh.slot }); i >= 0 {
			out.shifts[i].by += sh.by
		} else {
			out.shifts = append(out.shifts, sh)
		}
	}
	slices.SortFunc(out.shifts, func(a, b shift) int { return int(a.slot) - int(b.slot) })
	return s.internWrites(out)
}

// Events lists the events of an effect in order.
func (s *Space) Events(e Effect) []Token {
	var list []Token
	for at := s.effects.all[e].events; at != 0; at = s.effects.lists[at].before {
		list = append(list, s.effects.tokens[s.effects.lists[at].token])
	}
	slices.Reverse(list)
	return list
}

// Written returns what an effect writes to a variable; ok is false when it
// leaves it alone.
func (s *Space) Written(e Effect, l bdd.Level) (c Cell, ok bool) {
	w := s.writesOf(e)
	i, ok := slices.BinarySearchFunc(w.bits, l, func(b write, l bdd.Level) int { return int(b.to) - int(l) })
	if !ok {
		return 0, false
	}
	return w.bits[i].cell, true
}

// WrittenLevels lists the variables that an effect writes, ascending.
func (s *Space) WrittenLevels(e Effect) []bdd.Level {
	var list []bdd.Level
	for _, b := range s.writesOf(e).bits {
		list = append(list, b.to)
	}
	return list
}
