package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
)

// staleAttempts bounds how often a step is tried again after others committed
// to tables that are not ours.
const staleAttempts = 10

// Commit commits the stages in order, in a namespace. Before the first it
// takes a snapshot of the tables that the stages touch. Every stage is refused
// by the kernel when the ruleset changed since it was last read; with
// Options.Generation nil, a change that left our tables alone is accepted.
// After every stage our tables are read back and compared with what was sent.
//
// After an error the ruleset is what it was: a refused stage changes nothing,
// and stages before it, or one that was stored otherwise than sent, are undone
// from the snapshot. The error is an [*Error]; only one that says so left
// something behind.
func Commit(ctx context.Context, ns *netns.NS, stages []Batch, options Options) (*Receipt, error) {
	s, err := dial(ns)
	if err != nil {
		return nil, refusal(err)
	}
	defer s.conn.Close()
	return commit(ctx, s, ns.Inode(), stages, options)
}

func commit(ctx context.Context, k kernel, namespace uint64, stages []Batch, options Options) (*Receipt, error) {
	tables, err := touched(stages)
	if err != nil {
		return nil, refusal(err)
	}
	if err := checkNamespace(k, namespace); err != nil {
		return nil, refusal(err)
	}
	before, err := snapshot(k, namespace, tables)
	if err != nil {
		return nil, refusal(err)
	}
	if options.Generation != nil && *options.Generation != before.Generation {
		return nil, stale(before.Generation, *options.Generation)
	}
	run := committer{kernel: k, namespace: namespace, tables: tables, now: before.Messages, generation: before.Generation}
	receipt := &Receipt{Before: before}
	for i, stage := range stages {
		pinned := options.Generation != nil && i == 0
		if err := run.stage(ctx, stage, pinned); err != nil {
			err.Stage = i
			if run.changed || err.stored {
				err.undo(run.undo(before))
			}
			return nil, err
		}
		receipt.Stages++
		receipt.Messages += len(stage.Messages)
	}
	receipt.Generation = run.generation
	return receipt, nil
}

// Switch plans a batch for the ruleset as it is, with [Plan], and commits the
// stages with [Commit]: what packets see is old or new and nothing else. Stages
// that can be split are no larger than the socket takes, so that a large
// ruleset needs no right beyond CAP_NET_ADMIN in the namespace.
func Switch(ctx context.Context, ns *netns.NS, batch Batch, options Options) (*Receipt, error) {
	s, err := dial(ns)
	if err != nil {
		return nil, refusal(err)
	}
	defer s.conn.Close()
	tables, err := touched([]Batch{batch})
	if err != nil {
		return nil, refusal(err)
	}
	for attempt := 0; ; attempt++ {
		now, err := snapshot(s, ns.Inode(), tables)
		if err != nil {
			return nil, refusal(err)
		}
		if options.Generation != nil && *options.Generation != now.Generation {
			return nil, stale(now.Generation, *options.Generation)
		}
		stages, err := Plan(now.Messages, batch, PlanOptions{Limit: s.room(), ElementsInPlace: ElementsInPlace()})
		if err != nil {
			return nil, refusal(err)
		}
		if len(stages) == 0 {
			return &Receipt{Before: now, Generation: now.Generation}, nil
		}
		receipt, err := commit(ctx, s, ns.Inode(), stages, Options{Generation: &now.Generation})
		var e *Error
		if errors.Is(err, nfnetlink.ErrStale) && options.Generation == nil && attempt < staleAttempts &&
			errors.As(err, &e) && !e.RolledBack && e.Undone == nil {
			continue // nothing was committed
		}
		return receipt, err
	}
}

// touched returns the tables that stages name, and refuses messages that reach
// further.
func touched(stages []Batch) ([]nfnetlink.Table, error) {
	var tables []nfnetlink.Table
	seen := map[nfnetlink.Table]bool{}
	for s, stage := range stages {
		for i, m := range stage.Messages {
			kind, ours := nfnetlink.Kind(m)
			if !ours {
				if m.Header.Type == unix.NFNL_MSG_BATCH_BEGIN || m.Header.Type == unix.NFNL_MSG_BATCH_END {
					continue
				}
				return nil, fmt.Errorf("stage %d, message %d: type %#x is not of nf_tables", s+1, i, m.Header.Type)
			}
			if effects[kind] == nil {
				return nil, fmt.Errorf("stage %d, message %d: what message %d does is not known", s+1, i, kind)
			}
			table := nfnetlink.TableOf(m)
			if table.Name == "" {
				return nil, fmt.Errorf("stage %d, message %d: names no table, and so would reach all of them", s+1, i)
			}
			if table.Family == unix.NFPROTO_UNSPEC {
				return nil, fmt.Errorf("stage %d, message %d: names no family, and so would reach all of them", s+1, i)
			}
			if !seen[table] {
				seen[table] = true
				tables = append(tables, table)
			}
		}
	}
	return tables, nil
}

func checkNamespace(k kernel, want uint64) error {
	inode, err := k.namespace()
	if err != nil {
		return err
	}
	if inode != want {
		return fmt.Errorf("the socket is in network namespace %d, want %d", inode, want)
	}
	return nil
}

func snapshot(k kernel, namespace uint64, tables []nfnetlink.Table) (*Snapshot, error) {
	s := &Snapshot{Namespace: namespace, Tables: tables}
	if len(tables) == 0 {
		return s, nil
	}
	dump, err := k.dump(tables)
	if err != nil {
		return nil, err
	}
	s.Generation, s.Messages = dump.Generation, dump.Messages
	return s, nil
}

// A committer is a commit under way.
type committer struct {
	kernel    kernel
	namespace uint64
	tables    []nfnetlink.Table
	// now are our tables as last read, generation when that was.
	now        []netlink.Message
	generation uint32
	// expected is what they hold now, when parts of a stage were committed and
	// not read back.
	expected *state
	changed  bool // something was committed
}

// stage commits one stage and reads it back. With pinned, any change since the
// last reading is a refusal.
func (c *committer) stage(ctx context.Context, stage Batch, pinned bool) *Error {
	stage, err := unmark(stage, c.now)
	if err != nil {
		return refusal(err)
	}
	expected, err := expectAfter(c.expected, c.now, stage.Messages)
	if err != nil {
		return refusal(err)
	}
	if expected == nil {
		return nil // nothing but borders
	}
	for attempt := 0; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return refusal(err)
		}
		if err := checkNamespace(c.kernel, c.namespace); err != nil {
			return refusal(err)
		}
		if c.changed && c.expected == nil {
			c.kernel.settle()
		}
		err := c.kernel.send(stage.Messages, c.generation)
		if errors.Is(err, nfnetlink.ErrStale) && !pinned && attempt < staleAttempts {
			if err := c.catchUp(); err != nil {
				return refusal(err)
			}
			continue
		}
		if errors.Is(err, nfnetlink.ErrNoReceipt) {
			err = nil // what was read back decides
			stage.more = false
		}
		if err != nil {
			return explain(stage, err)
		}
		break
	}
	c.changed = true
	if stage.more {
		c.expected = expected
		if c.generation++; c.generation == 0 { // the kernel leaves it out
			c.generation = 1
		}
		return nil
	}
	c.expected = nil
	return c.readBack(stage, expected)
}

// catchUp reads again after others committed, and refuses when they changed
// our tables.
func (c *committer) catchUp() error {
	dump, err := c.kernel.dump(c.tables)
	if err != nil {
		return err
	}
	if c.expected != nil {
		if _, err := c.expected.compare(dump.Messages); err != nil {
			return fmt.Errorf("another program changed our tables: %w: %w", err, nfnetlink.ErrStale)
		}
		c.now, c.expected = dump.Messages, nil
	} else if !nfnetlink.Equal(c.now, dump.Messages, 0) {
		return fmt.Errorf("another program changed our tables: %w", nfnetlink.ErrStale)
	}
	c.generation = dump.Generation
	return nil
}

func (c *committer) readBack(stage Batch, expected *state) *Error {
	dump, err := c.kernel.dump(c.tables)
	if err != nil {
		return storedWrong(fmt.Errorf("read back: %w", err))
	}
	if where, err := expected.compare(dump.Messages); err != nil {
		e := storedWrong(fmt.Errorf("the kernel stored something else than was sent: %w", err))
		if where != nil {
			e.Failures = []Failure{{Index: where.index, Label: stage.label(where.index), What: describe(where.message)}}
		}
		return e
	}
	c.now, c.generation = dump.Messages, dump.Generation
	return nil
}

func (c *committer) undo(before *Snapshot) error { return restore(c.kernel, before) }
