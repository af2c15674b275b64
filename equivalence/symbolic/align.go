package symbolic

import (
	"slices"
	"sort"

	"nftmigrate/equivalence/bdd"
)

// A stretch is rules of two lists: the same on both sides, or others.
type stretch struct {
	a, b []bdd.Ref
	same bool
}

// align divides two lists into stretches, so that few rules are in those that
// are not the same: what both begin and end with, then rules that occur once on
// either side and in the same order, and so on between them. It takes
// O(n log n).
func align(a, b []bdd.Ref) []stretch {
	var list []stretch
	before := 0
	for before < min(len(a), len(b)) && a[before] == b[before] {
		before++
	}
	if before > 0 {
		list = append(list, stretch{a[:before], b[:before], true})
	}
	a, b = a[before:], b[before:]
	behind := 0
	for behind < min(len(a), len(b)) && a[len(a)-1-behind] == b[len(b)-1-behind] {
		behind++
	}
	innerA, innerB := a[:len(a)-behind], b[:len(b)-behind]
	switch anchors := commonOnce(innerA, innerB); {
	case len(innerA)+len(innerB) == 0:
	case len(anchors) == 0:
		list = append(list, stretch{innerA, innerB, false})
	default:
		atA, atB := 0, 0
		for _, at := range append(anchors, [2]int{len(innerA), len(innerB)}) {
			list = append(list, align(innerA[atA:at[0]], innerB[atB:at[1]])...)
			if at[0] < len(innerA) {
				list = append(list, stretch{innerA[at[0] : at[0]+1], innerB[at[1] : at[1]+1], true})
			}
			atA, atB = at[0]+1, at[1]+1
		}
	}
	if behind > 0 {
		list = append(list, stretch{a[len(a)-behind:], b[len(b)-behind:], true})
	}
	return list
}

// commonOnce lists places of rules that occur once in each list, as many as stand
// in the same order in both.
func commonOnce(a, b []bdd.Ref) [][2]int {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	const twice = -1
	places := func(list []bdd.Ref) map[bdd.Ref]int {
		at := make(map[bdd.Ref]int, len(list))
		for i, f := range list {
			if _, again := at[f]; again {
				i = twice
			}
			at[f] = i
		}
		return at
	}
	inA, inB := places(a), places(b)
	// The longest ascending sequence of places in b: ends[n] is the candidate
	// with the smallest place that ends one of n+1.
	type candidate struct {
		at     [2]int
		before int
	}
	var all []candidate
	var ends []int
	for i, f := range a {
		j, ok := inB[f]
		if !ok || j == twice || inA[f] == twice {
			continue
		}
		n := sort.Search(len(ends), func(n int) bool { return all[ends[n]].at[1] >= j })
		c := candidate{at: [2]int{i, j}, before: -1}
		if n > 0 {
			c.before = ends[n-1]
		}
		all = append(all, c)
		if n == len(ends) {
			ends = append(ends, len(all)-1)
		} else {
			ends[n] = len(all) - 1
		}
	}
	if len(ends) == 0 {
		return nil
	}
	var list [][2]int
	for i := ends[len(ends)-1]; i >= 0; i = all[i].before {
		list = append(list, all[i].at)
	}
	slices.Reverse(list)
	return list
}
