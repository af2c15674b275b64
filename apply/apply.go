package apply

import (
	"github.com/mdlayher/netlink"

	"nftmigrate/internal/nfnetlink"
)

// A Batch is one stage of a commit: messages that the kernel takes all or none
// of.
type Batch struct {
	Messages []netlink.Message
	// Labels say where each message comes from, for people: "rules.v4:17".
	// Labels[i] is for Messages[i]; it may be "" or missing.
	Labels []string

	// more says that the next stage goes on with this one: both together are
	// what is read back.
	more bool
}

func (b Batch) label(i int) string {
	if i < 0 || i >= len(b.Labels) {
		return ""
	}
	return b.Labels[i]
}

// Options say how a commit is done. The zero value is a commit on top of
// whatever the ruleset is now.
type Options struct {
	// Generation, when not nil, is the generation that the ruleset must have
	// when the first stage is committed: that of the ruleset the batches were
	// made for.
	Generation *uint32
}

// A Snapshot is the raw state of some tables at one generation of one
// namespace. A table that is listed and has no messages did not exist.
type Snapshot struct {
	// Namespace is the inode of the network namespace.
	Namespace uint64
	// Generation is that of the ruleset when it was read.
	Generation uint32
	// Tables are the tables that the snapshot speaks for.
	Tables []nfnetlink.Table
	// Messages are the kernel's own account of them.
	Messages []netlink.Message
}

// A Receipt says what a commit did.
type Receipt struct {
	// Before is what [Restore] needs to undo the commit.
	Before *Snapshot
	// Generation is that of the ruleset after the last stage.
	Generation uint32
	// Stages and Messages count what was committed and read back.
	Stages, Messages int
}
