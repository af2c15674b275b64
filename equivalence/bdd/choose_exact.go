package bdd

import (
	"cmp"
	"slices"
	"sort"
)

// An exactKey is a key without don't-care bits, as a number whose bits are in the order
// of levels.
type exactKey struct {
	bits uint64
	at   int32 // which key it is
}

// exact returns the keys as numbers in order, of each number the first; ok is false
// when they are none.
func (c *chooser) exact() (list []exactKey, ok bool) {
	if len(c.levels) > 64 || len(c.keys) < 2 {
		return nil, false
	}
	list = make([]exactKey, len(c.keys))
	for i := range c.keys {
		k := &c.keys[i]
		if k.Care != nil {
			return nil, false
		}
		var n uint64
		for _, bit := range c.order {
			n = n<<1 | uint64(k.Bits[bit])
		}
		list[i] = exactKey{n, int32(i)}
	}
	slices.SortFunc(list, func(a, b exactKey) int { return cmp.Or(cmp.Compare(a.bits, b.bits), cmp.Compare(a.at, b.at)) })
	return slices.CompactFunc(list, func(a, b exactKey) bool { return a.bits == b.bits }), true
}

// fromSorted is the function of keys in order that are alike up to a place of the
// order. Each node is made once, from below.
func (c *chooser) fromSorted(list []exactKey, place int, rest Ref) Ref {
	n := len(c.order)
	switch {
	case len(list) == 0:
		return rest
	case place == n:
		return c.keys[list[0].at].Value
	case len(list) == 1:
		r := c.keys[list[0].at].Value
		for p := n - 1; p >= place; p-- {
			if level := c.levels[c.order[p]]; list[0].bits>>(n-1-p)&1 == 1 {
				r = c.m.branch(level, rest, r)
			} else {
				r = c.m.branch(level, r, rest)
			}
		}
		return r
	}
	ones := sort.Search(len(list), func(i int) bool { return list[i].bits>>(n-1-place)&1 == 1 })
	low := c.fromSorted(list[:ones], place+1, rest)
	return c.m.branch(c.levels[c.order[place]], low, c.fromSorted(list[ones:], place+1, rest))
}
