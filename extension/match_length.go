package extension

import (
	"encoding/binary"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("length", func() iptables.Match { return new(lengthMatch) }) }

var (
	_ iptsim.Meaning       = (*lengthMatch)(nil)
	_ translate.Translator = (*lengthMatch)(nil)
)

// lengthMatch is "-m length": the total length that the IP header claims,
// header included, lies in an inclusive span.
//
// Kernel: net/netfilter/xt_length.c.
type lengthMatch struct {
	Length iptables.Opt[iptables.U16Span]
}

func (*lengthMatch) Name() string { return "length" }

func (m *lengthMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("length", &m.Length, iptables.Required|iptables.Invertible),
	}
}

func (m *lengthMatch) Meaning(iptables.Context) predicate.Meaning {
	var p predicate.Predicate = predicate.Between{
		Field: predicate.Field{ID: predicate.TotalLength},
		Low:   predicate.Number(uint64(m.Length.Value.Low)),
		High:  predicate.Number(uint64(m.Length.Value.High)),
	}
	if m.Length.Negated {
		p = predicate.Not{P: p}
	}
	return predicate.Meaning{Match: p}
}

func (m *lengthMatch) Translate(r *translate.Rule) error {
	if m.Length.Value.Low > m.Length.Value.High {
		// iptables takes a reversed span, in which no length lies.
		if !m.Length.Negated {
			r.Never()
		}
		return nil
	}
	r.Add(nftgen.InSpan{
		Field: nftgen.MetaLength,
		Low:   binary.BigEndian.AppendUint32(nil, uint32(m.Length.Value.Low)),
		High:  binary.BigEndian.AppendUint32(nil, uint32(m.Length.Value.High)),
		Not:   m.Length.Negated,
	})
	return nil
}
