package bugs_test

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// The codes of the verdicts that end the way through a hook.
const (
	drops   = 0
	accepts = 1
)

// verdicts changes the verdicts of rules.
func verdicts(others func(p *program, r programRule, v chainVerdict) []chainVerdict) func(p *program) []place {
	return inRules("immediate", func(p *program, r programRule, at int) [][]expr {
		v, ok := verdictIn(r.exprs[at])
		if !ok {
			return nil
		}
		var ways [][]expr
		for _, other := range others(p, r, v) {
			ways = append(ways, with(r.exprs, at, unix.NFTA_IMMEDIATE_DATA, other.bytes()))
		}
		return ways
	})
}

// recoded returns the verdict that stands for another.
func recoded(codes map[int32]int32) func(p *program, r programRule, v chainVerdict) []chainVerdict {
	return func(_ *program, _ programRule, v chainVerdict) []chainVerdict {
		code, ok := codes[v.code]
		if !ok {
			return nil
		}
		return []chainVerdict{{code, v.chain}}
	}
}

// ruleMutations change which rules there are, and where they lead.
var ruleMutations = []mutation{
	{"drop for accept", aroundIt, verdicts(recoded(map[int32]int32{accepts: drops}))},
	{"accept for drop", aroundIt, verdicts(recoded(map[int32]int32{drops: accepts}))},
	{"return for accept or back", aroundIt, verdicts(recoded(map[int32]int32{accepts: unix.NFT_RETURN, unix.NFT_RETURN: accepts}))},
	{"jump for goto or back", aroundIt, verdicts(recoded(map[int32]int32{unix.NFT_JUMP: unix.NFT_GOTO, unix.NFT_GOTO: unix.NFT_JUMP}))},
	{"another chain", aroundIt, verdicts(func(p *program, r programRule, v chainVerdict) []chainVerdict {
		var list []chainVerdict
		for _, c := range p.chains {
			if v.chain != "" && !c.base && c.name != v.chain && !p.leads(c.name, r.chain) {
				list = append(list, chainVerdict{v.code, c.name})
			}
		}
		return list
	})},
	{"rule lost", aroundIt, eachRule(func(p *program, r programRule) change { return dropRule(r.chain, r.number) })},
	{"rule doubled", noState, eachRule(func(p *program, r programRule) change { return doubleRule(r.chain, r.number) })},
	{"neighbours swapped", disjoint, eachRule(func(p *program, r programRule) change {
		if r.number == len(p.of(r.chain)) {
			return nil
		}
		return swapRules(r.chain, r.number, r.number+1)
	})},
}

func eachRule(of func(p *program, r programRule) change) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, r := range p.rules {
			if do := of(p, r); do != nil {
				list = append(list, place{where: r.String(), ways: []change{do}, rule: r})
			}
		}
		return list
	}
}

// eachBase changes base chains.
func eachBase(ways func(p *program, c programChain) []change) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, c := range p.chains {
			if !c.base {
				continue
			}
			if w := ways(p, c); len(w) > 0 {
				list = append(list, place{where: "chain " + c.name, ways: w})
			}
		}
		return list
	}
}

// priorities are those of the tables of xtables and of what the kernel does
// itself, and some between them.
var priorities = []int32{-450, -300, -250, -150, -100, -50, 0, 50, 100, 150, 300}

// The numbers of the hooks, NF_INET_*.
const (
	prerouting = iota
	input
	forward
	output
	postrouting
)

// chainMutations change where base chains hang.
var chainMutations = []mutation{
	{"wrong priority", neverMet, eachBase(func(p *program, c programChain) []change { return moves(p, c, true) })},
	{orderKept, sameOrder, eachBase(func(p *program, c programChain) []change { return moves(p, c, false) })},
	{"wrong hook", neverMet, eachBase(func(p *program, c programChain) []change {
		var ways []change
		for n := uint32(prerouting); n <= postrouting; n++ {
			if n != c.hook && hangs(p, c, c.kind, n) {
				ways = append(ways, hook(c.name, c.hook, c.priority, n, c.priority))
			}
		}
		return ways
	})},
	{"wrong type", aroundIt, eachBase(func(p *program, c programChain) []change {
		var ways []change
		for _, kind := range []string{"filter", "nat", "route"} {
			if kind != c.kind && hangs(p, c, kind, c.hook) {
				ways = append(ways, chainType(c.name, c.kind, kind))
			}
		}
		return ways
	})},
	{"wrong policy", aroundIt, eachBase(func(_ *program, c programChain) []change {
		return []change{policy(c.name, c.policy, c.policy^1)}
	})},
}

// orderKept is the kind of changes that are to make no difference.
const orderKept = "another priority in the same order"

// moves gives a chain other priorities, by which it changes places, or does not,
// with the chains and the tracking of its hook.
func moves(p *program, c programChain, passing bool) []change {
	var fixed []int32
	if c.kind != "nat" && (c.hook == prerouting || c.hook == output) {
		fixed = append(fixed, priorityTracking)
	}
	if at, ok := natCores[c.hook]; ok && c.kind != "nat" && slices.ContainsFunc(p.chains, func(o programChain) bool { return o.kind == "nat" }) {
		fixed = append(fixed, at)
	}
	for _, o := range p.chains {
		if o.base && o.hook == c.hook && o.name != c.name {
			fixed = append(fixed, o.priority)
		}
	}
	var ways []change
	for _, n := range priorities {
		if n == c.priority || slices.Contains(fixed, n) || c.kind == "nat" && n <= priorityTracking {
			continue
		}
		passes := slices.ContainsFunc(fixed, func(o int32) bool { return (n < o) != (c.priority < o) })
		if passes == passing {
			ways = append(ways, hook(c.name, c.hook, c.priority, c.hook, n))
		}
	}
	return ways
}

// natCores are the priorities at which addresses are translated, by hook.
var natCores = map[uint32]int32{prerouting: -100, output: -100, input: 100, postrouting: 100}

// priorityTracking is NF_IP_PRI_CONNTRACK.
const priorityTracking = -200

// hangs says whether the kernel takes a chain as one of another type at another
// hook.
//
// Kernel: net/netfilter/nft_chain_{filter,nat,route}.c, nft_reject.c, nft_nat.c,
// nft_masq.c, nft_redir.c, nft_rt.c, nft_fib.c.
func hangs(p *program, c programChain, kind string, at uint32) bool {
	switch kind {
	case "route":
		if at != output {
			return false
		}
	case "nat":
		if at == forward || c.priority <= -200 {
			return false
		}
	}
	if kind != "nat" && p.uses(c.name, "nat", "masq", "redir") {
		return false
	}
	source, destination := at == input || at == postrouting, at == prerouting || at == output
	for _, r := range p.rules {
		if !p.leads(c.name, r.chain) {
			continue
		}
		for _, e := range r.exprs {
			kind, _ := number(e.data, unix.NFTA_NAT_TYPE)
			flags, _ := number(e.data, unix.NFTA_FIB_FLAGS)
			switch {
			case e.name == "fib" && (flags&unix.NFTA_FIB_F_IIF != 0 && (at == output || at == postrouting) || flags&unix.NFTA_FIB_F_OIF != 0 && (at == prerouting || at == input)),
				e.name == "nat" && (kind == unix.NFT_NAT_SNAT && !source || kind == unix.NFT_NAT_DNAT && !destination),
				e.name == "masq" && at != postrouting, e.name == "redir" && !destination,
				e.name == "reject" && at == postrouting, e.name == "rt" && (at == prerouting || at == input):
				return false
			}
		}
	}
	return true
}

// elements changes the elements of a set.
func elements(s programSet, edit func(list []element) []element) change {
	return func(messages []netlink.Message) ([]netlink.Message, error) {
		attrs := nfnetlink.Attributes(messages[s.at])
		var list []nfnetlink.Attr
		for _, e := range edit(slices.Clone(s.elements)) {
			list = append(list, nfnetlink.Attr{Type: listElem, Data: payload(e)})
		}
		for i, a := range attrs {
			if a.Type == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				attrs[i].Data = payload(list)
			}
		}
		messages[s.at] = join(messages[s.at], attrs)
		return messages, nil
	}
}

// eachElement changes single elements: ways returns what an element can become,
// nil for nothing. Other elements keep their keys.
func eachElement(ways func(s programSet, e element) []element) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, s := range p.sets {
			for i, e := range s.elements {
				to := place{where: fmt.Sprintf("element %d of %s", i+1, s.name)}
				for _, other := range ways(s, e) {
					if slices.ContainsFunc(s.elements, func(o element) bool { return !bytes.Equal(o.key(), e.key()) && bytes.Equal(o.key(), other.key()) }) {
						continue
					}
					to.ways = append(to.ways, elements(s, func(list []element) []element {
						list[i] = other
						return list
					}))
				}
				if len(to.ways) > 0 {
					list = append(list, to)
				}
			}
		}
		return list
	}
}

// keyed returns an element with another constant in an attribute.
func keyed(e element, kind uint16, b []byte) element {
	e = slices.Clone(e)
	for i := range e {
		if e[i].Type == kind {
			e[i].Data = value(b)
		}
	}
	return e
}

// elemKeyEnd is NFTA_SET_ELEM_KEY_END.
const elemKeyEnd = 10

func plain(s programSet) bool {
	return s.flags&unix.NFT_SET_INTERVAL == 0
}

// setMutations change what is in sets and maps.
var setMutations = []mutation{
	{"bit of an element", notMasked, eachElement(func(s programSet, e element) []element {
		var ways []element
		if plain(s) {
			for _, b := range bits(e.key()) {
				ways = append(ways, keyed(e, unix.NFTA_SET_ELEM_KEY, b))
			}
		}
		return ways
	})},
	{"end of an interval moved by one", aroundIt, eachElement(func(s programSet, e element) []element {
		var ways []element
		if !plain(s) && constantOf(e, elemKeyEnd) == nil && !zero(e.key()) {
			for _, b := range neighbours(e.key()) {
				ways = append(ways, keyed(e, unix.NFTA_SET_ELEM_KEY, b))
			}
		}
		if last := constantOf(e, elemKeyEnd); last != nil {
			for _, b := range s.neighbours(last) {
				ways = append(ways, keyed(e, elemKeyEnd, b))
			}
		}
		return ways
	})},
	{"element lost", aroundIt, eachSet(func(s programSet) []change {
		var ways []change
		for i, e := range s.elements {
			if len(s.elements) < 2 || e.ends() {
				continue
			}
			n := 1
			if i+1 < len(s.elements) && s.elements[i+1].ends() {
				n = 2
			}
			ways = append(ways, elements(s, func(list []element) []element { return slices.Delete(list, i, i+n) }))
		}
		return ways
	})},
	{"element too much", notMasked, eachSet(func(s programSet) []change {
		var ways []change
		for _, e := range s.elements {
			for _, b := range s.neighbours(e.key()) {
				if plain(s) && !slices.ContainsFunc(s.elements, func(o element) bool { return bytes.Equal(o.key(), b) }) {
					ways = append(ways, elements(s, func(list []element) []element { return append(list, keyed(e, unix.NFTA_SET_ELEM_KEY, b)) }))
				}
			}
		}
		return ways
	})},
	{"data of a map", aroundIt, eachElement(func(s programSet, e element) []element {
		var ways []element
		if data := constantOf(e, unix.NFTA_SET_ELEM_DATA); data != nil {
			for _, b := range bits(data) {
				ways = append(ways, keyed(e, unix.NFTA_SET_ELEM_DATA, b))
			}
		}
		return ways
	})},
	{"verdict of an element", aroundIt, eachElement(func(s programSet, e element) []element {
		v, ok := verdictOfData(nfnetlink.Find(e, unix.NFTA_SET_ELEM_DATA))
		if !ok {
			return nil
		}
		other := map[int32]int32{accepts: drops, drops: accepts, unix.NFT_JUMP: unix.NFT_GOTO, unix.NFT_GOTO: unix.NFT_JUMP, unix.NFT_RETURN: accepts}
		code, ok := other[v.code]
		if !ok {
			return nil
		}
		e = slices.Clone(e)
		for i := range e {
			if e[i].Type == unix.NFTA_SET_ELEM_DATA {
				e[i].Data = chainVerdict{code, v.chain}.bytes()
			}
		}
		return []element{e}
	})},
}

// neighbours returns keys beside a key: of a concatenation, the first field differs.
func (s programSet) neighbours(key []byte) [][]byte {
	if !s.concat {
		return neighbours(key)
	}
	const word = 4
	var list [][]byte
	for _, b := range neighbours(key[:word]) {
		list = append(list, append(b, key[word:]...))
	}
	return list
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

func eachSet(ways func(s programSet) []change) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, s := range p.sets {
			if w := ways(s); len(w) > 0 {
				list = append(list, place{where: "set " + s.name, ways: w})
			}
		}
		return list
	}
}
