package translate

import (
	"slices"

	"nftmigrate/nftgen"
)

// oneProtocol settles what the statements of a rule say about the transport
// protocol. nft takes one of a rule:
//
//   - a list of protocols before a field of one of them becomes the test of that
//     one, where nothing between them has an effect;
//   - behind a test for one protocol no packet passes one for another. Without
//     effects before it the rule can never match, and possible is false; else it
//     ends there.
func oneProtocol(stmts []nftgen.Stmt) (settled []nftgen.Stmt, possible bool) {
	settled = stmts
	var few [8]uint8
	protocols := few[:0] // of the statements so far
	for i, s := range stmts {
		proto := nftgen.ProtocolOf(s)
		protocols = append(protocols, proto)
		for k, before := range stmts[:i] {
			switch {
			case proto != 0 && (protocols[k] != 0 && protocols[k] != proto || excludes(before, proto)),
				nftgen.ContradictField(before, s), protocols[k] != 0 && excludes(s, protocols[k]):
				return settled[:i], !allPure(stmts[:i])
			case proto != 0 && lists(before) && allPure(stmts[k:i]):
				if &settled[0] == &stmts[0] {
					settled = slices.Clone(stmts)
				}
				settled[k] = nftgen.Compare{Field: nftgen.MetaL4Proto, Op: nftgen.Eq, Value: nftgen.Value{proto}}
			}
		}
	}
	return settled, true
}

// lists reports whether a statement is a test for one of several protocols.
func lists(s nftgen.Stmt) bool {
	list, ok := s.(nftgen.OneOf)
	return ok && list.Field.Text == nftgen.MetaL4Proto.Text && !list.Not
}
