package bdd_test

import (
	"fmt"
	"math/rand"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// none is the terminal of "no rule matched".
const none = 9

// compose returns the operation "f where a rule of f matched, else g".
func compose(m *bdd.Manager) *bdd.Op {
	open := m.Terminal(none)
	return m.NewOp("compose", func(f, g bdd.Ref) (bdd.Ref, bool) {
		switch {
		case f == open:
			return g, true
		case g == open || f == g || m.IsTerminal(f):
			return f, true
		}
		return 0, false
	})
}

// merge composes the functions of rules as a balanced tree.
func merge(m *bdd.Manager, op *bdd.Op, rules []bdd.Ref) bdd.Ref {
	switch len(rules) {
	case 0:
		return m.Terminal(none)
	case 1:
		return rules[0]
	}
	half := len(rules) / 2
	return m.Apply(op, merge(m, op, rules[:half]), merge(m, op, rules[half:]))
}

// rule gives points that agree with bits where care is 1 a verdict.
type rule struct {
	bits, care int
	verdict    uint32
}

func (r rule) matches(point int) bool { return point&r.care == r.bits&r.care }

// first returns the verdict of the first rule that matches.
func first(rules []rule, point int) uint32 {
	for _, r := range rules {
		if r.matches(point) {
			return r.verdict
		}
	}
	return none
}

func (r rule) diagram(m *bdd.Manager, n int) bdd.Ref {
	var literals []bdd.Literal
	for i := range n {
		if bit(r.care, i) {
			literals = append(literals, bdd.Literal{Level: levelOf(i), Value: bit(r.bits, i)})
		}
	}
	return m.ITE(m.Cube(literals), m.Terminal(r.verdict), m.Terminal(none))
}

func diagramOf(m *bdd.Manager, op *bdd.Op, rules []rule, n int) bdd.Ref {
	refs := make([]bdd.Ref, len(rules))
	for i, r := range rules {
		refs[i] = r.diagram(m, n)
	}
	return merge(m, op, refs)
}

// prefixes returns what random prefixes of fields of the widths given care for.
// The first bit of a field is its highest.
func prefixes(rng *rand.Rand, widths []int) int {
	care, base := 0, 0
	for _, w := range widths {
		if length := rng.Intn(w + 1); rng.Intn(3) > 0 {
			care |= (1<<length - 1) << (w - length) << base
		}
		base += w
	}
	return care
}

func TestFirstMatchLists(t *testing.T) {
	for _, widths := range [][]int{{8}, {4, 4, 2}, {5, 4, 3}, {1, 1, 1, 1, 1, 1, 1, 1, 1}} {
		n := 0
		for _, w := range widths {
			n += w
		}
		t.Run(fmt.Sprint(widths), func(t *testing.T) {
			rng := seeded(t, 31)
			for range 60 {
				m := bdd.New(bdd.Options{})
				rules := make([]rule, rng.Intn(50))
				for i := range rules {
					rules[i] = rule{rng.Intn(1 << n), prefixes(rng, widths), uint32(rng.Intn(4))}
				}
				f := diagramOf(m, compose(m), rules, n)
				want := tabulate(n, func(point int) uint32 { return first(rules, point) })
				if err := want.compare(m, f); err != nil {
					t.Fatalf("%d rules: %v", len(rules), err)
				}
				// Choose does the same in another way.
				keys := make([]bdd.Key, len(rules))
				for i, r := range rules {
					keys[i] = keyOf(n, r.bits, r.care, m.Terminal(r.verdict))
				}
				if g := m.Choose(levels(n), keys, m.Terminal(none)); g != f {
					t.Fatalf("%d rules: Choose makes another function", len(rules))
				}
			}
		})
	}
}

// Long lists go through tables that grow and caches that forget.
func TestReorderedLists(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			rng := seeded(t, 32)
			list := kind.list(rng, 600)
			m := bdd.New(bdd.Options{})
			op := compose(m)
			f := headerDiagram(m, op, list)
			reorder(rng, list, 10)
			if g := headerDiagram(m, op, list); f != g {
				t.Error("a legal reordering changes the function")
			}
			other := bdd.New(bdd.Options{})
			if g := headerDiagram(other, compose(other), list); other.Count(g) != m.Count(f) {
				t.Errorf("%d nodes, but %d in another Manager", m.Count(f), other.Count(g))
			}
			for i := 0; ; i++ {
				if i == len(list) {
					t.Fatal("no rule could be changed")
				}
				list[i].verdict ^= 1
				if g := headerDiagram(m, op, list); f != g {
					break
				}
				list[i].verdict ^= 1
			}
		})
	}
}
