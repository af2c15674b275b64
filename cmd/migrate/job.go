package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

// A job is a ruleset to put in effect so that it can be taken back.
type job struct {
	events    *events
	store     *storeFlags
	namespace string
	batch     apply.Batch
	// empties are the parts of the old plane that are emptied behind the commit.
	empties []string
	// state is what the plan was made for, nil without a plan.
	state map[string]string
	// disk makes the changes on disk ready, in the directory of the migration.
	disk func(m *transaction.Migration, before *snapshot.Snapshot) error
	// wayIn refuses rules that close the way in.
	wayIn   func() (found string, err error)
	timeout time.Duration
	probe   string
	dry     bool
	// stay waits for the confirmation.
	stay bool
}

// run does the job. What it does is told as it happens; the error is the exit.
func (j *job) run(ctx context.Context) error {
	ns, err := openNamespace(j.namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	before, err := snapshot.Take(ctx, ns)
	if err != nil {
		return missing(err)
	}
	if moved := moved(j.state, before); len(moved) > 0 {
		return &exit{exitDifferent, fmt.Errorf("the host is not as it was when the plan was made:\n  %s\nMake the plan again", strings.Join(moved, "\n  "))}
	}
	if err := tryBatch(ctx, j.batch); err != nil {
		return missing(err)
	}
	found, err := j.wayIn()
	if err != nil {
		return err
	}
	j.events.tell(event{Event: "checked", Text: "the kernel takes the ruleset; " + found})
	same, err := j.unchanged(before)
	if err != nil {
		return missing(err)
	}
	if same {
		j.events.tell(event{Event: "unchanged", Text: "these rules are in effect already, and nothing else is: nothing to do"})
		return nil
	}
	trial, err := before.Try(ctx)
	if err != nil {
		return missing(fmt.Errorf("what is there now could not be brought back, so nothing is changed: %w", err))
	}
	text := fmt.Sprintf("%d tables and sets can be brought back: restored in a namespace of its own and compared", len(trial.Same))
	for _, u := range trial.Untried {
		text += fmt.Sprintf("\n            not tried: %s, %s", u.Part, u.Why)
	}
	j.events.tell(event{Event: "tried", Text: text})
	if j.dry {
		j.events.tell(event{Event: "checked", Text: "all but the commit was done, because of --check"})
		return nil
	}
	return j.apply(ctx, ns, before)
}

// moved says what is not as a plan found it.
func moved(state map[string]string, now *snapshot.Snapshot) (words []string) {
	if state == nil {
		return nil
	}
	is := stateOf(now)
	for name, hash := range state {
		switch {
		case is[name] == "":
			words = append(words, name+" is gone")
		case is[name] != hash:
			words = append(words, name+" changed")
		}
	}
	for name := range is {
		if state[name] == "" {
			words = append(words, name+" is new")
		}
	}
	slices.Sort(words)
	return words
}

// stateOf is what a plan is bound to.
func stateOf(s *snapshot.Snapshot) map[string]string {
	state := map[string]string{}
	for _, p := range s.Fingerprint() {
		state[p.Name] = p.Hash
	}
	return state
}

// tryBatch commits a batch in a namespace made for it, so that what the kernel lacks
// is found before anything is changed.
func tryBatch(ctx context.Context, batch apply.Batch) error {
	ns, err := netns.New()
	if err != nil {
		return fmt.Errorf("make a namespace to try the ruleset in: %w", err)
	}
	defer ns.Close()
	if _, err := apply.Commit(ctx, ns, []apply.Batch{batch}, apply.Options{}); err != nil {
		return fmt.Errorf("this kernel does not take the ruleset: %w", err)
	}
	return nil
}

// tablesOf are the tables that a batch names.
func tablesOf(batch []netlink.Message) (list []nfnetlink.Table) {
	for _, m := range batch {
		if _, ours := nfnetlink.Kind(m); !ours {
			continue
		}
		if t := nfnetlink.TableOf(m); !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// unchanged reports whether the rules are in effect already.
func (j *job) unchanged(before *snapshot.Snapshot) (bool, error) {
	if len(j.empties) > 0 {
		return false, nil
	}
	tables := tablesOf(j.batch.Messages)
	now := slices.DeleteFunc(slices.Clone(before.Ruleset), func(m netlink.Message) bool {
		return !slices.Contains(tables, nfnetlink.TableOf(m))
	})
	stages, err := apply.Plan(now, j.batch, apply.PlanOptions{})
	return err == nil && len(stages) == 0, err
}

// apply changes the host.
func (j *job) apply(outer context.Context, ns *netns.NS, before *snapshot.Snapshot) (err error) {
	// A signal is held back: what has begun is finished or undone.
	ctx, stop := signal.NotifyContext(outer, os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, release, err := j.store.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if release != nil {
			release()
		}
	}()
	// What a process that died left open is ended first.
	if err := recoverOpen(ctx, io.Discard, store); err != nil {
		return err
	}
	from, open, err := session(ns)
	if err != nil {
		return missing(err)
	}
	var changed []string
	for _, t := range tablesOf(j.batch.Messages) {
		changed = append(changed, snapshot.TableName(t))
	}
	m, token, err := store.Begin(transaction.Intent{
		Netns: j.namespace, Namespace: ns.Inode(), Timeout: j.timeout, Session: from, Connections: open,
		Changed: append(changed, j.empties...), Snapshot: before.Write,
	})
	if errors.Is(err, transaction.ErrOpen) {
		return &exit{exitDifferent, err}
	}
	if err != nil {
		return missing(err)
	}
	h := &site{ns: ns, m: m, before: before}
	id := m.Record.ID
	j.events.tell(event{Event: "snapshot", Migration: id, Text: "what is there now was written to " + m.SnapshotPath() + ", read back and compared"})
	if j.disk != nil {
		err = j.disk(m, before)
	}
	var ways []string
	if err == nil {
		var c transaction.GuardCommand
		if c, err = guards(m, store); err == nil {
			ways, err = m.Arm(ctx, c)
		}
	}
	if err != nil {
		// Nothing was changed yet, so there is nothing to restore.
		return missing(errors.Join(err, m.RollBack(context.WithoutCancel(ctx), transaction.Hooks{Restore: nothing, Persist: nothing, Unpersist: h.unpersist}, "it was given up before anything was changed")))
	}
	j.events.tell(event{Event: "guarded", Migration: id, Text: fmt.Sprintf("two guards roll back unless it is confirmed within %v: %s", j.timeout, strings.Join(ways, "; "))})
	if err := j.commit(ctx, h); err != nil {
		undone := m.RollBack(context.WithoutCancel(ctx), h.hooks(), "the commit failed: "+err.Error())
		if undone != nil {
			return &exit{exitDifferent, errors.Join(err, undone, errors.New("the guards go on trying to roll back; migrate status tells how it goes"))}
		}
		return &exit{exitRolledBack, fmt.Errorf("%w\nrolled back: what was there before is in effect", err)}
	}
	j.events.tell(event{Event: "waiting", Migration: id, Token: token, Seconds: j.timeout.Seconds(), Text: fmt.Sprintf(
		"log in again, and within %v say there: migrate confirm%s %s", j.timeout, j.store.flag(), token)})
	release()
	release = nil
	if !j.stay {
		return nil
	}
	stop() // from here on an interrupt takes back, and an end leaves it to the guards
	return j.wait(outer, store, h)
}

func nothing(context.Context) error { return nil }

// commit puts the new rules in effect, then takes the old ones out of it.
func (j *job) commit(ctx context.Context, h *site) error {
	receipt, err := apply.Switch(ctx, h.ns, j.batch, apply.Options{})
	if err != nil {
		return err
	}
	j.events.tell(event{Event: "committed", Migration: h.m.Record.ID, Text: fmt.Sprintf("%d messages in %d stages, read back and found equal", receipt.Messages, receipt.Stages)})
	if len(j.empties) > 0 {
		if err := h.before.Empty(ctx, h.ns, snapshot.What{Parts: j.empties}); err != nil {
			return err
		}
		j.events.tell(event{Event: "emptied", Migration: h.m.Record.ID, Text: strings.Join(j.empties, ", ")})
	}
	if err := h.keepLeft(ctx); err != nil {
		return err
	}
	if j.probe != "" {
		if err := runProbe(ctx, h.ns, j.probe); err != nil {
			return err
		}
		j.events.tell(event{Event: "probed", Migration: h.m.Record.ID, Text: j.probe + " succeeded"})
	}
	return h.m.Committed()
}

// probeMost is how long a probe may take.
const probeMost = time.Minute

// runProbe runs the operator's own check of the new rules.
func runProbe(ctx context.Context, ns *netns.NS, program string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	c := ns.Command(path)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err = <-done:
	case <-time.After(probeMost):
		_ = c.Process.Kill()
		<-done
		err = fmt.Errorf("it did not end within %v", probeMost)
	case <-ctx.Done():
		_ = c.Process.Kill()
		<-done
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("probe: %s: %w\n%.2000s", program, err, out.String())
	}
	return nil
}

// wait waits for what becomes of the migration. Ctrl-C rolls back; when the process
// is ended otherwise, the guards go on.
func (j *job) wait(ctx context.Context, store *transaction.Store, h *site) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	for {
		m, err := store.Get(h.m.Record.ID)
		if err == nil {
			switch m.Record.State {
			case transaction.Confirmed:
				j.events.tell(event{Event: "confirmed", Migration: m.Record.ID, Text: "the rules last; migrate rollback undoes it at any time"})
				return nil
			case transaction.RolledBack:
				j.events.tell(event{Event: "rolled-back", Migration: m.Record.ID, Text: m.Record.Reason + "; what was there before is in effect"})
				return &exit{exitRolledBack, nil}
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-interrupted:
			unlock, err := store.Lock(context.Background())
			if err != nil {
				return missing(err)
			}
			if now, err := store.Get(h.m.Record.ID); err == nil && now.Record.State == transaction.Waiting {
				err = now.RollBack(context.Background(), h.with(now).hooks(), "interrupted")
				if err != nil {
					unlock()
					return &exit{exitDifferent, err}
				}
			}
			unlock()
		case <-ctx.Done():
			return &exit{exitDifferent, fmt.Errorf("stopped; migration %s waits on, and its guards keep the deadline", h.m.Record.ID)}
		}
	}
}

// with is the site for a migration that was read again.
func (h *site) with(m *transaction.Migration) *site {
	other := *h
	other.m = m
	return &other
}
