package nftgen

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Values of the cases.

func ip(s string) Value        { return netip.MustParseAddr(s).AsSlice() }
func u8(n uint8) Value         { return Value{n} }
func u16(n uint16) Value       { return binary.BigEndian.AppendUint16(nil, n) }
func u32(n uint32) Value       { return binary.BigEndian.AppendUint32(nil, n) }
func u64(n uint64) Value       { return binary.BigEndian.AppendUint64(nil, n) }
func only(v Value) Interval    { return Interval{v, v} }
func span(a, b Value) Interval { return Interval{a, b} }

func eq(f Field, v Value) Stmt       { return Compare{Field: f, Value: v} }
func ne(f Field, v Value) Stmt       { return Compare{Field: f, Op: Ne, Value: v} }
func under(f Field, m, v Value) Stmt { return Compare{Field: f, Mask: m, Value: v} }
func set(f Field, l ...Interval) Stmt {
	return OneOf{Field: f, Intervals: l}
}
func prefix(f Field, a string, bits int) Stmt { return InPrefix{Field: f, Addr: ip(a), Bits: bits} }

var (
	accept   = VerdictStmt{Kind: Accept}
	tcp      = eq(MetaL4Proto, u8(6))
	tcpOrUDP = set(MetaL4Proto, only(u8(6)), only(u8(17)))
	mac      = Value{0x02, 0, 0x5e, 0, 0x53, 1}
	ctMark   = CTMark
	metaMark = MetaMark
	counter  = Counter{}
)

// Named sets that the cases look up.
var (
	hostSet = &Set{Name: "hosts", Key: []*Datatype{ipv4Addr}, Elements: [][]Interval{{only(ip("192.0.2.7"))}, {only(ip("192.0.2.9"))}}}
	netSet  = &Set{Name: "nets", Key: []*Datatype{ipv4Addr}, Interval: true, Note: "whole networks", Elements: [][]Interval{
		{span(ip("10.0.0.0"), ip("10.255.255.255"))}, {only(ip("192.0.2.7"))}, {span(ip("198.51.100.3"), ip("198.51.100.9"))},
	}}
	wholeSet = &Set{Name: "edges", Key: []*Datatype{ipv6Addr}, Interval: true, Elements: [][]Interval{
		{span(ip("::"), ip("::5"))}, {span(ip("fe80::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))},
	}}
	touchingSet = &Set{Name: "touching", Key: []*Datatype{inetService}, Interval: true, Elements: [][]Interval{
		{span(u16(1), u16(9))}, {span(u16(10), u16(19))}, {only(u16(20))},
	}}
	markSet    = &Set{Name: "marks", Key: []*Datatype{mark}, Interval: true, Elements: [][]Interval{{span(u32(1), u32(9))}}}
	nameSet    = &Set{Name: "names", Key: []*Datatype{ifname}, Elements: [][]Interval{{only(Value("eth0"))}, {only(Value("lo"))}}}
	dynamicSet = &Set{Name: "seen", Key: []*Datatype{ipv4Addr}, Dynamic: true, Timeout: time.Minute, Size: 100}
	expirySet  = &Set{Name: "guests", Key: []*Datatype{ipv6Addr}, Dynamic: true, HasTimeout: true, Size: 10}
	pairSet    = &Set{Name: "pairs", Key: []*Datatype{ipv4Addr, inetService}, Dynamic: true, Size: 64}
	rangesSet  = &Set{Name: "ranges", Key: []*Datatype{ipv4Addr, inetService}, Interval: true, Elements: [][]Interval{
		{span(ip("10.0.0.0"), ip("10.255.255.255")), span(u16(80), u16(90))}, {only(ip("192.0.2.7")), only(u16(22))},
	}}
	caseSets = []*Set{hostSet, netSet, wholeSet, touchingSet, markSet, nameSet, dynamicSet, expirySet, pairSet, rangesSet,
		bulkHosts, bulkNets, bulkEdges, bulkRanges, bulkNames, bulkGuests, bulkMarks,
		portMap, netMap, serviceMap, rangeMap, countedMap, markMap, classMap, portMarkMap, natMap4, natMap6, natAddressMap, natPortMap4, natPortMap6}
)

// Sets of packed elements.
var (
	bulkHosts = bulkSet("bulk_hosts", []*Datatype{ipv4Addr}, false, func(b *Bulk) {
		b.Add(ip("192.0.2.7"), nil)
		b.Add(ip("10.0.0.1"), nil)
	})
	bulkNets = bulkSet("bulk_nets", []*Datatype{ipv4Addr}, true, func(b *Bulk) {
		b.Add(ip("10.0.0.0"), ip("10.255.255.255"))
		b.Add(ip("11.0.0.0"), ip("11.0.0.9"))
		b.Add(ip("192.0.2.7"), ip("192.0.2.7"))
	})
	bulkEdges = bulkSet("bulk_edges", []*Datatype{ipv6Addr}, true, func(b *Bulk) {
		b.Add(ip("::"), ip("::5"))
		b.Add(ip("fe80::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
	})
	bulkRanges = bulkSet("bulk_ranges", []*Datatype{ipv4Addr, inetProto, inetService}, true, func(b *Bulk) {
		b.Add(slices.Concat(ip("10.0.0.0"), u8(6), u16(80)), slices.Concat(ip("10.255.255.255"), u8(6), u16(90)))
		b.Add(slices.Concat(ip("192.0.2.7"), u8(17), u16(53)), slices.Concat(ip("192.0.2.7"), u8(17), u16(53)))
	})
	bulkNames = bulkSet("bulk_names", []*Datatype{ipv4Addr, ifname}, false, func(b *Bulk) {
		b.Add(slices.Concat(ip("10.0.0.0"), padName("eth0")), nil)
		b.Add(slices.Concat(ip("10.0.0.0"), padName("lo")), nil)
	})
	bulkGuests = func() *Set {
		s := bulkSet("bulk_guests", []*Datatype{ipv4Addr}, true, func(b *Bulk) {
			b.AddExtra(ip("10.0.0.0"), ip("10.0.0.255"), ElementExtra{Timeout: 90 * time.Minute, Packets: 3, Bytes: 400, Comment: "a, b"})
			b.Add(ip("10.0.1.0"), ip("10.0.1.7"))
			b.AddExtra(ip("255.0.0.0"), ip("255.255.255.255"), ElementExtra{Packets: 1 << 40})
		})
		s.Timeout, s.Counter = time.Hour, true
		return s
	}()
	bulkMarks = bulkSet("bulk_marks", []*Datatype{ipv4Addr, mark}, false, func(b *Bulk) {
		b.Add(slices.Concat(ip("10.0.0.1"), u32(7)), nil)
	})
)

func padName(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }

func bulkSet(name string, key []*Datatype, interval bool, fill func(*Bulk)) *Set {
	b := NewBulk(key, interval)
	fill(b)
	return &Set{Name: name, Key: key, Interval: interval, Bulk: b}
}

// Chains of the table in which the cases stand.
const (
	inInput       = "input"
	inPrerouting  = "prerouting"
	inPostrouting = "postrouting"
	inDstnat      = "dstnat"
	inSrcnat      = "srcnat"
)

// A ruleCase is a rule. Text and bytecode are in testdata/rules.txt.
type ruleCase struct {
	chain string // "" is the input chain
	rule  Rule
}

func c(stmts ...Stmt) ruleCase { return ruleCase{rule: Rule{Stmts: stmts}} }

func at(chain string, stmts ...Stmt) ruleCase {
	return ruleCase{chain: chain, rule: Rule{Stmts: stmts}}
}

func forFamily(f Family, stmts ...Stmt) ruleCase {
	return ruleCase{rule: Rule{Family: f, Stmts: stmts}}
}

var (
	all32 = u32(0xffffffff)
	all16 = u16(0xffff)
)

// matchCases are rules that only test.
var matchCases = []ruleCase{
	// Verdicts.
	c(accept), c(VerdictStmt{Kind: Drop}), c(VerdictStmt{Kind: Return}), c(VerdictStmt{Kind: Continue}),
	c(VerdictStmt{Kind: Jump, Chain: "user"}), c(VerdictStmt{Kind: Goto, Chain: "user"}),
	{rule: Rule{Stmts: []Stmt{accept}, Comment: "let all in, for now; #1 $x {y}"}},
	{rule: Rule{Comment: "only a comment", Stmts: []Stmt{counter}}},
	{rule: Rule{Comment: `back\slash \* \n é * at the end \`, Stmts: []Stmt{counter}}},
	{rule: Rule{Comment: strings.Repeat("x", 128), Stmts: []Stmt{counter}}},

	// Addresses.
	c(eq(IPSaddr, ip("192.0.2.7"))), c(ne(IPDaddr, ip("192.0.2.7"))),
	c(prefix(IPSaddr, "192.0.2.0", 24)), c(prefix(IPSaddr, "10.16.0.0", 12)), c(prefix(IPSaddr, "10.0.0.0", 8)),
	c(prefix(IPSaddr, "192.0.2.7", 32)), c(prefix(IPSaddr, "0.0.0.0", 0)), c(prefix(IPSaddr, "192.0.2.99", 24)),
	c(InPrefix{Field: IPDaddr, Addr: ip("10.16.0.0"), Bits: 12, Not: true}),
	c(InPrefix{Field: IPDaddr, Addr: ip("10.0.0.0"), Bits: 8, Not: true}),
	c(under(IPSaddr, ip("255.0.255.0"), ip("10.0.3.0"))),
	c(Compare{Field: IPSaddr, Mask: ip("0.0.0.255"), Op: Ne, Value: ip("0.0.0.1")}),
	c(InSpan{Field: IPSaddr, Low: ip("192.0.2.3"), High: ip("192.0.2.9")}),
	c(InSpan{Field: IPSaddr, Low: ip("10.0.0.0"), High: ip("10.255.255.255")}),
	c(InSpan{Field: IPSaddr, Low: ip("192.0.2.3"), High: ip("192.0.2.9"), Not: true}),
	c(InSpan{Field: IPSaddr, Low: ip("192.0.2.3"), High: ip("192.0.2.3"), Not: true}),
	c(eq(IP6Saddr, ip("2001:db8::7"))), c(prefix(IP6Saddr, "2001:db8::", 64)), c(prefix(IP6Daddr, "fe80::", 10)),
	c(under(IP6Saddr, ip("::ffff"), ip("::7"))), c(eq(IP6Saddr, ip("::ffff:192.0.2.7"))),
	c(eq(IPSaddr, ip("192.0.2.7")), eq(IPDaddr, ip("192.0.2.8"))),
	c(eq(IP6Saddr, ip("2001:db8::7")), eq(IP6Daddr, ip("2001:db8::8"))),
	c(eq(IP6Hoplimit, u8(64)), eq(IP6Saddr, ip("2001:db8::7"))),

	// Ports and protocols.
	c(eq(Dport(6), u16(22))), c(ne(Sport(17), u16(53))), c(InSpan{Field: Dport(6), Low: u16(1024), High: all16}),
	c(InSpan{Field: Dport(132), Low: u16(1), High: u16(9), Not: true}),
	c(Compare{Field: Dport(6), Op: Ge, Value: u16(1024)}), c(Compare{Field: Dport(6), Op: Lt, Value: u16(1024)}),
	c(tcp), c(ne(MetaL4Proto, u8(6))), c(eq(MetaL4Proto, u8(0))), c(eq(MetaL4Proto, u8(89))),
	c(tcp, eq(Dport(6), u16(22))), c(ne(MetaL4Proto, u8(17)), eq(Dport(6), u16(22))),
	c(eq(IPProtocol, u8(6)), eq(Dport(6), u16(22))), c(ne(IPProtocol, u8(6)), eq(Dport(6), u16(22))),
	c(tcpOrUDP, eq(Dport(0), u16(53))), c(tcpOrUDP, set(Dport(0), only(u16(53)), only(u16(853)))),
	c(OneOf{Field: MetaL4Proto, Intervals: []Interval{only(u8(6)), only(u8(17))}, Not: true}, eq(Dport(6), u16(22))),
	c(eq(Dport(33), u16(5))), c(eq(Sport(136), u16(5))), c(eq(Dport(0), u16(5))),
	c(eq(IPSaddr, ip("192.0.2.7")), eq(Dport(6), u16(22))), c(eq(Dport(6), u16(22)), eq(IPSaddr, ip("192.0.2.7"))),
	c(eq(Sport(6), u16(1)), eq(Dport(6), u16(2))), c(eq(Dport(6), u16(2)), eq(Sport(6), u16(1))),
	c(ne(Sport(6), u16(1)), ne(Dport(6), u16(2))), c(eq(Sport(6), u16(1)), ne(Dport(6), u16(2))),
	c(eq(Sport(6), u16(1)), counter, eq(Dport(6), u16(2))), c(eq(Dport(6), u16(2)), counter, eq(Sport(6), u16(1))),
	c(eq(Sport(6), u16(1)), eq(IPSaddr, ip("192.0.2.7")), eq(CTMark, u32(5)), eq(Dport(6), u16(2))),
	c(eq(IPProtocol, u8(6)), eq(IPTTL, u8(5)), eq(Dport(6), u16(3))), c(eq(IPFragOff, u16(0)), eq(IPTTL, u8(5)), eq(IPProtocol, u8(6))),
	c(eq(IPTTL, u8(1)), ne(IPTTL, u8(2))), c(Compare{Field: IPTTL, Op: Gt, Value: u8(5)}), c(Compare{Field: IP6Hoplimit, Op: Lt, Value: u8(5)}),
	c(Compare{Field: IPFragOff, Mask: u16(0x1fff), Op: Ne, Value: u16(0)}), c(under(IPFragOff, u16(0x1fff), u16(0))),

	// TCP flags and options, ICMP.
	c(under(TCPFlags, u8(0x17), u8(0x02))), c(Compare{Field: TCPFlags, Mask: u8(0x17), Op: Ne, Value: u8(0x02)}),
	c(under(TCPFlags, u8(0x10), u8(0x10))), c(under(TCPFlags, u8(0xff), u8(0))), c(under(TCPFlags, u8(0x3f), u8(0x29))),
	c(eq(TCPFlags, u8(0))), c(eq(TCPFlags, u8(0x12))), c(ne(TCPFlags, u8(2))), c(AnyBit{Field: TCPFlags, Bits: u8(0x05)}),
	c(tcp, Exists{Field: TCPOption(5)}), c(tcp, Exists{Field: TCPOption(2), Missing: true}), c(Exists{Field: TCPOption(254)}),
	c(eq(ICMPType, u8(8))), c(ne(ICMPType, u8(8))), c(eq(ICMPType, u8(3)), eq(ICMPCode, u8(1))), c(eq(ICMPType, u8(5))), c(eq(ICMPType, u8(99))),
	c(eq(ICMPv6Type, u8(128))), c(eq(ICMPv6Type, u8(1)), eq(ICMPv6Code, u8(4))), c(eq(MetaL4Proto, u8(1)), eq(ICMPType, u8(8))),
	c(eq(IPSaddr, ip("192.0.2.7")), eq(ICMPType, u8(8))), c(eq(ICMPType, u8(3)), ne(ICMPCode, u8(1))), c(ne(ICMPType, u8(3)), ne(ICMPCode, u8(1))),
	c(set(ICMPType, only(u8(0)), span(u8(3), u8(5)), only(u8(8)))),
	c(OneOfTuple{Fields: []Field{ICMPType, ICMPCode}, Tuples: [][]Interval{{only(u8(3)), only(u8(1))}}, Not: true}),
	c(OneOfTuple{Fields: []Field{ICMPv6Type, ICMPv6Code}, Tuples: [][]Interval{{only(u8(1)), span(u8(0), u8(3))}, {only(u8(3)), only(u8(0))}}}),

	c(eq(IPDSCP, u8(10))), c(eq(IP6DSCP, u8(46))), c(eq(IPECN, u8(3)), eq(IPTTL, u8(9))), c(ne(IP6ECN, u8(1))),
	c(eq(IPTOS, u8(16))), c(under(IPTOS, u8(0x3f), u8(16))), c(under(IP6First, u16(0xff0), u16(0x100))),
	c(eq(ESPSPI, u32(9))), c(InSpan{Field: AHSPI, Low: u32(1), High: u32(9), Not: true}), c(ne(DCCPType, u8(2))), c(eq(DCCPType, u8(15))), c(Compare{Field: DCCPType, Op: Ge, Value: u8(10)}), c(Compare{Field: IP6DSCP, Op: Lt, Value: u8(10)}),
	c(tcp, InSpan{Field: TCPMaxSeg, Low: u16(1), High: u16(9)}), c(eq(TCPMaxSeg, u16(536))), c(ne(MetaCPU, u32(1))),
	c(under(MetaRealm, u32(0xff), u32(5))), c(ne(MetaIifgroup, u32(7))), c(under(MetaOifgroup, u32(7), u32(0))),
	c(eq(AHReserved, u16(0)), eq(AHLength, u8(4))), c(ne(AHLength, u8(4)), eq(AHSPI, u32(7))), c(Exists{Field: IP6HopByHop}), c(Exists{Field: IP6Routing, Missing: true}), c(Exists{Field: IP6DestOpts}), c(Exists{Field: IP6Mobility}),
	c(InSpan{Field: IP6FragID, Low: u32(1), High: u32(9)}, eq(IP6FragReserved, u8(0)), eq(IP6FragReserved2, u8(0)), eq(IP6FragMore, u8(1))),
	c(eq(IP6RoutingType, u8(2)), InSpan{Field: IP6SegmentsLeft, Low: u8(1), High: u8(3), Not: true}, ne(IP6RoutingLength, u8(2))),
	c(eq(IP6HopByHopLength, u8(0))), c(eq(IP6DestOptsLength, u8(1))), c(InSpan{Field: IP6MobilityType, Low: u8(1), High: u8(3)}),
	c(Compare{Field: TCPUrgent, Op: Ge, Value: u16(0)}), c(Exists{Field: IP6Frag}), c(Exists{Field: IP6Frag, Missing: true}), c(eq(IP6FragOff, u16(0))), c(ne(IP6FragOff, u16(0))),
	c(eq(Dport(17), u16(53)), Exists{Field: IP6Frag, Missing: true}), c(eq(Dport(17), u16(53)), counter, eq(IP6FragOff, u16(0))),
	c(eq(IP6Saddr, ip("::7")), ne(IP6FragOff, u16(0)), eq(Dport(17), u16(53))),

	// Connections.
	c(AnyBit{Field: CTState, Bits: u32(6)}), c(AnyBit{Field: CTState, Bits: u32(8)}), c(AnyBit{Field: CTState, Bits: u32(0x41), Not: true}),
	c(eq(CTState, u32(8))), c(ne(CTState, u32(8))), c(under(CTState, u32(10), u32(8))), c(set(CTState, only(u32(2)), only(u32(8)))),
	c(AnyBit{Field: CTStatus, Bits: u32(0x30)}), c(AnyBit{Field: CTStatus, Bits: u32(0x4000)}), c(AnyBit{Field: CTStatus, Bits: u32(0x4001), Not: true}),
	c(Compare{Field: CTStatus, Op: Ge, Value: u32(0)}), c(under(CTStatus, u32(2), u32(0))),
	c(eq(CTMark, u32(5))), c(under(CTMark, u32(0xff), u32(5))), c(Compare{Field: CTMark, Mask: u32(0xff), Op: Ne, Value: u32(5)}),
	c(eq(CTDirection, u8(0))), c(eq(CTDirection, u8(1))), c(eq(CTExpiration, u32(5000))),
	c(InSpan{Field: CTExpiration, Low: u32(5000), High: u32(100999)}), c(Compare{Field: CTExpiration, Op: Ge, Value: u32(60000)}),
	c(InSpan{Field: CTExpiration, Low: u32(5000), High: u32(100999), Not: true}),
	c(eq(CTProtocol, u8(6))), c(ne(CTProtocol, u8(17))), c(eq(CTSaddr(false, IP), ip("192.0.2.7"))), c(eq(CTDaddr(true, IP6), ip("2001:db8::7"))),
	c(prefix(CTSaddr(true, IP), "192.0.2.0", 24)), c(prefix(CTDaddr(false, IP), "10.16.0.0", 12)), c(prefix(CTDaddr(false, IP6), "2001:db8::", 32)),
	c(under(CTSaddr(false, IP), ip("255.0.0.255"), ip("10.0.0.1"))), c(InPrefix{Field: CTSaddr(false, IP), Addr: ip("192.0.2.0"), Bits: 24, Not: true}),
	c(tcpOrUDP, eq(CTDport(false), u16(22))), c(tcp, InSpan{Field: CTSport(true), Low: u16(1), High: u16(9)}),
	c(tcp, InSpan{Field: CTSport(true), Low: u16(1), High: u16(9), Not: true}), c(tcp, ne(CTDport(true), u16(9))),
	c(InSpan{Field: CTPackets(CTOriginal), Low: u64(5), High: u64(100)}), c(Compare{Field: CTBytes(CTBoth), Op: Gt, Value: u64(5)}),
	c(Compare{Field: CTAvgPkt(CTReply), Op: Lt, Value: u64(1 << 33)}), c(eq(CTPackets(CTReply), u64(7))),
	c(InSpan{Field: CTBytes(CTOriginal), Low: u64(5), High: u64(100), Not: true}),

	// Circumstances.
	c(IfName{Field: MetaIifname, Name: "eth0"}), c(IfName{Field: MetaIifname, Name: "eth", Wildcard: true}),
	c(IfName{Field: MetaOifname, Name: "eth", Wildcard: true, Op: Ne}), c(IfName{Field: MetaOifname, Name: "x*"}), c(IfName{Field: MetaOifname, Name: "*"}),
	c(IfName{Field: MetaOifname, Name: "x*", Wildcard: true}), c(IfName{Field: MetaOifname, Name: "a*b", Op: Ne}), c(IfName{Field: MetaOifname, Name: `a\b`}),
	c(IfName{Field: MetaOifname, Name: "INVAL/D"}), c(IfName{Field: MetaOifname, Name: "a b$c#d"}), c(IfName{Field: MetaOifname, Name: "abcdefghijklmno"}),
	c(IfName{Field: MetaOifname, Name: "abcdefghijklmn", Wildcard: true}), c(IfName{Field: MetaOifname, Name: "é"}),
	c(set(MetaIifname, only(Value("eth0")), only(Value("lo")))),
	c(eq(MetaMark, u32(5))), c(under(MetaMark, u32(0xff), u32(5))), c(InSpan{Field: MetaMark, Low: u32(1), High: u32(5)}),
	c(Compare{Field: MetaMark, Mask: u32(0xff), Op: Lt, Value: u32(5)}), c(eq(MetaMark, all32)), c(set(MetaMark, only(u32(1)), only(u32(2)))),
	c(OneOf{Field: MetaMark, Intervals: []Interval{only(u32(1)), only(u32(2)), span(u32(5), u32(9))}, Not: true}),
	c(eq(MetaLength, u32(100))), c(InSpan{Field: MetaLength, Low: u32(100), High: u32(200)}), c(InSpan{Field: MetaLength, Low: u32(0), High: u32(200), Not: true}),
	c(eq(MetaPktType, u8(0))), c(eq(MetaPktType, u8(3))), c(ne(MetaPktType, u8(2))), c(set(MetaPktType, only(u8(0)), only(u8(1)))), c(eq(MetaPktType, u8(6))),
	c(eq(MetaSKUID, u32(0))), c(InSpan{Field: MetaSKGID, Low: u32(100), High: u32(4294967294)}), c(ne(MetaSKUID, u32(1000))),
	c(Compare{Field: MetaRandom, Mask: u32(0x7fffffff), Op: Lt, Value: u32(0x1000)}), c(Compare{Field: MetaRandom, Op: Ge, Value: u32(0x80000000)}),
	c(eq(NumgenInc(5), u32(3))), c(ne(NumgenInc(5), u32(0))), c(Compare{Field: NumgenInc(5), Op: Lt, Value: u32(3)}),
	c(eq(FibType(false, ""), u32(2))), c(ne(FibType(true, ""), u32(1))), c(eq(FibType(true, "iif"), u32(2))),
	c(set(FibType(false, ""), only(u32(3)), only(u32(5)), only(u32(9)))), c(eq(FibType(false, ""), u32(9))), c(eq(FibType(false, ""), u32(0))),
	at(inPrerouting, eq(EtherSaddr, mac)), at(inPrerouting, ne(EtherSaddr, mac), eq(Dport(6), u16(22))),
	at(inPrerouting, eq(EtherSaddr, mac), eq(IPSaddr, ip("192.0.2.7"))), at(inPrerouting, eq(IPSaddr, ip("192.0.2.7")), eq(EtherSaddr, mac)),
	at(inPrerouting, IfName{Field: MetaIifname, Name: "a"}, eq(EtherSaddr, mac), eq(ICMPv6Type, u8(128))),

	// Families in a table of both.
	forFamily(IP, accept), forFamily(IP6, eq(Dport(6), u16(22))), forFamily(IP, eq(Dport(6), u16(22)), eq(IPSaddr, ip("192.0.2.7"))),
	forFamily(IP, Limit{Rate: 3, Unit: time.Second, Burst: 5}, eq(IPSaddr, ip("192.0.2.7"))), forFamily(IP, eq(MetaL4Proto, u8(1)), eq(ICMPType, u8(8))),
	forFamily(IP6, eq(ICMPv6Type, u8(128))), forFamily(IP, eq(CTSaddr(false, IP), ip("192.0.2.7"))), forFamily(IP6, eq(MetaNFProto, u8(10)), accept),

	// Sets.
	c(set(Dport(6), only(u16(22)), only(u16(80)))), c(set(Dport(6), only(u16(22)))), c(set(Dport(6), span(u16(22), u16(25)))),
	c(OneOf{Field: Dport(6), Intervals: []Interval{only(u16(22))}, Not: true}), c(set(Dport(6), span(u16(1), u16(4)), only(u16(5)))),
	c(set(Dport(6), only(u16(22)), span(u16(80), u16(90)))), c(OneOf{Field: Sport(17), Intervals: []Interval{only(u16(0)), span(u16(80), all16)}, Not: true}),
	c(set(IPSaddr, span(ip("10.0.0.0"), ip("10.255.255.255")), only(ip("192.0.2.7")), span(ip("198.51.100.3"), ip("198.51.100.9")))),
	c(set(IPSaddr, span(ip("0.0.0.0"), ip("1.1.1.1")), span(ip("255.0.0.0"), ip("255.255.255.255")))),
	c(set(IP6Saddr, only(ip("::")), span(ip("::ffff:0.0.0.0"), ip("::ffff:255.255.255.255")), span(ip("ff00::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))),
	c(set(IPSaddr, span(ip("10.0.0.0"), ip("10.255.255.255")), span(ip("11.0.0.0"), ip("11.255.255.255")))),
	c(OneOfTuple{Fields: []Field{IPSaddr, Dport(6)}, Tuples: [][]Interval{{only(ip("192.0.2.7")), only(u16(22))}, {only(ip("192.0.2.8")), only(u16(80))}}}),
	c(OneOfTuple{Fields: []Field{IPSaddr, Dport(6)}, Tuples: [][]Interval{{span(ip("10.0.0.0"), ip("10.255.255.255")), only(u16(22))}, {only(ip("192.0.2.8")), span(u16(80), u16(90))}}}),
	c(OneOfTuple{Fields: []Field{IP6Saddr, Dport(17), MetaL4Proto}, Tuples: [][]Interval{{only(ip("::7")), only(u16(22)), only(u8(17))}}}),
	c(OneOfTuple{Fields: []Field{MetaMark, IPSaddr}, Tuples: [][]Interval{{span(u32(5), u32(7)), span(ip("10.0.0.0"), ip("10.255.255.255"))}}}),
	c(OneOfTuple{Fields: []Field{MetaIifname, IPSaddr}, Tuples: [][]Interval{{only(Value("eth0")), span(ip("10.0.0.0"), ip("10.255.255.255"))}}}),
	c(OneOfTuple{Fields: []Field{IPSaddr, MetaMark}, Tuples: [][]Interval{{only(ip("10.0.0.0")), only(u32(7))}}}),
	c(InSet{Fields: []Field{IPSaddr}, Set: hostSet}), c(InSet{Fields: []Field{IPDaddr}, Set: netSet, Not: true}), c(InSet{Fields: []Field{IP6Saddr}, Set: wholeSet}),
	c(InSet{Fields: []Field{IPSaddr}, Masks: []Value{ip("255.255.255.0")}, Set: hostSet}), c(InSet{Fields: []Field{Dport(6)}, Set: touchingSet}),
	c(InSet{Fields: []Field{IPSaddr, Dport(6)}, Set: rangesSet}), c(InSet{Fields: []Field{IPSaddr, Dport(6)}, Masks: []Value{ip("255.255.255.0"), nil}, Set: pairSet}),
	c(InSet{Fields: []Field{MetaMark}, Set: markSet}), c(InSet{Fields: []Field{CTMark}, Masks: []Value{u32(0xff)}, Set: markSet, Not: true}), c(InSet{Fields: []Field{MetaIifname}, Set: nameSet}),
}

// actionCases are rules that do something.
var actionCases = []ruleCase{
	c(counter), c(Counter{Packets: 5, Bytes: 600}),
	c(Limit{Rate: 3, Unit: time.Minute, Burst: 10}), c(Limit{Rate: 1, Unit: time.Second, Burst: 1}), c(Limit{Rate: 7, Unit: time.Hour, Burst: 5, Over: true}),
	c(Limit{Rate: 7, Unit: 24 * time.Hour, Burst: 5}), c(Limit{Rate: 7, Unit: 7 * 24 * time.Hour, Burst: 5}),
	c(Log{Level: 4}), c(Log{Prefix: "dropped: ", Level: 7}), c(Log{Level: 0}), c(Log{Level: 6, Flags: 0x2f}), c(Log{Level: 4, Flags: 0x01}), c(Log{Level: 4, Flags: 0x2a}),
	c(Log{Prefix: `a 'b' #c; {d} @e %f`, Level: 4}),
	c(Log{Prefix: "costs $5, not $x$$ ", Level: 4}), c(Log{Prefix: `back\slash \* \n é * at the end \`, Level: 4}), c(Log{Prefix: strings.Repeat("x", 127), Level: 4}),
	c(LogGroup{}), c(LogGroup{Group: 65535, Prefix: "to $group "}), c(LogGroup{Group: 5, Prefix: "x", Snaps: true, Threshold: 65535}), c(LogGroup{Snaps: true, SnapLen: 64}),
	c(tcp, Reject{Reset: true}), c(Reject{Reset: true}), c(eq(Dport(6), u16(113)), Reject{Reset: true}),
	forFamily(IP, Reject{Code: 3}), forFamily(IP, Reject{Code: 13}), forFamily(IP6, Reject{Code: 4}), c(eq(IP6Saddr, ip("2001:db8::7")), Reject{Code: 6}),
	c(Reject{Any: true}), c(Reject{Any: true, Code: 1}), c(tcp, Reject{Any: true, Code: 2}), c(eq(MetaMark, u32(1)), Reject{Any: true, Code: 3}),
	forFamily(IP, Reject{Code: 10}), forFamily(IP, tcp, Reject{Code: 0}), forFamily(IP6, Reject{Code: 1}),
	c(Assign{Field: metaMark, Xor: u32(5)}), c(Assign{Field: metaMark}), c(Assign{Field: metaMark, Keep: u32(0), Xor: u32(5)}),
	c(Assign{Field: metaMark, Keep: u32(0xffffff00), Xor: u32(5)}), c(Assign{Field: ctMark, Keep: u32(0xffff), Xor: u32(0x15)}),
	c(Assign{Field: ctMark, Keep: u32(0xffff)}), c(Assign{Field: ctMark, Keep: all32, Xor: u32(5)}), c(Assign{Field: ctMark, Keep: all32}),
	c(Assign{Field: ctMark, From: &metaMark}), c(Assign{Field: metaMark, From: &ctMark, Take: all32}), c(Assign{Field: metaMark, From: &ctMark, Take: u32(0xff)}),
	c(Assign{Field: metaMark, From: &ctMark, Shift: 8}), c(Assign{Field: metaMark, From: &ctMark, Shift: -3}),
	c(Assign{Field: metaMark, From: &ctMark, Take: u32(0xff), Shift: 8}), c(Assign{Field: metaMark, From: &ctMark, Shift: 8, Xor: u32(5)}),
	c(Assign{Field: metaMark, From: &ctMark, Take: u32(0xff), Shift: -4, Xor: u32(5)}), c(Assign{Field: metaMark, From: &ctMark, Take: u32(0xff), Xor: u32(0x101)}),
	c(SetField{IPTTL, u8(5)}), c(SetField{IPDSCP, u8(63)}), c(SetField{IPECN, u8(2)}), c(eq(IPTTL, u8(5)), SetField{IPTTL, u8(255)}),
	c(SetField{IP6Hoplimit, u8(5)}), c(SetField{IP6DSCP, u8(63)}), c(SetField{IP6ECN, u8(3)}), c(eq(IP6DSCP, u8(5)), SetField{IP6DSCP, u8(0)}),
	forFamily(IP6, SetField{NetworkBytes(IP6, 8, 6), Value{0x20, 1, 0xd, 0xb8, 0, 1}}), forFamily(IP6, SetField{NetworkBits(IP6, 14, 3), u8(5)}),
	forFamily(IP6, eq(IP6NextHeader, u8(58)), SetField{TransportBytes(IP6, 32, 2), Value{0, 0}}, SetField{TransportBits(IP6, 34, 4), u8(9)}),
	forFamily(IP6, MapByte{PairMap{NetworkBytes(IP6, 14, 1), []Pair{{1, 2}, {2, 255}}}}),
	forFamily(IP6, eq(IP6NextHeader, u8(58)), MapByte{PairMap{TransportBytes(IP6, 38, 1), []Pair{{0, 9}}}}),
	c(Assign{Field: MetaPriority, Xor: u32(0x10002)}), c(Assign{Field: MetaPriority}), c(Assign{Field: MetaPriority, Xor: all32}),
	c(Assign{Field: MetaPriority, Xor: u32(0xabcd0001)}), c(Assign{Field: MetaPriority, Xor: u32(0x1)}), c(Trace{}),
	at(inPrerouting, Notrack{}), c(tcp, SetMSS{MSS: 1400}), at(inSrcnat, tcp, under(TCPFlags, u8(6), u8(2)), SetMSS{}),
	c(Update{Op: OpAdd, Set: dynamicSet, Fields: []Field{IPSaddr}}), c(Update{Op: OpUpdate, Set: dynamicSet, Fields: []Field{IPSaddr}, Timeout: 90 * time.Second}),
	c(Update{Op: OpDelete, Set: dynamicSet, Fields: []Field{IPSaddr}}), c(Update{Op: OpUpdate, Set: expirySet, Fields: []Field{IP6Saddr}, Masks: []Value{ip("ffff:ffff:ffff:ffff::")}, Timeout: 1500 * time.Millisecond}),
	c(Update{Op: OpUpdate, Set: dynamicSet, Fields: []Field{IPSaddr}, Stmts: []Stmt{Limit{Rate: 5, Unit: time.Second, Burst: 3}}}),
	c(Update{Op: OpAdd, Set: dynamicSet, Fields: []Field{IPSaddr}, Timeout: time.Hour, Stmts: []Stmt{Limit{Rate: 5, Unit: time.Second, Burst: 3, Over: true}, Counter{}}}),
	c(Quota{Bytes: 500}), c(Quota{Bytes: 1<<63 - 1, Over: true}), c(Quota{}),
	c(ConnLimit{Count: 3}), c(ConnLimit{Count: 3, Over: true}),
	c(Update{Op: OpAdd, Set: pairSet, Fields: []Field{IPSaddr, Dport(6)}, Masks: []Value{ip("255.255.0.0"), nil}}),

	// NAT.
	at(inDstnat, NAT{Destination: true, Low: ip("192.0.2.7")}), at(inDstnat, eq(IPSaddr, ip("192.0.2.9")), NAT{Destination: true, Low: ip("192.0.2.7"), High: ip("192.0.2.7")}),
	at(inDstnat, tcp, NAT{Destination: true, Low: ip("192.0.2.7"), LowPort: 80}), at(inDstnat, tcp, NAT{Destination: true, Low: ip("192.0.2.7"), High: ip("192.0.2.9"), LowPort: 80, HiPort: 90, Flags: NATFlags{Random: true, Persistent: true}}),
	at(inDstnat, tcpOrUDP, NAT{Destination: true, Low: ip("192.0.2.7"), High: ip("192.0.2.9"), LowPort: 80, HiPort: 80}),
	at(inDstnat, NAT{Destination: true, Low: ip("192.0.2.7"), High: ip("192.0.2.9"), Flags: NATFlags{Random: true, FullyRandom: true}}),
	at(inDstnat, NAT{Destination: true, Low: ip("2001:db8::7")}), at(inDstnat, tcp, NAT{Destination: true, Low: ip("2001:db8::7"), LowPort: 80}),
	at(inDstnat, tcp, NAT{Destination: true, Low: ip("2001:db8::7"), High: ip("2001:db8::9"), LowPort: 80, HiPort: 90}),
	at(inDstnat, tcp, NAT{Destination: true, LowPort: 80}), at(inDstnat, tcp, NAT{Destination: true, LowPort: 80, HiPort: 90, Flags: NATFlags{Random: true}}),
	{chain: inDstnat, rule: Rule{Family: IP, Stmts: []Stmt{tcp, NAT{Destination: true, LowPort: 80}}}},
	at(inDstnat, NAT{Destination: true, Low: ip("10.0.0.0"), Prefix: 24}), at(inDstnat, NAT{Destination: true, Low: ip("2001:db8::"), Prefix: 64}),
	at(inDstnat, NAT{Destination: true, Low: ip("10.0.0.0"), Prefix: 13}),
	at(inDstnat, tcp, NAT{Destination: true, Low: ip("192.0.2.7"), Map: ports(Dport(6), 80, 8080)}), at(inDstnat, tcp, NAT{Destination: true, Map: ports(Dport(6), 0, 5, 65535, 0), Flags: NATFlags{Persistent: true}}),
	at(inDstnat, tcp, NAT{Destination: true, Low: ip("2001:db8::7"), High: ip("2001:db8::9"), Map: ports(Dport(6), 80, 8080, 81, 8081)}),
	at(inDstnat, tcp, NAT{Destination: true, Low: ip("192.0.2.7"), FromZero: true}), at(inDstnat, tcp, NAT{Destination: true, FromZero: true, HiPort: 9}), at(inDstnat, tcp, Redirect{FromZero: true, HiPort: 9}), at(inSrcnat, tcp, Masquerade{FromZero: true}),
	c(tcp, SetMSS{Zero: true}),
	at(inDstnat, Redirect{}), at(inDstnat, Redirect{Flags: NATFlags{Random: true}}), at(inDstnat, tcp, Redirect{LowPort: 80}), at(inDstnat, tcp, Redirect{LowPort: 80, HiPort: 90, Flags: NATFlags{Random: true}}),
	at(inSrcnat, NAT{Low: ip("192.0.2.7"), Flags: NATFlags{Persistent: true}}), at(inSrcnat, NAT{Low: ip("10.0.0.0"), Prefix: 24}), at(inSrcnat, tcp, NAT{Low: ip("192.0.2.7"), LowPort: 1024, HiPort: 2048}),
	at(inSrcnat, Masquerade{}), at(inSrcnat, Masquerade{Flags: NATFlags{Random: true, FullyRandom: true}}), at(inSrcnat, tcp, Masquerade{LowPort: 1024}),
	at(inSrcnat, tcp, Masquerade{LowPort: 1024, HiPort: 2048, Flags: NATFlags{Random: true}}),
}

// ports makes a map of ports from pairs.
func ports(f Field, pairs ...uint16) *PairMap {
	m := &PairMap{Field: f}
	for i := 0; i < len(pairs); i += 2 {
		m.Pairs = append(m.Pairs, Pair{pairs[i], pairs[i+1]})
	}
	return m
}
