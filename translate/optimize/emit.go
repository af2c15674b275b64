package optimize

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math/bits"
	"path/filepath"
	"slices"

	"nftmigrate/diag"
	"nftmigrate/nftgen"
)

// A plan is how a group becomes a lookup.
type plan struct {
	group   *group
	keys    []int // the fields of the key, by their places in the group
	mask    int   // bits of the wide field's networks when all are as long, else 0
	widened bool  // a second field was added, which holds everything
	size    int
	backend backend
}

// widenedFrom and widenedTo bound the sets of networks that get a second field, so
// that the kernel keeps them in the structure for several fields, which is faster.
const (
	widenedFrom = 24
	widenedTo   = 40000
)

// plan chooses how a group is looked up, nil when it cannot be.
func (g *group) plan(noRanges bool) *plan {
	p := &plan{group: g, size: len(g.elements)}
	for i := range g.fields {
		first := g.elements[0].spans[i]
		if slices.ContainsFunc(g.elements, func(e element) bool { return e.spans[i] != first }) {
			p.keys = append(p.keys, i)
		}
	}
	spans := g.wide == many || g.wide >= 0 && slices.Contains(p.keys, g.wide)
	if g.wide >= 0 && spans {
		p.mask = g.commonLength()
		spans = p.mask == 0
	}
	switch {
	case !spans && len(p.keys) == 1:
		p.backend = hash
	case !spans:
		p.backend = concat
	case len(p.keys) == 1:
		p.backend = rbtree
		if p.widened = !noRanges && p.size >= widenedFrom && p.size <= widenedTo && g.fields[p.keys[0]].Type.IsAddress(); p.widened {
			p.backend = pipapo2
		}
	case len(p.keys) == 2:
		p.backend = pipapo2
	default:
		p.backend = pipapo3
	}
	if noRanges && p.backend >= pipapo2 {
		return nil
	}
	return p
}

func (p *plan) cost() float64 {
	c := lookupCost(p.backend, p.size)
	if p.mask != 0 {
		c += maskCost
	}
	for _, i := range p.keys {
		c += namesCost(p.group.fields[i])
	}
	return c
}

// commonLength returns the length of the networks of the wide field when all have the
// same, and 0 when they have not.
func (g *group) commonLength() int {
	t := g.fields[g.wide].Type
	common := 0
	for i, e := range g.elements {
		length, ok := e.spans[g.wide].prefix(t.Bytes)
		if !ok || i > 0 && length != common || length == 0 || !t.IsAddress() {
			return 0
		}
		common = length
	}
	return common
}

// An entry is an element of a set or map as it will be.
type entry struct {
	spans   [maxFields]span
	item    *item
	comment string
}

// entries returns the elements so that none overlap: of those that do, the first
// one counts.
func (p *plan) entries(comment func(*nftgen.Rule) string) []entry {
	g := p.group
	var out []entry
	for _, b := range g.buckets {
		if g.wide < 0 || p.mask != 0 {
			out = g.first(out, b)
		} else {
			out = g.cut(out, b)
		}
	}
	for i := range out {
		out[i].comment = comment(out[i].item.rule)
	}
	slices.SortStableFunc(out, func(a, b entry) int {
		for i := range g.fields {
			if c := compareSpans(a.spans[i], b.spans[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	return out
}

// first appends the elements of a bucket, and of equal ones the first; others do not
// overlap.
func (g *group) first(out []entry, b *bucket) []entry {
	var seen map[[maxFields]span]bool
	if len(b.elements) > 1 {
		seen = make(map[[maxFields]span]bool, len(b.elements))
	}
	for _, i := range b.elements {
		e := &g.elements[i]
		if seen != nil {
			if seen[e.spans] {
				continue
			}
			seen[e.spans] = true
		}
		out = append(out, entry{spans: e.spans, item: e.item})
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
func (g *group) cut(out []entry, b *bucket) []entry {
	w := g.wide
	order := slices.Clone(b.elements)
	slices.SortFunc(order, func(x, y int32) int { return compareSpans(g.elements[x].spans[w], g.elements[y].spans[w]) })
	active := &cutting{}
	var at number
	first := len(out)
	emit := func(e *element, s span) {
		x := entry{spans: e.spans, item: e.item}
		x.spans[w] = s
		if n := len(out); n > first {
			last := &out[n-1]
			if last.spans[w].high.next() == s.low && last.item.verdict == x.item.verdict && x.item.counter == nil && (last.item == x.item || g.uniform && last.item.rule.Comment == x.item.rule.Comment) {
				last.spans[w].high = s.high
				return
			}
		}
		out = append(out, x)
	}
	for len(order) > 0 || active.Len() > 0 {
		if active.Len() == 0 {
			at = g.elements[order[0]].spans[w].low
		}
		for len(order) > 0 && !at.less(g.elements[order[0]].spans[w].low) {
			heap.Push(active, order[0])
			order = order[1:]
		}
		for active.Len() > 0 && g.elements[active.list[0]].spans[w].high.less(at) {
			heap.Pop(active)
		}
		if active.Len() == 0 {
			continue
		}
		e := &g.elements[active.list[0]]
		end := e.spans[w].high
		for _, i := range order {
			low := g.elements[i].spans[w].low
			if end.less(low) {
				break
			}
			if i < active.list[0] { // only one that comes first takes its place
				end = low.previous()
				break
			}
		}
		emit(e, span{at, end})
		if at = end.next(); at == (number{}) {
			break
		}
	}
	return out
}

// inlineMost is how many elements a set in a rule may have; larger ones get a name.
const inlineMost = 8

// rule returns the rule of a lookup, and its set when that has a name.
func (o *optimizer) rule(p *plan) (*nftgen.Rule, *nftgen.Set) {
	g := p.group
	first := g.items[0]
	list := p.entries(o.commentOf)
	r := &nftgen.Rule{Origin: first.rule.Origin, Family: first.rule.Family}
	proto, known := g.protocol(p)
	var fields []nftgen.Field
	var masks []nftgen.Value
	var types []*nftgen.Datatype
	for _, i := range p.keys {
		f := typed(g.fields[i], proto, known)
		fields, types = append(fields, f), append(types, f.Type)
		var mask nftgen.Value
		if i == g.wide && p.mask != 0 {
			mask = maskOf(p.mask, f.Type)
		}
		masks = append(masks, mask)
	}
	if p.mask == 0 {
		masks = nil
	}
	if p.widened {
		fields, types = append(fields, l4proto), append(types, l4proto.Type)
	}
	interval := p.backend >= rbtree
	set := &nftgen.Set{Key: types, Interval: interval, Verdicts: !g.uniform, Bulk: nftgen.NewBulk(types, interval)}
	set.Bulk.Grow(len(list))
	var low, high []byte
	for _, e := range list {
		low, high = low[:0], high[:0]
		for _, i := range p.keys {
			low = e.spans[i].low.append(low, g.fields[i].Type)
			high = e.spans[i].high.append(high, g.fields[i].Type)
		}
		if p.widened {
			low, high = append(low, 0), append(high, 0xff)
		}
		x := nftgen.ElementExtra{Comment: e.comment}
		if c := e.item.counter; c != nil {
			x.Packets, x.Bytes = c.Packets, c.Bytes
			set.Counter = true
		}
		if g.uniform {
			set.Bulk.AddExtra(low, high, x)
		} else {
			set.Bulk.AddVerdict(low, high, x, e.item.verdict)
		}
	}
	r.Stmts = append(r.Stmts, g.constants(p, proto, known)...)
	if g.uniform {
		if s, ok := o.small(set, fields, masks, list, p); ok {
			r.Stmts = append(r.Stmts, s, first.verdict)
			r.Note = places(g.rules())
			return r, nil
		}
	}
	if g.uniform || set.Counter || len(list) > inlineMost || interval {
		set.Name = o.name(p, fields)
		if !interval {
			set.Size = 1 << bits.Len(uint(len(list)-1))
		}
	}
	if g.uniform {
		r.Stmts = append(r.Stmts, nftgen.InSet{Fields: fields, Masks: masks, Set: set}, first.verdict)
	} else {
		r.Stmts = append(r.Stmts, nftgen.Vmap{Fields: fields, Masks: masks, Map: set})
	}
	if set.Name == "" {
		r.Note = places(g.rules())
		return r, nil
	}
	set.Note = places(g.rules())
	return r, set
}

// small returns the test of a small set as it stands in a rule.
func (o *optimizer) small(set *nftgen.Set, fields []nftgen.Field, masks []nftgen.Value, list []entry, p *plan) (nftgen.Stmt, bool) {
	if set.Counter || len(list) > inlineMost || masks != nil || p.widened || slices.ContainsFunc(list, func(e entry) bool { return e.comment != "" }) {
		return nil, false
	}
	value := func(e entry, i int) nftgen.Interval {
		t := p.group.fields[i].Type
		return nftgen.Interval{Low: e.spans[i].low.value(t), High: e.spans[i].high.value(t)}
	}
	if len(fields) == 1 {
		s := nftgen.OneOf{Field: fields[0]}
		for _, e := range list {
			s.Intervals = append(s.Intervals, value(e, p.keys[0]))
		}
		return s, true
	}
	s := nftgen.OneOfTuple{Fields: fields}
	for _, e := range list {
		var tuple []nftgen.Interval
		for _, i := range p.keys {
			tuple = append(tuple, value(e, i))
		}
		s.Tuples = append(s.Tuples, tuple)
	}
	return s, true
}

// protocol returns the transport protocol of a group when all items have the same
// one.
func (g *group) protocol(p *plan) (proto uint8, known bool) {
	for i, f := range g.fields {
		if f.Text == l4proto.Text && !slices.Contains(p.keys, i) && g.elements[0].spans[i].single() {
			return uint8(g.elements[0].spans[i].low.lo), true
		}
	}
	return 0, false
}

// typed returns "tcp dport" for "th dport" where the protocol is known.
func typed(f nftgen.Field, proto uint8, known bool) nftgen.Field {
	if !known {
		return f
	}
	switch f.Text {
	case dport.Text:
		return nftgen.Dport(proto)
	case sport.Text:
		return nftgen.Sport(proto)
	}
	return f
}

// constants returns the tests that all items have.
func (g *group) constants(p *plan, proto uint8, known bool) []nftgen.Stmt {
	out := slices.Clone(g.items[0].rest)
	ports := slices.ContainsFunc(g.fields, func(f nftgen.Field) bool { return f.Text == dport.Text || f.Text == sport.Text })
	for i, f := range g.fields {
		if slices.Contains(p.keys, i) {
			continue
		}
		if f.Text == l4proto.Text && known && ports && nftgen.Dport(proto).Text != dport.Text {
			continue // the port tests it
		}
		out = append(out, test(typed(f, proto, known), g.elements[0].spans[i]))
	}
	slices.SortStableFunc(out, func(a, b nftgen.Stmt) int { return cmp.Compare(missCost(a), missCost(b)) })
	return out
}

// test returns the test of a field for a span.
func test(f nftgen.Field, s span) nftgen.Stmt {
	low, high := s.low.value(f.Type), s.high.value(f.Type)
	if s.single() {
		if f.Type.IsName() {
			return nftgen.IfName{Field: f, Op: nftgen.Eq, Name: string(low)}
		}
		return nftgen.Compare{Field: f, Op: nftgen.Eq, Value: low}
	}
	if n, ok := s.prefix(f.Type.Bytes); ok && f.Type.IsAddress() {
		return nftgen.InPrefix{Field: f, Addr: low, Bits: n}
	}
	return nftgen.InSpan{Field: f, Low: low, High: high}
}

// rules returns the rules of a group.
func (g *group) rules() []*nftgen.Rule {
	list := make([]*nftgen.Rule, len(g.items))
	for i, it := range g.items {
		list[i] = it.rule
	}
	return list
}

// places says where rules come from: their number, and the first and last line of
// each file.
func places(rules []*nftgen.Rule) string {
	type lines struct{ first, last int }
	files := make(map[string]lines)
	for _, r := range rules {
		for _, at := range []diag.Range{r.Origin, r.Also} {
			if at.IsZero() {
				continue
			}
			n, name := at.Line(), filepath.Base(at.Source.Name)
			if l, ok := files[name]; ok {
				files[name] = lines{min(l.first, n), max(l.last, n)}
			} else {
				files[name] = lines{n, n}
			}
		}
	}
	text := fmt.Sprintf("%d rules", len(rules))
	if len(rules) == 1 {
		text = "1 rule"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text += fmt.Sprintf(", %s:%d", name, files[name].first)
		if l := files[name]; l.last > l.first {
			text += fmt.Sprintf("-%d", l.last)
		}
	}
	return text
}
