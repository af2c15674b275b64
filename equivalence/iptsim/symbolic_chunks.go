package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// chunksOf returns the walk over chunks that a predicate asks for, when what there
// is on the walk tells the answer: the flags of chunks it does not tell.
func chunksOf(p predicate.Predicate) (predicate.Chunks, bool) {
	state, _ := p.(predicate.Stateful)
	walk, ok := state.Instance.(predicate.Chunks)
	for _, flags := range walk.Types {
		ok = ok && flags.Mask == 0
	}
	return walk, ok
}

// chunks is where a walk has the answer yes, or where it is cut before it has one.
//
// Kernel: net/netfilter/xt_sctp.c, match_packet.
func (c *compiler) chunks(walk predicate.Chunks) bdd.Ref {
	s := c.space
	inside, outside, all := bdd.False, bdd.False, bdd.True
	for kind, there := range s.Bits(symbolic.Chunk) {
		if _, asked := walk.Types[uint8(kind)]; asked || walk.Every {
			inside, all = s.Or(inside, there), s.And(all, there)
		} else {
			outside = s.Or(outside, there)
		}
	}
	// A walk for any ends at the first that is asked for, one for none but some at
	// the first other.
	answered, ends := all, bdd.False
	switch walk.Scope {
	case "any":
		answered, ends = inside, inside
	case "only":
		answered, ends = s.Not(outside), outside
	}
	cut := s.Diff(s.Bit(symbolic.ChunksCut), ends)
	if walk.Cut {
		return cut
	}
	return s.Diff(answered, cut)
}
