package nfnetlink

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Keep says what [Normalise] leaves in.
type Keep uint8

const (
	// KeepVolatile keeps what packets and time change inside of things:
	// counters, consumed quotas, the time that elements have left.
	KeepVolatile Keep = 1 << iota
	// KeepElements keeps the elements of sets that packets fill or that time
	// empties.
	KeepElements
)

// kindOrder is the order of messages inside a table.
var kindOrder = []int{
	unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_NEWSET, unix.NFT_MSG_NEWOBJ,
	unix.NFT_MSG_NEWFLOWTABLE, unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_NEWRULE,
}

// Normalise returns the messages of a dump in a form in which two dumps of the
// same ruleset are equal byte by byte: without handles, counts of users,
// places and generations; sets inside of rules named by their place there; tables, chains, sets and objects in order of their
// names; one message per element, sorted; rules in order. What packets and
// time change goes too, but for what keep says.
func Normalise(dump []netlink.Message, keep Keep) []netlink.Message {
	messages, _ := NormaliseFrom(dump, keep)
	return messages
}

// NormaliseFrom is [Normalise], and says for each message of the result which
// of the dump it comes from.
func NormaliseFrom(dump []netlink.Message, keep Keep) (messages []netlink.Message, from []int) {
	type entry struct {
		table   Table
		kind    int
		name    string // of the thing; the chain of a rule, the set of an element
		key     []byte // of an element
		from    int
		message netlink.Message
	}
	bound, moving := boundNames(dump), movingSets(dump)
	within := withinNames(dump, bound)
	var table Table
	strip := func(level *schema, _ string, attrs []Attr) []Attr {
		attrs = without(attrs, level.assigned)
		if level == verdictSchema {
			rename(attrs, table, unix.NFTA_VERDICT_CHAIN, bound)
		}
		if keep&KeepVolatile == 0 {
			attrs = without(attrs, level.volatile)
		}
		return attrs
	}
	var entries []entry
	for i, raw := range dump {
		table = TableOf(raw)
		kind, _ := Kind(raw)
		name := nameOf(raw)
		if kind == unix.NFT_MSG_NEWSETELEM && keep&KeepElements == 0 && moving[setKey{table, name}] {
			continue
		}
		for _, m := range splitElements(raw) {
			m = rewrite(m, strip)
			if len(within) > 0 && meansSet[kind] {
				m = Rename(m, func(r Ref) (string, uint32) {
					if name := within[setKey{table, r.Name}]; name != "" && r.Kind == unix.NFT_MSG_NEWSET {
						return name, r.ID
					}
					return r.Name, r.ID
				})
				name = nameOf(m)
			}
			if attribute := chainAttribute[kind]; attribute != 0 && len(bound) > 0 {
				attrs := Attributes(m)
				rename(attrs, table, attribute, bound)
				m.Data = appendAttrs(m.Data[:headerLen:headerLen], attrs)
				name = nameOf(m)
			}
			m.Header = netlink.Header{Type: m.Header.Type}
			if len(m.Data) >= headerLen {
				m.Data[2], m.Data[3] = 0, 0
			}
			e := entry{table: table, kind: slices.Index(kindOrder, kind), name: name, from: i, message: m}
			if kind == unix.NFT_MSG_NEWSETELEM {
				e.key = elementKey(m)
			}
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.table.Family, b.table.Family), strings.Compare(a.table.Name, b.table.Name),
			cmp.Compare(a.kind, b.kind), strings.Compare(a.name, b.name), bytes.Compare(a.key, b.key))
	})
	messages, from = make([]netlink.Message, len(entries)), make([]int, len(entries))
	for i, e := range entries {
		messages[i], from[i] = e.message, e.from
	}
	return messages, from
}

// A setKey names a set in a ruleset.
type setKey struct {
	table Table
	name  string
}

// movingSets returns the sets whose elements packets or time change.
func movingSets(dump []netlink.Message) map[setKey]bool {
	moving := map[setKey]bool{}
	for _, m := range dump {
		if kind, ok := Kind(m); ok && kind == unix.NFT_MSG_NEWSET &&
			number(Attributes(m), unix.NFTA_SET_FLAGS)&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0 {
			moving[setKey{TableOf(m), nameOf(m)}] = true
		}
	}
	return moving
}

// elementKey returns what the elements of a set are ordered by: key, end of
// the key, flags. The message holds one element.
func elementKey(m netlink.Message) []byte {
	var key []byte
	for _, e := range parseAttributes(Find(Attributes(m), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
		attrs := parseAttributes(e.Data)
		for _, kind := range []uint16{unix.NFTA_SET_ELEM_KEY, elemKeyEnd} {
			key = append(key, Find(parseAttributes(Find(attrs, kind)), unix.NFTA_DATA_VALUE)...)
		}
		key = append(key, be32(number(attrs, unix.NFTA_SET_ELEM_FLAGS))...)
	}
	return key
}

// chainAttribute is the attribute that names a chain, by NFT_MSG_* number.
var chainAttribute = map[int]uint16{
	unix.NFT_MSG_NEWCHAIN: unix.NFTA_CHAIN_NAME,
	unix.NFT_MSG_NEWRULE:  unix.NFTA_RULE_CHAIN,
}

// boundNames gives the chains that the kernel named, those of "jump { … }",
// names that depend on their order alone.
func boundNames(dump []netlink.Message) map[chainKey]string {
	bound := boundChains(dump)
	keys := slices.SortedFunc(maps.Keys(bound), func(a, b chainKey) int { return cmp.Compare(bound[a], bound[b]) })
	names := make(map[chainKey]string, len(keys))
	counts := map[Table]int{}
	for _, key := range keys {
		counts[key.table]++
		names[key] = fmt.Sprintf("__chain#%d", counts[key.table])
	}
	return names
}

// meansSet are the messages that mean sets.
var meansSet = map[int]bool{
	unix.NFT_MSG_NEWSET: true, unix.NFT_MSG_NEWSETELEM: true, unix.NFT_MSG_NEWRULE: true,
}

// withinNames gives the sets inside of rules names that depend on the place of
// their rules alone: the kernel's are numbers that happened to be free.
func withinNames(dump []netlink.Message, bound map[chainKey]string) map[setKey]string {
	anonymous := map[setKey]bool{}
	for _, m := range dump {
		if kind, ok := Kind(m); ok && kind == unix.NFT_MSG_NEWSET && number(Attributes(m), unix.NFTA_SET_FLAGS)&unix.NFT_SET_ANONYMOUS != 0 {
			anonymous[setKey{TableOf(m), nameOf(m)}] = true
		}
	}
	if len(anonymous) == 0 {
		return nil
	}
	type place struct {
		chain chainKey
		rule  netlink.Message
	}
	var rules []place
	for _, m := range dump {
		if kind, ok := Kind(m); ok && kind == unix.NFT_MSG_NEWRULE {
			key := chainKey{TableOf(m), nameOf(m)}
			if name := bound[key]; name != "" {
				key.name = name
			}
			rules = append(rules, place{key, m})
		}
	}
	slices.SortStableFunc(rules, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.chain.table.Family, b.chain.table.Family),
			strings.Compare(a.chain.table.Name, b.chain.table.Name), strings.Compare(a.chain.name, b.chain.name))
	})
	names := make(map[setKey]string, len(anonymous))
	counts := map[Table]int{}
	for _, r := range rules {
		References(r.rule, func(ref Ref) {
			key := setKey{r.chain.table, ref.Name}
			if ref.Kind != unix.NFT_MSG_NEWSET || !anonymous[key] || names[key] != "" {
				return
			}
			counts[key.table]++
			names[key] = fmt.Sprintf("__set#%d", counts[key.table])
		})
	}
	return names
}

func rename(attrs []Attr, table Table, kind uint16, names map[chainKey]string) {
	for i, a := range attrs {
		if name := names[chainKey{table, FindString(attrs, kind)}]; a.Type == kind && name != "" {
			attrs[i].Data = append([]byte(name), 0)
		}
	}
}

// Equal reports whether two dumps are of the same ruleset, as [Normalise]
// tells.
func Equal(a, b []netlink.Message, keep Keep) bool {
	return slices.EqualFunc(Normalise(a, keep), Normalise(b, keep), func(a, b netlink.Message) bool {
		return a.Header.Type == b.Header.Type && bytes.Equal(a.Data, b.Data)
	})
}

// nameOf returns the name that a message sorts by.
func nameOf(m netlink.Message) string {
	kind, _ := Kind(m)
	attribute := uint16(2) // of rules, elements, sets, objects and flowtables
	switch kind {
	case unix.NFT_MSG_NEWTABLE:
		return ""
	case unix.NFT_MSG_NEWCHAIN:
		attribute = unix.NFTA_CHAIN_NAME
	}
	return FindString(Attributes(m), attribute)
}

// splitElements returns one message per element of an element message, else
// the message. An element message without elements has no parts.
func splitElements(m netlink.Message) []netlink.Message {
	if kind, ok := Kind(m); !ok || kind != unix.NFT_MSG_NEWSETELEM || len(m.Data) < headerLen {
		return []netlink.Message{m}
	}
	attrs := Attributes(m)
	var parts []netlink.Message
	for _, element := range parseAttributes(Find(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
		data := append([]byte(nil), m.Data[:headerLen]...)
		for _, a := range attrs {
			if a.Type == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
				a.Data = AppendAttr(nil, listElem, element.Data)
			}
			data = AppendAttr(data, a.Type, a.Data)
		}
		parts = append(parts, netlink.Message{Header: m.Header, Data: data})
	}
	return parts
}
