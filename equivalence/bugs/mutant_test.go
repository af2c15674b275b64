package bugs_test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/nftsim"
	"nftmigrate/internal/nfnetlink"
)

// A mutant is a batch with one change of what it means.
type mutant struct {
	kind  string
	where string // the chain and rule, or the set
	what  string // the lines that changed, as nft writes them
	batch []netlink.Message
	// alike says why the change may make no difference, "" when it must.
	alike string
	// without is the right batch without the rule that changed, nil when it is
	// not one rule.
	without []netlink.Message
}

func (m mutant) String() string { return m.kind + ": " + m.where + ": " + m.what }

// A mutation is a kind of change.
type mutation struct {
	kind string
	// alike says why a change of the kind may make no difference, "" when it
	// must.
	alike string
	// places are where a batch can be changed so, in its order.
	places func(p *program) []place
}

// A place is where a batch can be changed, with the ways to do it.
type place struct {
	where string
	ways  []change
	// rule is where the rule stands that would change, its number 0 for none.
	rule programRule
}

// mutations are all kinds.
var mutations = slices.Concat(constantMutations, matchMutations, fieldMutations, effectMutations, natMutations, stateMutations, ruleMutations, chainMutations, setMutations)

// mutants chooses changes of a batch: of each kind, at most so many, at places
// and in ways that seed and name decide. What does not decode, which the kernel
// would refuse, is none.
func mutants(name string, batch []netlink.Message, most int, seed uint64) []mutant {
	p := parse(batch)
	before := lines(tidied(batch))
	seen := map[string]bool{string(nfnetlink.Marshal(batch)): true}
	var list []mutant
	for _, kind := range mutations {
		h := fnv.New64a()
		h.Write([]byte(name + ": " + kind.kind))
		random := rand.New(rand.NewPCG(seed, h.Sum64()))
		places := kind.places(p)
		random.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
		found := 0
		for _, at := range places {
			random.Shuffle(len(at.ways), func(i, j int) { at.ways[i], at.ways[j] = at.ways[j], at.ways[i] })
			for _, do := range at.ways {
				if found == most {
					break
				}
				changed, err := do(cloned(batch))
				if err != nil {
					panic(fmt.Sprintf("%s: %s: %s: %v", name, kind.kind, at.where, err))
				}
				changed = tidied(changed)
				key := string(nfnetlink.Marshal(changed))
				after := lines(changed)
				if after == nil || seen[key] {
					continue
				}
				seen[key] = true
				list = append(list, mutant{kind.kind, at.where, unlike(before, after), changed, kind.alike, withoutRule(batch, at.rule)})
				if found++; most > 0 {
					break // on to another place
				}
			}
		}
	}
	return list
}

// tidied makes sets fit the rules that use them, as the kernel wants it: without a
// rule an anonymous set is left out, and with several it is anonymous no more.
// The size of a set is not written, since elements may have been added.
func tidied(batch []netlink.Message) []netlink.Message {
	uses := map[string]int{}
	p := parse(batch)
	for _, r := range p.rules {
		for _, e := range r.exprs {
			if e.name == "lookup" {
				uses[setKey(e.data, unix.NFTA_LOOKUP_SET, unix.NFTA_LOOKUP_SET_ID)]++
			}
		}
	}
	var list []netlink.Message
	lost := map[string]bool{}
	for _, m := range batch {
		attrs := nfnetlink.Attributes(m)
		switch kind, _ := nfnetlink.Kind(m); kind {
		case unix.NFT_MSG_NEWSET:
			flags, _ := number(attrs, unix.NFTA_SET_FLAGS)
			if flags&unix.NFT_SET_ANONYMOUS == 0 {
				break
			}
			key := setKey(attrs, unix.NFTA_SET_NAME, unix.NFTA_SET_ID)
			if lost[key] = uses[key] == 0; lost[key] {
				continue
			}
			for i, a := range attrs {
				if a.Type == unix.NFTA_SET_FLAGS && uses[key] > 1 {
					attrs[i].Data = be32(flags &^ unix.NFT_SET_ANONYMOUS)
				}
				if a.Type == unix.NFTA_SET_DESC {
					parts := slices.DeleteFunc(nfnetlink.Nested(a.Data), func(a nfnetlink.Attr) bool { return a.Type == unix.NFTA_SET_DESC_SIZE })
					attrs[i].Data = payload(parts)
				}
			}
			m = join(m, attrs)
		case unix.NFT_MSG_NEWSETELEM:
			if lost[setKey(attrs, unix.NFTA_SET_ELEM_LIST_SET, unix.NFTA_SET_ELEM_LIST_SET_ID)] {
				continue
			}
		}
		list = append(list, m)
	}
	return list
}

// withoutRule leaves a rule out, if there is one.
func withoutRule(batch []netlink.Message, r programRule) []netlink.Message {
	if r.number == 0 {
		return nil
	}
	list, err := dropRule(r.chain, r.number)(cloned(batch))
	if err != nil {
		panic(err)
	}
	return list
}

// cloned copies messages, so that they can be changed.
func cloned(batch []netlink.Message) []netlink.Message {
	list := slices.Clone(batch)
	for i := range list {
		list[i].Data = slices.Clone(list[i].Data)
	}
	return list
}

// lines are the lines of a batch in nft's notation, without the numbers of
// messages; nil when it does not decode.
func lines(batch []netlink.Message) []string {
	m, err := nftsim.Decode(batch)
	if err != nil {
		return nil
	}
	var b bytes.Buffer
	if err := m.Dump(&b); err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(b.String()) {
		line, _, _ = strings.Cut(line, " # message")
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// unlike says in which lines two lists differ.
func unlike(before, after []string) string {
	for len(before) > 0 && len(after) > 0 && before[0] == after[0] {
		before, after = before[1:], after[1:]
	}
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	const most = 3
	short := func(list []string) string {
		if len(list) > most {
			return strings.Join(list[:most], " ") + " …"
		}
		return strings.Join(list, " ")
	}
	return fmt.Sprintf("%s => %s", short(before), short(after))
}

// inRules makes a mutation of expressions. ways returns the lists of expressions
// that an expression of a rule can be changed to.
func inRules(name string, ways func(p *program, r programRule, at int) [][]expr) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, r := range p.rules {
			for at, e := range r.exprs {
				if e.name != name {
					continue
				}
				to := place{where: r.String(), rule: r}
				for _, exprs := range ways(p, r, at) {
					to.ways = append(to.ways, rewritten(r, exprs))
				}
				if len(to.ways) > 0 {
					list = append(list, to)
				}
			}
		}
		return list
	}
}

// inAll joins the places of several.
func inAll(of ...func(p *program) []place) func(p *program) []place {
	return func(p *program) []place {
		var list []place
		for _, f := range of {
			list = append(list, f(p)...)
		}
		return list
	}
}

// rewritten gives a rule other expressions.
func rewritten(r programRule, exprs []expr) change {
	return rule(r.chain, r.number, func([]expr) ([]expr, error) { return exprs, nil })
}

// with returns a list in which an expression has another attribute.
func with(list []expr, at int, kind uint16, data []byte) []expr {
	return withAll(list, at, nfnetlink.Attr{Type: kind, Data: data})
}

// withAll returns a list in which an expression has other attributes; those that
// it has not are added.
func withAll(list []expr, at int, attrs ...nfnetlink.Attr) []expr {
	list = slices.Clone(list)
	data := slices.Clone(list[at].data)
	for _, a := range attrs {
		if i := slices.IndexFunc(data, func(b nfnetlink.Attr) bool { return b.Type == a.Type }); i >= 0 {
			data[i] = a
		} else {
			data = append(data, a)
		}
	}
	list[at].data = data
	return list
}

// withoutAttrs returns a list in which an expression lacks attributes.
func withoutAttrs(list []expr, at int, kinds ...uint16) []expr {
	list = slices.Clone(list)
	list[at].data = slices.DeleteFunc(slices.Clone(list[at].data), func(a nfnetlink.Attr) bool { return slices.Contains(kinds, a.Type) })
	return list
}

// without returns a list without n expressions from a place on.
func without(list []expr, at, n int) []expr {
	return slices.Delete(slices.Clone(list), at, at+n)
}

// loads is the register that an expression writes. Verdicts are in register 0.
func loads(e expr) (register uint32, ok bool) {
	kind, ok := map[string]uint16{
		"payload": unix.NFTA_PAYLOAD_DREG, "meta": unix.NFTA_META_DREG, "ct": unix.NFTA_CT_DREG,
		"exthdr": unix.NFTA_EXTHDR_DREG, "fib": unix.NFTA_FIB_DREG, "rt": unix.NFTA_RT_DREG,
		"numgen": unix.NFTA_NG_DREG, "immediate": unix.NFTA_IMMEDIATE_DREG, "lookup": unix.NFTA_LOOKUP_DREG,
		"bitwise": unix.NFTA_BITWISE_DREG, "byteorder": unix.NFTA_BYTEORDER_DREG,
	}[e.name]
	if !ok {
		return 0, false
	}
	register, ok = number(e.data, kind)
	return register, ok && register != unix.NFT_REG_VERDICT
}

// loader is the expression that first filled a register before a place: what a
// test there is about.
func loader(list []expr, at int, register uint32) expr {
	for i := at - 1; i >= 0; i-- {
		if to, ok := loads(list[i]); ok && to == register && list[i].name != "bitwise" && list[i].name != "byteorder" {
			return list[i]
		}
	}
	return expr{}
}
