package optimize

import (
	"slices"

	"nftmigrate/nftgen"
)

// A key is the low ends of an element, one number per field.
type key [maxFields]number

// An element is one combination of spans that leads to a rule's verdict.
type element struct {
	spans [maxFields]span
	item  *item
}

// A group is rules that stand together in the result: of one shape, and such that
// it makes no difference in which order their elements are looked up, but that
// of elements that overlap the first one counts. A group of a rule that is not
// simple holds that rule alone.
type group struct {
	items    []*item
	fields   []nftgen.Field
	elements []element
	jumps    bool // an item jumps
	uniform  bool // all items have the verdict of the first one

	// buckets are the elements by what they say of the fields where each has one
	// number; wide is the one where they do not, or none, or many.
	wide    int
	buckets map[key]*bucket

	// values are what items demand of a field, as far as they were asked for.
	values map[string]*values
}

// A bucket is elements that can overlap.
type bucket struct {
	elements []int32
	spans    *spanSet // of the wide field, once asked for
}

const (
	none = -1
	many = -2
)

// manyMost is how many elements with spans in several fields a group may have: they
// are compared each with each.
const manyMost = 256

// values are the spans of one field in the first items of a group.
type values struct {
	spans *spanSet
	upto  int
	free  bool // an item demands nothing of the field
}

func newGroup(it *item) *group {
	g := &group{wide: none, values: make(map[string]*values)}
	for _, f := range it.facts {
		g.fields = append(g.fields, f.field)
	}
	return g
}

// elementsOf spreads the lists of an item.
func elementsOf(it *item) []element {
	list := []element{{item: it}}
	for n, f := range it.facts {
		for i := range list {
			list[i].spans[n] = f.spans[0]
		}
		size := len(list)
		for _, s := range f.spans[1:] {
			for _, e := range list[:size] {
				e.spans[n] = s
				list = append(list, e)
			}
		}
	}
	return list
}

// wideOf says in which field an element has more than one number.
func (g *group) wideOf(e *element, wide int) int {
	for i := range g.fields {
		if e.spans[i].single() || i == wide {
			continue
		}
		if wide != none {
			return many
		}
		wide = i
	}
	return wide
}

// keyOf is the bucket of an element.
func (g *group) keyOf(e *element) key {
	var k key
	if g.wide == many {
		return k
	}
	for i := range g.fields {
		if i != g.wide {
			k[i] = e.spans[i].low
		}
	}
	return k
}

// add adds an item; it returns false, and leaves the group as it is, when the
// elements cannot be in one map with those that are there.
func (g *group) add(it *item) bool {
	if !it.simple {
		g.items = append(g.items, it)
		return true
	}
	fresh := elementsOf(it)
	wide := g.wide
	for i := range fresh {
		if wide != many {
			wide = g.wideOf(&fresh[i], wide)
		}
	}
	if wide == many && len(g.elements)+len(fresh) > manyMost {
		return false
	}
	if g.buckets == nil || wide != g.wide {
		g.wide = wide
		g.buckets = make(map[key]*bucket, len(g.elements))
		for i := range g.elements {
			g.put(i)
		}
	}
	if it.counter == nil { // else what it counted so far would be lost
		fresh = slices.DeleteFunc(fresh, func(e element) bool { return g.shadowed(&e) })
	}
	for i := range fresh {
		if !g.fits(&fresh[i]) {
			return false
		}
	}
	for _, e := range fresh {
		g.elements = append(g.elements, e)
		g.put(len(g.elements) - 1)
	}
	g.jumps = g.jumps || !it.terminal()
	g.uniform = len(g.items) == 0 || g.uniform && it.verdict == g.items[0].verdict
	g.items = append(g.items, it)
	return true
}

// put puts an element into its bucket.
func (g *group) put(i int) {
	e := &g.elements[i]
	k := g.keyOf(e)
	b := g.buckets[k]
	if b == nil {
		b = &bucket{}
		g.buckets[k] = b
	}
	b.elements = append(b.elements, int32(i))
	if b.spans != nil {
		b.spans.add(e.spans[g.wide])
	}
}

// shadowed reports whether one element takes all packets of another one that
// comes later.
func (g *group) shadowed(e *element) bool {
	for _, i := range g.near(e) {
		if old := &g.elements[i]; old.item.terminal() && g.contains(old, e) {
			return true
		}
	}
	return false
}

// nearMost is how many elements of a bucket are looked at.
const nearMost = 64

// near returns the elements that may overlap one. When they are more than are
// looked at, the last ones.
func (g *group) near(e *element) []int32 {
	b := g.buckets[g.keyOf(e)]
	switch {
	case b == nil:
		return nil
	case g.wide != many && len(b.elements) > nearMost:
		return b.elements[len(b.elements)-nearMost:]
	}
	return b.elements
}

func (g *group) contains(a, b *element) bool {
	for i := range g.fields {
		if !a.spans[i].contains(b.spans[i]) {
			return false
		}
	}
	return true
}

func (g *group) overlap(a, b *element) bool {
	for i := range g.fields {
		if !a.spans[i].overlaps(b.spans[i]) {
			return false
		}
	}
	return true
}

// fits reports whether an element can stand beside those that are there. Of two
// that overlap the first one counts, so it must end the chain. In several fields
// overlaps cannot be cut, so there may be none.
func (g *group) fits(e *element) bool {
	switch {
	case g.wide == many || e.item.counter != nil: // each rule counts by one element
		return !g.overlapsAny(e)
	case e.item.terminal() && !g.jumps:
		return true
	}
	// A packet that comes back from a chain meets the rules behind.
	return !g.overlapsAny(e)
}

// overlapsAny reports whether an element overlaps one that is there.
func (g *group) overlapsAny(e *element) bool {
	b := g.buckets[g.keyOf(e)]
	switch {
	case b == nil:
		return false
	case g.wide == none:
		return true
	case g.wide == many:
		return slices.ContainsFunc(b.elements, func(i int32) bool { return g.overlap(&g.elements[i], e) })
	}
	if b.spans == nil {
		b.spans = newSpanSet()
		for _, i := range b.elements {
			b.spans.add(g.elements[i].spans[g.wide])
		}
	}
	return b.spans.overlaps(e.spans[g.wide])
}

// conflicts reports whether it may make a difference that an item stands before
// the group instead of behind it.
func (g *group) conflicts(it *item, disturbs func(*item, nftgen.Field) bool) bool {
	if g.uniform && !g.jumps && it.simple && it.verdict == g.items[0].verdict && it.counter == nil && g.items[0].counter == nil {
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
