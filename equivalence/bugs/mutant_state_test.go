package bugs_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// long changes a number of 8 bytes of limits.
func long(kind uint16, others func(old uint64) []uint64) func(p *program) []place {
	return inRules("limit", func(_ *program, r programRule, at int) [][]expr {
		data := nfnetlink.Find(r.exprs[at].data, kind)
		if len(data) != 8 {
			return nil
		}
		var ways [][]expr
		for _, n := range others(binary.BigEndian.Uint64(data)) {
			ways = append(ways, with(r.exprs, at, kind, be64(n)))
		}
		return ways
	})
}

// stateMutations change what rules remember.
var stateMutations = []mutation{
	{"rate of a limit", "", long(unix.NFTA_LIMIT_RATE, func(old uint64) []uint64 {
		if old == 1 {
			return []uint64{2} // the kernel takes no 0
		}
		return []uint64{old - 1, old + 1, 2 * old}
	})},
	{"unit of a limit", "", long(unix.NFTA_LIMIT_UNIT, func(old uint64) []uint64 {
		return slices.DeleteFunc([]uint64{1, 60, 3600}, func(n uint64) bool { return n == old })
	})},
	{"burst of a limit", "", inRules("limit", func(_ *program, r programRule, at int) [][]expr {
		return renumbered(r.exprs, at, unix.NFTA_LIMIT_BURST, func(old uint32) []uint32 {
			if old < 2 {
				return []uint32{old + 1}
			}
			return []uint32{old - 1, old + 1}
		})
	})},
	{"over a limit", "", flagged("limit", unix.NFTA_LIMIT_FLAGS, func(uint32) bool { return true })},
	{"limit lost", "", lost("limit", always)},
	{"modulus of a counter", "", inRules("numgen", func(_ *program, r programRule, at int) [][]expr {
		return renumbered(r.exprs, at, unix.NFTA_NG_MODULUS, func(old uint32) []uint32 { return []uint32{old + 1, old - 1} })
	})},
	{"random for in turn", "", inRules("numgen", func(_ *program, r programRule, at int) [][]expr {
		return renumbered(r.exprs, at, unix.NFTA_NG_TYPE, func(old uint32) []uint32 { return []uint32{old ^ 1} })
	})},
	{"one state made two", "", inAll(split("limit"), split("numgen"), ownChain)},
	{"two states made one", "", shared},
}

// split makes of a rule with a state two, one for packets without a mark and one
// for those with one: each has a state of its own.
func split(name string) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, r := range p.rules {
			if !slices.ContainsFunc(r.exprs, func(e expr) bool { return e.name == name }) {
				continue
			}
			half := func(op uint32) []expr {
				return append([]expr{
					{"meta", []nfnetlink.Attr{{Type: unix.NFTA_META_KEY, Data: be32(unix.NFT_META_MARK)}, {Type: unix.NFTA_META_DREG, Data: be32(unix.NFT_REG_1)}}},
					{"cmp", []nfnetlink.Attr{{Type: unix.NFTA_CMP_SREG, Data: be32(unix.NFT_REG_1)}, {Type: unix.NFTA_CMP_OP, Data: be32(op)}, {Type: unix.NFTA_CMP_DATA, Data: value(host32(0))}}},
				}, r.exprs...)
			}
			list = append(list, place{where: r.String(), ways: []change{both(
				doubleRule(r.chain, r.number),
				rewritten(r, half(unix.NFT_CMP_EQ)),
				rewritten(programRule{chain: r.chain, number: r.number + 1}, half(unix.NFT_CMP_NEQ)),
			)}, rule: r})
		}
		return list
	}
}

// ownChain gives one of several callers of a chain with a state a copy of it.
func ownChain(p *program) []place {
	var list []place
	for _, c := range p.chains {
		var callers []programRule
		for _, r := range p.rules {
			if len(r.exprs) > 0 {
				if v, ok := verdictIn(r.exprs[len(r.exprs)-1]); ok && v.chain == c.name {
					callers = append(callers, r)
				}
			}
		}
		if len(callers) < 2 || !p.uses(c.name, "limit", "numgen") {
			continue
		}
		caller := callers[len(callers)-1]
		last := len(caller.exprs) - 1
		v, _ := verdictIn(caller.exprs[last])
		v.chain += "_2"
		list = append(list, place{where: "chain " + c.name, ways: []change{both(
			copiedChain(c.name, v.chain),
			rewritten(caller, with(caller.exprs, last, unix.NFTA_IMMEDIATE_DATA, v.bytes())),
		)}})
	}
	return list
}

// copiedChain puts a copy of a chain behind it, with copies of its rules.
func copiedChain(name, other string) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		var list []netlink.Message
		for _, m := range messages {
			list = append(list, m)
			attrs := nfnetlink.Attributes(m)
			kind, _ := nfnetlink.Kind(m)
			named := uint16(unix.NFTA_CHAIN_NAME)
			if kind == unix.NFT_MSG_NEWRULE {
				named = unix.NFTA_RULE_CHAIN
			}
			if (kind == unix.NFT_MSG_NEWRULE || kind == unix.NFT_MSG_NEWCHAIN) && nfnetlink.FindString(attrs, named) == name {
				if err := set(attrs, named, zeroed(name), zeroed(other)); err != nil {
					return nil, err
				}
				list = append(list, join(m, attrs))
			}
		}
		return list, nil
	}
}

// shared lets two rules of a base chain whose states have the same parameters
// jump to one rule with one state.
func shared(p *program) []place {
	const name = "shared"
	var list []place
	for i, one := range p.rules {
		tail := stateful(one.exprs)
		for _, other := range p.rules[i+1:] {
			if tail == nil || one.chain != other.chain || !slices.EqualFunc(tail, stateful(other.exprs), func(a, b expr) bool { return bytes.Equal(a.bytes(), b.bytes()) }) {
				continue
			}
			jump := expr{"immediate", []nfnetlink.Attr{{Type: unix.NFTA_IMMEDIATE_DREG, Data: be32(unix.NFT_REG_VERDICT)}, {Type: unix.NFTA_IMMEDIATE_DATA, Data: verdictOf(unix.NFT_JUMP, name)}}}
			cut := func(r programRule) change {
				return rewritten(r, append(slices.Clone(r.exprs[:len(r.exprs)-len(tail)]), jump))
			}
			list = append(list, place{where: fmt.Sprintf("%s and %s", one, other), ways: []change{both(extraChain(name, one, tail), cut(one), cut(other))}})
		}
	}
	return list
}

// stateful returns the expressions of a rule from its state on, nil when it has
// none.
func stateful(list []expr) []expr {
	at := slices.IndexFunc(list, func(e expr) bool { return e.name == "limit" || e.name == "numgen" })
	if at < 0 {
		return nil
	}
	return list[at:]
}

// extraChain adds a chain with one rule that is like another but for its
// expressions.
func extraChain(name string, like programRule, exprs []expr) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		chains := find(messages, unix.NFT_MSG_NEWCHAIN, unix.NFTA_CHAIN_NAME, like.chain)
		at, err := ruleAt(messages, like.chain, like.number)
		if err != nil || len(chains) != 1 {
			return nil, fmt.Errorf("%d chains %s: %w", len(chains), like.chain, err)
		}
		made := messages[chains[0]]
		var attrs []nfnetlink.Attr
		for _, a := range nfnetlink.Attributes(made) {
			switch a.Type {
			case unix.NFTA_CHAIN_TABLE:
				attrs = append(attrs, a)
			case unix.NFTA_CHAIN_NAME:
				attrs = append(attrs, nfnetlink.Attr{Type: a.Type, Data: zeroed(name)})
			}
		}
		own := messages[at]
		attrs2 := nfnetlink.Attributes(own)
		if err := set(attrs2, unix.NFTA_RULE_CHAIN, zeroed(like.chain), zeroed(name)); err != nil {
			return nil, err
		}
		messages = slices.Insert(messages, at, join(own, attrs2))
		messages = slices.Insert(messages, chains[0]+1, join(made, attrs))
		return rule(name, 1, func([]expr) ([]expr, error) { return exprs, nil })(messages)
	}
}
