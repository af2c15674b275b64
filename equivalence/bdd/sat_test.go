package bdd_test

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/crillab/gophersat/solver"

	"nftmigrate/equivalence/bdd"
)

// cnf is a formula that grows. Variables count from 1, a negative number is a
// negated variable.
type cnf struct {
	clauses [][]int
	last    int
}

func (c *cnf) variable() int {
	c.last++
	return c.last
}

func (c *cnf) clause(literals ...int) { c.clauses = append(c.clauses, literals) }

// all returns a variable that is true exactly when all literals are.
func (c *cnf) all(literals ...int) int {
	v := c.variable()
	long := []int{v}
	for _, l := range literals {
		c.clause(-v, l)
		long = append(long, -l)
	}
	c.clause(long...)
	return v
}

// different returns a variable that is true exactly when a and b differ.
func (c *cnf) different(a, b int) int {
	v := c.variable()
	c.clause(-v, a, b)
	c.clause(-v, -a, -b)
	c.clause(v, -a, b)
	c.clause(v, a, -b)
	return v
}

// verdict returns the bits of the verdict of a list: of each rule from the last
// to the first, "it matches: its verdict; else what the rules after it say".
func (c *cnf) verdict(rules []rule, header []int) (verdict [4]int) {
	constant := c.variable()
	c.clause(constant)
	for b := range verdict {
		verdict[b] = constant
		if none>>b&1 == 0 {
			verdict[b] = -constant
		}
	}
	for _, r := range slices.Backward(rules) {
		var literals []int
		for i, v := range header {
			switch {
			case !bit(r.care, i):
			case bit(r.bits, i):
				literals = append(literals, v)
			default:
				literals = append(literals, -v)
			}
		}
		match := c.all(literals...)
		for b := range verdict {
			if r.verdict>>b&1 == 1 {
				verdict[b] = -c.all(-match, -verdict[b])
			} else {
				verdict[b] = c.all(-match, verdict[b])
			}
		}
	}
	return verdict
}

// difference asks a SAT solver for a point where two lists differ.
func difference(x, y []rule, n int) (point int, ok bool) {
	var c cnf
	header := make([]int, n)
	for i := range header {
		header[i] = c.variable()
	}
	a, b := c.verdict(x, header), c.verdict(y, header)
	var some []int
	for i := range a {
		some = append(some, c.different(a[i], b[i]))
	}
	c.clause(some...)
	s := solver.New(solver.ParseSlice(c.clauses))
	if s.Solve() != solver.Sat {
		return 0, false
	}
	for i, set := range s.Model()[:n] {
		if set {
			point |= 1 << i
		}
	}
	return point, true
}

// mutants are small changes of a list; some do not change what it does.
var mutants = []struct {
	name   string
	change func(rng *rand.Rand, rules []rule, n int) []rule
}{
	{"legal order", func(rng *rand.Rand, rules []rule, _ int) []rule {
		for range 30 {
			for i := range len(rules) - 1 {
				a, b := &rules[i], &rules[i+1]
				if rng.Intn(2) == 0 {
					continue
				}
				if a.verdict == b.verdict || a.care&b.care&(a.bits^b.bits) != 0 {
					*a, *b = *b, *a
				}
			}
		}
		return rules
	}},
	{"split rule", func(rng *rand.Rand, rules []rule, n int) []rule {
		i, v := rng.Intn(len(rules)), 1<<rng.Intn(n)
		zero, one := rules[i], rules[i]
		if zero.care&v != 0 {
			return rules
		}
		zero.care, one.care = zero.care|v, one.care|v
		zero.bits, one.bits = zero.bits&^v, one.bits|v
		return slices.Replace(rules, i, i+1, one, zero)
	}},
	{"other verdict", func(rng *rand.Rand, rules []rule, _ int) []rule {
		rules[rng.Intn(len(rules))].verdict ^= 1
		return rules
	}},
	{"lost rule", func(rng *rand.Rand, rules []rule, _ int) []rule {
		i := rng.Intn(len(rules))
		return slices.Delete(rules, i, i+1)
	}},
	{"any order", func(rng *rand.Rand, rules []rule, _ int) []rule {
		i, j := rng.Intn(len(rules)), rng.Intn(len(rules))
		rules[i], rules[j] = rules[j], rules[i]
		return rules
	}},
	{"other bit", func(rng *rand.Rand, rules []rule, n int) []rule {
		rules[rng.Intn(len(rules))].bits ^= 1 << rng.Intn(n)
		return rules
	}},
	{"wider rule", func(rng *rand.Rand, rules []rule, n int) []rule {
		rules[rng.Intn(len(rules))].care &^= 1 << rng.Intn(n)
		return rules
	}},
}

func TestSecondOpinion(t *testing.T) {
	for _, mutant := range mutants {
		t.Run(mutant.name, func(t *testing.T) {
			rng := seeded(t, 41)
			equal, differ := 0, 0
			for range 80 {
				widths := [][]int{{8, 8, 8}, {12, 12, 8}, {10, 10, 3, 3}}[rng.Intn(3)]
				n := 0
				for _, w := range widths {
					n += w
				}
				x := make([]rule, 1+rng.Intn(60))
				for i := range x {
					x[i] = rule{rng.Intn(1 << n), prefixes(rng, widths), uint32(rng.Intn(4))}
				}
				y := mutant.change(rng, slices.Clone(x), n)

				m := bdd.New(bdd.Options{})
				op := compose(m)
				f, g := diagramOf(m, op, x, n), diagramOf(m, op, y, n)
				point, found := difference(x, y, n)
				if found == (f == g) {
					t.Fatalf("%d rules: the solver finds a difference: %v; the diagrams are equal: %v", len(x), found, f == g)
				}
				if !found {
					equal++
					continue
				}
				differ++
				a, b := m.Eval(f, at(point)), m.Eval(g, at(point))
				if a == b || a != first(x, point) || b != first(y, point) {
					t.Fatalf("at %b the lists say %d and %d, the diagrams %d and %d", point, first(x, point), first(y, point), a, b)
				}
				// A difference of the diagrams is one of the lists, too.
				path, ok := m.Pick(m.Apply(unequal(m), f, g), at(rng.Intn(1<<n)))
				if p := pointOf(path); !ok || first(x, p) == first(y, p) {
					t.Fatalf("the diagrams differ at %v, %v, the lists do not", path, ok)
				}
			}
			t.Logf("%d pairs are equal, %d differ", equal, differ)
			legal := mutant.name == "legal order" || mutant.name == "split rule"
			if legal && differ > 0 || !legal && differ == 0 {
				t.Error("this is no test of what it is for")
			}
		})
	}
}

// unequal returns the operation "f and g differ".
func unequal(m *bdd.Manager) *bdd.Op {
	return m.NewOp("unequal", func(f, g bdd.Ref) (bdd.Ref, bool) {
		if f == g {
			return bdd.False, true
		}
		return bdd.True, m.IsTerminal(f) && m.IsTerminal(g)
	})
}

// pointOf returns the point of a path whose other variables are 0.
func pointOf(path map[bdd.Level]bool) int {
	point := 0
	for l, set := range path {
		if set {
			point |= 1 << variableOf(l)
		}
	}
	return point
}
