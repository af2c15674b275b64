package nftsim_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func bitwise(from, to uint32, mask, xor []byte) encoder {
	return expr("bitwise", u32(unix.NFTA_BITWISE_SREG, from), u32(unix.NFTA_BITWISE_DREG, to), u32(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		value(unix.NFTA_BITWISE_MASK, mask...), value(unix.NFTA_BITWISE_XOR, xor...))
}

func shift(op, from, to, n, by uint32) encoder {
	return expr("bitwise", u32(unix.NFTA_BITWISE_SREG, from), u32(unix.NFTA_BITWISE_DREG, to), u32(unix.NFTA_BITWISE_LEN, n), u32(6, op), value(7, native(by)...))
}

func byteorder(from, to, n, size uint32) encoder {
	return expr("byteorder", u32(unix.NFTA_BYTEORDER_SREG, from), u32(unix.NFTA_BYTEORDER_DREG, to), u32(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON),
		u32(unix.NFTA_BYTEORDER_LEN, n), u32(unix.NFTA_BYTEORDER_SIZE, size))
}

func within(op, from uint32, low, high []byte) encoder {
	return expr("range", u32(unix.NFTA_RANGE_SREG, from), u32(unix.NFTA_RANGE_OP, op), value(unix.NFTA_RANGE_FROM_DATA, low...), value(unix.NFTA_RANGE_TO_DATA, high...))
}

func conntrack(key, to uint32) encoder {
	return expr("ct", u32(unix.NFTA_CT_KEY, key), u32(unix.NFTA_CT_DREG, to))
}

func conntrackSet(key, from uint32) encoder {
	return expr("ct", u32(unix.NFTA_CT_KEY, key), u32(unix.NFTA_CT_SREG, from))
}

func metaSet(key, from uint32) encoder {
	return expr("meta", u32(unix.NFTA_META_KEY, key), u32(unix.NFTA_META_SREG, from))
}

func payloadSet(base, offset, n, from uint32) encoder {
	return expr("payload", u32(unix.NFTA_PAYLOAD_SREG, from), u32(unix.NFTA_PAYLOAD_BASE, base), u32(unix.NFTA_PAYLOAD_OFFSET, offset), u32(unix.NFTA_PAYLOAD_LEN, n))
}

func constant(to uint32, b ...byte) encoder {
	return expr("immediate", u32(unix.NFTA_IMMEDIATE_DREG, to), value(unix.NFTA_IMMEDIATE_DATA, b...))
}

func message1(prefix string) encoder { return expr("log", str(unix.NFTA_LOG_PREFIX, prefix)) }

// A program makes random instructions. It keeps what the registers hold.
type program struct {
	*rand.Rand
	size  [4]uint32 // of the value in each of the registers 1 to 4, in bytes
	exprs []encoder
}

func (p *program) bytes(n uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = pick[byte](p.Rand, 0, 0, 0, 1, 6, 17, 22, 0x45, 0xc0, 0xff, byte(p.Uint32()))
	}
	return b
}

func (p *program) load() {
	to := uint32(p.IntN(4))
	var e encoder
	switch n := pick[uint32](p.Rand, 1, 1, 2, 2, 4, 4, 3, 8); p.IntN(8) {
	case 0, 1:
		e, p.size[to] = load(unix.NFT_PAYLOAD_NETWORK_HEADER, uint32(p.IntN(21-int(n))), n, to+1), n
	case 2, 3:
		e, p.size[to] = load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, uint32(p.IntN(16)), n, to+1), n
	case 4:
		e, p.size[to] = load(unix.NFT_PAYLOAD_LL_HEADER, uint32(p.IntN(16)), n, to+1), n
	case 5:
		e, p.size[to] = load(3, uint32(p.IntN(8)), n, to+1), n
	case 6:
		key := pick[uint32](p.Rand, unix.NFT_META_LEN, unix.NFT_META_PRIORITY, unix.NFT_META_MARK, unix.NFT_META_L4PROTO, unix.NFT_META_PKTTYPE, unix.NFT_META_IIFGROUP, unix.NFT_META_SKUID, unix.NFT_META_IIFTYPE)
		size := map[uint32]uint32{unix.NFT_META_L4PROTO: 1, unix.NFT_META_PKTTYPE: 1, unix.NFT_META_IIFTYPE: 2}[key]
		e, p.size[to] = meta(key, to+1), max(size, 1)
		if size == 0 {
			p.size[to] = 4
		}
	case 7:
		key := pick[uint32](p.Rand, unix.NFT_CT_STATE, unix.NFT_CT_STATUS, unix.NFT_CT_MARK, unix.NFT_CT_EXPIRATION, unix.NFT_CT_PKTS, unix.NFT_CT_LABELS)
		size := map[uint32]uint32{unix.NFT_CT_PKTS: 8, unix.NFT_CT_LABELS: 16}[key]
		e, p.size[to] = conntrack(key, to+1), max(size, 4)
	}
	p.exprs = append(p.exprs, e)
}

func (p *program) change() {
	from, to := uint32(p.IntN(4)), uint32(p.IntN(4))
	n := p.size[from]
	if n == 0 {
		return
	}
	switch p.IntN(4) {
	case 0, 1:
		mask := make([]byte, n)
		mask[p.IntN(int(n))] = byte(p.Uint32())
		p.exprs, p.size[to] = append(p.exprs, bitwise(from+1, to+1, mask, p.bytes(n))), n
	case 2:
		p.exprs, p.size[to] = append(p.exprs, shift(pick[uint32](p.Rand, 1, 2), from+1, to+1, n, 1+uint32(p.IntN(20)))), n
	case 3:
		for _, size := range []uint32{8, 4, 2} {
			if n%size == 0 {
				// What is behind in the register stays.
				p.exprs, p.size[to] = append(p.exprs, byteorder(from+1, to+1, n, size)), max(n, p.size[to])
				return
			}
		}
	}
}

func (p *program) test() {
	from := uint32(p.IntN(4))
	n := p.size[from]
	if n == 0 {
		return
	}
	if p.IntN(3) == 0 {
		low, high := p.bytes(n), p.bytes(n)
		if slices.Compare(low, high) > 0 {
			low, high = high, low
		}
		p.exprs = append(p.exprs, within(pick[uint32](p.Rand, 0, 1), from+1, low, high))
		return
	}
	p.exprs = append(p.exprs, compare(uint32(p.IntN(6)), from+1, p.bytes(n)...))
}

// act writes something, or emits something.
func (p *program) act() {
	from := uint32(p.IntN(4))
	list := []encoder{message1(pick(p.Rand, "a", "b"))}
	if p.size[from] >= 4 {
		list = append(list, metaSet(pick[uint32](p.Rand, unix.NFT_META_MARK, unix.NFT_META_PRIORITY), from+1), conntrackSet(unix.NFT_CT_MARK, from+1))
	}
	if n := p.size[from]; n == 1 || n == 2 {
		list = append(list, payloadSet(unix.NFT_PAYLOAD_TRANSPORT_HEADER, uint32(p.IntN(4)), n, from+1), payloadSet(unix.NFT_PAYLOAD_NETWORK_HEADER, pick[uint32](p.Rand, 1, 8, 7), 1, from+1))
	}
	p.exprs = append(p.exprs, pick(p.Rand, list...))
}

// rule makes the instructions of a rule that ends with something.
func (p *program) rule(ends ...encoder) []encoder {
	p.size, p.exprs = [4]uint32{}, nil
	p.load()
	for p.IntN(6) != 0 {
		pick(p.Rand, p.load, p.change, p.change, p.test, p.act)()
	}
	return append(p.exprs, pick(p.Rand, ends...))
}

// randomPrograms is a batch of rules that are made instruction by instruction,
// as no language would.
func randomPrograms(r *rand.Rand) []netlink.Message {
	p := &program{Rand: r}
	messages := []netlink.Message{chain("u"), chain("v")}
	ends := []encoder{accept, drop, verdict(nftsim.VerdictReturn, ""), verdict(nftsim.VerdictContinue, ""), verdict(nftsim.VerdictBreak, ""), message1("end")}
	for _, c := range []string{"v", "u", "c"} {
		for range 3 {
			messages = append(messages, rule(c, p.rule(ends...)...))
		}
		to := map[string]string{"v": "u", "u": "c"}[c]
		if to != "" {
			ends = append(ends, verdict(nftsim.VerdictJump, c), verdict(nftsim.VerdictGoto, c))
		}
	}
	return forward(messages...)
}

func TestSymbolicPrograms(t *testing.T) {
	const seed, batches, packets = 6, 60, 120
	var sum tally
	for n := range uint64(batches) {
		r := rand.New(rand.NewPCG(seed, n))
		batch := randomPrograms(r)
		for _, tally := range compareStages(t, batch, r, packets) {
			sum.ran += tally.ran
			sum.undecided += tally.undecided
			if tally.wrong > 0 {
				var dump strings.Builder
				if err := mustDecode(t, batch).Dump(&dump); err != nil {
					t.Fatal(err)
				}
				t.Fatalf("batch %d of seed %d\n%s", n, seed, dump.String())
			}
		}
	}
	if sum.undecided > sum.ran*2/3 {
		t.Errorf("%d of %d packets are undecided", sum.undecided, sum.ran)
	}
	t.Logf("%d of %d packets are undecided", sum.undecided, sum.ran)
}

// The comparison of functions with runs must notice when the two are of unlike
// rules: were it blind to one of these, it would be blind to the same mistake in
// a function.
func TestSymbolicComparisonBites(t *testing.T) {
	source := load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1)
	inSource := func(list ...encoder) []netlink.Message {
		return forward(set("s", 1, unix.NFT_SET_INTERVAL, 4), elements("s", 1, list...), rule("c", source, lookup("s", 1, 1), drop))
	}
	mark := func(mask, xor uint32, more ...encoder) []netlink.Message {
		return forward(rule("c", append([]encoder{meta(unix.NFT_META_MARK, 1), bitwise(1, 1, native(mask), native(xor)), metaSet(unix.NFT_META_MARK, 1)}, more...)...))
	}
	dport := func(offset, n, op uint32, b ...byte) []netlink.Message {
		return forward(rule("c", load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, n, 1), compare(op, 1, b...), drop))
	}
	state := func(bits uint32) []netlink.Message {
		return forward(rule("c", conntrack(unix.NFT_CT_STATE, 1), bitwise(1, 1, native(bits), native(0)), compare(unix.NFT_CMP_NEQ, 1, native(0)...), accept), rule("c", drop))
	}
	chains := func(how nftsim.VerdictCode) []netlink.Message {
		return forward(chain("u"), rule("u", append(tcpPort(22), accept)...), rule("c", verdict(how, "u")), rule("c", drop))
	}
	first := inSource(element(key(192, 0, 2, 0)), element(key(192, 0, 2, 78), end()))
	for _, c := range []struct {
		name        string
		right, near []netlink.Message
	}{
		{"offset", dport(2, 2, unix.NFT_CMP_EQ, 0, 22), dport(0, 2, unix.NFT_CMP_EQ, 0, 22)},
		{"long way", dport(2, 2, unix.NFT_CMP_EQ, 0, 22), dport(1, 3, unix.NFT_CMP_EQ, 0, 0, 22)},
		{"operator", dport(2, 2, unix.NFT_CMP_LTE, 0, 22), dport(2, 2, unix.NFT_CMP_LT, 0, 22)},
		{"constant", dport(2, 2, unix.NFT_CMP_EQ, 0, 22), dport(2, 2, unix.NFT_CMP_EQ, 0, 23)},
		{"end of an interval", first, inSource(element(key(192, 0, 2, 0)), element(key(192, 0, 2, 77), end()))},
		{"start of an interval", first, inSource(element(key(192, 0, 2, 78)), element(key(192, 0, 3, 0), end()))},
		{"mask of a mark", mark(0xff, 1), mark(0xfe, 1)},
		{"value of a mark", mark(0xff, 1), mark(0xff, 0)},
		{"event", mark(0xff, 1, message1("a")), mark(0xff, 1, message1("b"))},
		{"state", state(6), state(2)},
		{"goto", chains(nftsim.VerdictJump), chains(nftsim.VerdictGoto)},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := differentialHost()
			for what, batch := range map[string][]netlink.Message{"right": c.right, "near": c.near} {
				r := rand.New(rand.NewPCG(7, 7))
				wrong := 0
				run := mustDecode(t, batch).Stages()
				machines := map[int]*compiled{4: compileMachine(t, mustDecode(t, c.right), 4), 6: compileMachine(t, mustDecode(t, c.right), 6)}
				for range 1500 {
					p := randomPacket(r, true)
					m := machines[p.Version()]
					m.run = run
					if d, _ := m.compare(0, flightAt(r, host, p, &run[0])); d != "" {
						wrong++
					}
				}
				if (wrong > 0) != (what == "near") {
					t.Errorf("%s: %d packets differ", what, wrong)
				}
			}
		})
	}
}

// Sets whose elements overlap, hold names of devices, or a value for all other
// keys.
func TestSymbolicSets(t *testing.T) {
	source := load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1)
	port := func(to uint32) encoder { return load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, to) }
	to := func(code nftsim.VerdictCode, chain string) encoder {
		list := []encoder{u32(unix.NFTA_VERDICT_CODE, uint32(code))}
		if chain != "" {
			list = append(list, str(unix.NFTA_VERDICT_CHAIN, chain))
		}
		return nest(unix.NFTA_SET_ELEM_DATA, nest(unix.NFTA_DATA_VERDICT, list...))
	}
	fields := func(n ...uint32) encoder {
		var list []encoder
		for _, size := range n {
			list = append(list, nest(unix.NFTA_LIST_ELEM, u32(1, size)))
		}
		return nest(unix.NFTA_SET_DESC, nest(2, list...))
	}
	verdicts := []encoder{u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT), u32(unix.NFTA_SET_DATA_LEN, 16)}
	others := u32(unix.NFTA_SET_ELEM_FLAGS, 2)
	last := func(b ...byte) encoder { return value(10, b...) }
	name := func(text string, fill byte) []byte {
		b := slices.Repeat([]byte{fill}, 16)
		copy(b, text)
		return b
	}
	after := func(name []byte) []byte {
		next := slices.Clone(name)
		for i := len(next) - 1; ; i-- {
			if next[i]++; next[i] != 0 {
				return next
			}
		}
	}
	chains := []netlink.Message{chain("u"), rule("u", message1("u"))}
	vmap := func(key ...encoder) netlink.Message {
		return rule("c", append(key, lookup("m", 1, 1, u32(unix.NFTA_LOOKUP_DREG, 0)))...)
	}
	both := func(a, b []byte) []byte { return append(slices.Clone(a), b...) }
	for what, messages := range map[string][]netlink.Message{
		"the first of ranges": {
			set("m", 1, unix.NFT_SET_MAP|unix.NFT_SET_INTERVAL|0x80, 8, append(verdicts, fields(4, 2))...),
			elements("m", 1, element(key(192, 0, 2, 0, 0, 22, 0, 0), last(192, 0, 2, 100, 0, 53, 0, 0), to(nftsim.VerdictDrop, "")),
				element(key(192, 0, 0, 0, 0, 0, 0, 0), last(192, 255, 255, 255, 0, 100, 0, 0), to(nftsim.VerdictJump, "u")),
				element(key(8, 8, 8, 8, 0, 0, 0, 0), last(198, 255, 255, 255, 255, 255, 0, 0), to(nftsim.VerdictDrop, ""))),
			vmap(source, port(9)),
		},
		"all others": {
			set("m", 1, unix.NFT_SET_MAP, 4, verdicts...),
			elements("m", 1, element(key(192, 0, 2, 77), to(nftsim.VerdictAccept, "")), element(key(192, 0, 2, 200), to(nftsim.VerdictGoto, "u")), element(others, to(nftsim.VerdictDrop, ""))),
			vmap(source),
		},
		"all others of intervals": {
			set("m", 1, unix.NFT_SET_MAP|unix.NFT_SET_INTERVAL, 4, verdicts...),
			elements("m", 1, element(key(192, 0, 2, 77), to(nftsim.VerdictAccept, "")), element(key(192, 0, 2, 201), end()), element(others, to(nftsim.VerdictDrop, ""))),
			vmap(source),
		},
		"names": {
			set("m", 1, unix.NFT_SET_MAP, 16, verdicts...),
			elements("m", 1, element(key(name("eth0", 0)...), to(nftsim.VerdictDrop, "")), element(key(name("tun0", 0)...), to(nftsim.VerdictJump, "u")), element(key(name("", 0)...), to(nftsim.VerdictDrop, ""))),
			vmap(meta(unix.NFT_META_IIFNAME, 1)),
		},
		"ranges of names": {
			set("m", 1, unix.NFT_SET_MAP|unix.NFT_SET_INTERVAL|0x80, 20, append(verdicts, fields(16, 2))...),
			elements("m", 1, element(key(both(name("eth0", 0), []byte{0, 22, 0, 0})...), last(both(name("eth0", 0), []byte{0, 60, 0, 0})...), to(nftsim.VerdictDrop, "")),
				element(key(both(name("eth", 0), []byte{0, 0, 0, 0})...), last(both(name("eth", 0xff), []byte{1, 0, 0, 0})...), to(nftsim.VerdictJump, "u"))),
			vmap(meta(unix.NFT_META_IIFNAME, 1), port(2)),
		},
		"intervals of names": {
			set("m", 1, unix.NFT_SET_MAP|unix.NFT_SET_INTERVAL, 16, verdicts...),
			elements("m", 1, element(key(name("eth", 0)...), to(nftsim.VerdictDrop, "")), element(key(after(name("eth", 0xff))...), end()),
				element(key(name("tun0", 0)...), to(nftsim.VerdictJump, "u")), element(key(after(name("tun0", 0))...), end())),
			vmap(meta(unix.NFT_META_IIFNAME, 1)),
		},
	} {
		t.Run(what, func(t *testing.T) {
			for n, tally := range compareStages(t, forward(append(slices.Clone(chains), messages...)...), rand.New(rand.NewPCG(8, 8)), 400) {
				if tally.undecided > tally.ran/20 { // an authentication header may be cut off
					t.Errorf("%s: %+v", n, tally)
				}
			}
		})
	}
}

// leavesOf are the leaves of a packet at the only stage of a machine.
func (c *compiled) leavesOf(t *testing.T, s packet.Spec) []symbolic.Leaf {
	t.Helper()
	p, err := s.Packet()
	if err != nil {
		t.Fatal(err)
	}
	f := &packet.Flight{Packet: p, Host: packet.DefaultHost([]string{"eth0", "eth1"}), Hook: c.stages[0].Hook, Data: p.Data, In: s.In, Out: "eth1", Mark: p.Mark, Tracking: p.Tracking}
	return c.leaves(c.f[0], c.point(f))
}

// spell puts leaves into words.
func (c *compiled) spell(list []symbolic.Leaf) string {
	var all []string
	for _, l := range list {
		s := l.Verdict.String()
		if l.Why != "" {
			s += " (" + l.Why + ")"
		}
		for _, e := range c.space.Events(l.Effect) {
			s += ", " + e.String()
		}
		for _, level := range c.space.WrittenLevels(l.Effect) {
			g, bit, ok := symbolic.GroupOf(level)
			if !ok {
				s += ", refused"
				continue
			}
			cell, _ := c.space.Written(l.Effect, level)
			from := fmt.Sprint(cell)
			if l, not, ok := cell.Variable(); ok {
				g, bit, _ := symbolic.GroupOf(l)
				from = strings.Repeat("!", map[bool]int{true: 1}[not]) + fmt.Sprintf("%v[%d]", g, bit)
			}
			s += fmt.Sprintf(", %v[%d] = %s", g, bit, from)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func TestSymbolicLeaves(t *testing.T) {
	option := func(register uint16) encoder {
		return expr("exthdr", u8(unix.NFTA_EXTHDR_TYPE, 2), u32(unix.NFTA_EXTHDR_OFFSET, 2), u32(unix.NFTA_EXTHDR_LEN, 2), u32(unix.NFTA_EXTHDR_OP, 1), u32(register, 1))
	}
	segmentSet, segment := option(7), option(unix.NFTA_EXTHDR_DREG)
	udp := packet.Spec{Proto: packet.UDP, DstPort: 53, In: "eth0", Mark: 5}
	mark := func(more ...encoder) []encoder { return append([]encoder{meta(unix.NFT_META_MARK, 1)}, more...) }
	unknown := expr("tunnel")
	port22 := tcpPort(22)
	low := func(n uint32) []byte { return native(n) }
	for _, c := range []struct {
		name     string
		messages []netlink.Message
		spec     packet.Spec
		want     string
	}{
		{"a rule that fails has logged", []netlink.Message{rule("c", append([]encoder{message1("a")}, append(port22, message1("b"), drop)...)...)}, udp,
			`accept, log log prefix "a" level 4 flags 0x0`},
		{"a state is asked", []netlink.Message{rule("c", limit(2, 60, 7, 0, 0), drop)}, udp,
			"accept, ask limit one per 30000000000ns burst 7, refused; drop, ask limit one per 30000000000ns burst 7"},
		{"a state behind a test is not", []netlink.Message{rule("c", append(port22, limit(2, 60, 7, 0, 0), drop)...)}, udp, "accept"},
		{"bits keep their values", []netlink.Message{rule("c", mark(bitwise(1, 1, low(^uint32(3)), low(2)), metaSet(unix.NFT_META_MARK, 1))...)}, udp,
			"accept, mark[30] = 1, mark[31] = 0"},
		{"bits are copied and turned", []netlink.Message{rule("c", mark(bitwise(1, 1, low(1), low(1)), metaSet(unix.NFT_META_PRIORITY, 1))...), rule("c", mark(shift(1, 1, 1, 4, 31), metaSet(unix.NFT_META_MARK, 1))...)}, udp,
			"accept, " + written("mark", 0, "mark[31]") + strings.Join(zeros("mark", 1, 32), "") + strings.Join(zeros("priority", 0, 31), "") + ", priority[31] = !mark[31]"},
		{"what is behind a number that is turned stays", []netlink.Message{rule("c", constant(1, 1, 2, 3, 4), byteorder(1, 1, 2, 2), compare(unix.NFT_CMP_EQ, 1, append(binary.NativeEndian.AppendUint16(nil, 0x102), 3, 4)...), drop)}, udp, "drop"},
		{"a value is read before its place is written", []netlink.Message{rule("c", mark(constant(2, low(0)...), metaSet(unix.NFT_META_MARK, 2), bitwise(1, 1, low(1), low(0)), metaSet(unix.NFT_META_MARK, 1))...)}, udp,
			"accept" + strings.Join(zeros("mark", 0, 31), "")},
		{"a written value is read", []netlink.Message{rule("c", constant(1, low(9)...), metaSet(unix.NFT_META_MARK, 1), meta(unix.NFT_META_MARK, 2), compare(unix.NFT_CMP_EQ, 2, low(9)...), drop)}, packet.Spec{Proto: packet.UDP, In: "eth0"},
			"drop" + strings.Join(zeros("mark", 0, 28), "") + ", mark[28] = 1, mark[29] = 0, mark[30] = 0, mark[31] = 1"},
		{"of a later rule, too", []netlink.Message{rule("c", constant(1, low(9)...), metaSet(unix.NFT_META_MARK, 1)), rule("c", meta(unix.NFT_META_MARK, 2), compare(unix.NFT_CMP_EQ, 2, low(9)...), drop)}, packet.Spec{Proto: packet.UDP, In: "eth0"},
			"drop" + strings.Join(zeros("mark", 0, 28), "") + ", mark[28] = 1, mark[29] = 0, mark[30] = 0, mark[31] = 1"},
		{"of a chain that it jumps to, too", []netlink.Message{chain("u"), rule("u", meta(unix.NFT_META_MARK, 2), compare(unix.NFT_CMP_EQ, 2, low(9)...), drop),
			rule("c", constant(1, low(9)...), metaSet(unix.NFT_META_MARK, 1), verdict(nftsim.VerdictJump, "u"))}, packet.Spec{Proto: packet.UDP, In: "eth0"},
			"drop" + strings.Join(zeros("mark", 0, 28), "") + ", mark[28] = 1, mark[29] = 0, mark[30] = 0, mark[31] = 1"},
		{"what is not modelled", []netlink.Message{rule("c", append(port22, unknown)...)}, packet.Spec{Proto: packet.TCP, DstPort: 22, In: "eth0"}, `undecided (expression "tunnel" is not modelled)`},
		{"is not met", []netlink.Message{rule("c", append(port22, unknown)...)}, udp, "accept"},
		{"a register that was not written", []netlink.Message{rule("c", compare(unix.NFT_CMP_EQ, 1, 5), drop)}, udp, "undecided (byte 0 of register 1 is read before the rule has written it)"},
		{"behind the header", []netlink.Message{rule("c", load(unix.NFT_PAYLOAD_NETWORK_HEADER, 22, 2, 1), compare(unix.NFT_CMP_EQ, 1, 0, 53), drop)}, udp, "drop"},
		{"beyond the header", []netlink.Message{rule("c", load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 90, 4, 1), drop)}, packet.Spec{Proto: packet.UDP, Length: 200, In: "eth0"}, "undecided (bytes behind those of the headers that are modelled)"},
		{"a device index", []netlink.Message{rule("c", meta(unix.NFT_META_IIF, 1), compare(unix.NFT_CMP_EQ, 1, native(2)...), drop)}, udp, "undecided (device index 2 of an unknown host)"},
		{"no device", []netlink.Message{rule("c", meta(unix.NFT_META_IIF, 1), compare(unix.NFT_CMP_EQ, 1, native(0)...), drop)}, udp, "accept"},
		{"the loopback device", []netlink.Message{rule("c", meta(unix.NFT_META_IIF, 1), compare(unix.NFT_CMP_NEQ, 1, native(1)...), drop)}, udp, "drop"},
		{"a part of a name", []netlink.Message{rule("c", meta(unix.NFT_META_IIFNAME, 1), compare(unix.NFT_CMP_LT, 1, 'e'), drop)}, udp, "undecided (byte 0 of register 1 holds a device name, which is not compared as a whole)"},
		{"a checksum", []netlink.Message{rule("c", constant(1, 0, 0), payloadSet(unix.NFT_PAYLOAD_NETWORK_HEADER, 10, 2, 1))}, udp, "undecided (writing what the headers are found by, or a checksum)"},
		{"the version", []netlink.Message{rule("c", constant(1, 0x46), payloadSet(unix.NFT_PAYLOAD_NETWORK_HEADER, 0, 1, 1))}, udp, "undecided (writing what the headers are found by, or a checksum)"},
		{"the version of IPv6", []netlink.Message{rule("c", constant(1, 0x40), payloadSet(unix.NFT_PAYLOAD_NETWORK_HEADER, 0, 1, 1))}, packet.Spec{Version: 6, Proto: packet.UDP, In: "eth0"}, "undecided (writing what the headers are found by, or a checksum)"},
		{"a segment size that was not lowered", []netlink.Message{rule("c", constant(1, 2, 0), segmentSet, segment, compare(unix.NFT_CMP_EQ, 1, 1, 244), drop)}, packet.Spec{Proto: packet.TCP, MSS: 500, In: "eth0"}, "drop"},
		{"a segment size that was lowered", []netlink.Message{rule("c", constant(1, 2, 0), segmentSet, segment, compare(unix.NFT_CMP_EQ, 1, 2, 0), drop)}, packet.Spec{Proto: packet.TCP, MSS: 1400, In: "eth0"}, "drop" + strings.Join(zeros("tcp mss", 0, 6), "") + ", tcp mss[6] = 1" + strings.Join(zeros("tcp mss", 7, 16), "")},
		{"the checksum of another protocol", []netlink.Message{rule("c", constant(1, 0, 0), payloadSet(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 16, 2, 1))}, packet.Spec{Proto: packet.TCP, In: "eth0"}, "undecided (writing a checksum)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := compileMachine(t, mustDecode(t, forward(c.messages...)), cmp.Or(c.spec.Version, 4))
			if got := m.spell(m.leavesOf(t, c.spec)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func written(group string, bit int, from string) string {
	return fmt.Sprintf("%s[%d] = %s", group, bit, from)
}

func zeros(group string, first, last int) []string {
	var list []string
	for bit := first; bit < last; bit++ {
		list = append(list, ", "+written(group, bit, "0"))
	}
	return list
}

// What a state answers decides as it does in the machine.
func TestSymbolicAnswers(t *testing.T) {
	numgen := func(modulus, kind, offset uint32) encoder {
		return expr("numgen", u32(unix.NFTA_NG_DREG, 1), u32(unix.NFTA_NG_MODULUS, modulus), u32(unix.NFTA_NG_TYPE, kind), u32(unix.NFTA_NG_OFFSET, offset))
	}
	quota := func(flags uint32) encoder {
		return expr("quota", u64(unix.NFTA_QUOTA_BYTES, 300), u32(unix.NFTA_QUOTA_FLAGS, flags))
	}
	connlimit := func(flags uint32) encoder { return expr("connlimit", u32(1, 5), u32(2, flags)) }
	is := func(n uint32) encoder { return compare(unix.NFT_CMP_EQ, 1, native(n)...) }
	const inc, random = 0, 1
	for _, c := range []struct {
		name        string
		exprs       []encoder
		drops, lets uint64 // answers with which the packet is dropped, and accepted
	}{
		{"limit", []encoder{limit(2, 1, 3, 0, 0)}, 1, 0},
		{"limit over", []encoder{limit(2, 1, 3, 0, 1)}, 0, 1},
		{"limit of bytes", []encoder{limit(2, 1, 3, 1, 0)}, 1, 0},
		{"quota", []encoder{quota(0)}, 1, 0},
		{"quota over", []encoder{quota(1)}, 0, 1},
		{"connections", []encoder{connlimit(0)}, 0, 1},
		{"connections over", []encoder{connlimit(1)}, 1, 0},
		{"in turn", []encoder{numgen(3, inc, 0), is(1)}, 1, 2},
		{"in turn from 4 on", []encoder{numgen(3, inc, 4), is(5)}, 1, 2},
		{"one of four", []encoder{numgen(4, random, 0), is(2)}, 0xbfffffff, 0xc0000000},
		{"one of four from 1 on", []encoder{numgen(4, random, 1), is(4)}, 0xc0000000, 0xbfffffff},
		{"one of three", []encoder{numgen(3, random, 0), is(2)}, 2, 1},
		{"random", []encoder{meta(unix.NFT_META_PRANDOM, 1), compare(unix.NFT_CMP_LT, 1, 0x80, 0, 0, 1)}, 0x80000000, 0x80000001},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := compileMachine(t, mustDecode(t, forward(rule("c", append(c.exprs, drop)...))), 4)
			word := m.space.Peek(0)
			for want, answer := range map[symbolic.Verdict]uint64{symbolic.Drop: c.drops, symbolic.Accept: c.lets} {
				got := m.space.LeafOf(m.space.Eval(m.f[0], func(l bdd.Level) bool {
					for i, f := range word {
						if m.space.Level(f) == l {
							return answer>>(len(word)-1-i)&1 == 1
						}
					}
					// Of a packet without a header nobody finds the connection.
					g, _, ok := symbolic.GroupOf(l)
					return ok && g == symbolic.TransportBytes
				}))
				if got.Verdict != want {
					t.Errorf("answer %#x: got %v, want %v", answer, got.Verdict, want)
				}
			}
		})
	}
}

// Before the routing there is no path whose segments have a size.
func TestSymbolicPath(t *testing.T) {
	clamp := rule("c", expr("rt", u32(unix.NFTA_RT_DREG, 1), u32(unix.NFTA_RT_KEY, unix.NFT_RT_TCPMSS)), byteorder(1, 1, 2, 2),
		expr("exthdr", u8(unix.NFTA_EXTHDR_TYPE, 2), u32(unix.NFTA_EXTHDR_OFFSET, 2), u32(unix.NFTA_EXTHDR_LEN, 2), u32(unix.NFTA_EXTHDR_OP, 1), u32(7, 1)), drop)
	var copies []string
	for bit := range 16 {
		copies = append(copies, fmt.Sprintf(", tcp mss[%d] = path mss[%d]", bit, bit))
	}
	for hook, want := range map[uint32]string{unix.NF_INET_PRE_ROUTING: "accept", unix.NF_INET_FORWARD: "drop" + strings.Join(copies, "")} {
		m := compileMachine(t, mustDecode(t, []netlink.Message{table(), baseChain("c", "filter", hook, 0, 1), clamp}), 4)
		if got := m.spell(m.leavesOf(t, packet.Spec{Proto: packet.TCP, MSS: 9000, In: "eth0"})); got != want {
			t.Errorf("hook %d: got %s, want %s", hook, got, want)
		}
	}
}

func TestSymbolicProvenance(t *testing.T) {
	m := mustDecode(t, forward(chain("u"), rule("u", append(tcpPort(22), drop)...), rule("c", verdict(nftsim.VerdictJump, "u")), rule("c", append(tcpPort(23), accept)...)))
	s := symbolic.NewSpace(bdd.New(bdd.Options{}), 4, &symbolic.NameTests{}, nil)
	s.Provenance = true
	c := &compiled{space: s, stages: m.Compile(s, nil).Stages}
	c.f = []bdd.Ref{s.Function(&c.stages[0])}
	for port, want := range map[uint16]string{22: "comment, table inet t chain u", 23: "comment, table inet t chain c", 24: "table inet t chain c, policy"} {
		leaves := c.leavesOf(t, packet.Spec{Proto: packet.TCP, DstPort: port, In: "eth0"})
		if got := s.Place(leaves[0].By); len(leaves) != 1 || got != want {
			t.Errorf("port %d: %q, want %q", port, got, want)
		}
	}
}

// States are listed as packets meet them, those of other IP versions are left
// out, and names are noted.
func TestSymbolicCollect(t *testing.T) {
	version := func(n byte) []encoder {
		return []encoder{meta(unix.NFT_META_NFPROTO, 1), compare(unix.NFT_CMP_EQ, 1, n)}
	}
	numgen := func(modulus uint32) encoder {
		return expr("numgen", u32(unix.NFTA_NG_DREG, 1), u32(unix.NFTA_NG_MODULUS, modulus), u32(unix.NFTA_NG_TYPE, 0))
	}
	dynset := expr("dynset", str(unix.NFTA_DYNSET_SET_NAME, "s"), u32(unix.NFTA_DYNSET_OP, 1), u32(unix.NFTA_DYNSET_SREG_KEY, 1))
	name := func(key uint32, text string) []encoder {
		return []encoder{meta(key, 1), compare(unix.NFT_CMP_EQ, 1, []byte(text)...)}
	}
	batch := []netlink.Message{
		bound(unix.NFNL_MSG_BATCH_BEGIN), table(), chain("lost"), chain("u"),
		baseChain("late", "filter", unix.NF_INET_FORWARD, 5, 1), baseChain("early", "filter", unix.NF_INET_FORWARD, -5, 1),
		set("s", 1, unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL, 4, u64(unix.NFTA_SET_TIMEOUT, 1000)),
		rule("lost", limit(1, 1, 1, 0, 0)),
		rule("u", numgen(3)),
		rule("late", append(version(2), limit(1, 1, 4, 0, 0))...),
		rule("late", append(version(10), limit(1, 1, 6, 0, 0))...),
		rule("late", append(name(unix.NFT_META_IIFNAME, "eth"), load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1), lookup("s", 1, 1), dynset)...),
		rule("early", append(name(unix.NFT_META_OIFNAME, "wan0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), numgen(2), verdict(nftsim.VerdictJump, "u"))...),
		rule("early", limit(1, 1, 9, 0, 1), limit(1, 1, 8, 0, 0)),
		bound(unix.NFNL_MSG_BATCH_END),
	}
	m := mustDecode(t, batch)
	for v, want := range map[int]string{
		4: "nth counter of 2; nth counter of 3; limit one per 1000000000ns burst 9; limit one per 1000000000ns burst 8; limit one per 1000000000ns burst 4; " +
			"set membership set s timeout 1000ms size 65535 of source[96:128]; limit one per 1000000000ns burst 1",
		6: "nth counter of 2; nth counter of 3; limit one per 1000000000ns burst 9; limit one per 1000000000ns burst 8; limit one per 1000000000ns burst 6; " +
			"set membership set s timeout 1000ms size 65535 of source[32:64]; limit one per 1000000000ns burst 1",
	} {
		tests := &symbolic.NameTests{}
		var got []string
		for _, i := range m.Collect(v, tests) {
			s := i.Kind + " " + i.Parameters
			if i.Key != "" {
				s += " of " + i.Key
			}
			got = append(got, s)
		}
		if list := strings.Join(got, "; "); list != want {
			t.Errorf("version %d:\ngot  %s\nwant %s", v, list, want)
		}
		names := tests.Names().Representatives()
		if !slices.Contains(names, "wan0") || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "eth") }) {
			t.Errorf("names %q", names)
		}
	}
}
