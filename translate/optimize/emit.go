package optimize

import (
	"bytes"
	"cmp"
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
	e := &g.elements
	p := &plan{group: g, size: e.len()}
	for i, first := range e.at(0) {
		for n := range e.len() {
			if e.at(int32(n))[i] != first {
				p.keys = append(p.keys, i)
				break
			}
		}
	}
	spans := e.wide == many || e.wide >= 0 && slices.Contains(p.keys, e.wide)
	if e.wide >= 0 && spans {
		p.mask = e.commonLength()
		spans = p.mask == 0
	}
	switch {
	case !spans && len(p.keys) == 1:
		p.backend = hash
	case !spans:
		p.backend = concat
	case len(p.keys) == 1:
		p.backend = rbtree
		if p.widened = !noRanges && p.size >= widenedFrom && p.size <= widenedTo && e.fields[p.keys[0]].Type.IsAddress(); p.widened {
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
		c += namesCost(p.group.elements.fields[i])
	}
	return c
}

// commonLength returns the length of the networks of the wide field when all have the
// same, and 0 when they have not.
func (e *elements) commonLength() int {
	t := e.fields[e.wide].Type
	common := 0
	for i := range e.len() {
		length, ok := e.at(int32(i))[e.wide].prefix(t.Bytes)
		if !ok || i > 0 && length != common || length == 0 || !t.IsAddress() {
			return 0
		}
		common = length
	}
	return common
}

// inlineMost is how many elements a set in a rule may have; larger ones get a name.
const inlineMost = 8

// rule returns the rule of a lookup, and its set when that has a name.
func (o *optimizer) rule(p *plan) (*nftgen.Rule, *nftgen.Set) {
	g := p.group
	all, wide := g.elements.fields, g.elements.wide
	first := g.items[0]
	list := p.entries(o.commentOf)
	r := &nftgen.Rule{Origin: first.rule.Origin, Family: first.rule.Family}
	proto, known := g.protocol(p)
	var fields []nftgen.Field
	var masks []nftgen.Value
	var types []*nftgen.Datatype
	for _, i := range p.keys {
		f := typed(all[i], proto, known)
		fields, types = append(fields, f), append(types, f.Type)
		var mask nftgen.Value
		if i == wide && p.mask != 0 {
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
	set := &nftgen.Set{Key: types, Interval: interval, Verdicts: !g.uniform && first.action == "", Bulk: nftgen.NewBulk(types, interval)}
	if !g.uniform {
		set.Data = first.action.data()
	}
	set.Bulk.Grow(len(list))
	var low, high []byte
	for _, e := range list {
		low, high = low[:0], high[:0]
		for _, i := range p.keys {
			low = e.spans[i].low.append(low, all[i].Type)
			high = e.spans[i].high.append(high, all[i].Type)
		}
		if p.widened {
			low, high = append(low, 0), append(high, 0xff)
		}
		x := nftgen.ElementExtra{Comment: e.comment}
		if c := e.item.counter; c != nil {
			x.Packets, x.Bytes = c.Packets, c.Bytes
			set.Counter = true
		}
		switch {
		case g.uniform:
			set.Bulk.AddExtra(low, high, x)
		case set.Data != nil:
			set.Bulk.AddValue(low, high, x, nftgen.Value(e.item.value))
		default:
			set.Bulk.AddVerdict(low, high, x, e.item.verdict)
		}
	}
	r.Stmts = append(r.Stmts, g.constants(p, proto, known)...)
	if first.action.port() && !known {
		r.Stmts = append(r.Stmts, g.protocols()) // nft wants them before it takes a port
	}
	if g.uniform {
		if s, ok := o.small(set, fields, masks, list, p); ok {
			r.Stmts = append(r.Stmts, s, first.last())
			r.Note = places(g.rules())
			return r, nil
		}
	}
	if g.uniform || set.Data != nil || set.Counter || len(list) > inlineMost || interval {
		set.Name = o.name(p, fields)
		if !interval {
			set.Size = 1 << bits.Len(uint(len(list)-1))
		}
	}
	if g.uniform {
		r.Stmts = append(r.Stmts, nftgen.InSet{Fields: fields, Masks: masks, Set: set}, first.last())
	} else {
		r.Stmts = append(r.Stmts, first.action.lookup(fields, masks, set))
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
		t := p.group.elements.fields[i].Type
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
	for i, f := range g.elements.fields {
		if f.Text == l4proto.Text && !slices.Contains(p.keys, i) && g.elements.at(0)[i].single() {
			return uint8(g.elements.at(0)[i].low.lo), true
		}
	}
	return 0, false
}

// protocols is the test that a packet has one of the transport protocols of a group's
// items.
func (g *group) protocols() nftgen.Stmt {
	s := nftgen.OneOf{Field: l4proto}
	for i, f := range g.elements.fields {
		if f.Text != l4proto.Text {
			continue
		}
		for n := range g.elements.items {
			span := g.elements.at(int32(n))[i]
			one := nftgen.Interval{Low: span.low.value(f.Type), High: span.high.value(f.Type)}
			if !slices.ContainsFunc(s.Intervals, func(x nftgen.Interval) bool { return bytes.Equal(x.Low, one.Low) }) {
				s.Intervals = append(s.Intervals, one)
			}
		}
	}
	slices.SortFunc(s.Intervals, func(a, b nftgen.Interval) int { return bytes.Compare(a.Low, b.Low) })
	return s
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
	ports := slices.ContainsFunc(g.elements.fields, func(f nftgen.Field) bool { return f.Text == dport.Text || f.Text == sport.Text })
	for i, f := range g.elements.fields {
		if slices.Contains(p.keys, i) {
			continue
		}
		if f.Text == l4proto.Text && known && ports && nftgen.Dport(proto).Text != dport.Text {
			continue // the port tests it
		}
		out = append(out, test(typed(f, proto, known), g.elements.at(0)[i]))
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
	type lines struct{ first, last diag.Range } // of a source
	var files []lines
	for _, r := range rules {
		for _, at := range []diag.Range{r.Origin, r.Also} {
			if at.IsZero() {
				continue
			}
			i := slices.IndexFunc(files, func(l lines) bool { return l.first.Source == at.Source })
			switch {
			case i < 0:
				files = append(files, lines{at, at})
			case at.Start < files[i].first.Start:
				files[i].first = at
			case at.Start > files[i].last.Start:
				files[i].last = at
			}
		}
	}
	type span struct{ first, last int }
	names := make(map[string]span) // sources may share a name
	for _, f := range files {
		name, first, last := filepath.Base(f.first.Source.Name), f.first.Line(), f.last.Line()
		if s, ok := names[name]; ok {
			first, last = min(first, s.first), max(last, s.last)
		}
		names[name] = span{first, last}
	}
	text := fmt.Sprintf("%d rules", len(rules))
	if len(rules) == 1 {
		text = "1 rule"
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		text += fmt.Sprintf(", %s:%d", name, names[name].first)
		if s := names[name]; s.last > s.first {
			text += fmt.Sprintf("-%d", s.last)
		}
	}
	return text
}
