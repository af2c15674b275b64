package predicate

import "fmt"

// OwnerGroups is "-m owner" with --suppl-groups: the group of --gid-owner may
// also be a supplementary one of the user. All options of the match belong to
// it, because without a socket the kernel compares the options that are given
// with those that are negated, and --suppl-groups counts among the former only:
// a packet without a socket never matches.
//
// Kernel: net/netfilter/xt_owner.c, owner_mt.
type OwnerGroups struct {
	UID            bool // --uid-owner is there
	NotUID, NotGID bool
	// The spans are inclusive.
	LowUID, HighUID, LowGID, HighGID uint32
}

var _ Content = OwnerGroups{}

// Content marks the type.
func (OwnerGroups) Content() {}

// Identity is "": there is no state.
func (OwnerGroups) Identity() string { return "" }

// Describe says the spans.
func (o OwnerGroups) Describe() string {
	uid := "any"
	if o.UID {
		uid = spanText(o.NotUID, o.LowUID, o.HighUID)
	}
	return fmt.Sprintf("owner user %s, one of whose groups is %s", uid, spanText(o.NotGID, o.LowGID, o.HighGID))
}

func spanText(not bool, low, high uint32) string {
	if not {
		return fmt.Sprintf("not %d-%d", low, high)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// Keys are the owner's numbers.
func (OwnerGroups) Keys() []Field {
	return []Field{{ID: SocketExists}, {ID: SocketUID}, {ID: SocketGID}, {ID: SocketGroup}}
}

// Ask looks at the socket.
func (o OwnerGroups) Ask(r Reader, _ string) Truth {
	if _, exists := r.Field(Field{ID: SocketExists}); exists != Yes {
		return exists
	}
	gid, user := r.Field(Field{ID: SocketGID})
	if user == Unknown {
		return Unknown
	}
	if user == No { // a socket without a file
		return Of((!o.UID || o.NotUID) && o.NotGID)
	}
	if uid, _ := r.Field(Field{ID: SocketUID}); o.UID && inSpan(uid.Lo, o.LowUID, o.HighUID) == o.NotUID {
		return No
	}
	member := inSpan(gid.Lo, o.LowGID, o.HighGID)
	for n := uint32(0); !member; n++ {
		group, there := r.Field(Field{ID: SocketGroup, Arg: n})
		if there != Yes {
			break
		}
		member = inSpan(group.Lo, o.LowGID, o.HighGID)
	}
	return Of(member != o.NotGID)
}

func inSpan(n uint64, low, high uint32) bool { return uint64(low) <= n && n <= uint64(high) }
