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

// Restore puts the tables of a snapshot back to what they were, and reads back
// that they are. It does so in stages, as [Plan] does, so that packets see what
// is now or what was and nothing else; what cannot be staged, or fails in
// stages, is put back in one transaction. Chains and sets that are what they
// were keep their counters and elements; others get those of the snapshot:
// counters, timeouts that were left, and rules with xt expressions included.
// Tables that the snapshot does not speak for are not touched, whatever
// happened to them since. A snapshot of another namespace is refused.
//
// Tables and base chains that are made anew come after those of other tables
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
	if err := checkNamespace(k, s.Namespace); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if restoreStaged(k, s) == nil {
		return nil
	}
	for attempt := 0; ; attempt++ {
		now, err := k.dump(s.Tables)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if unchanged(now.Messages, s.Messages) {
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
		if !unchanged(after.Messages, s.Messages) {
			return errors.New("restore: what the kernel holds is not what the snapshot says")
		}
		return nil
	}
}

// restoreStaged does it in stages, or leaves it to others.
func restoreStaged(k kernel, s *Snapshot) error {
	for attempt := 0; ; attempt++ {
		now, err := k.dump(s.Tables)
		if err != nil {
			return err
		}
		stages, err := plan(hold(now.Messages), hold(s.Messages), nil, PlanOptions{Limit: k.room()})
		if err != nil {
			return err
		}
		if len(stages) == 0 {
			return nil
		}
		if attempt > staleAttempts {
			return nfnetlink.ErrStale
		}
		run := committer{kernel: k, namespace: s.Namespace, tables: s.Tables, now: now.Messages, generation: now.Generation}
		for _, stage := range stages {
			if err := run.stage(context.Background(), stage, false); err != nil {
				if errors.Is(err, nfnetlink.ErrStale) {
					break // others changed our tables: plan again
				}
				return err
			}
		}
	}
}

// unchanged reports whether tables hold what they held, but for what packets
// and time change.
func unchanged(now, before []netlink.Message) bool {
	stages, err := plan(hold(now), hold(before), nil, PlanOptions{})
	if err != nil {
		return nfnetlink.Equal(now, before, 0)
	}
	return len(stages) == 0
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
