package nfnetlink

import (
	"encoding/binary"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// replayFlags are the flags of the message that makes a thing again, by
// NFT_MSG_* number.
var replayFlags = map[int]netlink.HeaderFlags{
	unix.NFT_MSG_NEWTABLE:     netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWCHAIN:     netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWSET:       netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWOBJ:       netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWFLOWTABLE: netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWSETELEM:   netlink.Request | netlink.Create,
	unix.NFT_MSG_NEWRULE:      netlink.Request | netlink.Create | netlink.Append,
}

// Replay returns a batch that makes the ruleset of a dump again, in tables
// that do not exist yet: bytecode, sets with what is left of their timeouts,
// counters, objects, and rules with xt expressions, whose protocol the kernel
// wants to be told and does not tell. Messages that make nothing are left out.
//
// Names that the kernel resolved to numbers (devices of iif and oif) stay the
// numbers.
func Replay(dump []netlink.Message) []netlink.Message {
	r := replay{bound: boundChains(dump), inside: map[chainKey][]netlink.Message{}}
	batch := make([]netlink.Message, 0, len(dump))
	for _, kind := range kindOrder {
		for _, m := range dump {
			if k, ok := Kind(m); !ok || k != kind || len(m.Data) < headerLen {
				continue
			}
			if kind == unix.NFT_MSG_NEWSETELEM && len(Find(Attributes(m), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) == 0 {
				continue // how the kernel ends the dump of a set
			}
			if kind != unix.NFT_MSG_NEWRULE {
				batch = append(batch, r.message(m, kind))
				continue
			}
			key := chainKey{TableOf(m), nameOf(m)}
			if _, bound := r.bound[key]; bound {
				r.inside[key] = append(r.inside[key], m)
			}
		}
	}
	for _, m := range dump {
		if kind, ok := Kind(m); ok && kind == unix.NFT_MSG_NEWRULE && len(m.Data) >= headerLen {
			if _, bound := r.bound[chainKey{TableOf(m), nameOf(m)}]; !bound {
				batch = r.appendRule(batch, m)
			}
		}
	}
	return batch
}

// appendRule appends a rule after the rules of the bound chains that it jumps
// to: once a rule binds a chain, nothing can be added to it.
func (r *replay) appendRule(batch []netlink.Message, m netlink.Message) []netlink.Message {
	r.binds = nil
	made := r.message(m, unix.NFT_MSG_NEWRULE)
	for _, key := range slices.Clone(r.binds) {
		rules := r.inside[key]
		delete(r.inside, key) // a chain is bound once; a dump that says otherwise must not loop
		for _, inner := range rules {
			batch = r.appendRule(batch, inner)
		}
	}
	return append(batch, made)
}

// A chainKey names a chain in a ruleset.
type chainKey struct {
	table Table
	name  string
}

// A replay is one run of Replay.
type replay struct {
	sets  uint32              // set IDs given out
	bound map[chainKey]uint32 // IDs of the chains that live inside a rule
	// inside are the rules of bound chains, still to be made.
	inside map[chainKey][]netlink.Message
	binds  []chainKey // the bound chains that verdicts of the last message mean
}

// boundChains numbers the nameless chains of "jump { … }", which can only be
// made and meant by ID.
func boundChains(dump []netlink.Message) map[chainKey]uint32 {
	bound := map[chainKey]uint32{}
	for _, m := range dump {
		if kind, ok := Kind(m); !ok || kind != unix.NFT_MSG_NEWCHAIN {
			continue
		}
		attrs := Attributes(m)
		if f := Find(attrs, chainFlags); len(f) == 4 && binary.BigEndian.Uint32(f)&chainFlagBinding != 0 {
			bound[chainKey{TableOf(m), FindString(attrs, unix.NFTA_CHAIN_NAME)}] = uint32(len(bound) + 1)
		}
	}
	return bound
}

func (r *replay) message(m netlink.Message, kind int) netlink.Message {
	table := TableOf(m)
	m = rewrite(m, func(level *schema, name string, attrs []Attr) []Attr {
		attrs = without(attrs, level.assigned)
		if level == verdictSchema {
			if key := (chainKey{table, FindString(attrs, unix.NFTA_VERDICT_CHAIN)}); r.bound[key] != 0 {
				r.binds = append(r.binds, key)
			}
			return r.byID(attrs, table, unix.NFTA_VERDICT_CHAIN, verdictChainID)
		}
		if fix := replayFixes[name]; fix != nil {
			return fix(attrs)
		}
		return attrs
	})
	m.Header = netlink.Header{Type: m.Header.Type, Flags: replayFlags[kind]}
	m.Data[2], m.Data[3] = 0, 0
	attrs := Attributes(m)
	switch kind {
	case unix.NFT_MSG_NEWSET:
		r.sets++
		m.Data = AppendUint32(m.Data, unix.NFTA_SET_ID, r.sets)
	case unix.NFT_MSG_NEWCHAIN:
		m.Data = appendAttrs(m.Data[:headerLen:headerLen], r.byID(attrs, table, unix.NFTA_CHAIN_NAME, chainID))
	case unix.NFT_MSG_NEWRULE:
		attrs = r.byID(attrs, table, unix.NFTA_RULE_CHAIN, ruleChainID)
		if compat := ruleCompat(Family(m), attrs); compat != nil {
			attrs = append(attrs, Attr{unix.NFTA_RULE_COMPAT, compat})
		}
		m.Data = appendAttrs(m.Data[:headerLen:headerLen], attrs)
	}
	return m
}

// byID replaces the name of a bound chain by its ID.
func (r *replay) byID(attrs []Attr, table Table, name, id uint16) []Attr {
	number, ok := r.bound[chainKey{table, FindString(attrs, name)}]
	if !ok {
		return attrs
	}
	attrs = without(attrs, []uint16{name})
	return append(attrs, Attr{id, binary.BigEndian.AppendUint32(nil, number)})
}

// replayFixes undo what the kernel gives out in a form that it does not take
// in, by expression.
var replayFixes = map[string]func([]Attr) []Attr{
	// Only a load into a register may have flags; only a test or a change of
	// an option may have an offset and a length.
	"exthdr": func(attrs []Attr) []Attr {
		if Find(attrs, unix.NFTA_EXTHDR_DREG) != nil {
			return attrs
		}
		attrs = without(attrs, []uint16{unix.NFTA_EXTHDR_FLAGS})
		if Find(attrs, unix.NFTA_EXTHDR_SREG) == nil {
			attrs = without(attrs, []uint16{unix.NFTA_EXTHDR_OFFSET, unix.NFTA_EXTHDR_LEN})
		}
		return attrs
	},
	"osf": func(attrs []Attr) []Attr { return withoutZero(attrs, 3) }, // NFTA_OSF_FLAGS
	// A timeout of zero is refused by sets that have none; the flag for
	// expressions is not given out.
	"dynset": func(attrs []Attr) []Attr {
		attrs = withoutZero(attrs, unix.NFTA_DYNSET_TIMEOUT)
		if Find(attrs, dynsetExprs) != nil {
			flags := uint32(dynsetFlagExpr)
			if f := Find(attrs, unix.NFTA_DYNSET_FLAGS); len(f) == 4 {
				flags |= binary.BigEndian.Uint32(f)
			}
			attrs = without(attrs, []uint16{unix.NFTA_DYNSET_FLAGS})
			attrs = append(attrs, Attr{unix.NFTA_DYNSET_FLAGS, binary.BigEndian.AppendUint32(nil, flags)})
		}
		return attrs
	},
}

func withoutZero(attrs []Attr, kind uint16) []Attr {
	return slices.DeleteFunc(attrs, func(a Attr) bool { return a.Type == kind && isZero(a.Data) })
}

func isZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// Attributes of NFTA_RULE_COMPAT, and its flag for a negated protocol.
const (
	compatProto    = 1
	compatFlags    = 2
	compatInverted = 2
)

// ruleCompat returns the payload of NFTA_RULE_COMPAT for a rule with xt
// expressions: the protocol that the rule compares with before them. It is
// nil for a rule without xt expressions or without such a comparison. In a table
// of bridges the protocol is that of Ethernet, and the number its bytes as the
// machine reads them.
//
// Kernel: net/netfilter/nft_compat.c, nft_parse_compat, nft_target_set_tgchk_param.
func ruleCompat(family uint8, attrs []Attr) []byte {
	var holds uint32 // the register that holds the protocol
	var compat []byte
	bridge := family == unix.NFPROTO_BRIDGE
	size := 1
	if bridge {
		size = 2
	}
	for _, e := range parseAttributes(Find(attrs, unix.NFTA_RULE_EXPRESSIONS)) {
		expression := parseAttributes(e.Data)
		data := parseAttributes(Find(expression, unix.NFTA_EXPR_DATA))
		switch FindString(expression, unix.NFTA_EXPR_NAME) {
		case "match", "target":
			return compat
		case "meta":
			key := number(data, unix.NFTA_META_KEY)
			if bridge && key == unix.NFT_META_PROTOCOL || !bridge && key == unix.NFT_META_L4PROTO {
				holds = number(data, unix.NFTA_META_DREG)
			}
		case "payload":
			const (
				protocolOffset  = 9  // of the IPv4 header
				etherTypeOffset = 12 // of the Ethernet header
			)
			base, offset := uint32(unix.NFT_PAYLOAD_NETWORK_HEADER), uint32(protocolOffset)
			if bridge {
				base, offset = unix.NFT_PAYLOAD_LL_HEADER, etherTypeOffset
			}
			if number(data, unix.NFTA_PAYLOAD_BASE) == base && number(data, unix.NFTA_PAYLOAD_OFFSET) == offset &&
				number(data, unix.NFTA_PAYLOAD_LEN) == uint32(size) {
				holds = number(data, unix.NFTA_PAYLOAD_DREG)
			}
		case "cmp":
			value := Find(parseAttributes(Find(data, unix.NFTA_CMP_DATA)), unix.NFTA_DATA_VALUE)
			if holds == 0 || number(data, unix.NFTA_CMP_SREG) != holds || len(value) != size {
				continue
			}
			var flags uint32
			if number(data, unix.NFTA_CMP_OP) == unix.NFT_CMP_NEQ {
				flags = compatInverted
			}
			protocol := uint32(value[0])
			if bridge {
				protocol = uint32(binary.NativeEndian.Uint16(value))
			}
			compat = AppendUint32(AppendUint32(nil, compatProto, protocol), compatFlags, flags)
			holds = 0
		}
	}
	return nil
}

// number returns a big-endian attribute of four bytes, 0 when there is none.
func number(attrs []Attr, kind uint16) uint32 {
	if b := Find(attrs, kind); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
