package bdd_test

import (
	"errors"
	"math/rand"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// TestIfAll puts conditions in any order together, as nested ITEs do.
func TestIfAll(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	m := bdd.New(bdd.Options{})
	for range 300 {
		f, g := m.Terminal(7), m.Terminal(9)
		want, all := f, bdd.True
		var conditions []bdd.Ref
		for range r.Intn(5) {
			c := m.Or(m.Var(bdd.Level(r.Intn(8))), m.NotVar(bdd.Level(r.Intn(8))))
			if r.Intn(2) == 0 {
				c = m.Var(bdd.Level(r.Intn(8)))
			}
			conditions = append(conditions, c)
			want, all = m.ITE(c, want, g), m.ITE(c, all, bdd.False)
		}
		if got := m.IfAll(conditions, f, g); got != want || m.All(conditions...) != all {
			t.Fatalf("%v: another function", conditions)
		}
	}
}

// TestTogether finds the pairs of terminals that walking through all points
// finds.
func TestTogether(t *testing.T) {
	const n = 6
	r := rand.New(rand.NewSource(2))
	for range 200 {
		m := bdd.New(bdd.Options{})
		var functions [2]bdd.Ref
		for i := range functions {
			functions[i] = m.Terminal(5)
			for range 1 + r.Intn(4) {
				functions[i] = m.ITE(m.Var(bdd.Level(r.Intn(n))), functions[i], m.Terminal(uint32(5+r.Intn(4))))
			}
		}
		want := map[[2]uint32]bool{}
		for point := range 1 << n {
			value := func(l bdd.Level) bool { return point>>l&1 == 1 }
			want[[2]uint32{m.Eval(functions[0], value), m.Eval(functions[1], value)}] = true
		}
		size, got := m.Size(), map[[2]uint32]bool{}
		m.Together(functions[0], functions[1], func(a, b bdd.Ref) bool {
			x, _ := m.Value(a)
			y, _ := m.Value(b)
			got[[2]uint32{x, y}] = true
			return true
		})
		if len(got) != len(want) || m.Size() != size {
			t.Fatalf("got %v, want %v", got, want)
		}
		for pair := range want {
			if !got[pair] {
				t.Fatalf("%v is missing", pair)
			}
		}
		calls := 0
		m.Together(functions[0], functions[1], func(a, b bdd.Ref) bool { calls++; return false })
		if calls != 1 {
			t.Errorf("%d calls behind the first that ended it", calls)
		}
	}
}

// TestCopy takes a function to another Manager, and TestReset lets one be used
// again.
func TestCopy(t *testing.T) {
	from, to := bdd.New(bdd.Options{}), bdd.New(bdd.Options{})
	to.And(to.Var(3), to.Var(9))
	f := from.ITE(from.Var(1), from.ITE(from.Var(4), from.Terminal(8), from.Terminal(6)), from.Terminal(6))
	if got, want := to.Copy(from, f), to.ITE(to.And(to.Var(1), to.Var(4)), to.Terminal(8), to.Terminal(6)); got != want {
		t.Error("a copy is another function")
	}
	levels, values := from.Reach(f)
	if !slices.Equal(levels, []bdd.Level{1, 4}) || !slices.Equal(values, []uint32{6, 8}) {
		t.Errorf("Reach: %v, %v", levels, values)
	}
	if got := from.Where(f, 8); got != from.And(from.Var(1), from.Var(4)) {
		t.Error("Where: another class")
	}
}

func TestReset(t *testing.T) {
	m, fresh := bdd.New(bdd.Options{}), bdd.New(bdd.Options{})
	for range 3 {
		fill := func(m *bdd.Manager) (f bdd.Ref) {
			for l := range bdd.Level(200) {
				f = m.Xor(f, m.And(m.Var(l), m.Var((l*7+3)%200)))
				if m.Size() > 20_000 {
					break
				}
			}
			return m.ITE(f, m.Terminal(5), m.Terminal(6))
		}
		f, g := fill(m), fill(fresh)
		if m.Size() != fresh.Size() || m.Count(f) != fresh.Count(g) {
			t.Fatalf("%d and %d nodes, want %d and %d", m.Size(), m.Count(f), fresh.Size(), fresh.Count(g))
		}
		before := m.Generation()
		m.Reset()
		if m.Generation() == before || m.Size() != bdd.New(bdd.Options{}).Size() {
			t.Errorf("%d nodes are left", m.Size())
		}
		fresh = bdd.New(bdd.Options{})
	}
}

// TestTryWithin ends work at its own budget, of nodes or of steps, and leaves the
// Manager as it was.
func TestTryWithin(t *testing.T) {
	m := bdd.New(bdd.Options{})
	f := m.Var(1)
	size := m.Size()
	err := m.TryWithin(100, func() {
		for l := range bdd.Level(1000) {
			m.Var(l + 10)
		}
	})
	if !errors.Is(err, bdd.ErrNodes) || m.Size() != size {
		t.Errorf("%v, %d nodes", err, m.Size())
	}
	err = m.TryWithin(100, func() {
		for {
			m.Map(m.NewMapping(m.Terminal), f) // makes no nodes
		}
	})
	if !errors.Is(err, bdd.ErrNodes) {
		t.Errorf("work without nodes: %v", err)
	}
	if err := m.TryWithin(100, func() { m.Var(3) }); err != nil {
		t.Error(err)
	}
	if err := m.Try(func() { // the budgets are over
		for l := range bdd.Level(5000) {
			m.Var(l + 10)
		}
	}); err != nil {
		t.Error(err)
	}
}
