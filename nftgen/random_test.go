package nftgen

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"nftmigrate/internal/testkit"
)

var seed = flag.Uint64("seed", 1, "seed of the random rulesets; 0 is a new one")

// catalogueFields are all fields, those with parameters once or twice.
var catalogueFields = []Field{
	IPSaddr, IPDaddr, IPProtocol, IPTTL, IPFragOff, IP6Saddr, IP6Daddr, IP6Hoplimit, EtherSaddr, EtherDaddr, TransportByte7, TransportByte11, TCPFlags, ICMPType, ICMPCode,
	ICMPv6Type, ICMPv6Code, Sport(6), Dport(6), Sport(17), Dport(17), Sport(132), Dport(136), Sport(33), Dport(0), Sport(0),
	MetaMark, MetaLength, MetaL4Proto, MetaNFProto, MetaIifname, MetaOifname, MetaPktType, MetaSKUID, MetaSKGID, MetaRandom,
	CTState, CTStatus, CTMark, CTDirection, CTExpiration, CTProtocol, CTSaddr(false, IP), CTSaddr(true, IP6), CTDaddr(true, IP),
	CTDaddr(false, IP6), CTSport(false), CTDport(true), CTPackets(CTOriginal), CTPackets(CTBoth), CTBytes(CTReply), CTAvgPkt(CTBoth),
	IPDSCP, IPECN, IP6DSCP, IP6ECN, IPTOS, IP6First, ESPSPI, AHSPI, DCCPType, AHLength, AHReserved, IP6FragID, IP6FragReserved, IP6FragReserved2, IP6FragMore, IP6RoutingType, IP6SegmentsLeft, IP6RoutingLength,
	IP6HopByHopLength, IP6DestOptsLength, IP6MobilityType, TCPMaxSeg, TCPUrgent, MetaCPU, MetaRealm, MetaIifgroup, MetaOifgroup,
	FibType(false, ""), FibType(true, "iif"), NumgenInc(2), NumgenInc(1000),
}

// A maker makes random rules.
type maker struct{ *rand.Rand }

func (m maker) pick(n int) bool { return m.IntN(n) == 0 }

func (m maker) value(t *Datatype) Value {
	if t.text {
		names := []string{"eth0", "lo", "ppp*", "br-lan.7", "w", "a*b", "x y"}
		return Value(names[m.IntN(len(names))])
	}
	v := make(Value, t.Bytes)
	switch m.IntN(4) {
	case 0: // small
		v[len(v)-1] = byte(m.IntN(20))
	case 1: // near the greatest
		for i := range v {
			v[i] = 0xff
		}
		v[len(v)-1] -= byte(m.IntN(3))
	default:
		for i := range v {
			v[i] = byte(m.Uint32())
		}
	}
	return v
}

func (m maker) interval(t *Datatype) Interval {
	a, b := m.value(t), m.value(t)
	if t.bits != nil {
		// nft lists elements of several flags in the order of a hash.
		a = make(Value, t.Bytes)
		a[t.Bytes-1] = 1 << m.IntN(8)
	}
	if t.text || t.bits != nil || m.pick(2) {
		return only(a)
	}
	if t.prefixes && m.pick(2) {
		mask := prefixMask(t.Bytes, m.IntN(8*t.Bytes+1))
		return span(and(a, mask), or(a, not(mask)))
	}
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	return span(a, b)
}

// intervals returns up to n sorted intervals that do not overlap.
func (m maker) intervals(t *Datatype, n int) []Interval {
	var list []Interval
	for range 1 + m.IntN(n) {
		list = append(list, m.interval(t))
	}
	slices.SortFunc(list, func(a, b Interval) int { return bytes.Compare(a.Low, b.Low) })
	out := list[:1]
	for _, i := range list[1:] {
		if bytes.Compare(out[len(out)-1].High, i.Low) < 0 {
			out = append(out, i)
		}
	}
	return out
}

func (m maker) match() Stmt {
	f := catalogueFields[m.IntN(len(catalogueFields))]
	t := f.Type
	invert := m.pick(3)
	switch m.IntN(9) {
	case 8:
		set, fields, masks := m.key()
		return InSet{Fields: fields, Masks: masks, Set: set, Not: invert}
	case 0:
		return InPrefix{Field: f, Addr: m.value(t), Bits: m.IntN(8*t.Bytes + 1), Not: invert}
	case 1:
		i := m.interval(t)
		return InSpan{Field: f, Low: i.Low, High: i.High, Not: invert}
	case 2:
		return AnyBit{Field: f, Bits: m.value(t), Not: invert}
	case 3:
		return OneOf{Field: f, Intervals: m.intervals(t, 5), Not: invert}
	case 4:
		return m.tuple(f, invert)
	case 5:
		return Compare{Field: f, Mask: m.value(t), Op: Op(m.IntN(6)), Value: m.value(t)}
	case 6:
		return IfName{Field: f, Name: string(m.value(ifname)), Wildcard: m.pick(2), Op: Op(m.IntN(2))}
	}
	return Compare{Field: f, Op: Op(m.IntN(6)), Value: m.value(t)}
}

func (m maker) tuple(first Field, invert bool) Stmt {
	s := OneOfTuple{Fields: []Field{first}, Not: invert}
	for range 1 + m.IntN(2) {
		s.Fields = append(s.Fields, catalogueFields[m.IntN(len(catalogueFields))])
	}
	ranges := m.pick(2)
	var tuple []Interval
	for _, f := range s.Fields {
		i := m.interval(f.Type)
		if !ranges {
			i.High = i.Low
		}
		tuple = append(tuple, i)
	}
	s.Tuples = [][]Interval{tuple}
	return s
}

// key returns a named set and fields to look up in it.
func (m maker) key() (*Set, []Field, []Value) {
	set := caseSets[m.IntN(len(caseSets))]
	var fields []Field
	masks := make([]Value, len(set.Key))
	for i, t := range set.Key {
		for len(fields) == i {
			if f := catalogueFields[m.IntN(len(catalogueFields))]; f.Type == t {
				fields = append(fields, f)
			}
		}
		if m.pick(3) {
			masks[i] = m.value(t)
		}
	}
	return set, fields, masks
}

func (m maker) action() Stmt {
	mask := func() Value {
		if m.pick(3) {
			return nil
		}
		return m.value(mark)
	}
	fields := []Field{MetaMark, CTMark}
	from := &fields[m.IntN(2)]
	switch m.IntN(10) {
	case 9:
		set, fields, masks := m.key()
		return Update{Op: UpdateOp(m.IntN(3)), Set: set, Fields: fields, Masks: masks, Timeout: time.Duration(m.IntN(2)*m.IntN(1e6)) * time.Millisecond}
	case 0:
		return Counter{Packets: m.Uint64() >> 1, Bytes: m.Uint64() >> 1}
	case 1:
		return Limit{Rate: 1 + uint64(m.IntN(9999)), Unit: []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour}[m.IntN(4)], Burst: 1 + uint32(m.IntN(99)), Bytes: m.pick(3), Over: m.pick(2)}
	case 2:
		return Log{Prefix: []string{"", "in ", "a b: ", "x"}[m.IntN(4)], Level: uint8(m.IntN(8)), Flags: uint8(m.IntN(16))}
	case 3:
		return Assign{Field: fields[m.IntN(2)], Keep: mask(), Xor: mask()}
	case 4:
		return Assign{Field: fields[m.IntN(2)], From: from, Take: mask(), Xor: mask(), Shift: m.IntN(63) - 31}
	case 5:
		return Assign{Field: fields[m.IntN(2)], From: from, Take: mask(), Xor: mask()}
	case 6:
		return Reject{Code: []uint8{0, 1, 3, 13}[m.IntN(4)]}
	case 7:
		return VerdictStmt{Kind: Jump, Chain: "user"}
	}
	return VerdictStmt{Kind: []VerdictKind{Accept, Drop, Return, Continue}[m.IntN(4)]}
}

func (m maker) rule() Rule {
	r := Rule{Family: []Family{0, IP, IP6}[m.IntN(3)]}
	for range m.IntN(4) {
		r.Stmts = append(r.Stmts, m.match())
		if m.pick(4) {
			r.Stmts = append(r.Stmts, m.action())
		}
	}
	r.Stmts = append(r.Stmts, m.action())
	return r
}

// TestRandomTextIsBatch makes random rules, keeps those that can be written,
// and shows that text and batch are the same to the kernel.
func TestRandomTextIsBatch(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	m := maker{rand.New(rand.NewPCG(*seed, 0))}
	for _, family := range []Family{Inet, IP, IP6} {
		t.Run(family.String(), func(t *testing.T) {
			var cases []ruleCase
			for len(cases) < 500 {
				r := m.rule()
				if r.checkIn(family) == nil {
					cases = append(cases, ruleCase{chain: inPrerouting, rule: r})
				}
			}
			requireSame(t, caseRuleset(family, cases))
		})
	}
}
