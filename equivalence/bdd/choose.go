package bdd

import (
	"cmp"
	"fmt"
	"slices"
)

// Literal is a variable with the value it must have.
type Literal struct {
	Level Level
	Value bool
}

// Cube returns the conjunction of literals, which may come in any order. Two
// that contradict give False; none gives True. It takes O(n log n).
func (m *Manager) Cube(literals []Literal) Ref {
	sorted := slices.Clone(literals)
	slices.SortFunc(sorted, func(a, b Literal) int { return cmp.Compare(b.Level, a.Level) })
	r := True
	for i, l := range sorted {
		if i > 0 && sorted[i-1].Level == l.Level {
			if sorted[i-1].Value != l.Value {
				return False
			}
			continue
		}
		if l.Value {
			r = m.Make(l.Level, False, r)
		} else {
			r = m.Make(l.Level, r, False)
		}
	}
	return r
}

// Key is one element of a map from bit strings to functions.
type Key struct {
	Bits  []byte // one byte for each bit, 0 or 1
	Care  []byte // 1 where the bit counts; nil: everywhere
	Value Ref
}

func (k *Key) cares(bit int) bool { return k.Care == nil || k.Care[bit] != 0 }

// Choose returns the function that is the Value of the first key that matches,
// and rest where none does. levels[i] is the variable of bit i of every key; the
// order of levels does not matter. It panics when a key has another length than
// levels or a bit is neither 0 nor 1.
//
// It takes O(keys × bits) for keys without don't-care bits, for keys
// that all ignore the same bits, and for prefixes that do not overlap (whose
// first bit has the smallest level). Lists of other keys are split and merged as
// a balanced tree, which takes what the operation "the first, else the second"
// takes on the functions of the parts.
func (m *Manager) Choose(levels []Level, keys []Key, rest Ref) Ref {
	c := chooser{m: m, keys: keys, levels: levels, order: make([]int, len(levels))}
	for i := range c.order {
		c.order[i] = i
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(levels[a], levels[b]) })
	for i := range keys {
		c.check(i)
	}
	if sorted, ok := c.exact(); ok {
		return c.fromSorted(sorted, 0, rest)
	}
	list := make([]int32, len(keys))
	for i := range keys {
		list[i] = int32(i)
		c.last = append(c.last, c.lastCare(&keys[i]))
	}
	return c.choose(list, 0, rest)
}

// chooser is one call of Choose.
type chooser struct {
	m      *Manager
	keys   []Key
	levels []Level
	order  []int // the bits of a key by level
	last   []int // of each key the last place in order it cares for, or -1
}

func (c *chooser) check(i int) {
	k := &c.keys[i]
	if len(k.Bits) != len(c.levels) || k.Care != nil && len(k.Care) != len(c.levels) {
		panic(fmt.Sprintf("bdd: key %d has %d bits and cares for %d, of %d", i, len(k.Bits), len(k.Care), len(c.levels)))
	}
	for bit, b := range k.Bits {
		if b > 1 || k.Care != nil && k.Care[bit] > 1 {
			panic(fmt.Sprintf("bdd: bit %d of key %d is neither 0 nor 1", bit, i))
		}
	}
}

func (c *chooser) lastCare(k *Key) int {
	for place := len(c.order) - 1; place >= 0; place-- {
		if k.cares(c.order[place]) {
			return place
		}
	}
	return -1
}

// choose returns the function of the keys of list, which all match so far, from
// the place of the order on.
func (c *chooser) choose(list []int32, place int, rest Ref) Ref {
	// Whatever comes after a key that matches everything is dead.
	for i, k := range list {
		if c.last[k] < place {
			list = list[:i+1]
			break
		}
	}
	for {
		if len(list) == 0 {
			return rest
		}
		if c.last[list[0]] < place {
			return c.keys[list[0]].Value
		}
		if len(list) == 1 {
			return c.single(list[0], place, rest)
		}
		// Only the last of list can be without a care from here on.
		open := list
		if c.last[list[len(list)-1]] < place {
			open = list[:len(list)-1]
		}
		switch caring := c.caring(open, place); caring {
		case 0:
			place++
		case len(open):
			return c.split(list, place, rest)
		default:
			half := len(list) / 2
			first := c.choose(list[:half], place, hole)
			return c.m.apply(c.m.over, first, c.choose(list[half:], place, rest))
		}
	}
}

// caring counts the keys of list that care for the bit at a place.
func (c *chooser) caring(list []int32, place int) int {
	caring := 0
	for _, k := range list {
		if c.keys[k].cares(c.order[place]) {
			caring++
		}
	}
	return caring
}

// split divides list by the bit at a place.
func (c *chooser) split(list []int32, place int, rest Ref) Ref {
	bit := c.order[place]
	var zero, one []int32
	for _, i := range list {
		k := &c.keys[i]
		both := !k.cares(bit)
		if both || k.Bits[bit] == 0 {
			zero = append(zero, i)
		}
		if both || k.Bits[bit] == 1 {
			one = append(one, i)
		}
	}
	low := c.choose(zero, place+1, rest)
	high := c.choose(one, place+1, rest)
	return c.m.branch(c.levels[bit], low, high)
}

// single returns the function of one key from a place on.
func (c *chooser) single(i int32, place int, rest Ref) Ref {
	k := &c.keys[i]
	r := k.Value
	for p := c.last[i]; p >= place; p-- {
		bit := c.order[p]
		switch {
		case !k.cares(bit):
		case k.Bits[bit] == 1:
			r = c.m.branch(c.levels[bit], rest, r)
		default:
			r = c.m.branch(c.levels[bit], r, rest)
		}
	}
	return r
}
