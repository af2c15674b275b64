package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// Restore puts the tables of a snapshot back to what they were, in one kernel
// transaction, and reads back that they are: counters, timeouts that were
// left, and rules with xt expressions included. Tables that the snapshot does
// not speak for are not touched, whatever happened to them since. A snapshot
// of another namespace is refused.
//
// Tables are made anew, so their base chains come after those of other tables
// with the same hook and priority, wherever they stood before.
func Restore(ctx context.Context, ns *netns.NS, s *Snapshot) error {
	if err := ctx.Err(); err != nil {
		return refusal(err)
	}
	if s.Namespace != ns.Inode() {
		return refusal(fmt.Errorf("the snapshot is of network namespace %d, this is %d", s.Namespace, ns.Inode()))
	}
	k, err := dial(ns)
	if err != nil {
		return refusal(err)
	}
	defer k.conn.Close()
	if err := restore(k, s); err != nil {
		return refusal(err)
	}
	return nil
}

// restore is tried again when others commit in between: it replaces whatever
// our tables hold.
func restore(k kernel, s *Snapshot) error {
	if len(s.Tables) == 0 {
		return nil
	}
	for attempt := 0; ; attempt++ {
		if err := checkNamespace(k, s.Namespace); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		now, err := k.dump(s.Tables)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if nfnetlink.Equal(now.Messages, s.Messages, 0) && attempt > 0 {
			return nil
		}
		err = k.send(undoing(now, s), now.Generation)
		if errors.Is(err, nfnetlink.ErrStale) && attempt < staleAttempts {
			continue
		}
		if err != nil && !errors.Is(err, nfnetlink.ErrNoReceipt) {
			return fmt.Errorf("restore: %w", err)
		}
		after, err := k.dump(s.Tables)
		if err != nil {
			return fmt.Errorf("restore: read back: %w", err)
		}
		if !nfnetlink.Equal(after.Messages, s.Messages, 0) {
			return errors.New("restore: what the kernel holds is not what the snapshot says")
		}
		return nil
	}
}

// undoing returns the batch that turns the tables as they are now into those
// of a snapshot.
func undoing(now *nfnetlink.Dump, s *Snapshot) []netlink.Message {
	var batch []netlink.Message
	exist := now.Tables()
	for _, table := range s.Tables {
		if slices.Contains(exist, table) {
			batch = append(batch, nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, table.Family,
				nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, table.Name)))
		}
	}
	return append(batch, nfnetlink.Replay(s.Messages)...)
}
