package nftsim

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// useRing runs an instruction of a ring on variables: a question is one bit of
// the answer of a list of recent addresses, and what remembers or forgets is one
// event. What is done to a ring that no rule asks has no consequence.
func (x *symbolicRun) useRing(use ringUse, key Register, not bool) {
	r := use.ring
	if r.Version != x.space.Version {
		x.undecided("set " + r.slots[0].Name + " holds addresses of the other IP version")
		return
	}
	if !r.asked {
		return
	}
	slot, ok := x.ringSlot(r)
	if !ok || use.does == ringPart {
		return
	}
	w, ok := x.load(key, r.slots[0].KeyLen)
	if !ok {
		return
	}
	if !slices.Equal(w, x.space.RecentKey(&r.RecentList, use.destination)) {
		x.undecided("set " + r.slots[0].Name + " is asked for an address that the rule has changed")
		return
	}
	if x.collecting != nil {
		return
	}
	s := x.space
	switch use.does {
	case ringAsks:
		holds := x.now(symbolic.Word{s.SeenBit(slot, &r.RecentList, use.destination, use.hit)})[0]
		x.require(x.unless(not, holds))
	case ringRemembers:
		x.effect = s.Along(x.effect, s.Remember(slot, &r.RecentList, use.destination))
	case ringForgets:
		x.effect = s.Along(x.effect, s.Forget(slot, &r.RecentList, use.destination))
	}
}

// ringSlot finds the state that a ring is.
func (x *symbolicRun) ringSlot(r *ring) (symbolic.Slot, bool) {
	in := r.Instance()
	in.Name = "set " + r.slots[0].Name
	if len(r.slots) > 1 {
		in.Name = "sets " + r.slots[0].Name + " to " + r.slots[len(r.slots)-1].Name
	}
	slot, _, ok := x.slot(instanceID{ring: r}, in)
	return slot, ok
}

// ringChain is the function of a chain that remembers in a ring.
func (c *compiler) ringChain(use ringUse) bdd.Ref {
	s, r := c.space, use.ring
	leaf := symbolic.Leaf{Verdict: symbolic.Continue}
	slot, ok := c.slots[instanceID{ring: r}]
	switch {
	case r.Version != s.Version && use.own:
	case r.Version != s.Version:
		leaf = symbolic.Leaf{Verdict: symbolic.Undecided, Why: "set " + r.slots[0].Name + " holds addresses of the other IP version"}
	case !r.asked:
	case !ok:
		leaf = symbolic.Leaf{Verdict: symbolic.Undecided, Why: "a state that was not collected"}
	default:
		leaf.Effect = s.Remember(slot, &r.RecentList, use.destination)
	}
	return s.Leaf(leaf)
}
