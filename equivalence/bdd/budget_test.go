package bdd_test

import (
	"errors"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// large makes a function of 2<<pairs nodes: x1 y1 or x2 y2 ..., with all x above
// all y.
func large(m *bdd.Manager, pairs int) bdd.Ref {
	f := bdd.False
	for i := range pairs {
		f = m.Or(f, m.And(m.Var(bdd.Level(i)), m.Var(bdd.Level(pairs+i))))
	}
	return f
}

// chosen returns 7 where f is True, and the variable 3 elsewhere.
func chosen(m *bdd.Manager, f bdd.Ref) bdd.Ref {
	return m.ITE(f, m.Terminal(7), m.Var(3))
}

func TestBudgetOfNodes(t *testing.T) {
	m := bdd.New(bdd.Options{MaxNodes: 5000})
	before := large(m, 6)
	m.Terminal(7) // with Var(3), what chosen chooses between is older than any Try
	size := m.Size()
	swap := m.NewMapping(func(v uint32) bdd.Ref { return m.Terminal(v + 100) })
	negate := m.NewSubstitution(func(l bdd.Level) (bdd.Ref, bool) { return m.NotVar(l), true },
		func(v uint32) bdd.Ref { return m.Terminal(v + 200) })

	for round := range 3 {
		ran := false
		err := m.Try(func() {
			m.Map(swap, before) // makes terminals and memos that are rolled back
			m.Substitute(negate, before)
			chosen(m, before)
			ran = true
			large(m, 14)
			t.Error("work went on without a node")
		})
		if !ran || !errors.Is(err, bdd.ErrNodes) {
			t.Fatalf("round %d: ran: %v, error: %v", round, ran, err)
		}
		if m.Size() != size || m.Generation() != round+1 {
			t.Fatalf("%d nodes where there were %d, generation %d", m.Size(), size, m.Generation())
		}

		err = m.Try(func() {
			if large(m, 6) != before {
				t.Error("the function from before is not found again")
			}
			if got := m.Not(m.Not(large(m, 7))); got != large(m, 7) {
				t.Error("smaller work gives a wrong function")
			}
			h := chosen(m, before)
			// In another order than above, so that wrong memos would show.
			g := m.Substitute(negate, before)
			f := m.Map(swap, before)
			for point := range 1 << 12 {
				value := func(l bdd.Level) bool { return bit(point, int(l)) }
				negated := func(l bdd.Level) bool { return !value(l) }
				want := uint32(7)
				if m.Eval(before, value) == 0 {
					want = uint32(point >> 3 & 1)
				}
				if m.Eval(h, value) != want {
					t.Fatal("ITE remembers nodes that are gone")
				}
				if m.Eval(f, value) != m.Eval(before, value)+100 {
					t.Fatal("a mapping remembers nodes that are gone")
				}
				if m.Eval(g, value) != m.Eval(before, negated)+200 {
					t.Fatal("a substitution remembers nodes that are gone")
				}
			}
		})
		if err != nil {
			t.Fatalf("round %d: smaller work: %v", round, err)
		}
		size = m.Size()
	}
}

func TestInnerTryFailsAlone(t *testing.T) {
	m := bdd.New(bdd.Options{MaxNodes: 5000})
	var f bdd.Ref
	err := m.Try(func() {
		f = large(m, 5)
		if err := m.Try(func() { large(m, 14) }); !errors.Is(err, bdd.ErrNodes) {
			t.Errorf("the inner work ends with %v", err)
		}
	})
	if err != nil {
		t.Errorf("the outer work ends with %v", err)
	}
	if large(m, 5) != f {
		t.Error("a function of the outer work is lost")
	}
}

// Rolling back to any size must leave a store that takes nodes again.
func TestRollBackAtChunks(t *testing.T) {
	const chunk = 1 << 14
	for _, size := range []int{chunk - 1, chunk, chunk + 1, 2 * chunk} {
		for _, more := range []int{0, 1, 2 * chunk} {
			m := bdd.New(bdd.Options{MaxNodes: size + more})
			for v := uint32(2); m.Size() < size; v++ {
				m.Terminal(v)
			}
			made := 0
			err := m.Try(func() {
				for ; ; made++ {
					m.Var(bdd.Level(made))
				}
			})
			if made != more {
				t.Errorf("%d nodes after %d, with room for %d", made, size, more)
			}
			if !errors.Is(err, bdd.ErrNodes) || m.Size() != size {
				t.Errorf("%d and %d nodes: %d are left, error %v", size, more, m.Size(), err)
			}
			if more == 0 {
				continue
			}
			x := m.Var(7)
			if m.Level(x) != 7 || m.High(x) != bdd.True || m.Var(7) != x {
				t.Errorf("%d and %d nodes: the next node is wrong", size, more)
			}
		}
	}
}

func TestStop(t *testing.T) {
	enough := errors.New("enough")
	asked := 0
	m := bdd.New(bdd.Options{Stop: func() error {
		if asked++; asked == 3 {
			return enough
		}
		return nil
	}})
	if err := m.Try(func() { large(m, 20) }); !errors.Is(err, enough) {
		t.Errorf("Try returns %v", err)
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	if err := m.Try(func() { large(m, 10) }); err != nil {
		t.Errorf("afterwards Try returns %v", err)
	}
}

func TestOtherPanicsPass(t *testing.T) {
	m := bdd.New(bdd.Options{})
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v", p)
		}
	}()
	err := m.Try(func() { panic("mine") })
	t.Errorf("Try returns %v", err)
}

func TestBudgetOutsideOfTry(t *testing.T) {
	m := bdd.New(bdd.Options{MaxNodes: 10})
	defer func() {
		if err, ok := recover().(error); !ok || err.Error() != bdd.ErrNodes.Error()+" (outside of Try)" {
			t.Errorf("recovered %v", err)
		}
	}()
	large(m, 10)
	t.Error("ten nodes were enough")
}
