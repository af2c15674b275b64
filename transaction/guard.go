package transaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/durable"
)

// A Guard ends a migration when nobody else does: it rolls back at the deadline,
// or when the applier died before it came so far, and finishes what others left
// half done. It is a process of its own; there are two, the second a little later
// than the first.
type Guard struct {
	// Line is 1 or 2.
	Line int
	// Hooks must not depend on the disk more than they have to: what Restore
	// puts back is in memory when the guard is armed.
	Hooks Hooks
	// Log gets a line for everything that happens.
	Log io.Writer
	// Stopped, when it is closed, has somebody stopping the guard: then it rolls
	// back at once, because nobody else would.
	Stopped <-chan struct{}

	self Process
}

const (
	// guardPause is how often a guard looks.
	guardPause = 250 * time.Millisecond
	// guardDelay is how much later the second guard acts.
	guardDelay = 3 * time.Second
	// busyAtMost is how long somebody may hold the lock beyond the deadline
	// before it is taken away.
	busyAtMost = 2 * time.Second
	// rollbackAtMost is the same for one that is rolling back, which takes
	// longer where sets are large.
	rollbackAtMost = time.Minute
	// retryAfter is the pause after a rollback that failed.
	retryAfter = time.Second
)

func (m *Migration) guardPath(line int) string {
	return filepath.Join(m.dir, fmt.Sprintf("guard-%d", line))
}

// Guards are the processes that guard the migration now.
func (m *Migration) Guards() []Process {
	var list []Process
	for line := 1; line <= 2; line++ {
		if p, err := m.guardProcess(line); err == nil && p.Alive() {
			list = append(list, p)
		}
	}
	return list
}

func (m *Migration) guardProcess(line int) (Process, error) {
	var p Process
	b, err := os.ReadFile(m.guardPath(line))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}

// Run guards a migration until it is done. It tells that it is armed by a file of
// the migration.
func (g *Guard) Run(ctx context.Context, m *Migration) error {
	self, err := Self()
	if err != nil {
		return err
	}
	g.self = self
	b, err := json.Marshal(self)
	if err != nil {
		return err
	}
	if err := durable.Write(m.guardPath(g.Line), b, 0o600); err != nil {
		return err
	}
	g.say("armed for migration %s", m.Record.ID)
	for {
		done, err := g.look(ctx, m)
		pause := guardPause
		if err != nil && !errors.Is(err, ErrBusy) {
			g.say("%v", err)
			pause = retryAfter
		}
		if done {
			return nil
		}
		stopped := g.Stopped
		if pause == retryAfter {
			stopped = nil // it is what has just been tried
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stopped:
			g.say("asked to stop")
		case <-time.After(pause):
		}
	}
}

func (g *Guard) say(format string, args ...any) {
	fmt.Fprintf(g.Log, "%s guard %d: %s\n", time.Now().UTC().Format(time.RFC3339), g.Line, fmt.Sprintf(format, args...))
}

// look sees whether there is something to do, and does it.
func (g *Guard) look(ctx context.Context, m *Migration) (done bool, err error) {
	// The record that cannot be read now is the one that was read last.
	if now, err := readRecord(m.dir); err == nil {
		m.Record = now
	}
	if !m.Record.State.Open() {
		return true, nil
	}
	reason, due := g.due(m.Record)
	if !due {
		return false, nil
	}
	unlock, err := g.lock(ctx, m)
	if err != nil {
		return false, err
	}
	defer unlock()
	if now, err := readRecord(m.dir); err == nil {
		m.Record = now // what happened before the lock was had
	}
	if reason, due = g.due(m.Record); !due {
		return !m.Record.State.Open(), nil
	}
	switch m.Record.State {
	case Confirming:
		g.say("going on with what was confirmed")
		return false, m.finish(ctx, g.Hooks)
	case RollingBack:
		reason = m.Record.Reason
	}
	g.say("rolling back: %s", reason)
	if err := m.RollBack(ctx, g.Hooks, reason); err != nil {
		return false, err
	}
	g.say("rolled back")
	return true, nil
}

// due says whether and why the guard acts on an open migration.
func (g *Guard) due(r *Record) (reason string, due bool) {
	late := time.Duration(g.Line-1) * guardDelay
	over := r.Deadline.Until()+late <= 0
	switch {
	case !r.State.Open():
		return "", false
	case r.State == Confirming || r.State == RollingBack:
		// Whoever is at work holds the lock; when it is free, nobody is.
		return "", true
	case over:
		return fmt.Sprintf("no confirmation came within %v", r.Timeout), true
	case r.State == Prepared && !r.Applier.Alive():
		return "the process that applied died before the rules were in effect", true
	}
	select {
	case <-g.Stopped:
		return "the guard was stopped, and nobody else would have kept the deadline", true
	default:
		return "", false
	}
}

// lock takes the store's lock, from a process that holds it beyond the deadline,
// too: one that hangs must not keep the old rules away.
func (g *Guard) lock(ctx context.Context, m *Migration) (unlock func(), err error) {
	try, cancel := context.WithTimeout(ctx, busyAtMost)
	defer cancel()
	unlock, err = m.store.Lock(try)
	if err == nil {
		return unlock, nil
	}
	r, holder := m.Record, m.store.holder()
	patience := busyAtMost
	if r.State == RollingBack {
		patience = rollbackAtMost
	}
	if r.State == Confirming || r.Deadline.Until() > -patience || !holder.Alive() || holder == g.self {
		return nil, err
	}
	g.say("process %d holds the lock beyond the deadline; it is killed", holder.PID)
	if err := unix.Kill(holder.PID, unix.SIGKILL); err != nil {
		g.say("kill %d: %v", holder.PID, err)
	}
	try, cancel = context.WithTimeout(ctx, busyAtMost)
	defer cancel()
	return m.store.Lock(try)
}
