package translate

import (
	"slices"
	"strings"

	"nftmigrate/nftgen"
)

// apartTail ends the name of the IPv6 one of two chains of a name.
const apartTail = "/v6"

// ownPrefixes are the tables that can stand in front of a chain's name. Those of
// the filter table have none.
var ownPrefixes = []string{"raw", "mangle", "nat", "security"}

// chainName returns the name in nftables of a chain of iptables, with its table
// in front unless that is "". [SourceChain] is its inverse, so two chains never
// have one name.
func chainName(table, chain string, apart bool) string {
	var name string
	switch {
	case table != "":
		name = table + "_" + nftgen.EscapeBytes(chain)
	case prefixed(chain) != "":
		name = nftgen.EscapeOwn(chain) // "nat_X" of itself is not X of table nat
	default:
		name = nftgen.EscapeName(chain)
	}
	if apart {
		name += apartTail
	}
	return name
}

// prefixed returns the table that a name seems to have in front, or "".
func prefixed(name string) string {
	table, _, ok := strings.Cut(name, "_")
	if !ok || !slices.Contains(ownPrefixes, table) {
		return ""
	}
	return table
}

// SourceChain returns which chain of iptables was given a name: its table, where
// the name tells it (else it is filter, or the only one with such a user chain),
// and whether it is the IPv6 one of two. ok is false for names that no chain of a
// source gets.
func SourceChain(name string) (table, chain string, apart, ok bool) {
	name, apart = strings.CutSuffix(name, apartTail)
	if table = prefixed(name); table != "" {
		name = name[len(table)+1:]
	}
	chain, ok = nftgen.UnescapeName(name)
	return table, chain, apart, ok
}
