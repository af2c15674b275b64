package optimize

import "nftmigrate/nftgen"

// A group is rules that stand together in the result: of one shape, and such that
// it makes no difference in which order their elements are looked up, but that
// of elements that overlap the first one counts. A group of a rule that is not
// simple holds that rule alone.
type group struct {
	items    []*item
	alone    [1]*item // the items of a group of one
	elements elements // of groups of several
	jumps    bool     // packets of an item go on to the rules behind
	uniform  bool     // all items have the outcome of the first one

	// values are what items demand of a field, as far as they were asked for.
	values map[string]*values
}

// manyMost is how many elements with spans in several fields a group may have: they
// are compared each with each.
const manyMost = 256

// values are the spans of one field in the first items of a group.
type values struct {
	spans *spanSet
	upto  int
	free  bool // an item demands nothing of the field
}

// group returns a group of one item.
func (o *optimizer) group(it *item) *group {
	g := o.stock.group()
	g.alone[0] = it
	g.items = g.alone[:]
	g.jumps, g.uniform = it.simple && !it.terminal(), it.simple
	return g
}

// add adds an item to the group of a simple one; it returns false when the elements
// cannot be in one map with those that are there.
func (o *optimizer) add(g *group, it *item) bool {
	e := &g.elements
	if e.slots == nil {
		o.spread(g)
	}
	n, fresh := len(e.fields), e.spread(o.fresh[:0], it)
	o.fresh = fresh
	count := it.spread()
	element := func(i int) []span { return fresh[i*n : (i+1)*n] }
	wide := e.wide
	for i := range count {
		if wide != many {
			wide = e.wideOf(element(i), wide)
		}
	}
	if wide == many && e.len()+count > manyMost {
		return false
	}
	if wide != e.wide {
		e.sort(wide)
	}
	if it.counter == nil { // else what it counted so far would be lost
		kept := 0
		for i := range count {
			if !e.shadowed(element(i)) {
				copy(element(kept), element(i))
				kept++
			}
		}
		count = kept
	}
	for i := range count {
		if !g.fits(element(i), it) {
			return false
		}
	}
	for i := range count {
		e.add(element(i), it)
	}
	g.jumps = g.jumps || !it.terminal()
	g.uniform = g.uniform && it.outcome == g.items[0].outcome
	g.items = append(g.items, it)
	return true
}

// spread makes elements of the first item of a group.
func (o *optimizer) spread(g *group) {
	e, it := &g.elements, g.items[0]
	e.wide = none
	for _, f := range it.facts {
		e.fields = append(e.fields, f.field)
	}
	e.spans = e.spread(nil, it)
	for range it.spread() {
		e.items = append(e.items, it)
	}
	wide := none
	for i := range e.items {
		if wide != many {
			wide = e.wideOf(e.at(int32(i)), wide)
		}
	}
	e.sort(wide)
}

// fits reports whether an element of an item can stand beside those that are there. Of
// two that overlap the first one counts, so it must end the chain. In several fields
// overlaps cannot be cut, so there may be none.
func (g *group) fits(spans []span, it *item) bool {
	e := &g.elements
	switch {
	case e.wide == many || it.counter != nil: // each rule counts by one element
		return !e.overlapsAny(spans)
	case it.terminal() && !g.jumps:
		return true
	}
	// A packet that goes on, or comes back from a chain, meets the rules behind.
	return !e.overlapsAny(spans)
}

// conflicts reports whether it may make a difference that an item stands before
// the group instead of behind it.
func (g *group) conflicts(it *item, disturbs func(*item, nftgen.Field) bool) bool {
	if g.uniform && !g.jumps && it.simple && it.outcome == g.items[0].outcome && it.counter == nil && g.items[0].counter == nil {
		return false
	}
	first := g.items[0]
	if it.family != 0 && first.family != 0 && it.family != first.family {
		return false
	}
	for _, list := range [][]fact{it.facts, it.implied} {
		for _, f := range list {
			v := g.valuesOf(f.field, disturbs)
			if v.free {
				continue
			}
			apart := true
			for _, s := range f.spans {
				apart = apart && !v.spans.overlaps(s)
			}
			if apart {
				return false
			}
		}
	}
	return true
}

// valuesOf returns what the items demand of a field that none of them changes.
func (g *group) valuesOf(f nftgen.Field, disturbs func(*item, nftgen.Field) bool) *values {
	v := g.values[f.Text]
	if v == nil {
		v = &values{spans: newSpanSet()}
		if g.values == nil {
			g.values = make(map[string]*values)
		}
		g.values[f.Text] = v
	}
	for ; v.upto < len(g.items) && !v.free; v.upto++ {
		it := g.items[v.upto]
		spans := it.fact(f.Text)
		if spans == nil || disturbs(it, f) {
			v.free = true
			break
		}
		for _, s := range spans {
			v.spans.add(s)
		}
	}
	return v
}
