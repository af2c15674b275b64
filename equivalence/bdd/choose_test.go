package bdd_test

import (
	"slices"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// keyOf returns a key of n bits out of numbers; bit i of both is bit i of the key.
func keyOf(n, bits, care int, value bdd.Ref) bdd.Key {
	k := bdd.Key{Bits: make([]byte, n), Care: make([]byte, n), Value: value}
	for i := range n {
		k.Bits[i], k.Care[i] = byte(bits>>i&1), byte(care>>i&1)
	}
	return k
}

func TestChoose(t *testing.T) {
	const n = 8
	for _, kind := range []struct {
		name string
		care func(b *bench) int // what a key cares for; nil: everything
	}{
		{"exact", nil},
		{"prefixes", func(b *bench) int { return 1<<b.rng.Intn(n+1) - 1 }},
		{"any", func(b *bench) int { return b.rng.Intn(1 << n) }},
		{"much", func(b *bench) int { return b.rng.Intn(1<<n) | b.rng.Intn(1<<n) }},
		{"two fields", func(b *bench) int { return 1<<b.rng.Intn(5) - 1 | (1<<b.rng.Intn(5)-1)<<4 }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			rng := seeded(t, 21)
			m := bdd.New(bdd.Options{})
			b := newBench(m, n, rng)
			for range 200 {
				fill(b) // values and rest may be any functions
				rest := b.either()
				order := rng.Perm(n)
				if rng.Intn(2) == 0 {
					slices.Sort(order)
				}
				ls := make([]bdd.Level, n)
				for i, v := range order {
					ls[i] = levelOf(v)
				}
				var keys []bdd.Key
				want := slices.Clone(rest.t)
				var owner [1 << n]bool
				for range rng.Intn(40) {
					bits, care := rng.Intn(1<<n), 1<<n-1
					if kind.care != nil {
						care = kind.care(b)
					}
					value := b.either()
					k := keyOf(n, bits, care, value.f)
					if kind.care == nil {
						k.Care = nil
					}
					keys = append(keys, k)
					for point := range want {
						there := 0 // the point as a key
						for i, v := range order {
							there |= point >> v & 1 << i
						}
						if there&care == bits&care && !owner[point] {
							owner[point] = true
							want[point] = value.t[point]
						}
					}
				}
				if err := want.compare(m, m.Choose(ls, keys, rest.f)); err != nil {
					t.Fatalf("%d keys over the levels %v: %v", len(keys), ls, err)
				}
			}
		})
	}
}

// fill adds a random function to what a bench holds.
func fill(b *bench) {
	tab := randomTable(b, values)
	keep(b.rng, &b.any, subject{tab.diagram(b.m), tab})
	number := uint32(b.rng.Intn(values))
	keep(b.rng, &b.any, subject{b.m.Terminal(number), tabulate(b.n, func(int) uint32 { return number })})
}

// A variable that carries two bits of a key must have both values.
func TestChooseOneVariableTwice(t *testing.T) {
	m := bdd.New(bdd.Options{})
	ls := []bdd.Level{4, 4}
	for bits, want := range []bdd.Ref{0: m.NotVar(4), 1: bdd.False, 2: bdd.False, 3: m.Var(4)} {
		if got := m.Choose(ls, []bdd.Key{keyOf(2, bits, 3, bdd.True)}, bdd.False); got != want {
			t.Errorf("key %02b: %d, want %d", bits, got, want)
		}
	}
}

func TestChooseManyKeys(t *testing.T) {
	rng := seeded(t, 22)
	m := bdd.New(bdd.Options{})
	ls, keys := manyKeys(rng, 20000, 32)
	for i := range keys {
		keys[i].Value = m.Terminal(uint32(i % 1000))
	}
	rest := m.Terminal(5000)
	f := m.Choose(ls, keys, rest)
	for i, k := range keys {
		value := func(l bdd.Level) bool { return k.Bits[l] == 1 }
		if got := m.Eval(f, value); got != uint32(i%1000) {
			t.Fatalf("key %d has the value %d", i, got)
		}
	}
	if all := m.SatCount(m.Map(m.NewMapping(func(v uint32) bdd.Ref {
		if v == 5000 {
			return bdd.False
		}
		return bdd.True
	}), f), ls); all.Int64() != int64(len(keys)) {
		t.Errorf("%d keys, but %v assignments", len(keys), all)
	}
}
