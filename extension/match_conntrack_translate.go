package extension

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

const (
	ctAllStates    = ctInvalid | ctNew | ctRelated | ctEstablished | ctUntracked
	ctWithoutEntry = ctInvalid | ctUntracked
	ctTranslated   = ctSNAT | ctDNAT
)

// Translate writes the match as one conjunction where that is exact, else as
// alternatives: packets without an entry are decided by their state alone, and
// states and translation bits are joined by "or".
func (m *conntrackMatch) Translate(r *translate.Rule) error {
	if m.State.Present && !m.asksEntry() {
		addAlternatives(r, ctStateTests(m.State, nil, false))
		return nil
	}
	entry, constrained := m.entryTests(r)
	if constrained || !m.State.Present {
		if err := aboutTemplate(r); err != nil {
			return err
		}
	}
	if !m.State.Present {
		addAlternatives(r, entry)
		return nil
	}
	addAlternatives(r, ctStateTests(m.State, entry, constrained))
	return nil
}

// addAlternatives adds the disjunction of conjunctions of tests.
func addAlternatives(r *translate.Rule, alternatives [][]nftgen.Stmt) {
	switch len(alternatives) {
	case 0:
		r.Never()
	case 1:
		r.Add(alternatives[0]...)
	default:
		branch := translate.Branch{Otherwise: translate.Fail}
		for _, stmts := range alternatives {
			branch.Rows = append(branch.Rows, translate.Row{Stmts: stmts, Then: translate.Match})
		}
		r.Branch(branch)
	}
}

// ctStateTests returns the alternatives of --ctstate together with what the
// other options ask of packets that have an entry (entry; constrained says
// whether they ask anything).
func ctStateTests(o iptables.Opt[ctStates], entry [][]nftgen.Stmt, constrained bool) [][]nftgen.Stmt {
	given, translated := o.Value&ctAllStates, o.Value&ctTranslated
	if translated == 0 && !constrained {
		return [][]nftgen.Stmt{{ctStateTest(given, o.Negated)}}
	}
	if !constrained {
		entry = [][]nftgen.Stmt{nil}
	}
	states := given
	if o.Negated {
		states = ctAllStates &^ given
	}
	var alternatives [][]nftgen.Stmt
	add := func(tests ...nftgen.Stmt) {
		for _, e := range entry {
			alternatives = append(alternatives, append(tests[:len(tests):len(tests)], e...))
		}
	}
	whole := !constrained && !o.Negated // every state is decided by itself
	if without := states & ctWithoutEntry; without != 0 && !whole {
		alternatives = append(alternatives, []nftgen.Stmt{ctStateTest(without, false)})
		states &^= without
	}
	switch {
	case states == 0:
	case o.Negated && translated != 0:
		add(ctStateTest(states, false), ctTranslatedTest(translated, true))
	default:
		add(ctStateTest(states, false))
	}
	if !o.Negated && translated != 0 {
		add(ctTranslatedTest(translated, false))
	}
	return alternatives
}

// ctStateBits are the bits of "ct state".
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, NF_CT_STATE_BIT.
var ctStateBits = []struct {
	state ctStates
	bit   uint32
}{
	{ctInvalid, 1 << 0}, {ctEstablished, 1 << 1}, {ctRelated, 1 << 2}, {ctNew, 1 << 3}, {ctUntracked, 1 << 6},
}

// ctStateTest is "ct state a,b" or "ct state ! a,b".
func ctStateTest(states ctStates, not bool) nftgen.Stmt {
	var bits uint32
	for _, s := range ctStateBits {
		if states&s.state != 0 {
			bits |= s.bit
		}
	}
	return nftgen.AnyBit{Field: nftgen.CTState, Bits: ctWord(bits), Not: not}
}

// ctTranslatedTest is "ct status snat,dnat" or its negation. Neither holds
// without an entry.
func ctTranslatedTest(states ctStates, not bool) nftgen.Stmt {
	var bits uint32
	if states&ctSNAT != 0 {
		bits |= 1 << 4
	}
	if states&ctDNAT != 0 {
		bits |= 1 << 5
	}
	return nftgen.AnyBit{Field: nftgen.CTStatus, Bits: ctWord(bits), Not: not}
}

func ctWord(n uint32) nftgen.Value { return binary.BigEndian.AppendUint32(nil, n) }

// ctHasEntry is a test that every packet with an entry passes.
func ctHasEntry() nftgen.Stmt {
	return nftgen.Compare{Field: nftgen.CTStatus, Op: nftgen.Ge, Value: ctWord(0)}
}

// asksEntry reports whether there is an option other than --ctstate.
func (m *conntrackMatch) asksEntry() bool {
	return m.Proto.Present || m.Status.Present || m.Expire.Present || m.Dir.Present ||
		m.OrigSrc.Present || m.OrigDst.Present || m.ReplSrc.Present || m.ReplDst.Present ||
		m.OrigSrcPort.Present || m.OrigDstPort.Present || m.ReplSrcPort.Present || m.ReplDstPort.Present
}

// entryTests returns the alternatives of the options other than --ctstate; all
// of them fail for a packet without an entry. given says that there is such an
// option.
func (m *conntrackMatch) entryTests(r *translate.Rule) (alternatives [][]nftgen.Stmt, given bool) {
	c := conjunction{family: r.NFProto()}
	if m.Dir.Present {
		direction := nftgen.Value{0}
		if m.Dir.Value.Reply {
			direction = nftgen.Value{1}
		}
		c.test(nftgen.Compare{Field: nftgen.CTDirection, Op: nftgen.Eq, Value: direction})
	}
	c.address(nftgen.CTSaddr(false, c.family), m.OrigSrc)
	c.address(nftgen.CTDaddr(false, c.family), m.OrigDst)
	c.address(nftgen.CTSaddr(true, c.family), m.ReplSrc)
	c.address(nftgen.CTDaddr(true, c.family), m.ReplDst)
	if m.Proto.Present {
		c.test(nftgen.Compare{Field: nftgen.CTProtocol, Op: comparison(m.Proto.Negated), Value: nftgen.Value{byte(m.Proto.Value.Number)}})
	}
	switch {
	case !m.Status.Present:
	case m.Status.Value == 0: // NONE
		c.constant(m.Status.Negated)
	default:
		c.test(nftgen.AnyBit{Field: nftgen.CTStatus, Bits: ctWord(uint32(m.Status.Value)), Not: m.Status.Negated})
	}
	c.expiration(m.Expire)

	others := c.stmts
	c.stmts = nil
	c.zero = true
	c.ports(nftgen.CTSport(false), m.OrigSrcPort)
	c.ports(nftgen.CTDport(false), m.OrigDstPort)
	c.ports(nftgen.CTSport(true), m.ReplSrcPort)
	c.ports(nftgen.CTDport(true), m.ReplDstPort)
	switch {
	case c.never:
		return nil, true
	case len(c.stmts) == 0:
		return [][]nftgen.Stmt{orEntry(others)}, c.given
	}
	return ctPortAlternatives(r, others, c.stmts, c.zero), true
}

// orEntry returns tests, or when there are none the test for an entry.
func orEntry(tests []nftgen.Stmt) []nftgen.Stmt {
	if len(tests) == 0 {
		return []nftgen.Stmt{ctHasEntry()}
	}
	return tests
}

// ctTupleProtocols are the protocols whose tuples have something in the place
// of ports: ports, the identifier, type and code of ICMP, the call of PPTP. In
// the tuples of all others both ports are 0.
//
// Kernel: net/netfilter/nf_conntrack_core.c, nf_ct_get_tuple.
var ctTupleProtocols = []uint8{1, 6, 17, 33, 47, 58, 132, 136}

// ctPortAlternatives returns the alternatives of port tests behind other tests.
// zero says that ports of 0 pass.
//
// nft reads port numbers only behind a test for one protocol (behind one for
// several it reads them, but cannot write them again), so each protocol with
// ports is an alternative of its own, and those without ports are another.
func ctPortAlternatives(r *translate.Rule, others, ports []nftgen.Stmt, zero bool) [][]nftgen.Stmt {
	with := func(proto uint8) []nftgen.Stmt {
		test := nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{proto}}
		return slices.Concat([]nftgen.Stmt{test}, others, ports)
	}
	proto, known := r.ProtocolNumber()
	switch {
	case known && slices.Contains(ctTupleProtocols, proto):
		return [][]nftgen.Stmt{with(proto)}
	case known && zero:
		return [][]nftgen.Stmt{orEntry(others)}
	case known:
		return nil
	}
	var alternatives [][]nftgen.Stmt
	rest := nftgen.OneOf{Field: nftgen.MetaL4Proto, Not: true}
	for _, p := range ctTupleProtocols {
		alternatives = append(alternatives, with(p))
		rest.Intervals = append(rest.Intervals, nftgen.Interval{Low: nftgen.Value{p}, High: nftgen.Value{p}})
	}
	if zero {
		alternatives = append(alternatives, slices.Concat([]nftgen.Stmt{rest}, orEntry(others)))
	}
	return alternatives
}

// A conjunction collects the tests of options.
type conjunction struct {
	family nftgen.Family
	stmts  []nftgen.Stmt
	given  bool // there was an option
	never  bool // one that nothing passes
	zero   bool // ports of 0 pass all port tests
}

func (c *conjunction) test(s nftgen.Stmt) {
	c.given = true
	c.stmts = append(c.stmts, s)
}

// constant is an option that every packet with an entry passes, or none.
func (c *conjunction) constant(passes bool) {
	c.given = true
	c.never = c.never || !passes
}

func (c *conjunction) address(f nftgen.Field, o iptables.Opt[ctAddress]) {
	if !o.Present {
		return
	}
	addr, bits := o.Value.Addr, o.Value.Bits
	switch bits {
	case 0:
		c.constant(!o.Negated)
	case addr.BitLen():
		c.test(nftgen.Compare{Field: f, Op: comparison(o.Negated), Value: addr.AsSlice()})
	default:
		network := netip.PrefixFrom(addr, bits).Masked().Addr()
		c.test(nftgen.InPrefix{Field: f, Addr: network.AsSlice(), Bits: bits, Not: o.Negated})
	}
}

func (c *conjunction) ports(f nftgen.Field, o iptables.Opt[ctPorts]) {
	low, high := o.Value.Low, o.Value.High
	switch {
	case !o.Present:
	case low > high:
		c.constant(o.Negated)
	case low == 0 && high == math.MaxUint16:
		c.constant(!o.Negated)
	default:
		c.test(spanTest(f, port16(low), port16(high), o.Negated))
		c.zero = c.zero && (low == 0) != o.Negated
	}
}

// ctMaxSeconds is the largest number of whole seconds that "ct expiration",
// which counts milliseconds in 32 bits, can hold.
const ctMaxSeconds = math.MaxUint32 / 1000

// expiration adds the test of the remaining lifetime. The kernel compares whole
// seconds, rounded down; "ct expiration" is in milliseconds.
func (c *conjunction) expiration(o iptables.Opt[iptables.U32Span]) {
	low, high := o.Value.Low, o.Value.High
	switch {
	case !o.Present:
	case low > high || low > ctMaxSeconds:
		c.constant(o.Negated)
	case low == 0 && high >= ctMaxSeconds:
		c.constant(!o.Negated)
	case high >= ctMaxSeconds:
		op := nftgen.Ge
		if o.Negated {
			op = nftgen.Lt
		}
		c.test(nftgen.Compare{Field: nftgen.CTExpiration, Op: op, Value: ctWord(low * 1000)})
	default:
		c.test(nftgen.InSpan{Field: nftgen.CTExpiration, Low: ctWord(low * 1000), High: ctWord(high*1000 + 999), Not: o.Negated})
	}
}
