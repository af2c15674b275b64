package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "hbh", func() iptables.Match { return new(hbhMatch) }) }

var (
	_ iptsim.Meaning       = (*hbhMatch)(nil)
	_ translate.Translator = (*hbhMatch)(nil)
)

// hbhMatch is "-m hbh": the length in bytes of the header of hop-by-hop options of
// IPv6, and which options it begins with.
//
// Kernel: net/ipv6/netfilter/ip6t_hbh.c.
type hbhMatch struct {
	Length  iptables.Opt[iptables.U32]
	Content iptables.Opt[headerOptions]
}

func (*hbhMatch) Name() string { return "hbh" }

func (m *hbhMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("hbh-len", &m.Length, iptables.Invertible),
		iptables.Bind("hbh-opts", &m.Content, 0),
	}
}

func (m *hbhMatch) Meaning(iptables.Context) predicate.Meaning {
	tests := predicate.All{lengthMeaning(headerHopByHop, m.Length)}
	if m.Content.Present {
		tests = append(tests, predicate.Unmodelled{What: "the options of an IPv6 header"})
	}
	return headerMeaning(headerHopByHop, tests)
}

func (m *hbhMatch) Translate(r *translate.Rule) error {
	if m.Content.Present {
		return m.Content.Value.refuse("--hbh-opts", m.Content.Range)
	}
	r.Declare(translate.Deviation{Code: "ipv6-header-end", Detail: headerEnd})
	if !addLength(r, nftgen.IP6HopByHopLength, m.Length) {
		r.Add(nftgen.Exists{Field: nftgen.IP6HopByHop})
	}
	return nil
}
