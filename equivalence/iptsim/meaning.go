package iptsim

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
)

// A Meaning is a match that says what it means. A match without it makes every
// packet that reaches it undecided.
type Meaning interface {
	Meaning(c iptables.Context) predicate.Meaning
}

// A Doing is a target that says what it does. A target without it makes every
// packet that reaches it undecided.
type Doing interface {
	Action(c iptables.Context) predicate.Action
}
