package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("esp", func() iptables.Match { return new(espMatch) })
	registerProtocolMatch(protocolESP, "esp")
}

var (
	_ iptsim.Meaning       = (*espMatch)(nil)
	_ translate.Translator = (*espMatch)(nil)
	_ iptables.Validator   = (*espMatch)(nil)
)

// protocolESP is the protocol number of the encapsulating security payload (RFC
// 4303).
const protocolESP = 50

// espMatch is "-m esp": the index of the security association of a packet with
// an encapsulated payload lies in a span, whose ends may be reversed.
//
// Later fragments never match, and a packet with less than 8 bytes of the header
// is dropped on the spot.
//
// Kernel: net/netfilter/xt_esp.c.
type espMatch struct {
	SPI iptables.Opt[allSpan]
}

func (*espMatch) Name() string { return "esp" }

func (m *espMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("espspi", &m.SPI, iptables.Invertible)}
}

func (*espMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "esp", protocolESP)
}

func (m *espMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: truncated(8),
		Match:   predicate.All{firstFragment(), wordWithin(0, m.SPI)},
	}
}

func (m *espMatch) Translate(r *translate.Rule) error {
	addSpan(r, nftgen.ESPSPI, m.SPI)
	r.FirstFragment()
	return nil
}
