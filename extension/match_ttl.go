package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v4, "ttl", func() iptables.Match { return new(ttlMatch) }) }

var (
	_ iptsim.Meaning       = (*ttlMatch)(nil)
	_ translate.Translator = (*ttlMatch)(nil)
	_ iptables.Validator   = (*ttlMatch)(nil)
)

// ttlMatch is "-m ttl": the time to live of an IPv4 packet is equal to, less
// than or greater than a number.
//
// Kernel: net/netfilter/xt_hl.c.
type ttlMatch struct{ hops hopCount }

func (*ttlMatch) Name() string { return "ttl" }

func (m *ttlMatch) Options() iptables.Options { return m.hops.options("ttl") }

func (m *ttlMatch) Validate(iptables.Context) []iptables.Problem { return m.hops.problems("ttl") }

func (m *ttlMatch) Meaning(iptables.Context) predicate.Meaning { return m.hops.meaning() }

func (m *ttlMatch) Translate(r *translate.Rule) error {
	m.hops.translate(r, nftgen.IPTTL)
	return nil
}
