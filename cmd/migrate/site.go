package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"nftmigrate/internal/durable"
	"nftmigrate/internal/netns"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

// A site is what a migration acts on: a network namespace, what it held before, and
// what the migration left.
type site struct {
	ns     *netns.NS
	m      *transaction.Migration
	before *snapshot.Snapshot
	left   *snapshot.Snapshot // nil when it did not come so far
	force  bool               // undoes what others changed on disk, too
	kept   []string           // files of others that an undoing kept
}

// leftName is the file of what a migration left, in its directory.
const leftName = "after.snapshot"

// openHost opens what a migration acts on. Everything that a rollback needs is in
// memory then.
func openHost(_ context.Context, m *transaction.Migration) (*site, error) {
	h := &site{m: m}
	var err error
	if h.before, err = snapshot.Read(m.SnapshotPath()); err != nil {
		return nil, &exit{exitMissing, fmt.Errorf("the snapshot of migration %s: %w", m.Record.ID, err)}
	}
	if left, err := snapshot.Read(filepath.Join(m.Dir(), leftName)); err == nil {
		h.left = left
	}
	if h.ns, err = openNamespace(m.Record.Netns); err != nil {
		return nil, err
	}
	return h, nil
}

// Close gives up the namespace.
func (h *site) Close() error { return h.ns.Close() }

// hooks are what the migration does to the host.
func (h *site) hooks() transaction.Hooks {
	return transaction.Hooks{Restore: h.restore, Persist: h.persist, Unpersist: h.unpersist}
}

// restoredName is the file that tells what a rollback did.
const restoredName = "rollback.txt"

// restore puts back what the migration changed in the kernel.
func (h *site) restore(ctx context.Context) error {
	report, err := h.before.Restore(ctx, h.ns, snapshot.What{Parts: h.m.Record.Changed, Left: h.left})
	if report == nil {
		return err
	}
	var text strings.Builder
	for _, list := range []struct {
		what  string
		names []string
	}{
		{"restored", report.Restored}, {"removed", report.Removed}, {"as it was", report.Unchanged},
		{"undone, what others changed since", report.Overwritten}, {"note", report.Notes},
	} {
		for _, name := range list.names {
			fmt.Fprintf(&text, "%s: %s\n", list.what, name)
		}
	}
	if err != nil {
		fmt.Fprintf(&text, "failed: %v\n", err)
	}
	// What is told is not worth failing for.
	_ = durable.Write(filepath.Join(h.m.Dir(), restoredName), []byte(text.String()), 0o600)
	return err
}

// told is what the last rollback told.
func (h *site) told() string {
	b, err := os.ReadFile(filepath.Join(h.m.Dir(), restoredName))
	if err != nil {
		return ""
	}
	return string(b)
}

// keepLeft notes what the migration left, so that a rollback can tell what others did
// since.
func (h *site) keepLeft(ctx context.Context) error {
	left, err := snapshot.Take(ctx, h.ns)
	if err == nil {
		err = left.Write(filepath.Join(h.m.Dir(), leftName))
	}
	if err != nil {
		return fmt.Errorf("note what is in effect now: %w", err)
	}
	h.left = left
	return nil
}

// missing is the exit for what a right, a file or a feature is missing for.
func missing(err error) error {
	var already *exit
	if err == nil || errors.As(err, &already) {
		return err
	}
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w; run it as root", err)
	}
	return &exit{exitMissing, err}
}
