package transaction

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"nftmigrate/internal/durable"
)

// A Migration is one of a store. Its methods that change something are called by
// who holds the store's lock.
type Migration struct {
	store  *Store
	dir    string
	Record *Record
}

// Dir is the directory of the migration.
func (m *Migration) Dir() string { return m.dir }

// SnapshotPath is where the snapshot of what was before is kept.
func (m *Migration) SnapshotPath() string { return filepath.Join(m.dir, "before.snapshot") }

// JournalDir is where the changes on disk are journalled.
func (m *Migration) JournalDir() string { return filepath.Join(m.dir, "disk") }

// An Intent is what a migration begins with.
type Intent struct {
	// Netns and Namespace are the name and the inode of the network namespace.
	Netns     string
	Namespace uint64
	// Timeout is how long to wait for the confirmation after the commit.
	Timeout time.Duration
	// Session is the connection of the session that applies, nil when there is
	// none, and Connections are all that are open now.
	Session     *Connection
	Connections []Connection
	// Changed are the parts of the snapshot that the migration changes.
	Changed []string
	// Snapshot writes the snapshot to a path, and makes sure that it can be read.
	Snapshot func(path string) error
}

// most is how long the time from the first guard to the commit may be. It bounds
// what a migration that never gets further can last.
const most = 10 * time.Minute

// Begin makes a migration in the state Prepared. It is refused when another is
// open. The token is what confirms it.
func (s *Store) Begin(in Intent) (m *Migration, token string, err error) {
	if open, err := s.Open(); err == nil {
		return nil, "", fmt.Errorf("%w: %s is %s; confirm it, or roll it back, first", ErrOpen, open.Record.ID, open.Record.State)
	} else if !errors.Is(err, ErrNone) {
		return nil, "", err
	}
	boot, err := bootID()
	if err != nil {
		return nil, "", err
	}
	self, err := Self()
	if err != nil {
		return nil, "", err
	}
	id, err := s.newID()
	if err != nil {
		return nil, "", err
	}
	token = newToken()
	m = &Migration{store: s, dir: s.migrationDir(id), Record: &Record{
		Schema: recordSchema, ID: id, State: Prepared, Boot: boot, Namespace: in.Namespace, Netns: in.Netns,
		Deadline: Now().Add(in.Timeout + most), Timeout: in.Timeout, Token: digest(token),
		Session: in.Session, Before: in.Connections, Applier: self, Changed: in.Changed, Began: time.Now().UTC().Truncate(time.Second),
	}}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("begin a migration: %w", err)
	}
	// The record comes last: without it there is no migration.
	err = in.Snapshot(m.SnapshotPath())
	if err == nil {
		err = durable.SyncDir(filepath.Dir(m.dir))
	}
	if err == nil {
		err = m.Record.write(m.dir)
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("begin a migration: %w", err), os.RemoveAll(m.dir))
	}
	return m, token, nil
}

// newID is one more than the highest there is.
func (s *Store) newID() (string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "migrations"))
	if err != nil {
		return "", err
	}
	highest := 0
	for _, e := range entries {
		highest = max(highest, number(e.Name()))
	}
	return strconv.Itoa(highest + 1), nil
}

// enter writes a state, and leaves the record as it was when that fails.
func (m *Migration) enter(state State, change func(*Record)) error {
	next := *m.Record
	next.State = state
	if change != nil {
		change(&next)
	}
	if !state.Open() {
		now := time.Now().UTC().Truncate(time.Second)
		next.Ended = &now
	}
	if err := next.write(m.dir); err != nil {
		return fmt.Errorf("migration %s: note that it is %s: %w", next.ID, state, err)
	}
	m.Record = &next
	return nil
}

// Committed notes that the new rules are in effect; from now on the timeout runs.
func (m *Migration) Committed() error {
	return m.enter(Waiting, func(r *Record) { r.Deadline = Now().Add(r.Timeout) })
}

// Hooks are what a migration does to the host.
type Hooks struct {
	// Restore puts back in the kernel what the migration changed. It is called
	// again after it failed, or was cut off.
	Restore func(context.Context) error
	// Persist makes the changes on disk, or goes on with them; Unpersist undoes
	// those that were made. Both are called again after they were cut off.
	Persist, Unpersist func(context.Context) error
}

// RollBack puts everything back. A record that cannot be written does not keep it
// from that: the error then says so, and the migration stays open.
func (m *Migration) RollBack(ctx context.Context, h Hooks, reason string) error {
	if m.Record.State == RolledBack {
		return nil
	}
	noted := m.enter(RollingBack, func(r *Record) { r.Reason = reason })
	// The kernel first: it is what keeps people out. What it runs then does not
	// depend on what the disk holds.
	err := errors.Join(h.Restore(ctx), h.Unpersist(ctx))
	if err != nil {
		failed := m.enter(RollingBack, func(r *Record) { r.Reason, r.Failed = reason, err.Error() })
		return errors.Join(fmt.Errorf("roll back migration %s: %w", m.Record.ID, err), failed)
	}
	if err := m.enter(RolledBack, func(r *Record) { r.Reason, r.Failed = reason, "" }); err != nil {
		return errors.Join(noted, err)
	}
	return nil
}

// A Refusal is a confirmation that was not accepted.
type Refusal struct {
	// Why is a whole sentence.
	Why string
}

// Error is the reason.
func (r *Refusal) Error() string { return r.Why }

// A Confirmation is what somebody says to make a migration last.
type Confirmation struct {
	Token string
	// Session is the connection that it comes by, nil when it is none, and
	// Connections are all that are open.
	Session     *Connection
	Connections []Connection
	// Console accepts one that does not come over a new connection.
	Console bool
}

// Confirm makes a migration last: its changes on disk are made, then it is
// Confirmed. When they cannot be made, what was made is undone, the migration
// waits on, and its deadline holds. A confirmation that is not good enough is a
// [Refusal].
func (m *Migration) Confirm(ctx context.Context, h Hooks, c Confirmation) error {
	switch m.Record.State {
	case Waiting:
	case Prepared:
		return &Refusal{"the rules are not in effect yet"}
	default:
		return &Refusal{fmt.Sprintf("migration %s is %s", m.Record.ID, m.Record.State)}
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	switch {
	case boot != m.Record.Boot:
		return &Refusal{"the machine was started again since the rules were applied, so they are gone"}
	case m.Record.Deadline.Until() <= 0:
		return &Refusal{"the deadline is over, and the old rules are being put back"}
	case !m.Record.confirmedBy(c.Token):
		return &Refusal{"this is not the token that apply printed"}
	}
	if why := m.Record.shows(c.Session, c.Connections); why != "" && !c.Console {
		return &Refusal{why + "; log in again, and confirm from there"}
	}
	if err := m.enter(Confirming, nil); err != nil {
		return err
	}
	return m.finish(ctx, h)
}

// finish makes what was confirmed last.
func (m *Migration) finish(ctx context.Context, h Hooks) error {
	if err := h.Persist(ctx); err != nil {
		err = fmt.Errorf("make migration %s last: %w", m.Record.ID, err)
		if undone := h.Unpersist(ctx); undone != nil {
			// Still Confirming: what is half done is gone on with.
			return errors.Join(err, fmt.Errorf("undo what was changed on disk: %w", undone))
		}
		return errors.Join(err, m.enter(Waiting, func(r *Record) { r.Failed = err.Error() }))
	}
	return m.enter(Confirmed, func(r *Record) { r.Reason, r.Failed = "confirmed", "" })
}

// Abandoned says why nobody is at work on an open migration any more, "" when
// somebody is: its applier, its guards, or whoever may still confirm it.
func (m *Migration) Abandoned() string {
	r := m.Record
	boot, err := bootID()
	switch {
	case !r.State.Open():
		return ""
	case err == nil && boot != r.Boot && (r.State == Prepared || r.State == Waiting):
		return "the machine was started again before the confirmation, so what was there before is in effect"
	case len(m.Guards()) > 0:
		return ""
	case r.State == Prepared && !r.Applier.Alive():
		return "the process that applied died before it started the guards, or both were killed"
	case r.State == Waiting && r.Deadline.Until() <= 0:
		return "no confirmation came in time, and both guards were killed"
	}
	return ""
}

// Recover finishes what a process that died, or a machine that went down, left
// open: what was confirmed is made to last, everything else is rolled back. A
// migration whose applier or guard is still at work is left to them.
func (m *Migration) Recover(ctx context.Context, h Hooks) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	again := boot != m.Record.Boot
	switch m.Record.State {
	case Confirming:
		return m.finish(ctx, h)
	case RollingBack:
		if again {
			h.Restore = nothing
		}
		return m.RollBack(ctx, h, m.Record.Reason)
	case Prepared, Waiting:
		if again {
			// Nothing on disk changed, so the machine started with the old rules.
			return m.enter(RolledBack, func(r *Record) { r.Reason = "the machine was started again before the confirmation" })
		}
		if why := m.Abandoned(); why != "" {
			return m.RollBack(ctx, h, why)
		}
	}
	return nil
}

func nothing(context.Context) error { return nil }
