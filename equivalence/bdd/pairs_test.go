package bdd_test

import (
	"fmt"
	"testing"

	"nftmigrate/equivalence/bdd"
)

// binary is an operation of sets, and what it does to one point.
type binary struct {
	name  string
	apply func(m *bdd.Manager, f, g bdd.Ref) bdd.Ref
	point func(a, b uint32) uint32
}

var binaries = []binary{
	{"And", (*bdd.Manager).And, func(a, b uint32) uint32 { return a & b }},
	{"Or", (*bdd.Manager).Or, func(a, b uint32) uint32 { return a | b }},
	{"Xor", (*bdd.Manager).Xor, func(a, b uint32) uint32 { return a ^ b }},
	{"Diff", (*bdd.Manager).Diff, func(a, b uint32) uint32 { return a &^ b }},
}

// comparePairs tries an operation on all pairs of functions of three variables.
func comparePairs(op binary) error {
	m := bdd.New(bdd.Options{})
	var tables [256]table
	var functions [256]bdd.Ref
	for i := range tables {
		tables[i] = tabulate(3, func(point int) uint32 { return uint32(i >> point & 1) })
		functions[i] = tables[i].diagram(m)
	}
	for i, f := range functions {
		for j, g := range functions {
			want := tabulate(3, func(point int) uint32 { return op.point(tables[i][point], tables[j][point]) })
			if err := want.compare(m, op.apply(m, f, g)); err != nil {
				return fmt.Errorf("%s of %08b and %08b: %w", op.name, i, j, err)
			}
		}
	}
	return nil
}

func TestPairsOfThreeVariables(t *testing.T) {
	for _, op := range binaries {
		t.Run(op.name, func(t *testing.T) {
			if err := comparePairs(op); err != nil {
				t.Error(err)
			}
		})
	}
}

// The comparison must notice an operation that is wrong.
func TestPairsNoticeWrongDiff(t *testing.T) {
	point := func(a, b uint32) uint32 { return a &^ b }
	for _, op := range []binary{
		{"forgets a variable of g above f", func(m *bdd.Manager, f, g bdd.Ref) bdd.Ref {
			if m.Level(g) < m.Level(f) && f != bdd.True {
				return f
			}
			return m.Diff(f, g)
		}, point},
		{"orders its operands", func(m *bdd.Manager, f, g bdd.Ref) bdd.Ref {
			return m.Diff(max(f, g), min(f, g))
		}, point},
		{"wrong for one pair", func(m *bdd.Manager, f, g bdd.Ref) bdd.Ref {
			if f == m.Var(levelOf(2)) && g == m.NotVar(levelOf(0)) {
				return m.And(f, g)
			}
			return m.Diff(f, g)
		}, point},
		{"not reduced", func(m *bdd.Manager, f, g bdd.Ref) bdd.Ref {
			if r := m.Diff(f, g); r != bdd.True {
				return r
			}
			return m.Terminal(2)
		}, point},
	} {
		t.Run(op.name, func(t *testing.T) {
			err := comparePairs(op)
			if err == nil {
				t.Fatal("the comparison found nothing")
			}
			t.Log(err)
		})
	}
}
