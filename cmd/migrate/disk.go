package main

import (
	"context"
	"errors"
	"os/exec"

	"nftmigrate/persist"
)

// persist makes the changes on disk, or goes on with them. Without a journal there are
// none: the migration is of a namespace that no boot makes.
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
	if _, err := j.Undo(ctx, h.force); err != nil {
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
	if program, err := exec.LookPath("systemctl"); err == nil {
		_ = exec.CommandContext(ctx, program, "daemon-reload").Run()
	}
}
