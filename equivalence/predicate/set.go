package predicate

import (
	"fmt"
	"sort"
	"strings"
)

// A NamedSet is the test of an ipset: whether a packet makes an element of it.
// It stands for what the machine puts in its place, which knows the sets; by
// itself it is unknown.
//
// Kernel: net/netfilter/xt_set.c; net/netfilter/ipset/ip_set_core.c, ip_set_test.
type NamedSet struct {
	Name string
	// Source says of each dimension whether it is taken from the source side of
	// the packet, else from the destination side.
	Source []bool
	// ReturnNomatch asks for the exceptions instead of the members.
	ReturnNomatch bool
}

func (p NamedSet) String() string {
	sides := make([]string, len(p.Source))
	for i, source := range p.Source {
		sides[i] = "dst"
		if source {
			sides[i] = "src"
		}
	}
	what := "set"
	if p.ReturnNomatch {
		what = "exceptions of set"
	}
	return fmt.Sprintf("%s in %s %s", strings.Join(sides, ","), what, p.Name)
}

func (NamedSet) eval(Reader, string) Truth { return Unknown }

// A Member is a test of several fields at once, of which there may be millions
// of tuples: it holds when all fields are present and their values lead through
// the spans to one that holds.
type Member struct {
	Name   string // of the set, for people
	Fields []Field
	Masks  []Bits // of the fields, nil for none
	Spans  *Spans
	// Devices are the names of devices that the spans tell apart, and Prefixes the
	// beginnings of such names.
	Devices, Prefixes []string
}

// Spans divide the values of a field: Next[i] is about those from First[i] on,
// up to First[i+1], and First[0] is 0. Without any, the answer is Holds. Spans
// can be shared, and never change.
type Spans struct {
	Holds bool
	First []Bits
	Next  []*Spans
}

// Never and Always are the answers of all values.
var (
	Never  = &Spans{}
	Always = &Spans{Holds: true}
)

// At returns what the spans say of a value.
func (s *Spans) At(v Bits) *Spans {
	return s.Next[sort.Search(len(s.First), func(i int) bool { return v.Less(s.First[i]) })-1]
}

func (p Member) String() string {
	names := make([]string, len(p.Fields))
	for i, f := range p.Fields {
		names[i] = f.String()
	}
	return fmt.Sprintf("(%s) in set %s", strings.Join(names, ", "), p.Name)
}

func (p Member) eval(r Reader, _ string) Truth {
	at := p.Spans
	for i, f := range p.Fields {
		if len(at.First) == 0 && !at.Holds {
			return No
		}
		v, present := r.Field(f)
		if present != Yes {
			return present
		}
		if p.Masks != nil {
			v = v.And(p.Masks[i])
		}
		if len(at.First) > 0 {
			at = at.At(v)
		}
	}
	return Of(at.Holds)
}
