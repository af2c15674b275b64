package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "hl", func() iptables.Match { return new(hlMatch) }) }

var (
	_ iptsim.Meaning       = (*hlMatch)(nil)
	_ translate.Translator = (*hlMatch)(nil)
	_ iptables.Validator   = (*hlMatch)(nil)
)

// hlMatch is "-m hl": the hop limit of an IPv6 packet is equal to, less
// than or greater than a number.
//
// Kernel: net/netfilter/xt_hl.c.
type hlMatch struct{ hops hopCount }

func (*hlMatch) Name() string { return "hl" }

func (m *hlMatch) Options() iptables.Options { return m.hops.options("hl") }

func (m *hlMatch) Validate(iptables.Context) []iptables.Problem { return m.hops.problems("hl") }

func (m *hlMatch) Meaning(iptables.Context) predicate.Meaning { return m.hops.meaning() }

func (m *hlMatch) Translate(r *translate.Rule) error {
	m.hops.translate(r, nftgen.IP6Hoplimit)
	return nil
}
