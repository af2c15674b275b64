package optimize

import (
	"runtime"
	"sync"

	"nftmigrate/nftgen"
)

// chunk is how many of a kind are allocated at a time.
const chunk = 256

// A stock is what passes need for each rule, allocated many at a time: a ruleset has
// hundreds of thousands.
type stock struct {
	items  []item
	groups []group
	facts  []fact
	spans  []span
	shapes map[string]string // each text once
	text   []byte            // of the shape at hand
}

func (s *stock) item() *item {
	if len(s.items) == 0 {
		s.items = make([]item, chunk)
	}
	it := &s.items[0]
	s.items = s.items[1:]
	return it
}

func (s *stock) group() *group {
	if len(s.groups) == 0 {
		s.groups = make([]group, chunk)
	}
	g := &s.groups[0]
	s.groups = s.groups[1:]
	return g
}

// room returns an empty list for n facts.
func (s *stock) room(n int) []fact {
	if len(s.facts) < n {
		s.facts = make([]fact, max(n, chunk))
	}
	list := s.facts[:0:n]
	s.facts = s.facts[n:]
	return list
}

// aloneMost is how many rules one processor analyses.
const aloneMost = 4096

// analyseAll reads rules, many of them on all processors.
func (o *optimizer) analyseAll(rules []*nftgen.Rule) []*item {
	items := make([]*item, len(rules))
	some := func(k *stock, from, to int) {
		for i := from; i < to; i++ {
			items[i] = k.analyse(rules[i])
		}
	}
	n := min(runtime.GOMAXPROCS(0), len(rules)/aloneMost)
	if n < 2 {
		some(&o.stock, 0, len(rules))
		return items
	}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { some(new(stock), i*len(rules)/n, (i+1)*len(rules)/n) })
	}
	wait.Wait()
	return items
}

// span returns a list of one span.
func (s *stock) span(low, high number) []span {
	if len(s.spans) == 0 {
		s.spans = make([]span, chunk)
	}
	list := s.spans[:1:1]
	list[0] = span{low, high}
	s.spans = s.spans[1:]
	return list
}

// shape returns the shape of an item; equal ones are one string.
func (s *stock) shape(it *item) string {
	s.text = it.appendShape(s.text[:0])
	if shape, ok := s.shapes[string(s.text)]; ok {
		return shape
	}
	if s.shapes == nil {
		s.shapes = make(map[string]string)
	}
	shape := string(s.text)
	s.shapes[shape] = shape
	return shape
}

// appendShape appends what is equal of rules that differ in nothing but spans and
// outcome.
func (it *item) appendShape(text []byte) []byte {
	text = append(text, '0'+byte(it.rule.Family))
	if it.counter != nil {
		text = append(text, 'c')
	}
	text = append(text, it.action...)
	for _, f := range it.facts {
		text = append(append(text, '|'), f.field.Text...)
	}
	for _, s := range it.rest {
		text = appendStmt(append(text, '|'), s)
	}
	return text
}

// appendStmt appends a text of a statement that is equal for equal ones: of the usual
// kinds without [plain], which takes its time.
func appendStmt(text []byte, s nftgen.Stmt) []byte {
	switch s := s.(type) {
	case nftgen.Compare:
		text = appendWord(append(text, 'C', '0'+byte(s.Op)), s.Field.Text)
		return appendWord(appendWord(text, s.Mask), s.Value)
	case nftgen.InPrefix:
		text = appendWord(append(text, 'P', flag(s.Not), byte(s.Bits)), s.Field.Text)
		return appendWord(text, s.Addr)
	case nftgen.InSpan:
		text = appendWord(append(text, 'S', flag(s.Not)), s.Field.Text)
		return appendWord(appendWord(text, s.Low), s.High)
	case nftgen.AnyBit:
		return appendWord(appendWord(append(text, 'A', flag(s.Not)), s.Field.Text), s.Bits)
	case nftgen.IfName:
		text = appendWord(append(text, 'I', '0'+byte(s.Op), flag(s.Wildcard)), s.Field.Text)
		return appendWord(text, s.Name)
	case nftgen.OneOf:
		text = appendWord(append(text, 'O', flag(s.Not)), s.Field.Text)
		for _, i := range s.Intervals {
			text = appendWord(appendWord(text, i.Low), i.High)
		}
		return append(text, ';')
	case nftgen.VerdictStmt:
		return appendWord(append(text, 'V', '0'+byte(s.Kind)), s.Chain)
	case nftgen.NAT:
		if s.Map != nil {
			break
		}
		text = append(text, 'N', flag(s.Destination), flag(s.FromZero), flag(s.Flags.Random), flag(s.Flags.FullyRandom), flag(s.Flags.Persistent))
		text = append(text, byte(s.Prefix), byte(s.LowPort), byte(s.LowPort>>8), byte(s.HiPort), byte(s.HiPort>>8), s.Protocol)
		return appendWord(appendWord(text, s.Low), s.High)
	}
	return appendWord(append(text, '?'), plainText(s))
}

func flag(on bool) byte {
	if on {
		return '!'
	}
	return '='
}

// appendWord appends a text so that one can tell where it ends.
func appendWord[T string | nftgen.Value](text []byte, word T) []byte {
	n := len(word)
	return append(append(text, byte(n), byte(n>>8), byte(n>>16)), word...)
}
