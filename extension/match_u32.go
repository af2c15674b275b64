package extension

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("u32", func() iptables.Match { return new(u32Match) }) }

var (
	_ iptsim.Meaning       = (*u32Match)(nil)
	_ translate.Translator = (*u32Match)(nil)
	_ translate.Keeper     = (*u32Match)(nil)
)

// u32Match is "-m u32": numbers of four bytes of the packet, masked and shifted,
// lie in spans. With "@" a number says where the next one is. A packet that ends
// before one of them fails.
//
// Kernel: net/netfilter/xt_u32.c.
type u32Match struct {
	Tests iptables.Opt[u32Tests]
}

func (*u32Match) Name() string { return "u32" }

func (m *u32Match) Options() iptables.Options {
	return iptables.Options{iptables.Bind("u32", &m.Tests, iptables.Required|iptables.Invertible)}
}

func (m *u32Match) Meaning(c iptables.Context) predicate.Meaning {
	var all predicate.U32All
	for _, t := range m.Tests.Value {
		var test predicate.U32
		for _, s := range t.location {
			test.Steps = append(test.Steps, predicate.U32Step{Operator: s.operator, Number: s.number})
		}
		for _, s := range t.spans {
			test.Spans = append(test.Spans, predicate.Span{Low: predicate.Number(uint64(s.low)), High: predicate.Number(uint64(s.high))})
		}
		all.Tests = append(all.Tests, test)
	}
	version := 4
	if c.Family == iptables.IPv6 {
		version = 6
	}
	return predicate.Meaning{Match: negatedIf(m.Tests.Negated, all.Predicate(version))}
}

// u32Ways is how many alternatives become rules of their own.
const u32Ways = 64

// Translate compares the bytes where they are, as far as that is known.
func (m *u32Match) Translate(r *translate.Rule) error {
	var all [][][]nftgen.Stmt
	for _, t := range m.Tests.Value {
		ways, why := t.ways(r)
		if why != "" {
			return &translate.Untranslatable{
				Code: "untranslatable-option", Summary: "a location of --u32 has no nftables counterpart",
				Detail: why + " Only bytes from the IP header on, and those from the transport header on (0>>22&0x3C@ in IPv4), have a place that nftables knows. " +
					"Write the test with a match for the header that it looks into.",
				Range: m.Tests.Range,
			}
		}
		all = append(all, ways)
	}
	if !m.Tests.Negated {
		for _, ways := range all {
			switch len(ways) {
			case 0:
				r.Never()
			case 1:
				r.Add(ways[0]...)
			default:
				branch := translate.Branch{Otherwise: translate.Fail}
				for _, w := range ways {
					branch.Rows = append(branch.Rows, translate.Row{Stmts: w, Then: translate.Match})
				}
				r.Branch(branch)
			}
		}
		return nil
	}
	// All ways in which all tests hold.
	rows := [][]nftgen.Stmt{nil}
	for _, ways := range all {
		var longer [][]nftgen.Stmt
		for _, row := range rows {
			for _, w := range ways {
				longer = append(longer, slices.Concat(row, w))
			}
		}
		if rows = longer; len(rows) > u32Ways {
			m.oneFails(r)
			return nil
		}
	}
	if len(rows) == 0 {
		return nil
	}
	branch := translate.Branch{Otherwise: translate.Match}
	for _, row := range rows {
		branch.Rows = append(branch.Rows, translate.Row{Stmts: row, Then: translate.Fail})
	}
	r.Branch(branch)
	return nil
}

// oneFails adds that not all tests hold by the ways in which one of them fails: a
// number that lies between the spans, or a packet that ends before it. They are as
// many as there are spans, where those in which all hold are a product.
func (m *u32Match) oneFails(r *translate.Rule) {
	branch := translate.Branch{Otherwise: translate.Match} // a packet that ends before
	var whole []nftgen.Stmt
	for _, t := range slices.Clone(m.Tests.Value) {
		t.spans = t.between()
		ways, _ := t.ways(r) // it was asked before
		for _, w := range ways {
			branch.Rows = append(branch.Rows, translate.Row{Stmts: w, Then: translate.Match})
		}
		t.spans = []u32Span{{0, math.MaxUint32}}
		ways, _ = t.ways(r)
		whole = append(whole, ways[0]...)
	}
	branch.Rows = append(branch.Rows, translate.Row{Stmts: whole, Then: translate.Fail})
	r.Branch(branch)
}

// between are the spans of all numbers that the test's spans leave.
func (t *u32Test) between() (list []u32Span) {
	spans := slices.Clone(t.spans)
	slices.SortFunc(spans, func(a, b u32Span) int { return cmp.Compare(a.low, b.low) })
	next := uint64(0)
	for _, s := range spans {
		if s.low > s.high {
			continue
		}
		if next < uint64(s.low) {
			list = append(list, u32Span{uint32(next), s.low - 1})
		}
		next = max(next, uint64(s.high)+1)
	}
	if next <= math.MaxUint32 {
		list = append(list, u32Span{uint32(next), math.MaxUint32})
	}
	return list
}

// A u32Place is where four bytes are, and which of their bits make a number: those
// of a mask, moved to the left by a number of bits or to the right.
type u32Place struct {
	transport bool
	offset    uint32
	mask      uint32
	left      int
}

// place follows a location. why is why it cannot.
func (t *u32Test) place(c iptables.Context) (p u32Place, why string) {
	for i, s := range t.location {
		switch s.operator {
		case "":
			p = u32Place{offset: s.number, mask: math.MaxUint32}
		case "&":
			if p.left >= 0 {
				p.mask &= s.number >> p.left
			} else {
				p.mask &= s.number << -p.left
			}
		case "<<":
			p.left += int(s.number)
			p.mask &= u32Kept(p.left)
		case ">>":
			p.left -= int(s.number)
			p.mask &= u32Kept(p.left)
		case "@":
			header := !p.transport && p.offset == 0 && p.mask == 0x0f000000 && p.left == -22
			if !header || c.Family == iptables.IPv6 || slices.ContainsFunc(t.location[:i], func(s u32Step) bool { return s.operator == "@" }) {
				return p, "The place of a number follows from another number of the packet."
			}
			p = u32Place{transport: true, offset: s.number, mask: math.MaxUint32}
		}
	}
	if p.offset > rawReach-4 {
		return p, fmt.Sprintf("Byte %d is further behind than the %d that can be loaded.", p.offset, rawReach)
	}
	return p, ""
}

// u32Kept are the bits that stay within 32 when they are moved.
func u32Kept(left int) uint32 {
	if left >= 0 {
		return uint32(math.MaxUint32) >> min(left, 32)
	}
	return uint32(math.MaxUint32) << min(-left, 32)
}

// spansOf are the spans of the masked bytes that make the number lie in one of
// the test's.
func (t *u32Test) spansOf(p u32Place) []u32Span {
	var list []u32Span
	for _, s := range t.spans {
		low, high := uint64(s.low), uint64(s.high)
		if p.left >= 0 {
			low, high = (low+1<<p.left-1)>>p.left, high>>p.left
		} else {
			low, high = low<<-p.left, high<<-p.left
		}
		high = min(high, uint64(p.mask))
		if low <= high && s.low <= s.high {
			list = append(list, u32Span{uint32(low), uint32(high)})
		}
	}
	slices.SortFunc(list, func(a, b u32Span) int { return int(int64(a.low) - int64(b.low)) })
	var merged []u32Span
	for _, s := range list {
		last := len(merged) - 1
		if last >= 0 && uint64(s.low) <= uint64(merged[last].high)+1 {
			merged[last].high = max(merged[last].high, s.high)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// ways are the alternatives of a test, each of comparisons that all must hold.
func (t *u32Test) ways(r *translate.Rule) (ways [][]nftgen.Stmt, why string) {
	p, why := t.place(r.Context)
	if why != "" {
		return nil, why
	}
	spans := t.spansOf(p)
	if len(spans) == 0 {
		return nil, ""
	}
	bytesAt, first := nftgen.NetworkBytes, p.first()
	n := 4 - first
	if p.transport {
		bytesAt = nftgen.TransportBytes
	}
	for n > 1 && p.mask>>(8*(4-first-n))&0xff == 0 && !p.transport && p.ahead(r.Context) {
		n--
	}
	if n == 3 { // nft loads it as if it were cut out of four
		first, n = 0, 4
	}
	field := bytesAt(r.NFProto(), int(p.offset)+first, n)
	if p.transport && r.LaterFragments() && (int(p.offset)+first)%n != 0 {
		return nil, fmt.Sprintf("Byte %d from the transport header on is no multiple of 4: nftables does not load it from later fragments.", p.offset)
	}
	right := 8 * (4 - first - n)
	value := func(v uint32) nftgen.Value {
		return binary.BigEndian.AppendUint32(nil, v>>right<<(32-8*n))[:n]
	}
	all := uint32(math.MaxUint32) >> (32 - 8*n) << right
	for _, s := range spans {
		test := func(op nftgen.Op, v uint32) nftgen.Stmt {
			c := nftgen.Compare{Field: field, Mask: value(p.mask), Op: op, Value: value(v)}
			if p.mask == all {
				c.Mask = nil
			}
			return c
		}
		switch {
		case p.mask == all && s != u32Span{0, all}:
			// nft has no sets of such bytes.
			ways = append(ways, []nftgen.Stmt{spanTest(field, value(s.low), value(s.high), false)})
		case s.low == s.high:
			ways = append(ways, []nftgen.Stmt{test(nftgen.Eq, s.low)})
		case s.low == 0:
			ways = append(ways, []nftgen.Stmt{test(nftgen.Le, s.high)})
		case s.high == p.mask:
			ways = append(ways, []nftgen.Stmt{test(nftgen.Ge, s.low)})
		default:
			ways = append(ways, []nftgen.Stmt{test(nftgen.Ge, s.low), test(nftgen.Le, s.high)})
		}
	}
	return ways, ""
}

// first is the first byte of the four that has to be loaded: bytes before it are
// there when it is.
func (p u32Place) first() int {
	n := 0
	for n < 3 && p.mask>>(24-8*n)&0xff == 0 {
		n++
	}
	return n
}

// ahead reports whether every packet has the four bytes.
func (p u32Place) ahead(c iptables.Context) bool {
	least := uint32(20)
	if c.Family == iptables.IPv6 {
		least = 40
	}
	return p.offset+4 <= least
}
