package kernel

import (
	"math"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/packet"
)

// observerTable is the name of our table. A ruleset that has it too is refused.
const observerTable = "packet-observer"

// The log groups of the observers. Groups from logGroups on stand for the
// kernel log, see logGroup; smaller ones belong to the ruleset.
const (
	groupSeen   = 0x9000 + iota // what connection tracking found
	groupStep                   // a packet passes a place
	groupEnd                    // a packet is delivered or sent
	groupAnswer                 // the host made a packet without a socket
	logGroups   = 0x8000
)

// Prefixes of the observers' messages.
const (
	seenOriginal  = "original"  // tracked, mark is the state
	seenReply     = "reply"     // tracked, mark is the state
	seenUntracked = "untracked" // no entry, mark is the state
	seenStatus    = "status"    // mark is the status of the entry
	seenMark      = "mark"      // mark is that of the entry

	stepArrived = "arrived" // on the loopback device

	endPlain    = "plain"    // tracked, connection mark 0, priority 0
	endOther    = "other"    // other messages follow
	endPriority = "priority" // mark is the priority
	endConnMark = "connmark" // mark is that of the entry
)

// Bits of the state that nf_tables loads.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h.
const (
	stateInvalid     = 1 << 0
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
	stateNew         = 1 << 3
	stateUntracked   = 1 << 6
)

// Priorities before and behind everything that a ruleset can register.
//
// The chains at behind are registered while nothing tracks connections yet.
// The kernel puts a hook before older ones of the same priority, and so the
// confirmation of connections, whose priority is the same, runs before them.
//
// Kernel: net/netfilter/core.c, nf_hook_entries_grow;
// net/netfilter/nf_conntrack_proto.c.
const (
	before       = math.MinInt32
	behind       = math.MaxInt32
	beforeLookup = -201 // right before connection tracking looks
	behindLookup = -199 // right after it has looked
)

// Registers of 32 bits.
const (
	regA = 8 + iota // NFT_REG32_00
	regB
)

// observerBatch returns the messages that make the observers' table. With
// tracking, its rules load conntrack keys, which turns connection tracking on.
func observerBatch(tracking bool) []netlink.Message {
	b := observers{}
	b.add(unix.NFT_MSG_NEWTABLE, attr(unix.NFTA_TABLE_NAME, text(observerTable)))

	// The last chains come first, see behind.
	b.chain("delivered", packet.Input, behind)
	b.chain("sent", packet.Postrouting, behind)
	b.chain("arrive", packet.Prerouting, before)
	b.chain("routed", packet.Prerouting, behind)
	b.chain("deliver", packet.Input, before)
	b.chain("forward", packet.Forward, before)
	b.chain("send", packet.Postrouting, before)
	b.chain("make", packet.Output, before)
	b.chain("looped", packet.Prerouting, before)
	b.rule("looped", load("meta", unix.NFT_META_IIF, regA), compare(regA, ne32(1)), logTo(groupStep, stepArrived))
	for _, chain := range []string{"routed", "deliver", "forward", "send"} {
		b.rule(chain, logTo(groupStep, ""))
	}

	// What has an owner is a packet of ours. Of the others, multicast
	// listener and neighbour messages are not caused by any packet.
	b.rule("make", load("meta", unix.NFT_META_SKUID, regA), logTo(groupStep, ""), verdict(1))
	b.rule("make", load("meta", unix.NFT_META_L4PROTO, regA), compare(regA, []byte{unix.IPPROTO_IGMP}), verdict(0))
	for _, kind := range []byte{130, 131, 132, 133, 134, 135, 136, 137, 143} {
		b.rule("make",
			load("meta", unix.NFT_META_NFPROTO, regA), compare(regA, []byte{unix.NFPROTO_IPV6}),
			load("meta", unix.NFT_META_L4PROTO, regA), compare(regA, []byte{unix.IPPROTO_ICMPV6}),
			transportByte(0, regA), compare(regA, []byte{kind}), verdict(0))
	}
	b.rule("make", logTo(groupAnswer, ""), verdict(0))

	if tracking {
		b.chain("exempt", packet.Prerouting, beforeLookup)
		b.chain("exempt-out", packet.Output, beforeLookup)
		b.seen("looked", packet.Prerouting)
		b.seen("looked-out", packet.Output)
	}
	for _, chain := range []string{"delivered", "sent"} {
		b.end(chain, tracking)
	}
	return b.messages
}

type observers struct{ messages []netlink.Message }

func (b *observers) add(kind int, attrs []byte) {
	b.messages = append(b.messages, nfnetlink.Message(kind, netlink.Create, unix.NFPROTO_INET, attrs))
}

func (b *observers) chain(name string, hook packet.Hook, priority int32) {
	b.add(unix.NFT_MSG_NEWCHAIN, join(
		attr(unix.NFTA_CHAIN_TABLE, text(observerTable)),
		attr(unix.NFTA_CHAIN_NAME, text(name)),
		attr(unix.NFTA_CHAIN_HOOK|netlink.Nested,
			attr(unix.NFTA_HOOK_HOOKNUM, be32(uint32(hook))),
			attr(unix.NFTA_HOOK_PRIORITY, be32(uint32(priority)))),
		attr(unix.NFTA_CHAIN_TYPE, text("filter")),
	))
}

func (b *observers) rule(chain string, expressions ...[]byte) {
	m := ruleMessage(chain, expressions...)
	b.messages = append(b.messages, m)
}

func ruleMessage(chain string, expressions ...[]byte) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, unix.NFPROTO_INET, join(
		attr(unix.NFTA_RULE_TABLE, text(observerTable)),
		attr(unix.NFTA_RULE_CHAIN, text(chain)),
		attr(unix.NFTA_RULE_EXPRESSIONS|netlink.Nested, expressions...),
	))
}

// seen makes a chain that tells what connection tracking found. Numbers travel
// in the packet mark, which is put back at once.
func (b *observers) seen(chain string, hook packet.Hook) {
	b.chain(chain, hook, behindLookup)
	// Without an entry, loading the direction ends the rule.
	for direction, prefix := range []string{seenOriginal, seenReply} {
		b.rule(chain,
			load("ct", unix.NFT_CT_DIRECTION, regA), compare(regA, []byte{byte(direction)}),
			tell("ct", unix.NFT_CT_STATE, groupSeen, prefix))
	}
	b.rule(chain,
		load("ct", unix.NFT_CT_STATE, regA), mask(regA, stateInvalid|stateUntracked), differ(regA, ne32(0)),
		tell("ct", unix.NFT_CT_STATE, groupSeen, seenUntracked))
	b.rule(chain,
		load("ct", unix.NFT_CT_STATUS, regA), differ(regA, ne32(0)),
		tell("ct", unix.NFT_CT_STATUS, groupSeen, seenStatus))
	b.rule(chain,
		load("ct", unix.NFT_CT_MARK, regA), differ(regA, ne32(0)),
		tell("ct", unix.NFT_CT_MARK, groupSeen, seenMark))
}

// end makes the rules of a chain where the way of a packet ends.
func (b *observers) end(chain string, tracking bool) {
	if tracking {
		b.rule(chain,
			load("ct", unix.NFT_CT_MARK, regA), compare(regA, ne32(0)),
			load("meta", unix.NFT_META_PRIORITY, regA), compare(regA, ne32(0)),
			logTo(groupEnd, endPlain), verdict(0))
	}
	b.rule(chain, logTo(groupEnd, endOther))
	b.rule(chain,
		load("meta", unix.NFT_META_PRIORITY, regA), differ(regA, ne32(0)),
		tell("meta", unix.NFT_META_PRIORITY, groupStep, endPriority))
	if tracking {
		b.rule(chain, tell("ct", unix.NFT_CT_MARK, groupStep, endConnMark))
	}
	b.rule(chain, verdict(0))
}

// markBatch returns the messages that give arriving packets a mark and a
// priority before the first hook of the ruleset.
func markBatch(mark, priority uint32) []netlink.Message {
	messages := []netlink.Message{emptyChain("arrive")}
	if mark != 0 || priority != 0 {
		messages = append(messages, ruleMessage("arrive",
			immediate(regA, mark), store(unix.NFT_META_MARK, regA),
			immediate(regA, priority), store(unix.NFT_META_PRIORITY, regA)))
	}
	return messages
}

// exemptBatch returns the messages that exempt packets from tracking, or end
// that.
func exemptBatch(exempt bool) []netlink.Message {
	messages := []netlink.Message{emptyChain("exempt"), emptyChain("exempt-out")}
	if exempt {
		messages = append(messages, ruleMessage("exempt", expression("notrack")), ruleMessage("exempt-out", expression("notrack")))
	}
	return messages
}

// emptyChain deletes the rules of a chain.
func emptyChain(chain string) netlink.Message {
	return nfnetlink.Message(unix.NFT_MSG_DELRULE, 0, unix.NFPROTO_INET, join(
		attr(unix.NFTA_RULE_TABLE, text(observerTable)),
		attr(unix.NFTA_RULE_CHAIN, text(chain))))
}

// tell logs a key's value as the mark of the packet, and puts the mark back.
func tell(name string, key uint32, group uint16, prefix string) []byte {
	return join(
		load(name, key, regA), load("meta", unix.NFT_META_MARK, regB),
		store(unix.NFT_META_MARK, regA), logTo(group, prefix), store(unix.NFT_META_MARK, regB))
}

// The expressions, encoded by hand so that nothing here shares code with what
// made the ruleset.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h.

func expression(name string, attrs ...[]byte) []byte {
	return attr(unix.NFTA_LIST_ELEM|netlink.Nested,
		attr(unix.NFTA_EXPR_NAME, text(name)),
		attr(unix.NFTA_EXPR_DATA|netlink.Nested, attrs...))
}

// load loads a key of meta or ct, which number their attributes alike.
func load(name string, key, register uint32) []byte {
	return expression(name, attr(unix.NFTA_META_DREG, be32(register)), attr(unix.NFTA_META_KEY, be32(key)))
}

func store(key, register uint32) []byte {
	return expression("meta", attr(unix.NFTA_META_KEY, be32(key)), attr(unix.NFTA_META_SREG, be32(register)))
}

func value(data []byte) []byte { return attr(unix.NFTA_DATA_VALUE, data) }

func compare(register uint32, data []byte) []byte { return comparison(register, unix.NFT_CMP_EQ, data) }
func differ(register uint32, data []byte) []byte  { return comparison(register, unix.NFT_CMP_NEQ, data) }

func comparison(register, op uint32, data []byte) []byte {
	return expression("cmp",
		attr(unix.NFTA_CMP_SREG, be32(register)), attr(unix.NFTA_CMP_OP, be32(op)),
		attr(unix.NFTA_CMP_DATA|netlink.Nested, value(data)))
}

func mask(register, bits uint32) []byte {
	return expression("bitwise",
		attr(unix.NFTA_BITWISE_SREG, be32(register)), attr(unix.NFTA_BITWISE_DREG, be32(register)),
		attr(unix.NFTA_BITWISE_LEN, be32(4)),
		attr(unix.NFTA_BITWISE_MASK|netlink.Nested, value(ne32(bits))),
		attr(unix.NFTA_BITWISE_XOR|netlink.Nested, value(ne32(0))))
}

func immediate(register, number uint32) []byte {
	return expression("immediate",
		attr(unix.NFTA_IMMEDIATE_DREG, be32(register)),
		attr(unix.NFTA_IMMEDIATE_DATA|netlink.Nested, value(ne32(number))))
}

// verdict ends the chain: 0 drops, 1 accepts.
func verdict(code uint32) []byte {
	return expression("immediate",
		attr(unix.NFTA_IMMEDIATE_DREG, be32(unix.NFT_REG_VERDICT)),
		attr(unix.NFTA_IMMEDIATE_DATA|netlink.Nested,
			attr(unix.NFTA_DATA_VERDICT|netlink.Nested, attr(unix.NFTA_VERDICT_CODE, be32(code)))))
}

func transportByte(offset, register uint32) []byte {
	return expression("payload",
		attr(unix.NFTA_PAYLOAD_DREG, be32(register)),
		attr(unix.NFTA_PAYLOAD_BASE, be32(unix.NFT_PAYLOAD_TRANSPORT_HEADER)),
		attr(unix.NFTA_PAYLOAD_OFFSET, be32(offset)), attr(unix.NFTA_PAYLOAD_LEN, be32(1)))
}

func logTo(group uint16, prefix string) []byte {
	attrs := [][]byte{attr(unix.NFTA_LOG_GROUP, be16(group)), attr(unix.NFTA_LOG_QTHRESHOLD, be16(1))}
	if prefix != "" {
		attrs = append(attrs, attr(unix.NFTA_LOG_PREFIX, text(prefix)))
	}
	return expression("log", attrs...)
}
