package predicate

// SetMap looks the packet up in an ipset, and sets what is asked for to what the
// element carries.
//
// Kernel: net/netfilter/xt_set.c, set_target_v3.
type SetMap struct {
	Name   string
	Source []bool // of each dimension: the source side, else the destination side
	// Mark, Priority and Queue say what is set.
	Mark, Priority, Queue bool
	// Cases are what the machine makes of it: the first whose condition holds is
	// carried out, all conditions are about the packet as it came. Unmodelled says
	// why there are none.
	Cases      []SetMapCase
	Unmodelled string
}

// A SetMapCase is the packets that elements with one value hold.
type SetMapCase struct {
	When    Predicate
	Assigns []Assign
}

func (SetMap) effect() {}
