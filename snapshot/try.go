package snapshot

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

// A Trial says what came of restoring a snapshot in a namespace of its own.
type Trial struct {
	// Same are the parts that were restored there and are what they were.
	Same []string
	// Untried are the parts that such a namespace cannot hold.
	Untried []Untried
}

// An Untried is a part that was not tried, and why, in words.
type Untried struct{ Part, Why string }

// elsewhere are the matches and targets of xtables that mean things which are
// neither in a snapshot nor in a new namespace.
var elsewhere = map[string]string{
	"nfacct": "accounting objects", "CT": "timeout policies", "bpf": "programs of BPF", "cgroup": "control groups",
	"IDLETIMER": "timers of the machine", "LED": "lamps of the machine", "TEE": "devices", "RATEEST": "estimators", "rateest": "estimators",
}

// Try restores the snapshot in a network namespace made for it, reads that again
// and compares: what comes out there is what a rollback brings back. The error
// names each part that did not come back, or as something else. What such a
// namespace cannot hold is in the trial, with the reason.
func (s *Snapshot) Try(ctx context.Context) (*Trial, error) {
	trial := &Trial{}
	if err := s.try(ctx, trial); err != nil {
		return trial, fmt.Errorf("try a snapshot: %w", err)
	}
	return trial, nil
}

func (s *Snapshot) try(ctx context.Context, trial *Trial) error {
	ns, err := netns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	copied := s.without(flagOwner)
	copied.Namespace = ns.Inode()
	parts := s.tryable(trial)
	// A table that decides and then goes, so that the way of a rollback is tried.
	if err := cover(ns); err != nil {
		return err
	}
	_, restoreErr := copied.Restore(ctx, ns, What{Parts: append(slices.Clone(parts), TableName(coverTable)), unlocked: true})
	if restoreErr != nil {
		// One at a time shows which; sets come first, as rules mean them.
		restoreErr = copied.tryEach(ctx, ns, parts, trial)
	}
	now, err := Take(ctx, ns)
	if err != nil {
		return err
	}
	moving := movingIn(copied, now)
	want, got := copied.hashes(moving), now.hashes(moving)
	errs := []error{restoreErr}
	for _, name := range parts {
		switch {
		case slices.ContainsFunc(trial.Untried, func(u Untried) bool { return u.Part == name }):
		case want[name] == got[name]:
			trial.Same = append(trial.Same, name)
		case got[name] != "":
			errs = append(errs, fmt.Errorf("%s comes back as something else: %v", name, details(copied, now, name)))
		case restoreErr == nil:
			errs = append(errs, fmt.Errorf("%s does not come back", name))
		}
	}
	return errors.Join(errs...)
}

// coverTable is in the place of the table that a migration makes.
var coverTable = nfnetlink.Table{Family: unix.NFPROTO_INET, Name: "nftmigrate-trial"}

// cover makes the table, with a chain that sees packets.
func cover(ns *netns.NS) error {
	hook := nfnetlink.AppendUint32(nil, unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN)
	hook = nfnetlink.AppendUint32(hook, unix.NFTA_HOOK_PRIORITY, 0)
	chain := nfnetlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, coverTable.Name)
	chain = nfnetlink.AppendString(chain, unix.NFTA_CHAIN_NAME, "input")
	chain = nfnetlink.AppendAttr(chain, unix.NFTA_CHAIN_HOOK|netlink.Nested, hook)
	chain = nfnetlink.AppendString(chain, unix.NFTA_CHAIN_TYPE, "filter")
	return ns.Do(func() error {
		c, err := nfnetlink.Dial()
		if errors.Is(err, nfnetlink.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		defer c.Close()
		return nfnetlink.Send(c, []netlink.Message{
			tableMessage(unix.NFT_MSG_NEWTABLE, netlink.Create, coverTable, 0),
			nfnetlink.Message(unix.NFT_MSG_NEWCHAIN, netlink.Create, coverTable.Family, chain),
		}, nfnetlink.Options{})
	})
}

// without returns a snapshot in which tables lack a flag.
func (s *Snapshot) without(flag uint32) *Snapshot {
	c := *s
	c.Ruleset = withFlags(s.Ruleset, func(flags uint32) uint32 { return flags &^ flag })
	return &c
}

// tryable returns the parts that can be tried.
func (s *Snapshot) tryable(trial *Trial) []string {
	tables := byTable(s.Ruleset)
	var parts []string
	for _, name := range s.Parts() {
		if x, _ := parsePart(name); x.table != (nfnetlink.Table{}) && needsDevices(tables[x.table]) {
			trial.Untried = append(trial.Untried, Untried{name, "it has chains or flowtables of devices, which are not in another namespace"})
			continue
		}
		parts = append(parts, name)
	}
	return parts
}

func (s *Snapshot) tryEach(ctx context.Context, ns *netns.NS, parts []string, trial *Trial) error {
	var errs []error
	for _, name := range parts {
		_, err := s.Restore(ctx, ns, What{Parts: []string{name}, unlocked: true})
		if err == nil {
			continue
		}
		if things := s.elsewhere(name); things != "" && ctx.Err() == nil {
			trial.Untried = append(trial.Untried, Untried{name, fmt.Sprintf("its rules mean %s, which are not in another namespace: %v", things, err)})
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// elsewhere returns what rules of a part mean that is in no snapshot, "" when
// nothing.
func (s *Snapshot) elsewhere(part string) string {
	x, _ := parsePart(part)
	var names []string
	if t := s.legacy(x.family, x.legacy); t != nil {
		matches, targets := t.Extensions()
		names = append(matches, targets...)
	}
	eachXT(byTable(s.Ruleset)[x.table], func(_ bool, name string, _ uint8, _ []byte) { names = append(names, name) })
	for _, name := range names {
		if elsewhere[name] != "" {
			return elsewhere[name]
		}
	}
	return ""
}
