package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v6, "eui64", func() iptables.Match { return new(eui64Match) }) }

var (
	_ iptsim.Meaning       = (*eui64Match)(nil)
	_ translate.Translator = (*eui64Match)(nil)
	_ iptables.Validator   = (*eui64Match)(nil)
)

// eui64Match is "-m eui64": the last 64 bits of the source are made from the
// Ethernet address of who sent the packet (RFC 4291, appendix A).
//
// Kernel: net/ipv6/netfilter/ip6t_eui64.c.
type eui64Match struct{}

func (*eui64Match) Name() string { return "eui64" }

func (*eui64Match) Options() iptables.Options { return nil }

func (*eui64Match) Validate(c iptables.Context) []iptables.Problem {
	if outside := c.Hooks &^ (iptables.Prerouting | iptables.Input | iptables.Forward); outside != 0 {
		return []iptables.Problem{{
			Code:    "invalid-hook",
			Summary: "match eui64 is not valid in this chain",
			Detail:  fmt.Sprintf("The kernel takes it in PREROUTING, INPUT and FORWARD; chain %s is also reached from %s.", c.Chain, hookList(c.Table, outside)),
		}}
	}
	return nil
}

func (*eui64Match) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Unmodelled{What: "addresses that are made from Ethernet addresses"}}
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
