package nfnetlink

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func nested(kind uint16, parts ...[]byte) []byte {
	return AppendAttr(nil, kind|netlink.Nested, slices.Concat(parts...))
}

func expression(name string, data ...[]byte) []byte {
	return nested(listElem, AppendString(nil, unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, data...))
}

func u32(kind uint16, v uint32) []byte { return AppendUint32(nil, kind, v) }

func value(kind uint16, b ...byte) []byte {
	return nested(kind, AppendAttr(nil, unix.NFTA_DATA_VALUE, b))
}

func rule(chain string, expressions ...[]byte) netlink.Message {
	return Message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, unix.NFPROTO_INET, slices.Concat(
		AppendString(nil, unix.NFTA_RULE_TABLE, "t"), AppendString(nil, unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, expressions...)))
}

// sample is a rule with several levels of nesting.
func sample() netlink.Message {
	return rule("c",
		expression("meta", u32(unix.NFTA_META_DREG, 1), u32(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO)),
		expression("cmp", u32(unix.NFTA_CMP_SREG, 1), u32(unix.NFTA_CMP_OP, unix.NFT_CMP_NEQ), value(unix.NFTA_CMP_DATA, 6)),
		expression("lookup", AppendString(nil, unix.NFTA_LOOKUP_SET, "__set%d"), u32(unix.NFTA_LOOKUP_SREG, 1), u32(unix.NFTA_LOOKUP_SET_ID, 3)),
		expression("counter", AppendAttr(nil, unix.NFTA_COUNTER_BYTES, make([]byte, 8)), AppendAttr(nil, unix.NFTA_COUNTER_PACKETS, make([]byte, 8))),
		expression("dynset", AppendString(nil, unix.NFTA_DYNSET_SET_NAME, "s"), u32(unix.NFTA_DYNSET_SREG_KEY, 1),
			nested(unix.NFTA_DYNSET_EXPR, AppendString(nil, unix.NFTA_EXPR_NAME, "limit"), nested(unix.NFTA_EXPR_DATA, u32(unix.NFTA_LIMIT_BURST, 9)))),
		expression("immediate", u32(unix.NFTA_IMMEDIATE_DREG, 0), nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT,
			u32(unix.NFTA_VERDICT_CODE, 0xfffffffd), AppendString(nil, unix.NFTA_VERDICT_CHAIN, "d")))),
	)
}

// TestStoredBites changes each byte of what was read back, and wants it
// noticed wherever the kernel has no say.
func TestStoredBites(t *testing.T) {
	sent := Normalise([]netlink.Message{sample()}, 0)[0]
	if err := Stored(sent, sent); err != nil {
		t.Fatalf("a message differs from itself: %v", err)
	}
	unnoticed := 0
	for i := headerLen; i < len(sent.Data); i++ {
		got := sent
		got.Data = bytes.Clone(sent.Data)
		got.Data[i] ^= 0x20
		if Stored(sent, got) == nil {
			unnoticed++
		}
	}
	// Padding, types of list entries (nft counts the elements of a set with
	// them) and of what is zero anyway, the number of the set inside the batch.
	if unnoticed > 44 {
		t.Errorf("%d of %d changed bytes are not noticed", unnoticed, len(sent.Data))
	}
	for _, gone := range []string{"meta", "cmp", "lookup", "counter", "dynset", "immediate"} {
		got := rewrite(sent, func(level *schema, _ string, attrs []Attr) []Attr {
			if level != expressionList {
				return attrs
			}
			return slices.DeleteFunc(attrs, func(a Attr) bool {
				return FindString(parseAttributes(a.Data), unix.NFTA_EXPR_NAME) == gone
			})
		})
		if Stored(sent, got) == nil {
			t.Errorf("a lost %s expression is not noticed", gone)
		}
		if Stored(got, sent) == nil {
			t.Errorf("an added %s expression is not noticed", gone)
		}
	}
}

func TestStoredKernelsForm(t *testing.T) {
	nat := func(attrs ...[]byte) netlink.Message { return rule("c", expression("nat", attrs...)) }
	min, max := u32(unix.NFTA_NAT_REG_ADDR_MIN, 1), u32(unix.NFTA_NAT_REG_ADDR_MAX, 1)
	set := func(attrs ...[]byte) netlink.Message {
		return Message(unix.NFT_MSG_NEWSET, 0, 1, slices.Concat(attrs...))
	}
	verdicts := u32(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
	limit := nested(unix.NFTA_DYNSET_EXPR, AppendString(nil, unix.NFTA_EXPR_NAME, "last"))
	limits := nested(dynsetExprs, nested(listElem, AppendString(nil, unix.NFTA_EXPR_NAME, "last")))
	for _, c := range []struct {
		name      string
		sent, got netlink.Message
		same      bool
	}{
		{"defaults of nat", nat(min), nat(min, max, u32(unix.NFTA_NAT_FLAGS, 1)), true},
		{"span of nat", nat(min), nat(min, u32(unix.NFTA_NAT_REG_ADDR_MAX, 2)), false},
		{"flag of nat lost", nat(min, u32(unix.NFTA_NAT_FLAGS, 4)), nat(min, u32(unix.NFTA_NAT_FLAGS, 1)), false},
		{"flag of nat kept", nat(min, u32(unix.NFTA_NAT_FLAGS, 4)), nat(min, u32(unix.NFTA_NAT_FLAGS, 5)), true},
		{"other order", nat(min, max), nat(max, min), true},
		{"zero added", nat(min), nat(min, u32(unix.NFTA_NAT_TYPE, 0)), true},
		{"type added", nat(min), nat(min, u32(unix.NFTA_NAT_TYPE, 1)), false},
		{"size of verdicts", set(verdicts, u32(unix.NFTA_SET_DATA_LEN, 0)), set(verdicts, u32(unix.NFTA_SET_DATA_LEN, 16)), true},
		{"size of data", set(u32(unix.NFTA_SET_DATA_LEN, 4)), set(u32(unix.NFTA_SET_DATA_LEN, 16)), false},
		{"one expression, two forms", rule("c", expression("dynset", limits)), rule("c", expression("dynset", limit, u32(unix.NFTA_DYNSET_FLAGS, 2))), true},
		{"xt private part", rule("c", expression("match", AppendAttr(nil, unix.NFTA_MATCH_INFO, []byte{1, 2, 3, 4}))),
			rule("c", expression("match", AppendAttr(nil, unix.NFTA_MATCH_INFO, []byte{1, 2, 0, 0}))), true},
		{"xt data", rule("c", expression("match", AppendAttr(nil, unix.NFTA_MATCH_INFO, []byte{1, 2, 3, 4}))),
			rule("c", expression("match", AppendAttr(nil, unix.NFTA_MATCH_INFO, []byte{1, 3, 3, 4}))), false},
		{"other family", rule("c"), netlink.Message{Header: rule("c").Header, Data: append([]byte{2}, rule("c").Data[1:]...)}, false},
	} {
		if err := Stored(c.sent, c.got); (err == nil) != c.same {
			t.Errorf("%s: Stored = %v, want the same: %v", c.name, err, c.same)
		}
	}
}

func TestLocate(t *testing.T) {
	m := sample()
	for _, name := range []string{"meta", "cmp", "lookup", "dynset", "limit", "immediate"} {
		at := bytes.Index(m.Data, []byte(name+"\x00")) + unix.NLMSG_HDRLEN
		if got := Locate(m, at); got != name {
			t.Errorf("at the name of %s: %q", name, got)
		}
	}
	for _, offset := range []int{-1, 0, 16, 20, 1 << 30} {
		if got := Locate(m, offset); got != "" {
			t.Errorf("Locate(%d) = %q, want none", offset, got)
		}
	}
}

func TestResolve(t *testing.T) {
	got := Resolve(sample(), Names{Sets: map[uint32]string{3: "__set7"}})
	if names := strings.Join(SetsOf(got), " "); names != "__set7 s" {
		t.Errorf("sets are %q, want __set7 and s", names)
	}
	if names := strings.Join(SetsOf(Resolve(sample(), Names{})), " "); names != "__set%d s" {
		t.Errorf("without names sets are %q", names)
	}
}

func TestReplayFixes(t *testing.T) {
	xt := expression("match", AppendString(nil, unix.NFTA_MATCH_NAME, "recent"))
	load := expression("meta", u32(unix.NFTA_META_DREG, 1), u32(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO))
	protocol := expression("payload", u32(unix.NFTA_PAYLOAD_DREG, 1), u32(unix.NFTA_PAYLOAD_BASE, 1), u32(unix.NFTA_PAYLOAD_OFFSET, 9), u32(unix.NFTA_PAYLOAD_LEN, 1))
	compare := func(op uint32, protocol byte) []byte {
		return expression("cmp", u32(unix.NFTA_CMP_SREG, 1), u32(unix.NFTA_CMP_OP, op), value(unix.NFTA_CMP_DATA, protocol))
	}
	compat := func(protocol, flags uint32) []byte {
		return slices.Concat(u32(compatProto, protocol), u32(compatFlags, flags))
	}
	for _, c := range []struct {
		name string
		rule netlink.Message
		want []byte // of NFTA_RULE_COMPAT
	}{
		{"protocol by meta", rule("c", load, compare(unix.NFT_CMP_EQ, 6), xt), compat(6, 0)},
		{"protocol by header", rule("c", protocol, compare(unix.NFT_CMP_EQ, 17), xt), compat(17, 0)},
		{"not a protocol", rule("c", load, compare(unix.NFT_CMP_NEQ, 6), xt), compat(6, compatInverted)},
		{"no protocol", rule("c", xt), nil},
		{"no xt", rule("c", load, compare(unix.NFT_CMP_EQ, 6)), nil},
		{"protocol after xt", rule("c", xt, load, compare(unix.NFT_CMP_EQ, 6)), nil},
	} {
		batch := Replay([]netlink.Message{c.rule})
		if len(batch) != 1 {
			t.Fatalf("%s: %d messages, want 1", c.name, len(batch))
		}
		if got := Find(Attributes(batch[0]), unix.NFTA_RULE_COMPAT); !bytes.Equal(got, c.want) {
			t.Errorf("%s: compat is %x, want %x", c.name, got, c.want)
		}
	}
	strip := rule("c", expression("exthdr", u32(unix.NFTA_EXTHDR_OFFSET, 0), u32(unix.NFTA_EXTHDR_LEN, 0), u32(unix.NFTA_EXTHDR_FLAGS, 0), u32(unix.NFTA_EXTHDR_OP, 1)))
	want := rule("c", expression("exthdr", u32(unix.NFTA_EXTHDR_OP, 1)))
	if got := Replay([]netlink.Message{strip})[0]; Stored(want, got) != nil || len(Normalise([]netlink.Message{got}, 0)[0].Data) != len(Normalise([]netlink.Message{want}, 0)[0].Data) {
		t.Errorf("exthdr strip is replayed as %x", got.Data)
	}
}

// TestReplayOfNonsense wants a batch, not a loop, for a dump in which a bound
// chain jumps to itself.
func TestReplayOfNonsense(t *testing.T) {
	bound := Message(unix.NFT_MSG_NEWCHAIN, 0, unix.NFPROTO_INET, slices.Concat(
		AppendString(nil, unix.NFTA_CHAIN_TABLE, "t"), AppendString(nil, unix.NFTA_CHAIN_NAME, "__chain0"), u32(chainFlags, chainFlagBinding)))
	jump := func(from string) netlink.Message {
		return rule(from, expression("immediate", nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT,
			u32(unix.NFTA_VERDICT_CODE, 0xfffffffd), AppendString(nil, unix.NFTA_VERDICT_CHAIN, "__chain0")))))
	}
	if got := len(Replay([]netlink.Message{bound, jump("__chain0"), jump("c"), jump("c")})); got != 4 {
		t.Errorf("%d messages, want 4", got)
	}
}
