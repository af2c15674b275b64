package optimize

import (
	"math"

	"nftmigrate/nftgen"
)

// Costs are in nanoseconds per packet. They were measured on Linux 6.18 on one
// core of an AMD EPYC (Zen 4); only their ratios matter here.

// chainCost is that of a base chain that decides nothing.
const chainCost = 40

// A backend is how the kernel keeps a set.
type backend uint8

const (
	hash    backend = iota // single values, with the number of elements given
	concat                 // several fields, single values
	rbtree                 // spans of one field
	pipapo2                // spans among two fields
	pipapo3                // and among more
)

// lookups are costs of a lookup in sets of 10, 100, … elements, half of which
// find something.
//
// Source: BenchmarkLookup in bench.
var lookups = map[backend][]float64{
	hash:    {33, 38, 40, 93, 225, 463},
	concat:  {60, 72, 72, 118, 185, 280},
	rbtree:  {131, 226, 352, 550, 1108, 2136},
	pipapo2: {109, 150, 150, 327, 1762, 9000},
	pipapo3: {125, 150, 150, 408, 2308, 12000},
}

// maskCost is that of a mask on a key before it is looked up.
const maskCost = 6

// lookupCost is that of a lookup among n elements.
func lookupCost(b backend, n int) float64 {
	table := lookups[b]
	at := math.Log10(float64(max(n, 10))) - 1
	i := min(int(at), len(table)-2)
	return table[i] + (at-float64(i))*(table[i+1]-table[i])
}

// missCost is that of a test which a packet does not pass.
func missCost(s nftgen.Stmt, family nftgen.Family) float64 {
	switch s := s.(type) {
	case nftgen.Compare:
		return loadCost(s.Field) + map[bool]float64{true: 1.3}[s.Mask != nil]
	case nftgen.IfName:
		return nameCost
	case nftgen.InPrefix:
		switch {
		case s.Field.Type.IsName():
			return nameCost
		case s.Bits == 24 && s.Field.Type.Bytes == 4:
			return 28.8
		case s.Bits%8 != 0:
			return loadCost(s.Field) + 1.3
		case s.Field.Type.Bytes == 4:
			return 7.7
		}
		return loadCost(s.Field)
	case nftgen.InSpan:
		return 34.7
	case nftgen.OneOf, nftgen.OneOfTuple, nftgen.InSet:
		return lookupCost(hash, 10) + 17
	}
	return 12
}

// nameCost is that of comparing a device name of 16 bytes.
const nameCost = 31.2

func loadCost(f nftgen.Field) float64 {
	switch {
	case f.Type.IsName():
		return nameCost
	case f.Protocol() != 0:
		return 15.4
	case f.Type.Bytes == 16:
		return 8
	}
	return 4
}

// linearCost is that of going through the rules of items without passing any.
func linearCost(items []*item) float64 {
	sum := 0.0
	for _, it := range items {
		if len(it.rule.Stmts) > 0 {
			sum += missCost(it.rule.Stmts[0], it.family)
		}
	}
	return sum
}
