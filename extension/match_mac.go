package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("mac", func() iptables.Match { return new(macMatch) }) }

var (
	_ iptsim.Meaning       = (*macMatch)(nil)
	_ translate.Translator = (*macMatch)(nil)
	_ iptables.Validator   = (*macMatch)(nil)
)

// macMatch is "-m mac": the Ethernet source address. It is false for packets
// that came in by a device that is not Ethernet, also when negated.
//
// Kernel: net/netfilter/xt_mac.c.
type macMatch struct {
	Source iptables.Opt[iptables.MAC]
}

func (*macMatch) Name() string { return "mac" }

func (m *macMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("mac-source", &m.Source, iptables.Required|iptables.Invertible),
	}
}

func (*macMatch) Validate(c iptables.Context) []iptables.Problem {
	return arriving(c, "mac")
}

func (m *macMatch) Meaning(iptables.Context) predicate.Meaning {
	source := predicate.Field{ID: predicate.SrcMAC}
	return predicate.Meaning{Match: predicate.All{
		predicate.Present{Field: source},
		negatedIf(m.Source.Negated, predicate.Equal(source, predicate.MAC(m.Source.Value))),
	}}
}

func (m *macMatch) Translate(r *translate.Rule) error {
	r.Add(nftgen.Compare{Field: nftgen.EtherSaddr, Op: comparison(m.Source.Negated), Value: m.Source.Value[:]})
	return nil
}
