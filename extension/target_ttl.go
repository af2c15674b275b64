package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTargetFor(v4, "TTL", func() iptables.Target { return new(ttlTarget) }) }

var (
	_ iptsim.Doing         = (*ttlTarget)(nil)
	_ translate.Translator = (*ttlTarget)(nil)
	_ iptables.Validator   = (*ttlTarget)(nil)
)

// ttlTarget is "-j TTL": it sets, lowers or raises the time to live of an IPv4
// packet.
//
// Kernel: net/netfilter/xt_HL.c.
type ttlTarget struct{ hops hopChange }

func (*ttlTarget) Name() string { return "TTL" }

func (t *ttlTarget) Options() iptables.Options { return t.hops.options("ttl") }

func (t *ttlTarget) Validate(c iptables.Context) []iptables.Problem {
	return t.hops.problems("TTL", "ttl", c)
}

func (t *ttlTarget) Action(iptables.Context) predicate.Action { return t.hops.action() }

func (t *ttlTarget) Translate(r *translate.Rule) error {
	t.hops.translate(r, nftgen.IPTTL)
	return nil
}
