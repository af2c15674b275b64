package extension

import (
	"fmt"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("tcpmss", func() iptables.Match { return new(tcpmssMatch) }) }

var (
	_ iptsim.Meaning       = (*tcpmssMatch)(nil)
	_ translate.Translator = (*tcpmssMatch)(nil)
	_ iptables.Validator   = (*tcpmssMatch)(nil)
)

// tcpmssMatch is "-m tcpmss": the maximum segment size that a TCP header asks
// for lies in an inclusive span. A header without the option is in no span, so
// that "!" holds for it.
//
// A packet whose TCP header is cut off or claims less than 20 bytes is dropped
// on the spot. So are later fragments that read so: they are taken to begin with a
// TCP header.
//
// Kernel: net/netfilter/xt_tcpmss.c.
type tcpmssMatch struct {
	MSS iptables.Opt[segmentSpan]
}

// A segmentSpan is a span that is not reversed.
type segmentSpan struct{ iptables.U16Span }

// Set reads a number or a span.
func (s *segmentSpan) Set(arg string) error {
	if err := s.U16Span.Set(arg); err != nil {
		return err
	}
	if s.Low > s.High {
		return fmt.Errorf("the span %q is reversed: write the lower size first", arg)
	}
	return nil
}

func (*tcpmssMatch) Name() string { return "tcpmss" }

func (m *tcpmssMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("mss", &m.MSS, iptables.Required|iptables.Invertible),
	}
}

func (*tcpmssMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "tcpmss", protocolTCP)
}

func (m *tcpmssMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: predicate.Present{Field: predicate.Field{ID: predicate.SegmentCut}},
		Match: negatedIf(m.MSS.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.SegmentMSS},
			Low:   predicate.Number(uint64(m.MSS.Value.Low)),
			High:  predicate.Number(uint64(m.MSS.Value.High)),
		}),
		Unproven: predicate.Not{P: firstFragment()},
	}
}

func (m *tcpmssMatch) Translate(r *translate.Rule) error {
	r.Declare(translate.Deviation{
		Code: "tcpmss-reading",
		Detail: "iptables reads later fragments as if they began with a TCP header, and drops them when it does not look like one; " +
			"and it looks for an MSS option of 4 bytes behind one of another length. nftables does neither.",
	})
	const kind = 2
	low, high := m.MSS.Value.Low, m.MSS.Value.High
	missing := nftgen.Exists{Field: nftgen.TCPOption(kind), Missing: true}
	all := low == 0 && high == math.MaxUint16
	within := spanTest(nftgen.TCPMaxSeg, port16(low), port16(high), m.MSS.Negated)
	switch {
	case all && m.MSS.Negated:
		r.Add(missing)
	case m.MSS.Negated:
		addAlternatives(r, [][]nftgen.Stmt{{missing}, {within}})
	default:
		r.Add(within)
	}
	return nil
}
