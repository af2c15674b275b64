package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerMatch("udp", func() iptables.Match { return new(udpMatch) })
	registerProtocolMatch(protocolUDP, "udp")
}

var (
	_ iptsim.Meaning       = (*udpMatch)(nil)
	_ translate.Translator = (*udpMatch)(nil)
	_ iptables.Validator   = (*udpMatch)(nil)
)

// protocolUDP is the protocol number of UDP (RFC 768).
const protocolUDP = 17

// udpMatch is "-m udp": the ports of a UDP packet lie in inclusive spans.
//
// Without options it is still false for later fragments, which "-p udp" alone
// is not. A packet with less than the 8 bytes of a UDP header is dropped on
// the spot.
//
// Kernel: net/netfilter/xt_tcpudp.c, udp_mt.
type udpMatch struct {
	Sport, Dport iptables.Opt[iptables.PortSpan]
}

func (*udpMatch) Name() string { return "udp" }

func (m *udpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sport", &m.Sport, iptables.Invertible),
		iptables.Bind("dport", &m.Dport, iptables.Invertible),
		iptables.Alias("source-port", "sport"),
		iptables.Alias("destination-port", "dport"),
	}
}

func (*udpMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "udp", protocolUDP)
}

func (m *udpMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: truncated(8),
		Match: predicate.All{
			firstFragment(),
			portWithin(predicate.SrcPort, m.Sport),
			portWithin(predicate.DstPort, m.Dport),
		},
	}
}

func (m *udpMatch) Translate(r *translate.Rule) error {
	addPorts(r, protocolUDP, m.Sport, m.Dport)
	r.FirstFragment()
	return nil
}
