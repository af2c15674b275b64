package nftgen

import (
	"encoding/binary"
	"net/netip"
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
func masked4(f Field, m, v Value) Stmt { return Compare{Field: f, Mask: m, Value: v} }

var (
	accept   = VerdictStmt{Kind: Accept}
	tcp      = eq(MetaL4Proto, u8(6))
	tcpOrUDP = OneOf{Field: MetaL4Proto, Intervals: []Interval{only(u8(6)), only(u8(17))}}
)

// Named sets that the cases look up.
var (
	hostSet = &Set{Name: "hosts", Key: []*Datatype{ipv4Addr}, Elements: [][]Interval{{only(ip("192.0.2.7"))}, {only(ip("192.0.2.9"))}}}
	netSet  = &Set{Name: "nets", Key: []*Datatype{ipv4Addr}, Interval: true, Elements: [][]Interval{
		{span(ip("10.0.0.0"), ip("10.255.255.255"))}, {only(ip("192.0.2.7"))}, {span(ip("198.51.100.3"), ip("198.51.100.9"))},
	}}
	dynamicSet = &Set{Name: "seen", Key: []*Datatype{ipv4Addr}, Dynamic: true, Timeout: time.Minute, Size: 100}
	pairSet    = &Set{Name: "pairs", Key: []*Datatype{ipv4Addr, inetService}, Dynamic: true, Size: 64}
	caseSets   = []*Set{hostSet, netSet, dynamicSet, pairSet}
)
