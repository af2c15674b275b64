package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// ErrMoved is wrapped when a table is no longer what a snapshot says.
var ErrMoved = errors.New("it changed since the snapshot was taken")

// Empty takes tables of the snapshot out of effect once others decide in their
// place: policies accept first, then the rules go, so that no packet meets a policy
// without the rules before it. Legacy tables are left empty, as iptables leaves
// them; tables of nf_tables are deleted. A table that is no longer what the snapshot
// says is left alone, and the error wraps ErrMoved. [Snapshot.Restore] brings all of
// them back.
func (s *Snapshot) Empty(ctx context.Context, ns *netns.NS, what What) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	if boot != s.BootID || s.Namespace != ns.Inode() {
		return fmt.Errorf("empty tables: the snapshot is of network namespace %d of boot %s, this is %d of %s", s.Namespace, s.BootID, ns.Inode(), boot)
	}
	k, err := dial(ns)
	if err != nil {
		return fmt.Errorf("empty tables: %w", err)
	}
	defer k.close()
	for _, name := range what.Parts {
		x, err := parsePart(name)
		switch {
		case err != nil:
		case x.legacy != "":
			err = s.emptyLegacy(ctx, k, x, what.Lock)
		case x.set == "":
			err = s.emptyTable(ctx, k, ns, x.table)
		default:
			err = errors.New("sets are not emptied")
		}
		if err != nil {
			return fmt.Errorf("empty %s: %w", name, err)
		}
	}
	return nil
}

func (s *Snapshot) emptyLegacy(ctx context.Context, k *kernel, x reference, lock xtables.LockOptions) error {
	was := s.legacy(x.family, x.legacy)
	if was == nil {
		return errors.New("the snapshot does not have it")
	}
	accepting := xtables.Policies(was, xtables.Accept)
	for _, step := range []struct{ from, to *xtables.Table }{{was, accepting}, {accepting, xtables.Empty(was)}} {
		if step.from.Equal(step.to) {
			continue
		}
		onStep("empty " + x.legacy)
		err := k.xt.Change(ctx, lock, x.family, x.legacy, func(now *xtables.Table) (*xtables.Table, error) {
			if !now.Equal(step.from) {
				return nil, ErrMoved
			}
			return step.to, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshot) emptyTable(ctx context.Context, k *kernel, ns *netns.NS, table nfnetlink.Table) error {
	if k.nft == nil {
		return errors.New(k.lacks[NFTables])
	}
	now, err := nfnetlink.DumpRuleset(k.nft, table)
	if err != nil {
		return err
	}
	was := byTable(s.Ruleset)[table]
	switch {
	case was == nil:
		return errors.New("the snapshot does not have it")
	case !nfnetlink.Equal(was, now.Messages, 0):
		return ErrMoved
	case flagsOf(now.Messages)&flagOwner != 0:
		return ErrOwned
	}
	deletion := nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, table.Family, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, table.Name))
	onStep("empty " + table.Name)
	_, err = apply.Switch(ctx, ns, apply.Batch{Messages: []netlink.Message{deletion}}, apply.Options{Generation: &now.Generation})
	return err
}
