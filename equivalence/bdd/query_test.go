package bdd_test

import (
	"maps"
	"math/big"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// randomTable returns a table that does not depend on some of its variables.
func randomTable(b *bench, values int) table {
	_, blind := b.literals()
	all := tabulate(b.n, func(int) uint32 { return uint32(b.rng.Intn(values) * b.rng.Intn(2)) })
	return tabulate(b.n, func(point int) uint32 { return all[point&^blind] })
}

func TestQueries(t *testing.T) {
	rng := seeded(t, 11)
	m := bdd.New(bdd.Options{})
	b := newBench(m, 8, rng)
	for range 200 {
		tab := randomTable(b, 5)
		f := tab.diagram(m)

		var support []bdd.Level
		for i := range b.n {
			for point := range tab {
				if tab[point] != tab[point^1<<i] {
					support = append(support, levelOf(i))
					break
				}
			}
		}
		if got := m.Support(f); !slices.Equal(got, support) {
			t.Fatalf("Support: %v, want %v", got, support)
		}

		values := map[uint32]bool{}
		for _, v := range tab {
			values[v] = true
		}
		if got, want := m.Terminals(f), slices.Sorted(maps.Keys(values)); !slices.Equal(got, want) {
			t.Fatalf("Terminals: %v, want %v", got, want)
		}

		nodes := map[bdd.Ref]bool{}
		var visit func(f bdd.Ref)
		visit = func(f bdd.Ref) {
			nodes[f] = true
			if !m.IsTerminal(f) {
				visit(m.Low(f))
				visit(m.High(f))
			}
		}
		visit(f)
		if got := m.Count(f); got != len(nodes) {
			t.Fatalf("Count: %d, want %d", got, len(nodes))
		}
	}
}

func TestSatCountAndPick(t *testing.T) {
	rng := seeded(t, 12)
	m := bdd.New(bdd.Options{})
	b := newBench(m, 9, rng)
	subjects := []table{make(table, 1<<b.n), tabulate(b.n, func(int) uint32 { return 1 })}
	for range 200 {
		subjects = append(subjects, randomTable(b, 2))
	}
	for _, tab := range subjects {
		f := tab.diagram(m)
		count := int64(0)
		for _, v := range tab {
			count += int64(v)
		}
		order := levels(b.n)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if got := m.SatCount(f, order); got.Cmp(big.NewInt(count)) != 0 {
			t.Fatalf("SatCount: %v, want %d", got, count)
		}
		// Variables of no account double the number, wherever they are.
		more := append([]bdd.Level{0, 6, 1 << 29, order[0]}, order...)
		if got := m.SatCount(f, more); got.Cmp(big.NewInt(8*count)) != 0 {
			t.Fatalf("SatCount with three more variables: %v, want %d", got, 8*count)
		}

		for _, prefer := range []func(bdd.Level) bool{nil, at(rng.Intn(1 << b.n)), at(1<<b.n - 1)} {
			path, ok := m.Pick(f, prefer)
			if ok != (count > 0) {
				t.Fatalf("Pick tells %v of a function with %d assignments", ok, count)
			}
			for point := range tab {
				if ok && tab[point] == 0 && onPath(path, point) {
					t.Fatalf("Pick: %v covers %b, where the function is False", path, point)
				}
			}
			// What is preferred is taken when it satisfies.
			if wish := preferred(b.n, prefer); ok && tab[wish] == 1 && !onPath(path, wish) {
				t.Fatalf("Pick: %v does not take the preferred %b", path, wish)
			}
		}
	}
}

func onPath(path map[bdd.Level]bool, point int) bool {
	for l, v := range path {
		if bit(point, variableOf(l)) != v {
			return false
		}
	}
	return true
}

func preferred(n int, prefer func(bdd.Level) bool) int {
	point := 0
	for i := range n {
		if prefer != nil && prefer(levelOf(i)) {
			point |= 1 << i
		}
	}
	return point
}

func TestSatCountIsExact(t *testing.T) {
	m := bdd.New(bdd.Options{})
	many := make([]bdd.Level, 1500)
	for i := range many {
		many[i] = bdd.Level(i)
	}
	want := new(big.Int).Lsh(big.NewInt(1), 1499)
	if got := m.SatCount(m.Var(700), many); got.Cmp(want) != 0 {
		t.Errorf("half of 1<<1500 is %v", got)
	}
}

func TestTerminals(t *testing.T) {
	m := bdd.New(bdd.Options{})
	if m.Terminal(0) != bdd.False || m.Terminal(1) != bdd.True {
		t.Error("False and True are not the terminals 0 and 1")
	}
	for _, v := range []uint32{0, 1, 2, 60000, 1<<32 - 1} {
		f := m.Terminal(v)
		if got, ok := m.Value(f); got != v || !ok || !m.IsTerminal(f) || m.Terminal(v) != f {
			t.Errorf("the terminal %d has the value %d, %v", v, got, ok)
		}
		if m.Level(f) <= 1<<30 {
			t.Errorf("the terminal %d has the level %d", v, m.Level(f))
		}
	}
	if v, ok := m.Value(m.Var(3)); ok {
		t.Errorf("a variable has the value %d", v)
	}
}

// What cannot be meant is a panic and no wrong function.
func TestMisuse(t *testing.T) {
	m, other := bdd.New(bdd.Options{}), bdd.New(bdd.Options{})
	x, y, seven := m.Var(1), m.Var(2), m.Terminal(7)
	undecided := m.NewOp("undecided", func(f, g bdd.Ref) (bdd.Ref, bool) { return 0, false })
	foreign := other.NewOp("foreign", func(f, g bdd.Ref) (bdd.Ref, bool) { return f, true })
	for name, misuse := range map[string]func(){
		"Make above itself":         func() { m.Make(2, x, bdd.False) },
		"Make on its own level":     func() { m.Make(1, bdd.False, x) },
		"Make with a great level":   func() { m.Make(1<<30, bdd.False, bdd.True) },
		"Low of a terminal":         func() { m.Low(seven) },
		"High of a terminal":        func() { m.High(seven) },
		"ITE of a number":           func() { m.ITE(m.ITE(x, seven, bdd.True), x, y) },
		"Or of numbers":             func() { m.Or(seven, m.Terminal(8)) },
		"Not of a number":           func() { m.Not(seven) },
		"Apply undecided":           func() { m.Apply(undecided, x, y) },
		"Apply of another Manager":  func() { m.Apply(foreign, x, y) },
		"Map of another Manager":    func() { m.Map(other.NewMapping(other.Terminal), x) },
		"Substitute of another":     func() { m.Substitute(other.NewSubstitution(nil, nil), x) },
		"SatCount of a number":      func() { m.SatCount(seven, nil) },
		"SatCount without a level":  func() { m.SatCount(m.And(x, y), []bdd.Level{1}) },
		"Pick of a number":          func() { m.Pick(seven, nil) },
		"Choose with a short key":   func() { m.Choose([]bdd.Level{1, 2}, []bdd.Key{{Bits: []byte{1}}}, x) },
		"Choose with a short care":  func() { m.Choose([]bdd.Level{1}, []bdd.Key{{Bits: []byte{1}, Care: []byte{}}}, x) },
		"Choose with a bit of two":  func() { m.Choose([]bdd.Level{1}, []bdd.Key{{Bits: []byte{2}}}, x) },
		"Choose with a care of two": func() { m.Choose([]bdd.Level{1}, []bdd.Key{{Bits: []byte{1}, Care: []byte{2}}}, x) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil {
					t.Error("no panic")
				}
			}()
			misuse()
		})
	}
}
