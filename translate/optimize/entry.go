package optimize

import (
	"cmp"
	"container/heap"
	"slices"

	"nftmigrate/nftgen"
)

// An entry is an element of a set or map as it will be.
type entry struct {
	spans   []span // one for each field
	item    *item
	comment string
}

// entries returns the elements so that none overlap: of those that do, the first
// one counts.
func (p *plan) entries(comment func(*nftgen.Rule) string) []entry {
	e := &p.group.elements
	out := make([]entry, 0, e.len())
	for _, b := range e.buckets {
		switch {
		case b.count == 1:
			out = append(out, entry{spans: e.at(b.first), item: e.items[b.first]})
		case e.wide < 0 || p.mask != 0:
			out = e.distinct(out, b)
		default:
			out = p.group.cut(out, b)
		}
	}
	for i := range out {
		out[i].comment = comment(out[i].item.rule)
	}
	return sorted(out)
}

// sorted returns entries in the order of their spans.
func sorted(list []entry) []entry {
	// Most differ in the first field; and numbers are moved faster than entries.
	type place struct {
		low number
		at  int32
	}
	places := make([]place, len(list))
	for i := range list {
		if places[i].at = int32(i); len(list[i].spans) > 0 {
			places[i].low = list[i].spans[0].low
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		switch {
		case a.low.less(b.low):
			return -1
		case b.low.less(a.low):
			return 1
		}
		return cmp.Or(slices.CompareFunc(list[a.at].spans, list[b.at].spans, compareSpans), cmp.Compare(a.at, b.at))
	})
	out := make([]entry, len(list))
	for i, p := range places {
		out[i] = list[p.at]
	}
	return out
}

// distinct appends the elements of a bucket, and of equal ones the first; others do not
// overlap.
func (e *elements) distinct(out []entry, b bucket) []entry {
	seen := make(map[[maxFields]span]bool, b.count)
	list := e.in(nil, b)
	for _, i := range slices.Backward(list) {
		var spans [maxFields]span
		copy(spans[:], e.at(i))
		if !seen[spans] {
			seen[spans] = true
			out = append(out, entry{spans: e.at(i), item: e.items[i]})
		}
	}
	return out
}

// A cutting is the elements of a bucket by their order, those first that come first.
type cutting struct{ list []int32 }

func (c *cutting) Len() int           { return len(c.list) }
func (c *cutting) Less(i, j int) bool { return c.list[i] < c.list[j] }
func (c *cutting) Swap(i, j int)      { c.list[i], c.list[j] = c.list[j], c.list[i] }
func (c *cutting) Push(x any)         { c.list = append(c.list, x.(int32)) }
func (c *cutting) Pop() any {
	last := c.list[len(c.list)-1]
	c.list = c.list[:len(c.list)-1]
	return last
}

// cut appends the elements of a bucket, without what earlier ones take of later ones.
func (g *group) cut(out []entry, b bucket) []entry {
	e := &g.elements
	w := e.wide
	order := e.in(nil, b)
	slices.SortFunc(order, func(x, y int32) int { return cmp.Or(compareSpans(e.at(x)[w], e.at(y)[w]), cmp.Compare(x, y)) })
	active := &cutting{}
	var at number
	first := len(out)
	emit := func(i int32, s span) {
		it := e.items[i]
		if n := len(out); n > first {
			last := &out[n-1]
			if last.spans[w].high.next() == s.low && last.item.outcome == it.outcome && it.counter == nil && (last.item == it || g.uniform && last.item.rule.Comment == it.rule.Comment) {
				last.spans[w].high = s.high
				return
			}
		}
		x := entry{spans: slices.Clone(e.at(i)), item: it}
		x.spans[w] = s
		out = append(out, x)
	}
	for len(order) > 0 || active.Len() > 0 {
		if active.Len() == 0 {
			at = e.at(order[0])[w].low
		}
		for len(order) > 0 && !at.less(e.at(order[0])[w].low) {
			heap.Push(active, order[0])
			order = order[1:]
		}
		for active.Len() > 0 && e.at(active.list[0])[w].high.less(at) {
			heap.Pop(active)
		}
		if active.Len() == 0 {
			continue
		}
		current := active.list[0]
		end := e.at(current)[w].high
		for _, i := range order {
			low := e.at(i)[w].low
			if end.less(low) {
				break
			}
			if i < current { // only one that comes first takes its place
				end = low.previous()
				break
			}
		}
		emit(current, span{at, end})
		if at = end.next(); at == (number{}) {
			break
		}
	}
	return out
}
