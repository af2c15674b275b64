package bdd_test

import (
	"fmt"
	"math/rand"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// table is a function written out: its value at each point of n variables, 1<<n
// values. Bit i of a point is the variable of level levelOf(i).
type table []uint32

// levelOf leaves gaps between levels.
func levelOf(i int) bdd.Level { return bdd.Level(3*i + 5) }

func levels(n int) []bdd.Level {
	ls := make([]bdd.Level, n)
	for i := range ls {
		ls[i] = levelOf(i)
	}
	return ls
}

// variableOf is the reverse of levelOf.
func variableOf(l bdd.Level) int { return int(l-5) / 3 }

func bit(point, i int) bool { return point>>i&1 == 1 }

// at gives the variables of a point.
func at(point int) func(bdd.Level) bool {
	return func(l bdd.Level) bool { return bit(point, variableOf(l)) }
}

// tabulate fills a table of n variables.
func tabulate(n int, value func(point int) uint32) table {
	t := make(table, 1<<n)
	for point := range t {
		t[point] = value(point)
	}
	return t
}

func (t table) boolean() bool {
	for _, v := range t {
		if v > 1 {
			return false
		}
	}
	return true
}

// diagram returns the function of a table, made with Make and Terminal alone.
func (t table) diagram(m *bdd.Manager) bdd.Ref {
	n := 0
	for 1<<n < len(t) {
		n++
	}
	var from func(i, point int) bdd.Ref
	from = func(i, point int) bdd.Ref {
		if i == n {
			return m.Terminal(t[point])
		}
		return m.Make(levelOf(i), from(i+1, point), from(i+1, point|1<<i))
	}
	return from(0, 0)
}

// compare returns an error unless f is the function of the table, by value and
// by Ref.
func (t table) compare(m *bdd.Manager, f bdd.Ref) error {
	for point, want := range t {
		if got := m.Eval(f, at(point)); got != want {
			return fmt.Errorf("at the point %b it is %d, not %d", point, got, want)
		}
	}
	if want := t.diagram(m); f != want {
		return fmt.Errorf("equal at every point, but %d and not %d", f, want)
	}
	return nil
}

// wellFormed checks the shape of f: levels grow, branches differ, no node twice.
func wellFormed(m *bdd.Manager, f bdd.Ref) error {
	type node struct {
		level     bdd.Level
		low, high bdd.Ref
	}
	nodes := map[node]bdd.Ref{}
	seen := map[bdd.Ref]bool{}
	var check func(f bdd.Ref) error
	check = func(f bdd.Ref) error {
		if seen[f] || m.IsTerminal(f) {
			return nil
		}
		seen[f] = true
		n := node{m.Level(f), m.Low(f), m.High(f)}
		if g, ok := nodes[n]; ok {
			return fmt.Errorf("%d and %d are the same node", f, g)
		}
		nodes[n] = f
		if n.low == n.high || n.level >= m.Level(n.low) || n.level >= m.Level(n.high) {
			return fmt.Errorf("%d is no reduced and ordered node: %+v", f, n)
		}
		if err := check(n.low); err != nil {
			return err
		}
		return check(n.high)
	}
	return check(f)
}

// seeded returns a generator of random numbers and logs its seed.
func seeded(t testing.TB, seed int64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewSource(seed))
}

// TestTableCrowded makes more nodes above one than there is room near it.
func TestTableCrowded(t *testing.T) {
	m := bdd.New(bdd.Options{})
	const levels = 16
	var old []bdd.Ref
	for n := range 1 << 13 {
		f := bdd.True
		for bit := range levels {
			if n>>bit&1 == 1 {
				f = m.Make(bdd.Level(2*levels-bit), bdd.False, f)
			} else {
				f = m.Make(bdd.Level(2*levels-bit), f, bdd.False)
			}
		}
		old = append(old, f)
	}
	newest := m.Make(levels, bdd.True, old[len(old)-1])
	seen := map[bdd.Ref]bool{}
	for _, f := range old {
		seen[m.Make(levels-1, f, newest)] = true
	}
	if len(seen) != len(old) {
		t.Errorf("%d nodes, want %d", len(seen), len(old))
	}
	size := m.Size()
	for _, f := range old {
		if g := m.Make(levels-1, f, newest); !seen[g] || m.Low(g) != f || m.High(g) != newest {
			t.Fatalf("Make returns the node %d of %d and %d", g, m.Low(g), m.High(g))
		}
	}
	if m.Size() != size {
		t.Errorf("%d nodes were made again", m.Size()-size)
	}
}
