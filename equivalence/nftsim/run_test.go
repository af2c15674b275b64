package nftsim_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/nftsim"
	"nftmigrate/packet"
)

var bigEndian = binary.BigEndian

func TestVerdicts(t *testing.T) {
	tcp := packet.Spec{Proto: packet.TCP, SrcPort: 1000, DstPort: 22, In: "eth0"}
	tcp80 := tcp
	tcp80.DstPort = 80
	udp := packet.Spec{Proto: packet.UDP, DstPort: 22, In: "eth0"}
	fragment := packet.Spec{Proto: packet.TCP, FragmentOffset: 2, Payload: []byte{0, 0, 0, 22, 0, 0, 0, 0}, In: "eth0"}
	short := packet.Spec{Proto: packet.TCP, DstPort: 22, Truncate: true, Keep: 3, In: "eth0"}
	ah := packet.Spec{Version: 6, Proto: packet.TCP, DstPort: 22, Headers: []packet.Extension{{Proto: packet.AH, Body: make([]byte, 10)}}, In: "eth0"}
	options := packet.Spec{Version: 6, Proto: packet.TCP, DstPort: 22, Headers: []packet.Extension{{Proto: packet.DestOpts}}, In: "eth0"}
	ssh := func(more ...encoder) netlink.Message { return rule("c", append(tcpPort(22), more...)...) }
	notPort := []encoder{load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 1), compare(unix.NFT_CMP_NEQ, 1, 0, 22)}

	for _, c := range []struct {
		name     string
		messages []netlink.Message
		spec     packet.Spec
		want     packet.Verdict
	}{
		{"match", []netlink.Message{ssh(drop)}, tcp, packet.Drop},
		{"no match", []netlink.Message{ssh(drop)}, tcp80, packet.Accept},
		{"other protocol", []netlink.Message{ssh(drop)}, udp, packet.Accept},
		{"first rule decides", []netlink.Message{ssh(accept), rule("c", drop)}, tcp, packet.Accept},
		{"continue", []netlink.Message{rule("c", verdict(nftsim.VerdictContinue, ""), drop)}, tcp, packet.Drop},
		{"break", []netlink.Message{rule("c", verdict(nftsim.VerdictBreak, ""), drop)}, tcp, packet.Accept},
		{"return in a base chain", []netlink.Message{rule("c", verdict(nftsim.VerdictReturn, "")), rule("c", drop)}, tcp, packet.Accept},
		{"jump comes back", []netlink.Message{chain("u"), rule("u", verdict(nftsim.VerdictReturn, "")), rule("u", drop), rule("c", verdict(nftsim.VerdictJump, "u")), ssh(drop)}, tcp, packet.Drop},
		{"goto does not", []netlink.Message{chain("u"), rule("c", verdict(nftsim.VerdictGoto, "u")), rule("c", drop)}, tcp, packet.Accept},
		{"goto below a jump", []netlink.Message{chain("u"), chain("v"), rule("u", verdict(nftsim.VerdictGoto, "v")), rule("u", accept), rule("c", verdict(nftsim.VerdictJump, "u")), rule("c", drop)}, tcp, packet.Drop},
		{"unequal on a header that is cut off", []netlink.Message{rule("c", append(notPort, drop)...)}, short, packet.Accept},
		{"later fragment read as a header", []netlink.Message{ssh(drop)}, fragment, packet.Drop},
		{"later fragment by the long way", []netlink.Message{rule("c", load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 8, 1), drop)}, fragment, packet.Accept},
		{"l4proto stops at AH", []netlink.Message{ssh(drop)}, ah, packet.Accept},
		{"l4proto behind options", []netlink.Message{ssh(drop)}, options, packet.Drop},
		{"whole interface name", []netlink.Message{rule("c", meta(unix.NFT_META_IIFNAME, 1), compare(unix.NFT_CMP_EQ, 1, slices.Concat([]byte("eth"), make([]byte, 13))...), drop)}, tcp, packet.Accept},
		{"beginning of an interface name", []netlink.Message{rule("c", meta(unix.NFT_META_IIFNAME, 1), compare(unix.NFT_CMP_EQ, 1, []byte("eth")...), drop)}, tcp, packet.Drop},
		{"owner without a socket", []netlink.Message{rule("c", meta(unix.NFT_META_SKUID, 1), compare(unix.NFT_CMP_NEQ, 1, 9, 0, 0, 0), drop)}, tcp, packet.Accept},
		{"link header without a link", []netlink.Message{rule("c", load(unix.NFT_PAYLOAD_LL_HEADER, 6, 6, 1), drop)}, tcp, packet.Accept},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, f := runOne(t, mustDecode(t, forward(c.messages...)), c.spec); got != c.want {
				t.Errorf("got %v, want %v; trace %+v, unknown %v", got, c.want, f.Trace, f.Unknown)
			}
		})
	}
}

// The state without an entry is invalid, or untracked; all other keys break.
func TestCtWithoutEntry(t *testing.T) {
	ct := func(key uint32) encoder {
		return expr("ct", u32(unix.NFTA_CT_KEY, key), u32(unix.NFTA_CT_DREG, 1))
	}
	for _, c := range []struct {
		name  string
		state packet.State
		rule  []encoder
		want  packet.Verdict
	}{
		{"invalid", packet.Invalid, []encoder{ct(unix.NFT_CT_STATE), compare(unix.NFT_CMP_EQ, 1, native(1)...), drop}, packet.Drop},
		{"before tracking", 0, []encoder{ct(unix.NFT_CT_STATE), compare(unix.NFT_CMP_EQ, 1, native(1)...), drop}, packet.Drop},
		{"untracked", packet.Untracked, []encoder{ct(unix.NFT_CT_STATE), compare(unix.NFT_CMP_EQ, 1, native(64)...), drop}, packet.Drop},
		{"new", packet.New, []encoder{ct(unix.NFT_CT_STATE), compare(unix.NFT_CMP_EQ, 1, native(8)...), drop}, packet.Drop},
		{"mark of nothing is not unequal", packet.Invalid, []encoder{ct(unix.NFT_CT_MARK), compare(unix.NFT_CMP_NEQ, 1, native(5)...), drop}, packet.Accept},
		{"mark of an entry is unequal", packet.New, []encoder{ct(unix.NFT_CT_MARK), compare(unix.NFT_CMP_NEQ, 1, native(5)...), drop}, packet.Drop},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := packet.Spec{Proto: packet.UDP, In: "eth0", State: c.state}
			if got, f := runOne(t, mustDecode(t, forward(rule("c", c.rule...))), s); got != c.want {
				t.Errorf("got %v, want %v, trace %+v", got, c.want, f.Trace)
			}
		})
	}
}

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func TestSets(t *testing.T) {
	source := load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1)
	interval := func(more ...encoder) []netlink.Message {
		return forward(set("__set%d", 7, unix.NFT_SET_INTERVAL, 4),
			elements("__set%d", 7, element(key(0, 0, 0, 0), end()), element(key(10, 0, 0, 0)), element(key(10, 1, 0, 0), end()),
				element(key(10, 1, 0, 0)), element(key(10, 2, 0, 0), end()), element(key(200, 0, 0, 0))),
			rule("c", append([]encoder{source, lookup("__set%d", 7, 1, more...)}, drop)...))
	}
	vmap := forward(chain("u"), rule("u", drop),
		set("m", 1, unix.NFT_SET_MAP, 4, u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT), u32(unix.NFTA_SET_DATA_LEN, 16)),
		elements("m", 1,
			element(key(10, 0, 0, 1), nest(unix.NFTA_SET_ELEM_DATA, nest(unix.NFTA_DATA_VERDICT, u32(unix.NFTA_VERDICT_CODE, uint32(0xfffffffd)), str(unix.NFTA_VERDICT_CHAIN, "u")))),
			element(key(10, 0, 0, 2), nest(unix.NFTA_SET_ELEM_DATA, nest(unix.NFTA_DATA_VERDICT, u32(unix.NFTA_VERDICT_CODE, 1)))),
			element(u32(unix.NFTA_SET_ELEM_FLAGS, 2), nest(unix.NFTA_SET_ELEM_DATA, nest(unix.NFTA_DATA_VERDICT, u32(unix.NFTA_VERDICT_CODE, 0))))),
		rule("c", source, lookup("m", 0, 1, u32(unix.NFTA_LOOKUP_DREG, 0))))
	concat := forward(
		set("s", 1, unix.NFT_SET_INTERVAL|0x80, 8, nest(unix.NFTA_SET_DESC, nest(2, nest(unix.NFTA_LIST_ELEM, u32(1, 4)), nest(unix.NFTA_LIST_ELEM, u32(1, 2))))),
		elements("s", 1, element(key(10, 0, 0, 0, 0, 20, 0, 0), value(10, 10, 0, 0, 255, 0, 30, 0, 0))),
		rule("c", append(tcpPort(25), source, load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 9), lookup("s", 1, 1), drop)...))
	inverted := u32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV)
	for _, c := range []struct {
		name  string
		batch []netlink.Message
		src   string
		want  packet.Verdict
	}{
		{"before", interval(), "9.255.255.255", packet.Accept},
		{"first", interval(), "10.0.0.0", packet.Drop},
		{"adjacent", interval(), "10.1.0.0", packet.Drop},
		{"last", interval(), "10.1.255.255", packet.Drop},
		{"behind", interval(), "10.2.0.0", packet.Accept},
		{"open end", interval(), "255.255.255.255", packet.Drop},
		{"not in", interval(inverted), "10.2.0.0", packet.Drop},
		{"not in, but is", interval(inverted), "10.1.0.0", packet.Accept},
		{"verdict map jumps", vmap, "10.0.0.1", packet.Drop},
		{"verdict map accepts", vmap, "10.0.0.2", packet.Accept},
		{"verdict map, all others", vmap, "10.0.0.3", packet.Drop},
		{"intervals of fields", concat, "10.0.0.255", packet.Drop},
		{"intervals of fields, one outside", concat, "10.0.1.0", packet.Accept},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := packet.Spec{Proto: packet.TCP, Src: netip.MustParseAddr(c.src), DstPort: 25, In: "eth0"}
			if got, f := runOne(t, mustDecode(t, c.batch), s); got != c.want {
				t.Errorf("got %v, want %v, trace %+v, unknown %v", got, c.want, f.Trace, f.Unknown)
			}
		})
	}
}

// timed runs packets at times and returns for each whether it was dropped.
func timed(t *testing.T, m *nftsim.Machine, at []time.Duration, src ...string) string {
	t.Helper()
	var out strings.Builder
	for n, d := range at {
		s := packet.Spec{Proto: packet.UDP, Time: int64(d), In: "eth0", Src: netip.MustParseAddr(src[n%len(src)]), Length: 100}
		switch v, f := runOne(t, m, s); {
		case v == packet.Drop:
			out.WriteByte('D')
		case v == packet.Accept:
			out.WriteByte('-')
		default:
			t.Fatalf("packet %d: %v, %v", n, v, f.Unknown)
		}
		if n > 0 && at[n] < at[n-1] {
			t.Fatal("time runs backwards")
		}
	}
	return out.String()
}

const ms = time.Millisecond

func TestStatefulInstructions(t *testing.T) {
	times := []time.Duration{0, 0, 0, 0, 499 * ms, 500 * ms, 501 * ms, 5000 * ms, 5000 * ms, 5000 * ms, 5000 * ms}
	for _, c := range []struct {
		name  string
		exprs []encoder
		want  string
	}{
		{"limit 2/second burst 3", []encoder{limit(2, 1, 3, 0, 0), drop}, "DDD--D-DDD-"},
		{"limit over 2/second burst 3", []encoder{limit(2, 1, 3, 0, 1), drop}, "---DD-D---D"},
		{"limit without a burst is 5", []encoder{limit(1, 60, 0, 0, 0), drop}, "DDDDD------"},
		{"limit 200 bytes/second burst 100", []encoder{limit(200, 1, 100, 1, 0), drop}, "DDD--D-DDD-"},
		{"quota 300", []encoder{expr("quota", u64(unix.NFTA_QUOTA_BYTES, 300)), drop}, "DDD--------"},
		{"quota over 300", []encoder{expr("quota", u64(unix.NFTA_QUOTA_BYTES, 300), u32(unix.NFTA_QUOTA_FLAGS, 1)), drop}, "---DDDDDDDD"},
		{"every third", []encoder{expr("numgen", u32(unix.NFTA_NG_DREG, 1), u32(unix.NFTA_NG_MODULUS, 3), u32(unix.NFTA_NG_TYPE, 0)),
			compare(unix.NFT_CMP_EQ, 1, native(1)...), drop}, "-D--D--D--D"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustDecode(t, forward(rule("c", c.exprs...)))
			for range 2 {
				if got := timed(t, m, times, "192.0.2.77"); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				m.Reset()
			}
		})
	}
}

func TestDynset(t *testing.T) {
	const flags = unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL
	source := load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1)
	change := func(op uint32, more ...encoder) encoder {
		return expr("dynset", append([]encoder{
			str(unix.NFTA_DYNSET_SET_NAME, "s"), u32(unix.NFTA_DYNSET_OP, op), u32(unix.NFTA_DYNSET_SREG_KEY, 1),
		}, more...)...)
	}
	second := u64(unix.NFTA_SET_TIMEOUT, 1000)
	size := func(n uint32) encoder { return nest(unix.NFTA_SET_DESC, u32(unix.NFTA_SET_DESC_SIZE, n)) }
	batch := func(size encoder, rules ...netlink.Message) []netlink.Message {
		return forward(append([]netlink.Message{set("s", 1, flags, 4, second, size)}, rules...)...)
	}
	seen := rule("c", source, lookup("s", 1, 1), drop)
	perElement := nest(unix.NFTA_DYNSET_EXPR, str(unix.NFTA_EXPR_NAME, "limit"), nest(unix.NFTA_EXPR_DATA,
		u64(unix.NFTA_LIMIT_RATE, 1), u64(unix.NFTA_LIMIT_UNIT, 60), u32(unix.NFTA_LIMIT_BURST, 2)))
	a, b := "192.0.2.1", "192.0.2.2"
	for _, c := range []struct {
		name  string
		batch []netlink.Message
		at    []time.Duration
		src   []string
		want  string
	}{
		{"add does not renew", batch(size(9), seen, rule("c", source, change(0))), []time.Duration{0, 600 * ms, 999 * ms, 1000 * ms, 1100 * ms}, []string{a}, "-DD-D"},
		{"update renews", batch(size(9), rule("c", source, lookup("s", 1, 1), change(1), drop), rule("c", source, change(0))), []time.Duration{0, 600 * ms, 1500 * ms, 2600 * ms}, []string{a}, "-DD-"},
		{"own timeout", batch(size(9), seen, rule("c", source, change(1, u64(unix.NFTA_DYNSET_TIMEOUT, 100)))), []time.Duration{0, 99 * ms, 100 * ms, 150 * ms}, []string{a}, "-D-D"},
		{"full set does not match", batch(size(1), rule("c", source, change(0), drop)), []time.Duration{0, 0, 0, 2001 * ms}, []string{a, b}, "D-DD"},
		{"inverted", batch(size(1), rule("c", source, change(0, u32(unix.NFTA_DYNSET_FLAGS, 1)), drop)), []time.Duration{0, 0}, []string{a, b}, "-D"},
		{"delete", batch(size(9), rule("c", source, lookup("s", 1, 1), change(2), drop), rule("c", source, change(0))), []time.Duration{0, 0, 0, 0}, []string{a}, "-D-D"},
		{"a bucket for each element", batch(size(9), rule("c", source, change(1, perElement), drop)), []time.Duration{0, 0, 0, 0, 0, 0}, []string{a, b}, "DDDD--"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustDecode(t, c.batch)
			for range 2 {
				if got := timed(t, m, c.at, c.src...); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				m.Reset()
			}
		})
	}
}

// An element that has run out takes up room until the kernel collects it, and
// when that is cannot be known.
func TestFullOfGoneElements(t *testing.T) {
	m := mustDecode(t, forward(set("s", 1, unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL, 4, u64(unix.NFTA_SET_TIMEOUT, 1000), nest(unix.NFTA_SET_DESC, u32(unix.NFTA_SET_DESC_SIZE, 1))),
		rule("c", load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4, 1), expr("dynset", str(unix.NFTA_DYNSET_SET_NAME, "s"), u32(unix.NFTA_DYNSET_OP, 0), u32(unix.NFTA_DYNSET_SREG_KEY, 1)), drop)))
	for _, c := range []struct {
		at   time.Duration
		src  string
		want packet.Verdict
	}{{0, "10.0.0.1", packet.Drop}, {999 * ms, "10.0.0.2", packet.Accept}, {1500 * ms, "10.0.0.2", packet.Undecided}, {2001 * ms, "10.0.0.2", packet.Drop}} {
		got, f := runOne(t, m, packet.Spec{Proto: packet.UDP, In: "eth0", Src: mustAddr(c.src), Time: int64(c.at)})
		if got != c.want {
			t.Errorf("at %v: got %v, want %v, %v", c.at, got, c.want, f.Unknown)
		}
	}
}

func TestTrace(t *testing.T) {
	_, f := runOne(t, mustDecode(t, forward(rule("c", append(tcpPort(22), drop)...))), packet.Spec{Proto: packet.TCP, DstPort: 80, In: "eth0"})
	if len(f.Trace) != 2 {
		t.Fatalf("%d steps, want 2: %+v", len(f.Trace), f.Trace)
	}
	s := f.Trace[0]
	if s.Stage != "table inet t chain c" || s.Place != "comment" || s.Result != "no match at [ cmp eq reg 1 0x00001600 ]" ||
		!strings.Contains(s.Text, "[ payload load 2b @ transport header + 2 => reg 1 ] = 0x00005000") {
		t.Errorf("step %+v", s)
	}
	if f.Trace[1].Text != "policy" || f.Trace[1].Result != "accept" {
		t.Errorf("step %+v", f.Trace[1])
	}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }
