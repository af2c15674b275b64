package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "eui64", func() iptables.Match { return new(eui64Match) }) }

var (
	_ iptsim.Meaning       = (*eui64Match)(nil)
	_ translate.Translator = (*eui64Match)(nil)
	_ translate.Keeper     = (*eui64Match)(nil)
	_ iptables.Validator   = (*eui64Match)(nil)
)

// eui64Match is "-m eui64": the interface identifier of the source address is
// made of the Ethernet source address (RFC 4291 appendix A). nf_tables compares
// fields with constants, not with one another.
//
// Kernel: net/ipv6/netfilter/ip6t_eui64.c.
type eui64Match struct{}

func (*eui64Match) Name() string { return "eui64" }

func (*eui64Match) Options() iptables.Options { return nil }

func (*eui64Match) Validate(c iptables.Context) []iptables.Problem {
	return arriving(c, "eui64")
}

func (*eui64Match) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.EUI64{}}}
}

// Translate has no form: the text of nft compares with constants only.
func (*eui64Match) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-match",
		Summary: "match eui64 has no nftables counterpart",
		Detail: "The text of nft has no words that compare the source with the Ethernet address of the packet. " +
			"List the hosts: ether saddr . ip6 saddr in a set of pairs.",
	}
}

// Keep writes the structure, which holds nothing.
func (*eui64Match) Keep(*translate.Rule) (translate.Kept, error) {
	var info xtLayout
	info.u32(0)
	return translate.Kept{Name: "eui64", Info: info.data}, nil
}
