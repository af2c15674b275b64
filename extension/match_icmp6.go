package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v6, "icmp6", func() iptables.Match { return new(icmp6Match) })
	registerProtocolMatch(protocolICMPv6, "icmp6")
}

var (
	_ iptsim.Meaning       = (*icmp6Match)(nil)
	_ translate.Translator = (*icmp6Match)(nil)
	_ iptables.Validator   = (*icmp6Match)(nil)
)

// protocolICMPv6 is the protocol number of ICMPv6 (RFC 4443).
const protocolICMPv6 = 58

// icmp6Match is "-m icmp6": type and code of an ICMPv6 message. Unlike that of
// "-m icmp", type 255 is a type like any other.
//
// Kernel: net/netfilter/xt_tcpudp.c, icmp6_match.
type icmp6Match struct {
	Type iptables.Opt[icmpv6Type]
}

// An icmpv6Type is a type of ICMPv6.
type icmpv6Type struct{ icmpType }

// icmpv6Names are the names of RFC 4443 and RFC 4861, in the spelling of
// ip6tables.
var icmpv6Names = []icmpName{
	{"destination-unreachable", icmpAnyCode(1)},
	{"no-route", icmpTypeCode(1, 0)},
	{"communication-prohibited", icmpTypeCode(1, 1)},
	{"beyond-scope", icmpTypeCode(1, 2)},
	{"address-unreachable", icmpTypeCode(1, 3)},
	{"port-unreachable", icmpTypeCode(1, 4)},
	{"failed-policy", icmpTypeCode(1, 5)},
	{"reject-route", icmpTypeCode(1, 6)},
	{"packet-too-big", icmpAnyCode(2)},
	{"time-exceeded", icmpAnyCode(3)},
	{"ttl-exceeded", icmpAnyCode(3)},
	{"ttl-zero-during-transit", icmpTypeCode(3, 0)},
	{"ttl-zero-during-reassembly", icmpTypeCode(3, 1)},
	{"parameter-problem", icmpAnyCode(4)},
	{"bad-header", icmpTypeCode(4, 0)},
	{"unknown-header-type", icmpTypeCode(4, 1)},
	{"unknown-option", icmpTypeCode(4, 2)},
	{"echo-request", icmpAnyCode(128)},
	{"ping", icmpAnyCode(128)},
	{"echo-reply", icmpAnyCode(129)},
	{"pong", icmpAnyCode(129)},
	{"router-solicitation", icmpAnyCode(133)},
	{"router-advertisement", icmpAnyCode(134)},
	{"neighbour-solicitation", icmpAnyCode(135)},
	{"neighbor-solicitation", icmpAnyCode(135)},
	{"neighbour-advertisement", icmpAnyCode(136)},
	{"neighbor-advertisement", icmpAnyCode(136)},
	{"redirect", icmpAnyCode(137)},
}

// Set reads a name, "type" or "type/code".
func (t *icmpv6Type) Set(arg string) (err error) {
	t.icmpType, err = parseICMPType(arg, icmpv6Names)
	return err
}

func (*icmp6Match) Name() string { return "icmp6" }

func (m *icmp6Match) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("icmpv6-type", &m.Type, iptables.Required|iptables.Invertible),
	}
}

func (*icmp6Match) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "icmp6", protocolICMPv6)
}

func (m *icmp6Match) Meaning(iptables.Context) predicate.Meaning {
	return icmpMeaning(icmpWithin(m.Type.Value.icmpType), m.Type.Negated)
}

func (m *icmp6Match) Translate(r *translate.Rule) error {
	r.Add(icmpTests(nftgen.ICMPv6Type, nftgen.ICMPv6Code, m.Type.Value.icmpType, m.Type.Negated)...)
	r.FirstFragment()
	return nil
}
