package bugs_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A program is what a batch holds, in its order.
type program struct {
	family byte
	rules  []programRule
	chains []programChain
	sets   []programSet
}

type programRule struct {
	chain  string
	number int // from 1
	exprs  []expr
}

func (r programRule) String() string { return fmt.Sprintf("rule %d of %s", r.number, r.chain) }

type programChain struct {
	name     string
	base     bool
	kind     string // of a base chain, as the following
	hook     uint32
	priority int32
	policy   uint32
}

type programSet struct {
	name     string
	flags    uint32
	concat   bool // the keys are concatenations
	at       int  // index of the message with the elements
	elements []element
}

// An element is an element of a set, as attributes.
type element []nfnetlink.Attr

func (e element) key() []byte { return constantOf(e, unix.NFTA_SET_ELEM_KEY) }

// ends says whether the element is the end of an interval.
func (e element) ends() bool {
	flags, _ := number(e, unix.NFTA_SET_ELEM_FLAGS)
	return flags&unix.NFT_SET_ELEM_INTERVAL_END != 0
}

// parse reads a batch that makes one table.
func parse(batch []netlink.Message) *program {
	p := &program{}
	numbers := map[string]int{}
	for i, m := range batch {
		kind, ok := nfnetlink.Kind(m)
		if !ok {
			continue
		}
		attrs := nfnetlink.Attributes(m)
		switch kind {
		case unix.NFT_MSG_NEWTABLE:
			p.family = nfnetlink.Family(m)
		case unix.NFT_MSG_NEWRULE:
			name := nfnetlink.FindString(attrs, unix.NFTA_RULE_CHAIN)
			numbers[name]++
			p.rules = append(p.rules, programRule{name, numbers[name], expressions(nfnetlink.Find(attrs, unix.NFTA_RULE_EXPRESSIONS))})
		case unix.NFT_MSG_NEWCHAIN:
			p.chains = append(p.chains, parseChain(attrs))
		case unix.NFT_MSG_NEWSET:
			flags, _ := number(attrs, unix.NFTA_SET_FLAGS)
			keyType, _ := number(attrs, unix.NFTA_SET_KEY_TYPE)
			p.sets = append(p.sets, programSet{
				name: setKey(attrs, unix.NFTA_SET_NAME, unix.NFTA_SET_ID), flags: flags, at: -1,
				concat: keyType > 63, // nft writes 6 bits for each type
			})
		case unix.NFT_MSG_NEWSETELEM:
			name := setKey(attrs, unix.NFTA_SET_ELEM_LIST_SET, unix.NFTA_SET_ELEM_LIST_SET_ID)
			at := slices.IndexFunc(p.sets, func(s programSet) bool { return s.name == name })
			if at < 0 || p.sets[at].at >= 0 {
				continue
			}
			p.sets[at].at = i
			for _, e := range nfnetlink.Nested(nfnetlink.Find(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				p.sets[at].elements = append(p.sets[at].elements, nfnetlink.Nested(e.Data))
			}
		}
	}
	return p
}

func parseChain(attrs []nfnetlink.Attr) programChain {
	c := programChain{name: nfnetlink.FindString(attrs, unix.NFTA_CHAIN_NAME), kind: nfnetlink.FindString(attrs, unix.NFTA_CHAIN_TYPE)}
	hook := nfnetlink.Find(attrs, unix.NFTA_CHAIN_HOOK)
	if c.base = hook != nil; !c.base {
		return c
	}
	c.hook, _ = number(nfnetlink.Nested(hook), unix.NFTA_HOOK_HOOKNUM)
	priority, _ := number(nfnetlink.Nested(hook), unix.NFTA_HOOK_PRIORITY)
	c.priority = int32(priority)
	c.policy, _ = number(attrs, unix.NFTA_CHAIN_POLICY)
	return c
}

// chain returns the chain of a name.
func (p *program) chain(name string) programChain {
	return p.chains[slices.IndexFunc(p.chains, func(c programChain) bool { return c.name == name })]
}

// of returns the rules of a chain.
func (p *program) of(chain string) []programRule {
	var list []programRule
	for _, r := range p.rules {
		if r.chain == chain {
			list = append(list, r)
		}
	}
	return list
}

// leads says whether the rules of a chain can lead to another, or whether it is
// the same.
func (p *program) leads(from, to string) bool {
	if from == to {
		return true
	}
	for _, r := range p.of(from) {
		for _, e := range r.exprs {
			if v, ok := verdictIn(e); ok && v.chain != "" && p.leads(v.chain, to) {
				return true
			}
		}
	}
	for _, s := range p.sets {
		for _, e := range s.elements {
			if v, ok := verdictOfData(nfnetlink.Find(e, unix.NFTA_SET_ELEM_DATA)); ok && v.chain == to && from != to && p.looksUp(from, s.name) {
				return true
			}
		}
	}
	return false
}

func (p *program) looksUp(chain, set string) bool {
	return slices.ContainsFunc(p.of(chain), func(r programRule) bool {
		return slices.ContainsFunc(r.exprs, func(e expr) bool {
			return e.name == "lookup" && setKey(e.data, unix.NFTA_LOOKUP_SET, unix.NFTA_LOOKUP_SET_ID) == set
		})
	})
}

// uses says whether a chain, or one that it leads to, has an expression.
func (p *program) uses(chain string, names ...string) bool {
	return slices.ContainsFunc(p.rules, func(r programRule) bool {
		return p.leads(chain, r.chain) && slices.ContainsFunc(r.exprs, func(e expr) bool { return slices.Contains(names, e.name) })
	})
}

// A chainVerdict is a verdict with the chain of a jump.
type chainVerdict struct {
	code  int32
	chain string
}

func (v chainVerdict) bytes() []byte { return verdictOf(v.code, v.chain) }

func verdictIn(e expr) (chainVerdict, bool) {
	if e.name != "immediate" {
		return chainVerdict{}, false
	}
	return verdictOfData(nfnetlink.Find(e.data, unix.NFTA_IMMEDIATE_DATA))
}

func verdictOfData(data []byte) (chainVerdict, bool) {
	nest := nfnetlink.Find(nfnetlink.Nested(data), unix.NFTA_DATA_VERDICT)
	if nest == nil {
		return chainVerdict{}, false
	}
	attrs := nfnetlink.Nested(nest)
	code, _ := number(attrs, unix.NFTA_VERDICT_CODE)
	return chainVerdict{int32(code), nfnetlink.FindString(attrs, unix.NFTA_VERDICT_CHAIN)}, true
}

// number returns an attribute that is a number of 4 bytes.
func number(attrs []nfnetlink.Attr, kind uint16) (uint32, bool) {
	data := nfnetlink.Find(attrs, kind)
	if len(data) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(data), true
}

// constantOf returns the bytes of an attribute that holds a constant, nil when
// there is none.
func constantOf(attrs []nfnetlink.Attr, kind uint16) []byte {
	return nfnetlink.Find(nfnetlink.Nested(nfnetlink.Find(attrs, kind)), unix.NFTA_DATA_VALUE)
}

// has says whether an attribute is there.
func has(attrs []nfnetlink.Attr, kind uint16) bool { return nfnetlink.Find(attrs, kind) != nil }

// setKey tells sets apart, of which several can have the same name as long as
// the kernel has not numbered them.
func setKey(attrs []nfnetlink.Attr, name, id uint16) string {
	s := nfnetlink.FindString(attrs, name)
	if n, ok := number(attrs, id); ok && strings.Contains(s, "%d") {
		return fmt.Sprintf("%s number %d", s, n)
	}
	return s
}
