package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "dst", func() iptables.Match { return new(dstMatch) }) }

var (
	_ iptsim.Meaning       = (*dstMatch)(nil)
	_ translate.Translator = (*dstMatch)(nil)
)

// dstMatch is "-m dst": the length in bytes of the header of destination options of
// IPv6, and which options it begins with.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c.
type dstMatch struct {
	Length  iptables.Opt[iptables.U32]
	Content iptables.Opt[headerOptions]
}

func (*dstMatch) Name() string { return "dst" }

func (m *dstMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("dst-len", &m.Length, iptables.Invertible),
		iptables.Bind("dst-opts", &m.Content, 0),
	}
}

func (m *dstMatch) Meaning(iptables.Context) predicate.Meaning {
	tests := predicate.All{lengthMeaning(headerDestOpts, m.Length)}
	if m.Content.Present {
		tests = append(tests, optionsMeaning(headerDestOpts, m.Content.Value))
	}
	return headerMeaning(headerDestOpts, tests)
}

func (m *dstMatch) Translate(r *translate.Rule) error {
	if m.Content.Present {
		return m.Content.Value.refuse("--dst-opts", m.Content.Range)
	}
	r.Declare(translate.Deviation{Code: "ipv6-header-end", Detail: headerEnd})
	if !addLength(r, nftgen.IP6DestOptsLength, m.Length) {
		r.Add(nftgen.Exists{Field: nftgen.IP6DestOpts})
	}
	return nil
}
