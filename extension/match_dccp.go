package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatch("dccp", func() iptables.Match { return new(dccpMatch) })
	registerProtocolMatch(protocolDCCP, "dccp")
}

var (
	_ iptsim.Meaning       = (*dccpMatch)(nil)
	_ translate.Translator = (*dccpMatch)(nil)
	_ iptables.Validator   = (*dccpMatch)(nil)
)

// protocolDCCP is the protocol number of DCCP (RFC 4340).
const protocolDCCP = 33

// dccpMatch is "-m dccp": ports, type and the presence of an option of a DCCP
// packet.
//
// Later fragments never match, and a packet with less than 12 bytes of the header
// is dropped on the spot.
//
// Kernel: net/netfilter/xt_dccp.c.
type dccpMatch struct {
	Sport, Dport iptables.Opt[iptables.PortSpan]
	Types        iptables.Opt[dccpTypes]
	Option       iptables.Opt[dccpOption]
}

// A dccpTypes is a set of types of packets, a bit for each. INVALID is any
// of the numbers that stand for none.
type dccpTypes uint16

var dccpTypeNames = []string{
	"REQUEST", "RESPONSE", "DATA", "ACK", "DATAACK", "CLOSEREQ", "CLOSE", "RESET", "SYNC", "SYNCACK", "INVALID",
}

// Set reads names in any case with commas between them.
func (t *dccpTypes) Set(arg string) error {
	*t = 0
next:
	for part := range strings.SplitSeq(arg, ",") {
		for i, name := range dccpTypeNames {
			if strings.EqualFold(part, name) {
				*t |= 1 << i
				continue next
			}
		}
		return fmt.Errorf("%q is none of %s", part, strings.Join(dccpTypeNames, ", "))
	}
	return nil
}

// String returns the names.
func (t *dccpTypes) String() string {
	var list []string
	for i, name := range dccpTypeNames {
		if *t&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}

// A dccpOption is the number of an option, from 1.
type dccpOption struct{ iptables.U8 }

// Set reads a number from 1 to 255.
func (o *dccpOption) Set(arg string) error {
	var n iptables.U8
	if err := n.Set(arg); err != nil || n == 0 {
		return fmt.Errorf("%q is not an option of DCCP, a number from 1 to 255", arg)
	}
	o.U8 = n
	return nil
}

func (*dccpMatch) Name() string { return "dccp" }

func (m *dccpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sport", &m.Sport, iptables.Invertible),
		iptables.Bind("dport", &m.Dport, iptables.Invertible),
		iptables.Bind("dccp-types", &m.Types, iptables.Invertible),
		iptables.Bind("dccp-option", &m.Option, iptables.Invertible),
		iptables.Alias("source-port", "sport"),
		iptables.Alias("destination-port", "dport"),
	}
}

func (*dccpMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "dccp", protocolDCCP)
}

func (m *dccpMatch) Meaning(iptables.Context) predicate.Meaning {
	const header, typeAt, invalid = 12, 8, 10
	match := predicate.All{
		firstFragment(),
		portWithin(predicate.SrcPort, m.Sport),
		portWithin(predicate.DstPort, m.Dport),
	}
	if m.Types.Present {
		var one predicate.Any
		for i := range uint64(16) {
			if m.Types.Value>>min(i, invalid)&1 == 1 {
				// Between a reserved bit group and a flag.
				one = append(one, predicate.Masked{
					Field: predicate.Field{ID: predicate.TransportByte, Arg: typeAt},
					Mask:  predicate.Number(0x1e),
					Value: predicate.Number(i << 1),
				})
			}
		}
		match = append(match, negatedIf(m.Types.Negated, one))
	}
	if m.Option.Present {
		return predicate.Meaning{Hotdrop: truncated(header), Match: predicate.Stateful{Instance: m.words()}}
	}
	return predicate.Meaning{Hotdrop: truncated(header), Match: match}
}

func (m *dccpMatch) Translate(r *translate.Rule) error {
	if m.Option.Present {
		return &translate.Untranslatable{
			Summary: "--dccp-option has no nftables counterpart",
			Detail: "nft 1.0.6 cannot look for an option of DCCP; later ones can, from Linux 6.5 on: dccp option N exists. " +
				"Remove the option, or the rule.",
			Range: m.Option.Range,
		}
	}
	addPorts(r, protocolDCCP, m.Sport, m.Dport)
	if m.Types.Present {
		m.addTypes(r)
	}
	r.FirstFragment()
	return nil
}

// addTypes adds the test of the type: nft has no sets of a field of some bits.
func (m *dccpMatch) addTypes(r *translate.Rule) {
	var tests []nftgen.Stmt
	for i := range byte(10) {
		if m.Types.Value&(1<<i) != 0 {
			tests = append(tests, nftgen.Compare{Field: nftgen.DCCPType, Op: comparison(m.Types.Negated), Value: nftgen.Value{i}})
		}
	}
	const types = 10 // that have a name
	if m.Types.Value>>types != 0 {
		op := nftgen.Ge
		if m.Types.Negated {
			op = nftgen.Lt
		}
		tests = append(tests, nftgen.Compare{Field: nftgen.DCCPType, Op: op, Value: nftgen.Value{types}})
	}
	if m.Types.Negated {
		r.Add(tests...)
		return
	}
	var alternatives [][]nftgen.Stmt
	for _, t := range tests {
		alternatives = append(alternatives, []nftgen.Stmt{t})
	}
	addAlternatives(r, alternatives)
}
