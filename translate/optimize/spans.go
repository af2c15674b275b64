package optimize

import (
	"cmp"
	"slices"
)

// A spanSet is spans of which a new one is to be held against all. It keeps sorted
// runs, each at least twice as long as the next, so that adding and asking take
// logarithmic time.
type spanSet struct {
	exact map[number]struct{}
	runs  []sortedRun
	plain bool // only exact has anything so far
}

// A sortedRun is spans sorted by their low ends, with the greatest high end up to each.
type sortedRun struct {
	spans []span
	reach []number
}

func newSpanSet() *spanSet { return &spanSet{exact: make(map[number]struct{}), plain: true} }

// add adds a span.
func (s *spanSet) add(t span) {
	if t.single() {
		if _, there := s.exact[t.low]; there {
			return
		}
		s.exact[t.low] = struct{}{}
		if s.plain {
			return
		}
	}
	if s.plain {
		s.sort()
		if t.single() {
			return
		}
	}
	s.runs = append(s.runs, newRun([]span{t}))
	for n := len(s.runs); n > 1 && len(s.runs[n-2].spans) < 2*len(s.runs[n-1].spans); n = len(s.runs) {
		s.runs = append(s.runs[:n-2], merged(s.runs[n-2].spans, s.runs[n-1].spans))
	}
}

// sort makes a run of the single numbers, which were only hashed so far.
func (s *spanSet) sort() {
	s.plain = false
	if len(s.exact) == 0 {
		return
	}
	all := make([]span, 0, len(s.exact))
	for n := range s.exact {
		all = append(all, span{n, n})
	}
	slices.SortFunc(all, compareSpans)
	s.runs = append(s.runs, newRun(all))
}

func compareSpans(a, b span) int {
	return cmp.Or(cmp.Compare(a.low.hi, b.low.hi), cmp.Compare(a.low.lo, b.low.lo), cmp.Compare(a.high.hi, b.high.hi), cmp.Compare(a.high.lo, b.high.lo))
}

func newRun(sorted []span) sortedRun {
	r := sortedRun{sorted, make([]number, len(sorted))}
	var reach number
	for i, s := range sorted {
		if reach.less(s.high) {
			reach = s.high
		}
		r.reach[i] = reach
	}
	return r
}

func merged(a, b []span) sortedRun {
	all := make([]span, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareSpans(a[0], b[0]) <= 0 {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return newRun(append(append(all, a...), b...))
}

// overlaps reports whether some span has a number in common with t.
func (s *spanSet) overlaps(t span) bool {
	if t.single() {
		if _, there := s.exact[t.low]; there {
			return true
		}
		if s.plain {
			return false
		}
	}
	if s.plain {
		s.sort()
	}
	for _, r := range s.runs {
		n, _ := slices.BinarySearchFunc(r.spans, t.high, func(x span, high number) int {
			if high.less(x.low) {
				return 1
			}
			return -1
		})
		if n > 0 && !r.reach[n-1].less(t.low) {
			return true
		}
	}
	return false
}
