package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v4, "ah", func() iptables.Match { return new(ahMatch) })
	registerProtocolMatch(protocolAH, "ah")
}

var (
	_ iptsim.Meaning       = (*ahMatch)(nil)
	_ translate.Translator = (*ahMatch)(nil)
	_ iptables.Validator   = (*ahMatch)(nil)
)

// protocolAH is the protocol number of the authentication header (RFC 4302).
const protocolAH = 51

// ahMatch is "-m ah" of IPv4: the index of the security association in the
// authentication header lies in a span, whose ends may be reversed.
//
// Later fragments never match, and a packet with less than 12 bytes of the header
// is dropped on the spot.
//
// Kernel: net/ipv4/netfilter/ipt_ah.c.
type ahMatch struct {
	SPI iptables.Opt[allSpan]
}

func (*ahMatch) Name() string { return "ah" }

func (m *ahMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("ahspi", &m.SPI, iptables.Invertible)}
}

func (*ahMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "ah", protocolAH)
}

func (m *ahMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: truncated(12),
		Match:   predicate.All{firstFragment(), wordWithin(4, m.SPI)},
	}
}

func (m *ahMatch) Translate(r *translate.Rule) error {
	addSpan(r, nftgen.AHSPI, m.SPI)
	r.FirstFragment()
	return nil
}
