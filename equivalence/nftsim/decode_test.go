package nftsim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/nftsim"
	"nftmigrate/packet"
)

// What is not modelled makes the packets that reach it undecided, and no
// others.
func TestUnknown(t *testing.T) {
	hit := packet.Spec{Proto: packet.TCP, DstPort: 22, In: "eth0"}
	miss := packet.Spec{Proto: packet.TCP, DstPort: 23, In: "eth0"}
	ssh := func(more ...encoder) netlink.Message { return rule("c", append(tcpPort(22), more...)...) }
	for _, c := range []struct {
		name     string
		messages []netlink.Message
		says     string
	}{
		{"expression", []netlink.Message{ssh(expr("osf", u32(1, 1)), drop)}, `expression "osf"`},
		{"attribute", []netlink.Message{ssh(expr("counter", u64(77, 1)), drop)}, "attribute 77 of counter"},
		{"meta key", []netlink.Message{ssh(meta(99, 1), drop)}, "key 99"},
		{"meta key without a load", []netlink.Message{ssh(meta(33, 1), drop)}, "loading sdif"},
		{"comparison", []netlink.Message{ssh(meta(unix.NFT_META_LEN, 1), compare(9, 1, 1, 2, 3, 4), drop)}, "comparison 9"},
		{"limit flag", []netlink.Message{ssh(limit(1, 1, 1, 0, 8), drop)}, "flags 0x8"},
		{"expression", []netlink.Message{ssh(expr("tunnel", u32(1, 1)))}, `expression "tunnel"`},
		{"verdict", []netlink.Message{ssh(verdict(3, ""))}, "verdict 3"},
		{"set flag", []netlink.Message{set("s", 1, 0x4000, 4), ssh(meta(unix.NFT_META_MARK, 1), lookup("s", 1, 1), drop)}, "set flag 0x4000"},
		{"set attribute", []netlink.Message{set("s", 1, 0, 4, u32(99, 1)), ssh(meta(unix.NFT_META_MARK, 1), lookup("s", 1, 1), drop)}, "attribute 99 of set"},
		{"element attribute", []netlink.Message{set("s", 1, 0, 4), elements("s", 1, element(key(1, 2, 3, 4), u32(99, 1))), ssh(meta(unix.NFT_META_MARK, 1), lookup("s", 1, 1), drop)}, "attribute 99 of element"},
		{"object", []netlink.Message{message(unix.NFT_MSG_NEWOBJ, str(unix.NFTA_OBJ_TABLE, "t")), ssh(expr("objref", u32(unix.NFTA_OBJREF_IMM_TYPE, 3), str(unix.NFTA_OBJREF_IMM_NAME, "h")))}, "object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustDecode(t, forward(c.messages...))
			v, f := runOne(t, m, hit)
			if v != packet.Undecided || !strings.Contains(strings.Join(f.Unknown, "\n"), c.says) {
				t.Errorf("got %v, %q; want undecided, %q", v, f.Unknown, c.says)
			}
			if v, f := runOne(t, m, miss); v != packet.Accept || len(f.Unknown) != 0 {
				t.Errorf("a packet that does not get there: %v, %q; want accept", v, f.Unknown)
			}
		})
	}
}

// Some things cannot be told apart by packets: all that come by are undecided.
func TestUnknownEverywhere(t *testing.T) {
	for name, c := range map[string]struct {
		batch []netlink.Message
		says  string
	}{
		"rule attribute": {forward(message(unix.NFT_MSG_NEWRULE, str(unix.NFTA_RULE_TABLE, "t"), str(unix.NFTA_RULE_CHAIN, "c"), u32(99, 1))), "attribute 99 of rule"},
		"chain attribute": {[]netlink.Message{table(), message(unix.NFT_MSG_NEWCHAIN, str(unix.NFTA_CHAIN_TABLE, "t"), str(unix.NFTA_CHAIN_NAME, "c"),
			nest(unix.NFTA_CHAIN_HOOK, u32(unix.NFTA_HOOK_HOOKNUM, 2), u32(unix.NFTA_HOOK_PRIORITY, 0)), u32(99, 1))}, "attribute 99 of chain"},
		"table attribute": {[]netlink.Message{message(unix.NFT_MSG_NEWTABLE, str(unix.NFTA_TABLE_NAME, "t"), u32(99, 1)), baseChain("c", "filter", 2, 0, 1)}, "attribute 99 of table"},
		"ingress":         {[]netlink.Message{table(), baseChain("c", "filter", 5, 0, 1)}, "hook"},
	} {
		t.Run(name, func(t *testing.T) {
			v, f := runOne(t, mustDecode(t, c.batch), packet.Spec{Proto: packet.UDP, In: "eth0"})
			if v != packet.Undecided || !strings.Contains(strings.Join(f.Unknown, "\n"), c.says) {
				t.Errorf("got %v, %q; want undecided, %q", v, f.Unknown, c.says)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	nested := func(depth int, last string) []netlink.Message {
		messages := make([]netlink.Message, 0, 2*depth)
		for n := range depth {
			messages = append(messages, chain(fmt.Sprint("u", n)))
		}
		messages = append(messages, rule("c", verdict(nftsim.VerdictJump, "u0")))
		for n := range depth {
			to := fmt.Sprint("u", n+1)
			if n == depth-1 {
				to = last
			}
			if to != "" {
				messages = append(messages, rule(fmt.Sprint("u", n), verdict(nftsim.VerdictGoto, to)))
			}
		}
		return messages
	}
	begin, end := bound(unix.NFNL_MSG_BATCH_BEGIN), bound(unix.NFNL_MSG_BATCH_END)
	for name, batch := range map[string][]netlink.Message{
		"no end":               {begin, table()},
		"no begin":             {table(), end},
		"two begins":           {begin, begin},
		"behind the end":       {begin, end, table()},
		"no header":            {{Header: netlink.Header{Type: 0xa00}, Data: []byte{1}}},
		"no table":             {chain("c")},
		"no chain":             {table(), rule("c", drop)},
		"message type":         {message(unix.NFT_MSG_DELRULE, str(1, "t"))},
		"attribute length":     {table(), {Header: table().Header, Data: []byte{1, 0, 0, 0, 200, 0, 1, 0}}},
		"jump to nothing":      forward(rule("c", verdict(nftsim.VerdictJump, "u"))),
		"jump to a base chain": forward(rule("c", verdict(nftsim.VerdictJump, "c"))),
		"loop":                 forward(nested(3, "u1")...),
		"16 chains deep":       forward(nested(16, "")...),
		"register":             forward(rule("c", meta(unix.NFT_META_MARK, 24))),
		"verdict register":     forward(rule("c", meta(unix.NFT_META_MARK, 0))),
		"beyond the registers": forward(rule("c", load(1, 0, 8, 23))),
		"long constant":        forward(rule("c", compare(0, 1, make([]byte, 65)...))),
		"no set":               forward(rule("c", lookup("s", 1, 1))),
		"key length":           forward(set("s", 1, 0, 4), elements("s", 1, element(key(1, 2)))),
		"missing attribute":    forward(rule("c", expr("cmp", u32(unix.NFTA_CMP_OP, 0)))),
		"rate of 0":            forward(rule("c", limit(0, 1, 1, 0, 0))),
		"endless bucket":       forward(rule("c", limit(1, 1<<62, 1, 0, 0))),
		"shift by 32":          forward(rule("c", expr("bitwise", u32(1, 1), u32(2, 1), u32(3, 4), u32(6, 1), value(7, native(32)...)))),
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := nftsim.Decode(batch); err == nil {
				t.Errorf("decoded to %+v, want an error", m)
			}
		})
	}
	if _, err := nftsim.Decode(forward(nested(15, "")...)); err != nil {
		t.Errorf("15 chains deep: %v", err)
	}
}

func TestDeletedTable(t *testing.T) {
	del := message(unix.NFT_MSG_DELTABLE, str(unix.NFTA_TABLE_NAME, "t"))
	m := mustDecode(t, []netlink.Message{table(), baseChain("c", "filter", 2, 0, 1), rule("c", drop), del, table(), baseChain("d", "filter", 2, 0, 1)})
	if len(m.Rules()) != 0 || len(m.Stages()) != 1 || m.Stages()[0].Name != "table inet t chain d" {
		t.Errorf("rules %d, stages %v", len(m.Rules()), m.Stages())
	}
}

// A rule that is not appended comes first.
func TestRuleOrder(t *testing.T) {
	first := rule("c", accept)
	first.Header.Flags &^= netlink.Append
	m := mustDecode(t, forward(rule("c", drop), first))
	if v, _ := runOne(t, m, packet.Spec{Proto: packet.UDP, In: "eth0"}); v != packet.Accept {
		t.Errorf("got %v, want accept", v)
	}
	if r := m.Rules(); r[0].Message != 4 || r[1].Message != 3 {
		t.Errorf("messages %d, %d; want 4, 3", r[0].Message, r[1].Message)
	}
}

func TestStageOrder(t *testing.T) {
	m := mustDecode(t, []netlink.Message{table(), baseChain("a", "nat", 4, 100, 1), baseChain("b", "filter", 1, 0, 0),
		baseChain("c", "route", 3, -150, 1), baseChain("d", "filter", 1, -150, 1)})
	var got []string
	for _, s := range m.Stages() {
		got = append(got, fmt.Sprint(s.Name[len(s.Name)-1:], s.Hook, s.Priority, s.Kind))
	}
	want := "dinput -150 0 binput 0 0 coutput -150 2 apostrouting 100 1"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

func TestNeedsConntrack(t *testing.T) {
	for name, c := range map[string]struct {
		batch  []netlink.Message
		v4, v6 bool
	}{
		"nothing":   {forward(rule("c", drop)), false, false},
		"ct":        {forward(rule("c", expr("ct", u32(unix.NFTA_CT_KEY, 0), u32(unix.NFTA_CT_DREG, 1)))), true, true},
		"notrack":   {forward(rule("c", expr("notrack"))), false, false},
		"nat chain": {[]netlink.Message{table(), baseChain("c", "nat", 0, -100, 1)}, false, false},
		"nat of IPv6": {forward(rule("c", expr("nat", u32(unix.NFTA_NAT_TYPE, 0), u32(unix.NFTA_NAT_FAMILY, unix.NFPROTO_IPV6),
			u32(unix.NFTA_NAT_REG_ADDR_MIN, 1)))), false, true},
		"masquerade": {forward(rule("c", expr("masq"))), true, true},
	} {
		m := mustDecode(t, c.batch)
		if v4, v6 := m.NeedsConntrack(4), m.NeedsConntrack(6); v4 != c.v4 || v6 != c.v6 {
			t.Errorf("%s: got %v, %v; want %v, %v", name, v4, v6, c.v4, c.v6)
		}
	}
}

// Each rule's suggestions must be right where they can be checked: a packet
// with the first holding settings of all tests matches the rule, and one
// failing setting in place of its test's makes it not match.
func TestSuggestions(t *testing.T) {
	m := mustDecode(t, forward(rule("c", append(tcpPort(22),
		load(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 3, 1), compare(unix.NFT_CMP_EQ, 1, 10, 1, 2),
		meta(unix.NFT_META_MARK, 1), expr("bitwise", u32(1, 1), u32(2, 1), u32(3, 4), value(4, native(0xff)...), value(5, native(0)...)), compare(unix.NFT_CMP_EQ, 1, native(5)...),
		drop)...)))
	var tests []packet.Test
	for _, s := range m.Suggestions() {
		if strings.HasPrefix(s.Rule, "message 3") {
			tests = s.Tests
		}
	}
	// Without knowing the version, an inet rule has no test of the address.
	if len(tests) != 3 {
		t.Fatalf("%d tests, want 3: %+v", len(tests), tests)
	}
	build := func(change int, setting packet.Setting) packet.Spec {
		s := packet.Spec{Version: 4, In: "eth0", Src: mustAddr("10.1.2.3")}
		for n, test := range tests {
			if n != change {
				test.Hold[0].Apply(&s)
			}
		}
		if change >= 0 {
			setting.Apply(&s)
		}
		return s
	}
	if v, f := runOne(t, m, build(-1, packet.Setting{})); v != packet.Drop {
		t.Errorf("all hold: got %v, trace %+v", v, f.Trace)
	}
	for n, test := range tests {
		if len(test.Fail) == 0 {
			t.Errorf("test %d has no failing setting", n)
		}
		for _, setting := range test.Fail {
			if v, f := runOne(t, m, build(n, setting)); v != packet.Accept {
				t.Errorf("test %d, %s: got %v, trace %+v", n, setting.Name, v, f.Trace)
			}
		}
	}
}

// FuzzDecode feeds bytes to the decoder, as a sequence of messages, and runs
// what comes out.
func FuzzDecode(f *testing.F) {
	seed := func(batch []netlink.Message) {
		var b []byte
		for _, m := range batch {
			m.Header.Length = uint32(16 + len(m.Data))
			raw, err := m.MarshalBinary()
			if err != nil {
				f.Fatal(err)
			}
			b = append(b, raw...)
		}
		f.Add(b)
	}
	seed(forward(rule("c", append(tcpPort(22), limit(1, 1, 1, 0, 0), drop)...)))
	seed(forward(set("s", 1, unix.NFT_SET_INTERVAL, 4), elements("s", 1, element(key(1, 2, 3, 4)), element(key(1, 2, 3, 9), end())),
		rule("c", load(1, 12, 4, 1), lookup("s", 1, 1), drop)))
	seed(forward(chain("u"), rule("u", expr("masq")), rule("c", verdict(nftsim.VerdictJump, "u"))))
	spec := packet.Spec{Proto: packet.TCP, DstPort: 22, MSS: 1000, In: "eth0", State: packet.New}
	f.Fuzz(func(t *testing.T, b []byte) {
		var batch []netlink.Message
		for len(b) >= 16 {
			n := int(b[0]) | int(b[1])<<8
			if n < 16 || n > len(b) {
				n = len(b)
			}
			batch = append(batch, netlink.Message{
				Header: netlink.Header{Type: netlink.HeaderType(b[4]) | netlink.HeaderType(b[5])<<8, Flags: netlink.HeaderFlags(b[6]) | netlink.HeaderFlags(b[7])<<8},
				Data:   b[16:n],
			})
			b = b[min(len(b), (n+3)&^3):]
		}
		m, err := nftsim.Decode(batch)
		if err != nil {
			return
		}
		var text strings.Builder
		if err := m.Dump(&text); err != nil {
			t.Fatal(err)
		}
		m.Suggestions()
		p, err := spec.Packet()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.Stages() {
			f := &packet.Flight{Packet: p, Host: packet.DefaultHost(nil), Hook: s.Hook, Data: append([]byte(nil), p.Data...), In: p.In, Tracking: p.Tracking}
			if v := s.Run(f); (v == packet.Undecided) != (len(f.Unknown) > 0) {
				t.Fatalf("verdict %v, unknown %q", v, f.Unknown)
			}
		}
	})
}
