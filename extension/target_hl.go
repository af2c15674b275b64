package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTargetFor(v6, "HL", func() iptables.Target { return new(hlTarget) }) }

var (
	_ iptsim.Doing         = (*hlTarget)(nil)
	_ translate.Translator = (*hlTarget)(nil)
	_ iptables.Validator   = (*hlTarget)(nil)
)

// hlTarget is "-j HL": it sets, lowers or raises the hop limit of an IPv6
// packet.
//
// Kernel: net/netfilter/xt_HL.c.
type hlTarget struct{ hops hopChange }

func (*hlTarget) Name() string { return "HL" }

func (t *hlTarget) Options() iptables.Options { return t.hops.options("hl") }

func (t *hlTarget) Validate(c iptables.Context) []iptables.Problem {
	return t.hops.problems("HL", "hl", c)
}

func (t *hlTarget) Action(iptables.Context) predicate.Action { return t.hops.action() }

func (t *hlTarget) Translate(r *translate.Rule) error {
	t.hops.translate(r, nftgen.IP6Hoplimit)
	return nil
}
