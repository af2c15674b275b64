package extension

import (
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("mark", func() iptables.Match { return new(markMatch) }) }

var (
	_ iptsim.Meaning       = (*markMatch)(nil)
	_ translate.Translator = (*markMatch)(nil)
)

// markMatch is "-m mark": the packet mark, masked, is a value. A value with
// bits outside of the mask never matches.
//
// Kernel: net/netfilter/xt_mark.c, mark_mt.
type markMatch struct {
	Mark iptables.Opt[iptables.MarkMask]
}

func (*markMatch) Name() string { return "mark" }

func (m *markMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("mark", &m.Mark, iptables.Required|iptables.Invertible),
	}
}

func (m *markMatch) Meaning(iptables.Context) predicate.Meaning {
	var p predicate.Predicate = predicate.Masked{
		Field: predicate.Field{ID: predicate.Mark},
		Mask:  predicate.Number(uint64(m.Mark.Value.Mask)),
		Value: predicate.Number(uint64(m.Mark.Value.Value)),
	}
	if m.Mark.Negated {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: p}
}

func (m *markMatch) Translate(r *translate.Rule) error {
	addMarkTest(r, nftgen.MetaMark, m.Mark.Value, m.Mark.Negated)
	return nil
}

// addMarkTest adds the test of a mark. What can never hold, and what always
// holds, becomes no test; presence of the mark is the caller's business.
func addMarkTest(r *translate.Rule, mark nftgen.Field, m iptables.MarkMask, negated bool) {
	if outside := m.Value &^ m.Mask; outside != 0 || m.Mask == 0 {
		if matches := outside == 0; matches == negated {
			r.Never()
		}
		return
	}
	c := nftgen.Compare{Field: mark, Op: nftgen.Eq, Value: wide32(m.Value)}
	if negated {
		c.Op = nftgen.Ne
	}
	if m.Mask != math.MaxUint32 {
		c.Mask = wide32(m.Mask)
	}
	r.Add(c)
}
