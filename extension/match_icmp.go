package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v4, "icmp", func() iptables.Match { return new(icmpMatch) })
	registerProtocolMatch(protocolICMP, "icmp")
}

var (
	_ iptsim.Meaning       = (*icmpMatch)(nil)
	_ translate.Translator = (*icmpMatch)(nil)
	_ iptables.Validator   = (*icmpMatch)(nil)
)

// protocolICMP is the protocol number of ICMP (RFC 792).
const protocolICMP = 1

// icmpMatch is "-m icmp": type and code of an ICMP message.
//
// Type 255 stands for any type and any code. Later fragments never match, and a
// message of less than 8 bytes is dropped on the spot.
//
// Kernel: net/netfilter/xt_tcpudp.c, icmp_match.
type icmpMatch struct {
	Type iptables.Opt[icmpv4Type]
}

// An icmpv4Type is a type of ICMP.
type icmpv4Type struct{ icmpType }

// icmpAny is the type that stands for any.
const icmpAny = 255

// icmpNames are the names of RFC 792 and its successors, in the spelling of
// iptables.
var icmpNames = []icmpName{
	{"any", icmpAnyCode(icmpAny)},
	{"echo-reply", icmpAnyCode(0)},
	{"pong", icmpAnyCode(0)},
	{"destination-unreachable", icmpAnyCode(3)},
	{"network-unreachable", icmpTypeCode(3, 0)},
	{"host-unreachable", icmpTypeCode(3, 1)},
	{"protocol-unreachable", icmpTypeCode(3, 2)},
	{"port-unreachable", icmpTypeCode(3, 3)},
	{"fragmentation-needed", icmpTypeCode(3, 4)},
	{"source-route-failed", icmpTypeCode(3, 5)},
	{"network-unknown", icmpTypeCode(3, 6)},
	{"host-unknown", icmpTypeCode(3, 7)},
	{"network-prohibited", icmpTypeCode(3, 9)},
	{"host-prohibited", icmpTypeCode(3, 10)},
	{"TOS-network-unreachable", icmpTypeCode(3, 11)},
	{"TOS-host-unreachable", icmpTypeCode(3, 12)},
	{"communication-prohibited", icmpTypeCode(3, 13)},
	{"host-precedence-violation", icmpTypeCode(3, 14)},
	{"precedence-cutoff", icmpTypeCode(3, 15)},
	{"source-quench", icmpAnyCode(4)},
	{"redirect", icmpAnyCode(5)},
	{"network-redirect", icmpTypeCode(5, 0)},
	{"host-redirect", icmpTypeCode(5, 1)},
	{"TOS-network-redirect", icmpTypeCode(5, 2)},
	{"TOS-host-redirect", icmpTypeCode(5, 3)},
	{"echo-request", icmpAnyCode(8)},
	{"ping", icmpAnyCode(8)},
	{"router-advertisement", icmpAnyCode(9)},
	{"router-solicitation", icmpAnyCode(10)},
	{"time-exceeded", icmpAnyCode(11)},
	{"ttl-exceeded", icmpAnyCode(11)},
	{"ttl-zero-during-transit", icmpTypeCode(11, 0)},
	{"ttl-zero-during-reassembly", icmpTypeCode(11, 1)},
	{"parameter-problem", icmpAnyCode(12)},
	{"ip-header-bad", icmpTypeCode(12, 0)},
	{"required-option-missing", icmpTypeCode(12, 1)},
	{"timestamp-request", icmpAnyCode(13)},
	{"timestamp-reply", icmpAnyCode(14)},
	{"address-mask-request", icmpAnyCode(17)},
	{"address-mask-reply", icmpAnyCode(18)},
}

// Set reads a name, "type" or "type/code".
func (t *icmpv4Type) Set(arg string) (err error) {
	t.icmpType, err = parseICMPType(arg, icmpNames)
	return err
}

// String returns "any", "type" or "type/code".
func (t *icmpv4Type) String() string {
	if t.Type == icmpAny {
		return "any"
	}
	return t.icmpType.String()
}

func (*icmpMatch) Name() string { return "icmp" }

func (m *icmpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("icmp-type", &m.Type, iptables.Required|iptables.Invertible),
	}
}

func (*icmpMatch) Validate(c iptables.Context) []iptables.Problem {
	return requireProtocol(c, "icmp", protocolICMP)
}

func (m *icmpMatch) Meaning(iptables.Context) predicate.Meaning {
	if m.Type.Value.Type == icmpAny {
		return icmpMeaning(predicate.Const(true), m.Type.Negated)
	}
	return icmpMeaning(icmpWithin(m.Type.Value.icmpType), m.Type.Negated)
}

// icmpWithin holds for messages of a type with one of its codes.
func icmpWithin(t icmpType) predicate.Predicate {
	return predicate.All{
		predicate.Equal(predicate.Field{ID: predicate.ICMPType}, predicate.Number(uint64(t.Type))),
		predicate.Between{
			Field: predicate.Field{ID: predicate.ICMPCode},
			Low:   predicate.Number(uint64(t.Low)),
			High:  predicate.Number(uint64(t.High)),
		},
	}
}

// icmpMeaning puts a test of type and code between the conditions that ICMP and
// ICMPv6 share: both headers have 8 bytes.
func icmpMeaning(test predicate.Predicate, negated bool) predicate.Meaning {
	return predicate.Meaning{
		Hotdrop: truncated(8),
		Match:   predicate.All{firstFragment(), negatedIf(negated, test)},
	}
}

func (m *icmpMatch) Translate(r *translate.Rule) error {
	switch {
	case m.Type.Value.Type != icmpAny:
		r.Add(icmpTests(nftgen.ICMPType, nftgen.ICMPCode, m.Type.Value.icmpType, m.Type.Negated)...)
	case m.Type.Negated:
		r.Never()
	}
	r.FirstFragment()
	return nil
}

// icmpTests are the tests of a type with all codes or one.
func icmpTests(typeField, codeField nftgen.Field, t icmpType, negated bool) []nftgen.Stmt {
	kind, code := nftgen.Value{t.Type}, nftgen.Value{t.Low}
	switch {
	case t.Low != t.High:
		return []nftgen.Stmt{nftgen.Compare{Field: typeField, Op: comparison(negated), Value: kind}}
	case negated:
		// Either may differ.
		return []nftgen.Stmt{nftgen.OneOfTuple{
			Fields: []nftgen.Field{typeField, codeField},
			Tuples: [][]nftgen.Interval{{{Low: kind, High: kind}, {Low: code, High: code}}},
			Not:    true,
		}}
	}
	return []nftgen.Stmt{
		nftgen.Compare{Field: typeField, Op: nftgen.Eq, Value: kind},
		nftgen.Compare{Field: codeField, Op: nftgen.Eq, Value: code},
	}
}
