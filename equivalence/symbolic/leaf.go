package symbolic

import "nftmigrate/equivalence/bdd"

// A Verdict says how a rule, chain or stage goes on for a class of packets.
type Verdict uint8

// The verdicts. Continue is with the next rule, Return to the chain that jumped
// here. Undecided is for what is not modelled.
const (
	Continue Verdict = iota + 1
	Return
	Accept
	Drop
	Undecided
	Jump // only of rules by themselves, see [ChainRule]
	Goto
)

func (v Verdict) String() string {
	if v >= Continue && v <= Goto {
		return [...]string{"continue", "return", "accept", "drop", "undecided", "jump", "goto"}[v-1]
	}
	return "invalid verdict"
}

// A Leaf is what becomes of a class of packets.
type Leaf struct {
	Verdict Verdict
	Effect  Effect
	// Why says what is not modelled (Undecided), or under which deviation the
	// engines are known to treat such packets unlike, else "".
	Why string
	// By is the rule that decided, in spaces that keep provenance: see
	// [Space.Place]. Of Jump and Goto it is the chain.
	By int
}

// firstLeaf is the value of the terminal of the first leaf: 0 and 1 are those of
// False and True.
const firstLeaf = 2

// Leaf returns the function that is a leaf for every packet.
func (s *Space) Leaf(l Leaf) bdd.Ref {
	id, ok := s.leafIDs[l]
	if !ok {
		id = uint32(len(s.leaves))
		s.leaves = append(s.leaves, l)
		s.leafIDs[l] = id
	}
	return s.Terminal(firstLeaf + id)
}

// LeafOf returns the leaf of a terminal value.
func (s *Space) LeafOf(value uint32) Leaf { return s.leaves[value-firstLeaf] }

// Flag maps leaves to whether something is so of them.
func (s *Space) Flag(is func(l Leaf) bool) *bdd.Mapping {
	return s.NewMapping(func(v uint32) bdd.Ref {
		if is(s.LeafOf(v)) {
			return bdd.True
		}
		return bdd.False
	})
}

// leafAt returns the leaf that a function is, when it is one.
func (s *Space) leafAt(f bdd.Ref) (Leaf, bool) {
	v, ok := s.Value(f)
	if !ok {
		return Leaf{}, false
	}
	return s.LeafOf(v), true
}

// Next is the function of a rule that does nothing.
func (s *Space) Next() bdd.Ref { return s.next }
