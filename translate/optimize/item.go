package optimize

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"nftmigrate/nftgen"
)

// maxSpread is how many elements one rule may become, of the lists it tests for.
const maxSpread = 64

// A fact is what a rule demands of one field: one of some spans.
type fact struct {
	field nftgen.Field
	spans []span
}

// An item is a rule as the passes see it: what it demands field by field, what
// else it tests, and where packets go that pass.
type item struct {
	rule  *nftgen.Rule
	facts []fact // sorted by the names of fields, one for each
	// implied are facts that loading a field brings along: the protocol of an ICMP
	// type.
	implied []fact
	family  nftgen.Family // that packets must have, 0 for any
	rest    []nftgen.Stmt // other tests
	outcome
	counter *nftgen.Counter // of the packets that pass, if they are counted
	// simple says that facts, rest and outcome are all there is. Of other rules the
	// facts are those that are tested before anything has an effect.
	simple bool
	shape  string // equal of rules that differ in nothing but spans and outcome
}

// terminal reports whether packets that pass the rule meet no other rule of the
// chain.
func (it *item) terminal() bool { return it.ends() }

// last is the statement by which the rule ends.
func (it *item) last() nftgen.Stmt { return it.rule.Stmts[len(it.rule.Stmts)-1] }

// final reports whether packets that pass meet no other rule of the stage: they are
// decided, or translated.
func (it *item) final() bool {
	return it.verdict.Kind == nftgen.Accept || it.verdict.Kind == nftgen.Drop || it.action != "" && it.action != setMark
}

var (
	l4proto = nftgen.MetaL4Proto
	dport   = nftgen.Dport(0)
	sport   = nftgen.Sport(0)
)

// analyse reads a rule.
func (k *stock) analyse(r *nftgen.Rule) *item {
	it := k.item()
	*it = item{rule: r, family: r.Family}
	n := len(r.Stmts)
	if n == 0 {
		return it
	}
	tests := r.Stmts
	// A rule with a note stays as it is: nothing else says what it says.
	if x, ok := outcomeOf(r.Stmts[n-1]); ok && r.Note == "" {
		it.outcome, it.simple, tests = x, true, r.Stmts[:n-1]
		if n > 1 {
			if c, ok := r.Stmts[n-2].(nftgen.Counter); ok {
				it.counter, tests = &c, r.Stmts[:n-2]
			}
		}
	}
	it.facts = k.room(len(tests) + 1) // one more for the protocol of a port
	contradicts := false
	for _, s := range tests {
		if !nftgen.Pure(s) {
			it.simple = false
			break
		}
		contradicts = !k.note(it, s) || contradicts
	}
	if contradicts || len(it.facts) > maxFields || it.spread() > maxSpread || it.counter != nil && it.spread() > 1 {
		it.simple = false
	}
	if it.simple {
		it.shape = k.shape(it)
	}
	return it
}

// note takes note of a test of an item; it returns false when that contradicts another.
func (k *stock) note(it *item, s nftgen.Stmt) bool {
	f, ok := k.factOf(s)
	possible := true
	if !ok {
		it.rest = append(it.rest, s)
	} else {
		if p := f.field.Protocol(); p != 0 {
			// "tcp dport" is "meta l4proto tcp" and "th dport".
			switch f.field.Text {
			case nftgen.Dport(p).Text:
				f.field = dport
				possible = it.add(fact{l4proto, k.only(p)})
			case nftgen.Sport(p).Text:
				f.field = sport
				possible = it.add(fact{l4proto, k.only(p)})
			}
		}
		possible = it.add(f) && possible
	}
	var few [2]nftgen.Field
	for _, f := range nftgen.AppendFields(few[:0], s) {
		if f.Family() != 0 {
			it.family = f.Family()
		}
		if p := f.Protocol(); p != 0 {
			if known := it.fact(l4proto.Text); len(known) != 1 || known[0] != only(p) {
				it.implied = append(it.implied, fact{l4proto, k.only(p)})
			}
		}
	}
	return possible
}

// only returns the list of one protocol.
func (k *stock) only(proto uint8) []span {
	s := only(proto)
	return k.span(s.low, s.high)
}

func only(proto uint8) span { return span{number{0, uint64(proto)}, number{0, uint64(proto)}} }

// maxFields is how many fields a key may have.
const maxFields = 4

// add adds a fact; it returns false when another one is about the same field and
// says something else.
func (it *item) add(f fact) bool {
	i, found := slices.BinarySearchFunc(it.facts, f, func(a, b fact) int { return strings.Compare(a.field.Text, b.field.Text) })
	if found {
		return slices.Equal(it.facts[i].spans, f.spans)
	}
	it.facts = slices.Insert(it.facts, i, f)
	return true
}

// spread is how many combinations of spans there are.
func (it *item) spread() int {
	n := 1
	for _, f := range it.facts {
		if n *= len(f.spans); n > maxSpread {
			return n
		}
	}
	return n
}

// fact returns what the rule demands of a field, nil for nothing.
func (it *item) fact(field string) []span {
	for _, list := range [][]fact{it.facts, it.implied} {
		for _, f := range list {
			if f.field.Text == field {
				return f.spans
			}
		}
	}
	return nil
}

// plain returns a statement as it can be compared: fields by their names.
func plain(s nftgen.Stmt) any {
	v := reflect.ValueOf(s)
	out := make([]any, 0, v.NumField()+1)
	out = append(out, v.Type().Name())
	for i := range v.NumField() {
		switch x := v.Field(i).Interface().(type) {
		case nftgen.Field:
			out = append(out, x.Text)
		case []nftgen.Field:
			for _, f := range x {
				out = append(out, f.Text)
			}
		case *nftgen.Field:
			if x != nil {
				out = append(out, x.Text)
			}
		case *nftgen.Set:
			if x == nil || x.Name == "" {
				out = append(out, x) // one of the rule itself is like no other
			} else {
				out = append(out, x.Name)
			}
		default:
			out = append(out, x)
		}
	}
	return out
}

// plainText returns a statement as a text that is equal for equal ones.
func plainText(s nftgen.Stmt) string { return fmt.Sprintf("%#v", plain(s)) }

// factOf reads a test as a fact; ok is false for one that demands no value of one
// field.
func (k *stock) factOf(s nftgen.Stmt) (f fact, ok bool) {
	var field nftgen.Field
	var spans []span
	whole := func(low, high nftgen.Value) []span {
		return k.span(numberOf(low, field.Type), numberOf(high, field.Type))
	}
	switch s := s.(type) {
	case nftgen.Compare:
		if field = s.Field; s.Op == nftgen.Eq && s.Mask == nil && keys(field) {
			spans = whole(s.Value, s.Value)
		}
	case nftgen.IfName:
		if field = s.Field; s.Op == nftgen.Eq && !s.Wildcard && keys(field) {
			spans = whole(nftgen.Value(s.Name), nftgen.Value(s.Name))
		}
	case nftgen.InPrefix:
		if field = s.Field; !s.Not && !field.Type.IsName() && keys(field) {
			n := network(numberOf(s.Addr, field.Type), s.Bits, field.Type.Bytes)
			spans = k.span(n.low, n.high)
		}
	case nftgen.InSpan:
		if field = s.Field; !s.Not && keys(field) {
			spans = whole(s.Low, s.High)
		}
	case nftgen.OneOf:
		if field = s.Field; !s.Not && len(s.Intervals) <= maxSpread && keys(field) {
			for _, i := range s.Intervals {
				spans = append(spans, span{numberOf(i.Low, field.Type), numberOf(i.High, field.Type)})
			}
		}
	}
	return fact{field, spans}, len(spans) > 0
}

// keys reports whether a field can be one of a key.
func keys(f nftgen.Field) bool {
	return f.Type.Bytes <= 16 && f.Keys() && f.Text != nftgen.MetaNFProto.Text
}

// maskOf returns the mask of so many leading bits.
func maskOf(bits int, t *nftgen.Datatype) nftgen.Value {
	open := network(number{}, bits, t.Bytes).high
	return number{^open.hi, ^open.lo}.value(t)
}

// network returns the numbers of a field of so many bytes that begin like one.
func network(n number, bits, size int) span {
	var open number
	switch free := 8*size - bits; {
	case free >= 128:
		open = number{^uint64(0), ^uint64(0)}
	case free >= 64:
		open = number{1<<(free-64) - 1, ^uint64(0)}
	default:
		open = number{0, 1<<free - 1}
	}
	return span{number{n.hi &^ open.hi, n.lo &^ open.lo}, number{n.hi | open.hi, n.lo | open.lo}}
}
