package nftsim_test

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/packet"
)

var _ equivalence.Machine = (*nftsim.Machine)(nil)

// An encoder writes attributes. The functions below make batches by hand, so
// that the tests need neither nft nor a kernel.
type encoder = func(*netlink.AttributeEncoder)

func encode(list ...encoder) []byte {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = bigEndian
	for _, e := range list {
		e(ae)
	}
	b, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

func str(number uint16, s string) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.String(number, s) }
}
func u32(number uint16, v uint32) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.Uint32(number, v) }
}
func u64(number uint16, v uint64) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.Uint64(number, v) }
}
func u8(number uint16, v uint8) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.Uint8(number, v) }
}
func raw(number uint16, b ...byte) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.Bytes(number, b) }
}
func nest(number uint16, list ...encoder) encoder {
	return func(ae *netlink.AttributeEncoder) { ae.Bytes(unix.NLA_F_NESTED|number, encode(list...)) }
}

const inet = unix.NFPROTO_INET

func message(kind uint16, list ...encoder) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Create | netlink.Append},
		Data:   append([]byte{inet, 0, 0, 0}, encode(list...)...),
	}
}

func bound(kind uint16) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind)}, Data: []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}}
}

func table() netlink.Message {
	return message(unix.NFT_MSG_NEWTABLE, str(unix.NFTA_TABLE_NAME, "t"))
}

func chain(name string) netlink.Message {
	return message(unix.NFT_MSG_NEWCHAIN, str(unix.NFTA_CHAIN_TABLE, "t"), str(unix.NFTA_CHAIN_NAME, name))
}

func baseChain(name, kind string, hook uint32, priority int32, policy uint32) netlink.Message {
	return message(unix.NFT_MSG_NEWCHAIN, str(unix.NFTA_CHAIN_TABLE, "t"), str(unix.NFTA_CHAIN_NAME, name),
		nest(unix.NFTA_CHAIN_HOOK, u32(unix.NFTA_HOOK_HOOKNUM, hook), u32(unix.NFTA_HOOK_PRIORITY, uint32(priority))),
		u32(unix.NFTA_CHAIN_POLICY, policy), str(unix.NFTA_CHAIN_TYPE, kind))
}

func rule(chain string, exprs ...encoder) netlink.Message {
	return message(unix.NFT_MSG_NEWRULE, str(unix.NFTA_RULE_TABLE, "t"), str(unix.NFTA_RULE_CHAIN, chain),
		nest(unix.NFTA_RULE_EXPRESSIONS, exprs...), raw(unix.NFTA_RULE_USERDATA, append([]byte{0, 8}, "comment\x00"...)...))
}

func expr(name string, list ...encoder) encoder {
	return nest(unix.NFTA_LIST_ELEM, str(unix.NFTA_EXPR_NAME, name), nest(unix.NFTA_EXPR_DATA, list...))
}

func value(number uint16, b ...byte) encoder { return nest(number, raw(unix.NFTA_DATA_VALUE, b...)) }

func load(base, offset, n, to uint32) encoder {
	return expr("payload", u32(unix.NFTA_PAYLOAD_DREG, to), u32(unix.NFTA_PAYLOAD_BASE, base),
		u32(unix.NFTA_PAYLOAD_OFFSET, offset), u32(unix.NFTA_PAYLOAD_LEN, n))
}

func meta(key, to uint32) encoder {
	return expr("meta", u32(unix.NFTA_META_KEY, key), u32(unix.NFTA_META_DREG, to))
}

func compare(op, from uint32, b ...byte) encoder {
	return expr("cmp", u32(unix.NFTA_CMP_SREG, from), u32(unix.NFTA_CMP_OP, op), value(unix.NFTA_CMP_DATA, b...))
}

func verdict(code nftsim.VerdictCode, chain string) encoder {
	list := []encoder{u32(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		list = append(list, str(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return expr("immediate", u32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nest(unix.NFTA_IMMEDIATE_DATA, nest(unix.NFTA_DATA_VERDICT, list...)))
}

var (
	accept = verdict(nftsim.VerdictAccept, "")
	drop   = verdict(nftsim.VerdictDrop, "")
)

func limit(rate, unit uint64, burst, kind, flags uint32) encoder {
	return expr("limit", u64(unix.NFTA_LIMIT_RATE, rate), u64(unix.NFTA_LIMIT_UNIT, unit),
		u32(unix.NFTA_LIMIT_BURST, burst), u32(unix.NFTA_LIMIT_TYPE, kind), u32(unix.NFTA_LIMIT_FLAGS, flags))
}

// tcp compares the destination port of TCP.
func tcpPort(port uint16) []encoder {
	return []encoder{
		meta(unix.NFT_META_L4PROTO, 1), compare(unix.NFT_CMP_EQ, 1, 6),
		load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 1), compare(unix.NFT_CMP_EQ, 1, byte(port>>8), byte(port)),
	}
}

func set(name string, id, flags, keyLen uint32, more ...encoder) netlink.Message {
	return message(unix.NFT_MSG_NEWSET, append([]encoder{
		str(unix.NFTA_SET_TABLE, "t"), str(unix.NFTA_SET_NAME, name), u32(unix.NFTA_SET_ID, id),
		u32(unix.NFTA_SET_FLAGS, flags), u32(unix.NFTA_SET_KEY_LEN, keyLen),
	}, more...)...)
}

func elements(name string, id uint32, list ...encoder) netlink.Message {
	return message(unix.NFT_MSG_NEWSETELEM, str(unix.NFTA_SET_ELEM_LIST_TABLE, "t"), str(unix.NFTA_SET_ELEM_LIST_SET, name),
		u32(unix.NFTA_SET_ELEM_LIST_SET_ID, id), nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, list...))
}

func element(list ...encoder) encoder { return nest(unix.NFTA_LIST_ELEM, list...) }

func key(b ...byte) encoder { return value(unix.NFTA_SET_ELEM_KEY, b...) }

func end() encoder { return u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END) }

func lookup(name string, id, from uint32, more ...encoder) encoder {
	return expr("lookup", append([]encoder{
		str(unix.NFTA_LOOKUP_SET, name), u32(unix.NFTA_LOOKUP_SET_ID, id), u32(unix.NFTA_LOOKUP_SREG, from),
	}, more...)...)
}

// forward is a batch with one base chain in the forward hook with policy
// accept, whose messages come behind those of the chain.
func forward(messages ...netlink.Message) []netlink.Message {
	batch := []netlink.Message{bound(unix.NFNL_MSG_BATCH_BEGIN), table(), baseChain("c", "filter", unix.NF_INET_FORWARD, 0, 1)}
	return append(append(batch, messages...), bound(unix.NFNL_MSG_BATCH_END))
}

func mustDecode(t testing.TB, batch []netlink.Message) *nftsim.Machine {
	t.Helper()
	m, err := nftsim.Decode(batch)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// runOne runs a packet through the only stage of a machine, as the forward
// hook would.
func runOne(t testing.TB, m *nftsim.Machine, s packet.Spec) (packet.Verdict, *packet.Flight) {
	t.Helper()
	p, err := s.Packet()
	if err != nil {
		t.Fatal(err)
	}
	f := &packet.Flight{
		Packet: p, Host: packet.DefaultHost([]string{"eth0", "eth1"}), Hook: packet.Forward,
		Data: append([]byte(nil), p.Data...), In: "eth0", Out: "eth1", Mark: p.Mark, Tracking: p.Tracking, Traced: true,
	}
	stages := m.Stages()
	if len(stages) != 1 {
		t.Fatalf("%d stages, want 1", len(stages))
	}
	return stages[0].Run(f), f
}
