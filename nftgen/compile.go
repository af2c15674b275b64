package nftgen

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A compiler turns the statements of one rule into expressions, in the way of
// nft 1.0.6: with the tests that it adds before fields of a protocol, and with
// neighbouring header fields compared at once.
type compiler struct {
	table Family
	ids   map[*Set]uint32 // of named sets
	// nextSet gives the number of an anonymous set.
	nextSet func() uint32

	steps []step
	sets  []lookupSet

	// dry says that only errors are wanted, and what the rule says about the
	// packet: most statements that make no others then make no expressions, but
	// add to most, how many the rule has at the most.
	dry  bool
	most int

	// What the statements so far say about the packet.
	l3    Family
	l4    int  // protocol number, or unknown
	ports bool // all protocols that tests leave have ports
	told  bool // "meta l4proto" was compared with one protocol
	ether bool
}

const (
	unknown = -1
	several = -2
)

// A step is what nft calls a statement: a test that it added itself, or one
// of the rule.
type step struct {
	exprs []expression
	// header is set for tests of a whole header field, which nft joins with
	// those of neighbouring fields.
	header *headerTest
}

// A headerTest compares bytes of a header for being equal, or not.
type headerTest struct {
	base, offset uint32
	op           Op
	data         []byte
}

// maxJoined is how many bytes nft compares at once.
const maxJoined = 8

// joins reports whether nft 1.0.6 makes one test of t and of a next one that
// begins where t ends. Four bytes are compared fast already, and stay alone.
func (t *headerTest) joins(next *headerTest) bool {
	return t.base == next.base && t.op == next.op && t.offset+uint32(len(t.data)) == next.offset &&
		len(t.data)+len(next.data) <= maxJoined && len(next.data) != 4 && len(t.data) != 4
}

func newCompiler(table Family) *compiler {
	c := &compiler{table: table}
	c.begin()
	return c
}

// begin notes what is known of a packet that comes to a rule.
func (c *compiler) begin() {
	c.l4 = unknown
	if c.table != Inet {
		c.l3 = c.table
	}
}

func (c *compiler) add(exprs ...expression) {
	c.most += len(exprs)
	c.steps = append(c.steps, step{exprs: exprs})
}

func (c *compiler) addHeader(t headerTest) {
	c.most += 2
	c.steps = append(c.steps, step{header: &t})
}

// leavesOut reports whether at most n expressions need not be made.
func (c *compiler) leavesOut(n int) bool {
	if c.dry {
		c.most += n
	}
	return c.dry
}

// count returns how many expressions there are before any are joined.
func (c *compiler) count() int {
	n := 0
	for _, s := range c.steps {
		n += len(s.exprs)
		if s.header != nil {
			n += 2
		}
	}
	return n
}

// expressions joins what nft joins and returns the result.
func (c *compiler) expressions() []expression {
	var tests []int
	for i, s := range c.steps {
		if s.header != nil {
			tests = append(tests, i)
		}
	}
	for _, group := range joined(tests, func(i int) *headerTest { return c.steps[i].header }) {
		if len(group) == 1 {
			continue
		}
		first := *c.steps[group[0]].header
		for _, i := range group[1:] {
			first.data = append(slices.Clip(first.data), c.steps[i].header.data...)
			c.steps[i].header = nil
		}
		c.steps[group[0]].header = &first
	}
	out := make([]expression, 0, 2*len(c.steps))
	for _, s := range c.steps {
		if t := s.header; t != nil {
			out = append(out, payload(1, t.base, t.offset, uint32(len(t.data))), compare(t.op, 1, t.data))
		}
		out = append(out, s.exprs...)
	}
	return out
}

// joined returns the groups of tests that nft makes one, each in the order of
// the header; the first of a group gives the place in the rule. Tests that
// stay alone are groups of one, or in none.
func joined(tests []int, test func(int) *headerTest) [][]int {
	if len(tests) < 2 {
		return nil
	}
	order := slices.Clone(tests)
	sort.SliceStable(order, func(a, b int) bool {
		x, y := test(order[a]), test(order[b])
		if x.base != y.base {
			return x.base < y.base
		}
		return x.offset < y.offset
	})
	var groups [][]int
	for k := 0; k < len(order); {
		whole := *test(order[k])
		end := k + 1
		for end < len(order) && whole.joins(test(order[end])) {
			whole.data = append(slices.Clip(whole.data), test(order[end]).data...)
			end++
		}
		groups = append(groups, order[k:end])
		k = end
	}
	return groups
}

// require adds the tests that nft adds before it reads a field.
func (c *compiler) require(fields ...Field) error {
	for _, f := range fields {
		if f.load.kind == loadExthdrIPv6 && c.l3 == 0 && !c.ether {
			// Of an extension header nft tests the family first in the rule.
			c.l3 = IP6
			if !c.leavesOut(2) {
				family := step{exprs: []expression{meta(1, unix.NFT_META_NFPROTO), compare(Eq, 1, []byte{byte(IP6)})}}
				c.steps = slices.Insert(c.steps, 0, family)
			}
		}
		for _, n := range f.needs {
			if err := c.need(f, n); err != nil {
				return err
			}
		}
		if f.family != 0 && c.l3 != 0 && c.l3 != f.family {
			return fmt.Errorf("write %s: the rule is for family %s", f.Text, c.l3)
		}
		if f.Text == MetaNFProto.Text && c.table != Inet {
			return fmt.Errorf("write %s: a table of one family has no test for it", f.Text)
		}
		if f.load.id.header == headerTransport && c.l4 >= 0 && transports[uint8(c.l4)].name == "" {
			return fmt.Errorf("write %s: protocol %d has no ports", f.Text, c.l4)
		}
		if isConnectionPort(f) && !c.ports && !c.told {
			return fmt.Errorf("write %s: nft 1.0.6 takes it only behind a test of the protocol", f.Text)
		}
	}
	return nil
}

func isConnectionPort(f Field) bool {
	return f.loadedBy(loadCT) && (f.load.key == unix.NFT_CT_PROTO_SRC || f.load.key == unix.NFT_CT_PROTO_DST)
}

func (c *compiler) need(f Field, n need) error {
	if n.ether && !c.ether {
		c.ether = true
		if !c.leavesOut(2) {
			c.add(meta(1, unix.NFT_META_IIFTYPE), compare(Eq, 1, ifType(unix.ARPHRD_ETHER)))
		}
	}
	if n.l3 != 0 {
		if err := c.needFamily(n.l3); err != nil {
			return fmt.Errorf("write %s: %w", f.Text, err)
		}
	}
	switch {
	case n.l4 == 0 || c.l4 == int(n.l4):
	case c.l4 == unknown:
		if n.of != 0 && c.l3 == 0 {
			if err := c.needFamily(n.of); err != nil {
				return err
			}
		}
		c.protocol(n.l4)
	default:
		return fmt.Errorf("write %s: the rule tests for another protocol before", f.Text)
	}
	return nil
}

// needFamily adds the test for a family unless the rule is known to be in it.
func (c *compiler) needFamily(family Family) error {
	switch c.l3 {
	case family:
	case 0:
		c.l3 = family
		if c.leavesOut(2) {
			return nil
		}
		if c.ether {
			c.addHeader(headerTest{base: linkHeader, offset: 12, data: etherType(family)})
		} else {
			c.add(meta(1, unix.NFT_META_NFPROTO), compare(Eq, 1, []byte{byte(family)}))
		}
	default:
		return fmt.Errorf("the rule is for family %s", c.l3)
	}
	return nil
}

func (c *compiler) protocol(proto uint8) {
	c.l4, c.ports = int(proto), transports[proto].name != ""
	if !c.leavesOut(2) {
		c.add(meta(1, unix.NFT_META_L4PROTO), compare(Eq, 1, []byte{proto}))
	}
}

// ifType is a device type as it stands in a register.
func ifType(t uint16) []byte {
	if hostIsBig {
		return []byte{byte(t >> 8), byte(t)}
	}
	return []byte{byte(t), byte(t >> 8)}
}

func etherType(f Family) []byte {
	if f == IP6 {
		return []byte{0x86, 0xdd}
	}
	return []byte{0x08, 0x00}
}

// learn notes what the equality of a field with a value says about the packet.
func (c *compiler) learn(f Field, v Value) {
	switch f.Text {
	case MetaNFProto.Text:
		c.l3 = Family(v[0])
	case MetaL4Proto.Text, IPProtocol.Text:
		c.l4, c.ports = int(v[0]), transports[v[0]].name != ""
		c.told = c.told || f.Text == MetaL4Proto.Text
	}
}

// statement adds one statement that was checked.
func (c *compiler) statement(s Stmt) error {
	var few [2]Field
	if err := c.require(AppendFields(few[:0], s)...); err != nil {
		return err
	}
	switch s := s.(type) {
	case Compare:
		if !c.leavesOut(5) {
			c.compare(s)
		}
		if s.Mask == nil && s.Op == Eq {
			c.learn(s.Field, s.Value)
		}
	case InPrefix:
		if !c.leavesOut(3) {
			c.inPrefix(s)
		}
	case IfName:
		if !c.leavesOut(2) {
			return c.statement(s.plain())
		}
	case InSpan:
		if !c.leavesOut(4) {
			c.inSpan(s)
		}
	case AnyBit:
		if !c.leavesOut(3) {
			c.anyBit(s)
		}
	case OneOf:
		if !c.leavesOut(3) {
			c.oneOf(s)
		}
		c.learnOneOf(s)
	case OneOfTuple:
		if !c.leavesOut(1 + 2*len(s.Fields)) {
			c.oneOfTuple(s)
		}
	case InSet:
		if !c.leavesOut(1 + 3*len(s.Fields)) {
			c.inSet(s)
		}
	case Exists:
		if !c.leavesOut(2) {
			c.exists(s)
		}
	default:
		return c.action(s)
	}
	return nil
}

func (c *compiler) anyBit(s AnyBit) {
	op := Ne
	if s.Not {
		op = Eq
	}
	t := s.Field.Type
	c.add(s.Field.loadInto(1, s.Field.load.length), bitwise(1, t.inRegister(s.Bits), make([]byte, t.Bytes)),
		compare(op, 1, make([]byte, t.Bytes)))
}

func (c *compiler) exists(s Exists) {
	want := Value{1}
	if s.Missing {
		want[0] = 0
	}
	if s.Field.load.kind == loadFib { // a number of four bytes
		want = integer32.inRegister(Value{0, 0, 0, want[0]})
	}
	c.add(s.Field.loadInto(1, 1), compare(Eq, 1, want))
}

func (c *compiler) compare(s Compare) {
	t, l := s.Field.Type, &s.Field.load
	if s.isHeaderTest() {
		c.addHeader(s.headerTest())
	} else {
		exprs := []expression{s.Field.loadInto(1, l.length)}
		if l.mask != nil {
			exprs = append(exprs, bitwise(1, l.mask, make([]byte, l.length)))
		}
		if s.Mask != nil {
			exprs = append(exprs, bitwise(1, t.inRegister(s.Mask), make([]byte, t.Bytes)))
		}
		data := t.inRegister(s.Value)
		if l.numbered {
			data, _ = l.placed(s.Value)
		}
		if s.Op > Ne && t.swapped() {
			exprs = append(exprs, toNetworkOrder(1, t.Bytes))
			data = s.Value
		}
		c.add(append(exprs, compare(s.Op, 1, data))...)
	}
}

func (c *compiler) inPrefix(s InPrefix) {
	t, l := s.Field.Type, &s.Field.load
	op := Eq
	if s.Not {
		op = Ne
	}
	length := s.Bits / 8
	switch {
	case t.text:
		c.add(s.Field.loadInto(1, l.length), compare(op, 1, s.Addr))
	case s.Bits%8 != 0 || s.Bits == 0:
		mask := prefixMask(t.Bytes, s.Bits)
		c.add(s.Field.loadInto(1, l.length), bitwise(1, mask, make([]byte, t.Bytes)), compare(op, 1, and(s.Addr, mask)))
	case l.kind == loadPayload:
		c.add(s.Field.loadInto(1, uint32(length)), compare(op, 1, s.Addr[:length]))
	default:
		c.add(s.Field.loadInto(1, l.length), compare(op, 1, s.Addr[:length]))
	}
}

func (c *compiler) inSpan(s InSpan) {
	exprs := []expression{s.Field.loadInto(1, s.Field.load.length)}
	if t := s.Field.Type; t.swapped() {
		exprs = append(exprs, toNetworkOrder(1, t.Bytes))
	}
	if s.Not {
		exprs = append(exprs, fromLibrary{&expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: s.Low, ToData: s.High}})
	} else {
		exprs = append(exprs, compare(Ge, 1, s.Low), compare(Le, 1, s.High))
	}
	c.add(exprs...)
}

// register returns the number of the register at a position counted in words.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_registers.
func register(word int) uint32 {
	if word%4 == 0 {
		return uint32(1 + word/4)
	}
	return uint32(unix.NFT_REG32_00 + word)
}

func words(t *Datatype) int { return (t.Bytes + 3) / 4 }

// loadAll loads fields side by side; for a set of intervals, in network order.
func loadAll(fields []Field, masks []Value, interval bool) []expression {
	var exprs []expression
	word := 0
	for i, f := range fields {
		r := register(word)
		exprs = append(exprs, f.loadInto(r, f.load.length))
		if masks != nil && masks[i] != nil {
			exprs = append(exprs, bitwise(r, f.Type.inRegister(masks[i]), make([]byte, f.Type.Bytes)))
		}
		// Among several fields nft turns single bytes too, which does nothing.
		if interval && (f.Type.swapped() || len(fields) > 1 && f.Type.hostNumber()) {
			exprs = append(exprs, toNetworkOrder(r, f.Type.Bytes))
		}
		word += words(f.Type)
	}
	return exprs
}

func lookup(name string, id uint32, invert bool) expression {
	return fromLibrary{&expr.Lookup{SourceRegister: 1, SetName: name, SetID: id, Invert: invert}}
}

func (c *compiler) oneOf(s OneOf) {
	set := lookupSet{types: []*Datatype{s.Field.Type}, fields: []Field{s.Field}, anonymous: true}
	for _, i := range s.Intervals {
		set.interval = set.interval || !i.single()
		set.elements = append(set.elements, []Interval{i})
	}
	c.add(append(loadAll([]Field{s.Field}, nil, set.interval), c.anonymous(set, s.Not))...)
}

// learnOneOf is learn for a set of values.
func (c *compiler) learnOneOf(s OneOf) {
	if text := s.Field.Text; !s.Not && (text == MetaL4Proto.Text || text == IPProtocol.Text) {
		c.l4 = several
		c.ports = !slices.ContainsFunc(s.Intervals, func(i Interval) bool {
			return !i.single() || transports[i.Low[0]].name == ""
		})
	}
}

func (c *compiler) oneOfTuple(s OneOfTuple) {
	set := lookupSet{fields: s.Fields, anonymous: true, elements: s.Tuples}
	for _, f := range s.Fields {
		set.types = append(set.types, f.Type)
	}
	set.interval = slices.ContainsFunc(s.Tuples, func(tuple []Interval) bool {
		return slices.ContainsFunc(tuple, func(i Interval) bool { return !i.single() })
	})
	c.add(append(loadAll(s.Fields, nil, set.interval), c.anonymous(set, s.Not))...)
}

func (c *compiler) anonymous(set lookupSet, invert bool) expression {
	return lookup(anonymousSet, c.own(set).id, invert)
}

// own makes a set one of the rule, with a number.
func (c *compiler) own(set lookupSet) lookupSet {
	set.anonymous = true
	if c.nextSet != nil {
		set.id = c.nextSet()
	}
	c.sets = append(c.sets, set)
	return set
}

func (c *compiler) inSet(s InSet) {
	c.add(append(loadAll(s.Fields, s.Masks, s.Set.Interval), lookup(s.Set.Name, c.ids[s.Set], s.Not))...)
}

// sameTypes reports whether fields are of the types of a set's key.
func sameTypes(fields []Field, types []*Datatype) bool {
	return slices.EqualFunc(fields, types, func(f Field, t *Datatype) bool {
		return t != nil && f.Type.Number == t.Number && f.Type.Bytes == t.Bytes
	})
}

func equal(a, b Value) bool { return bytes.Equal(a, b) }
