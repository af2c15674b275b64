package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nftmigrate/host"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/persist"
	"nftmigrate/plan"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

// diskFlags say what a confirmed migration changes on disk.
type diskFlags struct {
	root  string
	leave bool
}

func (f *diskFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.leave, "no-persist", false, "leave what loads rules at boot alone: a restart brings back what was there")
	c.Flags().StringVar(&f.root, "root", "/", "change files below `DIR`, as of an image")
	_ = c.Flags().MarkHidden("root")
}

// apart says why nothing is changed on disk, "" when something is.
func (f *diskFlags) apart(namespace string) string {
	switch {
	case f.leave:
		return "--no-persist was given"
	case namespace != "" && f.root == "/":
		return "no boot makes the network namespace " + namespace + "; whoever makes it loads its rules"
	}
	return ""
}

// lay finds out what has to change on disk for a boot to load the rules of a plan.
func (f *diskFlags) lay(p *plan.Plan, before *snapshot.Snapshot, tables []nfnetlink.Table, inText bool, state string) (*persist.Layout, error) {
	boot, err := host.ReadBoot(f.root)
	if err != nil {
		return nil, fmt.Errorf("find out what loads rules at boot: %w", err)
	}
	if len(tables) != 1 {
		return &persist.Layout{ByHand: []string{"The ruleset has a table for each family, so nothing is changed on disk: have the host load " + plan.Ruleset + " before the network comes up."}}, nil
	}
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if state, err = filepath.Abs(state); err != nil {
		return nil, err
	}
	if f.root != "/" {
		program = "/usr/local/sbin/migrate" // where the image will have it
	}
	family, name, _ := strings.Cut(strings.TrimPrefix(snapshot.TableName(tables[0]), "nf_tables table "), " ")
	rules := persist.Rules{Family: family, Table: name, Binary: program, StateDir: state, SetsInUse: setsStay(before, p.Manifest.Empties)}
	if inText {
		rules.Text = p.Files[plan.Ruleset]
	} else {
		rules.Batch = p.Files[plan.Batch]
	}
	return persist.Lay(f.root, boot.Init, boot.Loaders, rules)
}

// setsStay reports whether rules that stay mean sets of ipset.
func setsStay(before *snapshot.Snapshot, empties []string) bool {
	if len(before.Sets) == 0 {
		return false
	}
	for _, t := range before.Legacy {
		if len(t.Sets()) > 0 && !slices.Contains(empties, snapshot.LegacyName(t.Family(), t.Name())) {
			return true
		}
	}
	for _, f := range host.InUse(before) {
		if f.Plane == host.NFT && slices.ContainsFunc(f.Parts, func(p string) bool { return !slices.Contains(empties, p) }) {
			return true // it may
		}
	}
	return false
}

// prepare writes the journal of what is to change on disk, and changes nothing else.
func (f *diskFlags) prepare(m *transaction.Migration, l *persist.Layout) error {
	if len(l.Changes) == 0 {
		return nil
	}
	_, err := persist.Prepare(m.JournalDir(), f.root, l.Changes)
	return err
}

// persist makes the changes on disk, or goes on with them. Without a journal there are
// none.
func (h *site) persist(ctx context.Context) error {
	j, err := persist.Open(h.m.JournalDir())
	if errors.Is(err, persist.ErrNoJournal) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := j.Run(ctx); err != nil {
		return err
	}
	reloadUnits(ctx)
	return nil
}

// unpersist undoes them. Files that somebody else changed since are left, and the error
// names them, unless they are to be forced.
func (h *site) unpersist(ctx context.Context) error {
	j, err := persist.Open(h.m.JournalDir())
	if errors.Is(err, persist.ErrNoJournal) || err == nil && j.State() == persist.Undone {
		return nil
	}
	if err != nil {
		return err
	}
	untouched := j.State() == persist.Planned
	taken, err := j.Undo(ctx, h.force)
	if taken != nil {
		h.kept = append(taken.Kept, taken.Left...)
	}
	if err != nil {
		return err
	}
	if !untouched {
		reloadUnits(ctx)
	}
	return nil
}

// reloadUnits has systemd read its units again, where it runs. Without that the next
// boot does all the same.
func reloadUnits(ctx context.Context) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return
	}
	if program, err := exec.LookPath("systemctl"); err == nil {
		_ = exec.CommandContext(ctx, program, "daemon-reload").Run()
	}
}
