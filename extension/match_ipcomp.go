package extension

import (
	"encoding/binary"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	// Without the option it is the index 0.
	registerMatch("ipcomp", func() iptables.Match { return &ipcompMatch{Index: iptables.Opt[allSpan]{Present: true}} })
	registerProtocolMatch(protocolIPComp, "ipcomp")
}

var (
	_ iptsim.Meaning       = (*ipcompMatch)(nil)
	_ translate.Translator = (*ipcompMatch)(nil)
	_ iptables.Validator   = (*ipcompMatch)(nil)
)

// protocolIPComp is the protocol number of the compression header (RFC 3173).
const protocolIPComp = 108

// ipcompMatch is "-m ipcomp": the index of a compression header, of 16 bits, lies
// in a span of 32 bits, whose ends may be reversed. --compres changes nothing.
//
// Later fragments never match, and a packet with less than 4 bytes of the header
// is dropped on the spot.
//
// Kernel: net/netfilter/xt_ipcomp.c.
type ipcompMatch struct {
	Index    iptables.Opt[allSpan]
	Reserved iptables.Opt[iptables.Flag]
}

func (*ipcompMatch) Name() string { return "ipcomp" }

func (m *ipcompMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ipcompspi", &m.Index, iptables.Invertible),
		iptables.Bind("compres", &m.Reserved, 0),
	}
}

func (*ipcompMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "ipcomp", protocolIPComp)
}

func (m *ipcompMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: truncated(4),
		Match: predicate.All{firstFragment(), negatedIf(m.Index.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.DstPort}, // the same two bytes
			Low:   predicate.Number(uint64(m.Index.Value.Low)),
			High:  predicate.Number(uint64(m.Index.Value.High)),
		})},
	}
}

func (m *ipcompMatch) Translate(r *translate.Rule) error {
	low, high := m.Index.Value.Low, min(m.Index.Value.High, math.MaxUint16)
	switch all := low == 0 && high == math.MaxUint16; {
	case low > high && !m.Index.Negated, all && m.Index.Negated:
		r.Never()
	case low > high, all:
	default:
		r.Add(spanTest(nftgen.IPCompIndex, binary.BigEndian.AppendUint16(nil, uint16(low)), binary.BigEndian.AppendUint16(nil, uint16(high)), m.Index.Negated))
	}
	r.FirstFragment()
	return nil
}
