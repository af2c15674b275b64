package nfnetlink

import (
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Names are what the kernel called the things that a batch made under numbers,
// in one table.
type Names struct {
	Sets, Chains map[uint32]string
}

// reference is how a level means a set or a chain: by name, by number, or by
// both, where the number counts.
type reference struct {
	name, id uint16
	chain    bool
	kind     int // NFT_MSG_NEWSET, NEWCHAIN, NEWOBJ
}

var references = map[storedKey]reference{
	{messageSchemas[unix.NFT_MSG_NEWSET], ""}:     {name: unix.NFTA_SET_NAME, id: unix.NFTA_SET_ID},
	{messageSchemas[unix.NFT_MSG_NEWSETELEM], ""}: {name: unix.NFTA_SET_ELEM_LIST_SET, id: unix.NFTA_SET_ELEM_LIST_SET_ID},
	{messageSchemas[unix.NFT_MSG_NEWCHAIN], ""}:   {name: unix.NFTA_CHAIN_NAME, id: chainID, chain: true},
	{messageSchemas[unix.NFT_MSG_NEWRULE], ""}:    {name: unix.NFTA_RULE_CHAIN, id: ruleChainID, chain: true},
	{verdictSchema, ""}:                           {name: unix.NFTA_VERDICT_CHAIN, id: verdictChainID, chain: true},
	{dataSchemas["lookup"], "lookup"}:             {name: unix.NFTA_LOOKUP_SET, id: unix.NFTA_LOOKUP_SET_ID},
	{dataSchemas["dynset"], "dynset"}:             {name: unix.NFTA_DYNSET_SET_NAME, id: unix.NFTA_DYNSET_SET_ID},
	{dataSchemas["objref"], "objref"}:             {name: unix.NFTA_OBJREF_SET_NAME, id: unix.NFTA_OBJREF_SET_ID},
}

// Resolve returns a message that means sets and chains by the names that the
// kernel gave them, wherever the message means them by a number that is in
// names.
func Resolve(m netlink.Message, names Names) netlink.Message {
	return rewrite(m, func(level *schema, name string, attrs []Attr) []Attr {
		r, ok := references[storedKey{level, name}]
		if !ok {
			return attrs
		}
		id := Find(attrs, r.id)
		if len(id) != 4 {
			return attrs
		}
		from := names.Sets
		if r.chain {
			from = names.Chains
		}
		given, ok := from[number(attrs, r.id)]
		if !ok {
			return attrs
		}
		attrs = without(attrs, []uint16{r.name, r.id})
		return append(attrs, Attr{r.name, append([]byte(given), 0)})
	})
}

// SetsOf returns the names of the sets that a rule refers to.
func SetsOf(rule netlink.Message) []string {
	var names []string
	rewrite(rule, func(level *schema, name string, attrs []Attr) []Attr {
		if r, ok := references[storedKey{level, name}]; ok && name != "" && !r.chain {
			names = append(names, FindString(attrs, r.name))
		}
		return attrs
	})
	return names
}

// Number returns a big-endian attribute of four bytes, 0 when there is none.
func Number(attrs []Attr, kind uint16) uint32 { return number(attrs, kind) }
