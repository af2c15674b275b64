package optimize

import (
	"bytes"
	"math"
	"slices"

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
// They were measured as the costs above; bench/packet measures whole rulesets.
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
func missCost(s nftgen.Stmt) float64 {
	switch s := s.(type) {
	case nftgen.Compare:
		if s.Mask != nil {
			return loadCost(s.Field) + 1.3
		}
		return loadCost(s.Field)
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
	case nftgen.OneOf:
		if !slices.ContainsFunc(s.Intervals, func(i nftgen.Interval) bool { return !bytes.Equal(i.Low, i.High) }) {
			return lookupCost(hash, len(s.Intervals)) + namesCost(s.Field)
		}
		return lookupCost(rbtree, len(s.Intervals))
	case nftgen.OneOfTuple:
		return lookupCost(concat, len(s.Tuples)) + namesCost(s.Fields...)
	case nftgen.InSet:
		return setCost(s.Set, s.Masks) + namesCost(s.Fields...)
	case nftgen.Vmap:
		return setCost(s.Map, s.Masks) + namesCost(s.Fields...)
	case nftgen.MapAssign:
		return setCost(s.Map, s.Masks) + namesCost(s.Fields...) + 2
	case nftgen.NATMap:
		return setCost(s.Map, s.Masks) + namesCost(s.Fields...) + 2
	case nftgen.VerdictStmt, nftgen.Counter:
		return 2
	}
	return 12
}

// setCost is that of a lookup in a set.
func setCost(s *nftgen.Set, masks []nftgen.Value) float64 {
	b := hash
	switch {
	case s.Interval && len(s.Key) > 2:
		b = pipapo3
	case s.Interval && len(s.Key) == 2:
		b = pipapo2
	case s.Interval:
		b = rbtree
	case len(s.Key) > 1:
		b = concat
	}
	c := lookupCost(b, max(len(s.Elements), s.Bulk.Len()))
	if masks != nil {
		c += maskCost
	}
	return c
}

// namesCost is that of loading names into a key.
func namesCost(fields ...nftgen.Field) float64 {
	c := 0.0
	for _, f := range fields {
		if f.Type.IsName() {
			c += nameCost
		}
	}
	return c
}

// A ChainCost is what a packet costs that goes through a chain and passes none of its
// rules, in nanoseconds, before and after the optimisation. A chain that was left out,
// or came to be, has 0 on one side.
type ChainCost struct {
	Chain         string
	Rules, Became int
	Before, After float64
}

// costs are the costs of all chains of a table, by name.
func costs(t *nftgen.Table) map[string]ChainCost {
	all := make(map[string]ChainCost, len(t.Chains))
	for _, c := range t.Chains {
		k := ChainCost{Chain: c.Name, Rules: len(c.Rules)}
		if c.Base != nil {
			k.Before = chainCost
		}
		for _, r := range c.Rules {
			if len(r.Stmts) > 0 {
				k.Before += missCost(r.Stmts[0])
			}
		}
		all[c.Name] = k
	}
	return all
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

// costMore reports whether going through the rules of items without passing any costs more
// than so much.
func costMore(items []*item, cost float64) bool {
	sum := 0.0
	for _, it := range items {
		if len(it.rule.Stmts) > 0 {
			sum += missCost(it.rule.Stmts[0])
		}
		if sum > cost {
			return true
		}
	}
	return false
}
