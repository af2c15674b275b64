package bdd_test

import (
	"math/rand"
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// subject is a function and its table.
type subject struct {
	f bdd.Ref
	t table
}

// bench holds the functions that random steps start from.
type bench struct {
	m       *bdd.Manager
	n       int // variables
	rng     *rand.Rand
	sets    []subject // Boolean
	any     []subject
	product *bdd.Op // of small numbers
	least   *bdd.Op
	swaps   *bdd.Mapping // terminals for terminals
}

const values = 7 // terminals are below it

func product(a, b uint32) uint32 { return (a*3 + b*5 + a*b) % values }
func swap(v uint32) uint32       { return (v*v + 3) % values }

func newBench(m *bdd.Manager, n int, rng *rand.Rand) *bench {
	b := &bench{m: m, n: n, rng: rng}
	b.product = m.NewOp("product", func(f, g bdd.Ref) (bdd.Ref, bool) {
		x, ok := m.Value(f)
		if !ok {
			return 0, false
		}
		y, ok := m.Value(g)
		return m.Terminal(product(x, y)), ok
	})
	b.least = m.NewOp("least", func(f, g bdd.Ref) (bdd.Ref, bool) {
		x, xok := m.Value(f)
		y, yok := m.Value(g)
		switch {
		case f == g || xok && x == 0:
			return f, true
		case yok && y == 0:
			return g, true
		}
		return m.Terminal(min(x, y)), xok && yok
	})
	b.swaps = m.NewMapping(func(v uint32) bdd.Ref { return m.Terminal(swap(v)) })
	for i := range n {
		t := tabulate(n, func(point int) uint32 { return uint32(point >> i & 1) })
		b.sets = append(b.sets, subject{m.Var(levelOf(i)), t})
		b.any = append(b.any, subject{m.Var(levelOf(i)), t})
	}
	b.sets = append(b.sets, subject{bdd.False, make(table, 1<<n)})
	t := tabulate(n, func(int) uint32 { return uint32(rng.Intn(values)) })
	b.any = append(b.any, subject{t.diagram(m), t})
	return b
}

func (b *bench) set() subject    { return b.sets[b.rng.Intn(len(b.sets))] }
func (b *bench) either() subject { return b.any[b.rng.Intn(len(b.any))] }

// literals returns random bits and, of them, those that count.
func (b *bench) literals() (bits, care int) {
	return b.rng.Intn(1 << b.n), b.rng.Intn(1<<b.n) & b.rng.Intn(1<<b.n)
}

// steps make a new function of those of a bench, and its table by other means.
var steps = []struct {
	name string
	make func(b *bench) (bdd.Ref, func(point int) uint32)
}{
	{"Not", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.set()
		return b.m.Not(x.f), func(point int) uint32 { return 1 - x.t[point] }
	}},
	{"ITE", func(b *bench) (bdd.Ref, func(int) uint32) {
		c, x, y := b.set(), b.either(), b.either()
		return b.m.ITE(c.f, x.f, y.f), func(point int) uint32 {
			if c.t[point] == 1 {
				return x.t[point]
			}
			return y.t[point]
		}
	}},
	{"Apply", func(b *bench) (bdd.Ref, func(int) uint32) {
		x, y := b.either(), b.either()
		return b.m.Apply(b.product, x.f, y.f), func(point int) uint32 { return product(x.t[point], y.t[point]) }
	}},
	{"Apply that knows more than terminals", func(b *bench) (bdd.Ref, func(int) uint32) {
		x, y := b.either(), b.either()
		return b.m.Apply(b.least, x.f, y.f), func(point int) uint32 { return min(x.t[point], y.t[point]) }
	}},
	{"Map to terminals", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.either()
		return b.m.Map(b.swaps, x.f), func(point int) uint32 { return swap(x.t[point]) }
	}},
	{"Map to a set", func(b *bench) (bdd.Ref, func(int) uint32) {
		x, most := b.either(), uint32(b.rng.Intn(values))
		below := b.m.NewMapping(func(v uint32) bdd.Ref {
			if v <= most {
				return bdd.True
			}
			return bdd.False
		})
		return b.m.Map(below, x.f), func(point int) uint32 {
			if x.t[point] <= most {
				return 1
			}
			return 0
		}
	}},
	{"Map to functions", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.either()
		var to [values]subject
		for i := range to {
			to[i] = b.either()
		}
		mp := b.m.NewMapping(func(v uint32) bdd.Ref { return to[v].f })
		return b.m.Map(mp, x.f), func(point int) uint32 { return to[x.t[point]].t[point] }
	}},
	{"Substitute", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.either()
		put := map[int]subject{}
		for i := range b.n {
			if b.rng.Intn(2) == 0 {
				put[i] = b.set()
			}
		}
		var to [values]subject
		for i := range to {
			to[i] = b.either()
		}
		terminal := func(v uint32) bdd.Ref { return to[v].f }
		stay := b.rng.Intn(2) == 0
		if stay {
			terminal = nil
		}
		s := b.m.NewSubstitution(func(l bdd.Level) (bdd.Ref, bool) {
			p, ok := put[variableOf(l)]
			return p.f, ok
		}, terminal)
		return b.m.Substitute(s, x.f), func(point int) uint32 {
			there := point
			for i, p := range put {
				there = there&^(1<<i) | int(p.t[point])<<i
			}
			if stay {
				return x.t[there]
			}
			return to[x.t[there]].t[point]
		}
	}},
	{"Restrict", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.either()
		bits, care := b.literals()
		f := b.m.Restrict(x.f, func(l bdd.Level) (bool, bool) {
			return bit(bits, variableOf(l)), bit(care, variableOf(l))
		})
		return f, func(point int) uint32 { return x.t[point&^care|bits&care] }
	}},
	{"Exists", func(b *bench) (bdd.Ref, func(int) uint32) {
		x := b.set()
		_, gone := b.literals()
		f := b.m.Exists(x.f, func(l bdd.Level) bool { return bit(gone, variableOf(l)) })
		return f, func(point int) uint32 {
			for there, v := range x.t {
				if there&^gone == point&^gone && v == 1 {
					return 1
				}
			}
			return 0
		}
	}},
	{"Cube", func(b *bench) (bdd.Ref, func(int) uint32) {
		bits, care := b.literals()
		var literals []bdd.Literal
		for i := range b.n {
			if bit(care, i) {
				literals = append(literals, bdd.Literal{Level: levelOf(i), Value: bit(bits, i)})
			}
		}
		never := len(literals) > 0 && b.rng.Intn(4) == 0
		if never {
			again := literals[b.rng.Intn(len(literals))]
			again.Value = !again.Value
			literals = append(literals, again)
		} else if len(literals) > 0 {
			literals = append(literals, literals[0])
		}
		b.rng.Shuffle(len(literals), func(i, j int) { literals[i], literals[j] = literals[j], literals[i] })
		return b.m.Cube(literals), func(point int) uint32 {
			if !never && point&care == bits&care {
				return 1
			}
			return 0
		}
	}},
}

func TestRandomExpressions(t *testing.T) {
	all := slices.Clone(steps)
	for _, op := range binaries {
		all = append(all, steps[0])
		last := &all[len(all)-1]
		last.name = op.name
		last.make = func(b *bench) (bdd.Ref, func(int) uint32) {
			x, y := b.set(), b.set()
			return op.apply(b.m, x.f, y.f), func(point int) uint32 { return op.point(x.t[point], y.t[point]) }
		}
	}
	for seed := range int64(6) {
		rng := seeded(t, seed)
		m := bdd.New(bdd.Options{})
		b := newBench(m, 8+int(seed%3), rng)
		for range 600 {
			step := all[rng.Intn(len(all))]
			f, value := step.make(b)
			s := subject{f, tabulate(b.n, value)}
			if err := s.t.compare(m, f); err != nil {
				t.Fatalf("seed %d, %s: %v", seed, step.name, err)
			}
			if err := wellFormed(m, f); err != nil {
				t.Fatalf("seed %d, %s: %v", seed, step.name, err)
			}
			keep(rng, &b.any, s)
			if s.t.boolean() {
				keep(rng, &b.sets, s)
			}
		}
	}
}

// keep adds s, in the place of another one when there are many.
func keep(rng *rand.Rand, to *[]subject, s subject) {
	if len(*to) < 60 {
		*to = append(*to, s)
		return
	}
	(*to)[rng.Intn(len(*to))] = s
}
