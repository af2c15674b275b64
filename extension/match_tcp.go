package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("tcp", func() iptables.Match { return new(tcpMatch) })
	registerProtocolMatch(protocolTCP, "tcp")
}

var (
	_ iptsim.Meaning       = (*tcpMatch)(nil)
	_ translate.Translator = (*tcpMatch)(nil)
	_ iptables.Validator   = (*tcpMatch)(nil)
)

// protocolTCP is the protocol number of TCP (RFC 9293).
const protocolTCP = 6

// tcpMatch is "-m tcp": ports, flags and the presence of an option of a TCP
// packet.
//
// Without options it is still false for later fragments, which "-p tcp" alone
// is not. A packet with less than the 20 bytes of a TCP header, a fragment at
// offset 1 (IPv4 only: for IPv6 the kernel compares bytes, which are never 1),
// and a packet whose options are to be searched but are cut off, are dropped
// on the spot.
//
// Kernel: net/netfilter/xt_tcpudp.c, tcp_mt and tcp_find_option.
type tcpMatch struct {
	Sport, Dport iptables.Opt[iptables.PortSpan]
	Option       iptables.Opt[tcpOptionKind]
	Flags        iptables.Opt[iptables.TCPFlags]
}

// A tcpOptionKind is the kind of a TCP option; 0, the end of the list, cannot
// be asked for.
type tcpOptionKind struct{ iptables.U8 }

// Set reads a number from 1 to 255.
func (k *tcpOptionKind) Set(arg string) error {
	var n iptables.U8
	if err := n.Set(arg); err != nil || n == 0 {
		return fmt.Errorf("%q is not a kind of TCP option, a number from 1 to 255", arg)
	}
	k.U8 = n
	return nil
}

func (*tcpMatch) Name() string { return "tcp" }

func (m *tcpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sport", &m.Sport, iptables.Invertible),
		iptables.Bind("dport", &m.Dport, iptables.Invertible),
		iptables.Bind("tcp-option", &m.Option, iptables.Invertible),
		iptables.Bind("tcp-flags", &m.Flags, iptables.Invertible),
		iptables.Alias("source-port", "sport"),
		iptables.Alias("destination-port", "dport"),
		iptables.Rewrite("syn", 0, iptables.Invertible, func(_ []string, negated bool) ([]iptables.Replacement, error) {
			return []iptables.Replacement{{Name: "tcp-flags", Args: []string{"FIN,SYN,RST,ACK", "SYN"}, Negated: negated}}, nil
		}),
	}
}

func (*tcpMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "tcp", protocolTCP)
}

// requireProtocol refuses a match of one protocol in a rule that does not
// require that protocol.
//
// Kernel: net/netfilter/x_tables.c, xt_check_match.
func requireProtocol(c iptables.Context, name string, number uint8) []iptables.Problem {
	if proto, ok := c.ProtocolNumber(); ok && proto == number {
		return nil
	}
	return []iptables.Problem{{
		Code:    "missing-protocol",
		Summary: fmt.Sprintf("match %q needs its protocol", name),
		Detail:  fmt.Sprintf("The kernel refuses the rule. Add -p %s, without negation.", (*iptables.Protocol)(&number)),
	}}
}

func (m *tcpMatch) Meaning(c iptables.Context) predicate.Meaning {
	hotdrop := predicate.Any{truncated(20)}
	if c.Family == iptables.IPv4 {
		hotdrop = append(hotdrop, predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Number(1)))
	}
	match := predicate.All{
		firstFragment(),
		portWithin(predicate.SrcPort, m.Sport),
		portWithin(predicate.DstPort, m.Dport),
	}
	if m.Flags.Present {
		flags := m.Flags.Value
		match = append(match, negatedIf(m.Flags.Negated, predicate.Masked{
			Field: predicate.Field{ID: predicate.TCPFlags},
			Mask:  predicate.Number(uint64(flags.Mask)),
			Value: predicate.Number(uint64(flags.Comp)),
		}))
	}
	if m.Option.Present {
		// Options are searched only after everything else holds.
		hotdrop = append(hotdrop, append(match[:len(match):len(match)], optionsCut()))
		match = append(match, negatedIf(m.Option.Negated, predicate.Present{
			Field: predicate.Field{ID: predicate.TCPOption, Arg: uint32(m.Option.Value.U8)},
		}))
	}
	return predicate.Meaning{Hotdrop: hotdrop, Match: match}
}

// optionsCut holds when the data offset of a TCP header is too small, or points
// behind the end of the packet.
func optionsCut() predicate.Predicate {
	offset := predicate.Field{ID: predicate.TCPDataOffset}
	cut := predicate.Any{predicate.Between{Field: offset, Low: predicate.Number(0), High: predicate.Number(4)}}
	for words := uint64(6); words <= 15; words++ {
		cut = append(cut, predicate.All{
			predicate.Equal(offset, predicate.Number(words)),
			truncated(words * 4),
		})
	}
	return cut
}

func (m *tcpMatch) Translate(r *translate.Rule) error {
	addPorts(r, protocolTCP, m.Sport, m.Dport)
	if m.Flags.Present {
		m.addFlags(r)
	}
	if m.Option.Present {
		kind := uint8(m.Option.Value.U8)
		if kind == 1 {
			r.Declare(translate.Deviation{
				Code: "tcp-option-nop",
				Detail: "nftables does not look at the last byte of the TCP options, so it does not see a no-operation (kind 1) " +
					"that stands there alone; iptables does.",
			})
		}
		r.Add(nftgen.Exists{Field: nftgen.TCPOption(kind), Missing: m.Option.Negated})
	}
	r.FirstFragment()
	return nil
}

// addFlags adds the test of the flags, if there is one to make.
func (m *tcpMatch) addFlags(r *translate.Rule) {
	flags := m.Flags.Value
	switch impossible := flags.Comp&^flags.Mask != 0; {
	case impossible && m.Flags.Negated, flags.Mask == 0 && !impossible && !m.Flags.Negated:
		return
	case impossible, flags.Mask == 0:
		r.Never()
		return
	}
	r.Add(nftgen.Compare{
		Field: nftgen.TCPFlags,
		Mask:  nftgen.Value{flags.Mask},
		Op:    comparison(m.Flags.Negated),
		Value: nftgen.Value{flags.Comp},
	})
}
