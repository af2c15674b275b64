package equivalence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A budget bounds work on diagrams: all of an analysis, and afterwards each
// question about one of its classes.
type budget struct {
	ctx   context.Context
	time  time.Duration
	until time.Time
}

func newBudget(ctx context.Context, d time.Duration) *budget {
	return &budget{ctx: ctx, time: d, until: time.Now().Add(d)}
}

// renew begins the time anew. The context of the analysis is over by then.
func (b *budget) renew() {
	b.ctx = context.Background()
	b.until = time.Now().Add(b.time)
}

func (b *budget) stop() error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if time.Now().After(b.until) {
		return context.DeadlineExceeded
	}
	return nil
}

// A model is the packets of one IP version, with the rules of one machine or of
// two as functions of them. The prover makes packets of classes.
type model struct {
	*prover
	budget *budget
	done   bool             // the analysis is over: questions have a budget each
	failed error            // functions that were begun when a budget ran out are gone
	capped map[bdd.Ref]bool // see reaching
}

// manager makes the diagrams of a model.
func (b *budget) manager(o ProofOptions) *bdd.Manager {
	return bdd.New(bdd.Options{MaxNodes: int(o.Memory / nodeBytes), Stop: b.stop})
}

// try runs work on diagrams that are there.
func (m *model) try(work func()) error {
	if m.done {
		m.budget.renew()
	}
	return m.space.Try(work)
}

// compile runs work that may make functions of rules.
func (m *model) compile(work func()) error {
	if m.failed == nil {
		m.failed = m.try(work)
	}
	return m.failed
}

// ranOut says which budget ran out; ok is false for other errors.
func ranOut(err error, o ProofOptions) (why string, ok bool) {
	switch {
	case errors.Is(err, bdd.ErrNodes):
		return fmt.Sprintf("the budget of memory ran out (%d MB)", o.Memory>>20), true
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the budget of time ran out (%v)", o.Time), true
	case errors.Is(err, symbolic.ErrTurns):
		return err.Error(), true
	}
	return "", false
}

// A scope is a place at which packets are looked at: a stage of a model.
type scope struct {
	*model
	name   string
	hook   packet.Hook
	early  bool
	domain bdd.Ref // the packets that can be there
	levels []bdd.Level
	// before turns a class of packets at the stage into the class of those
	// that come to be of it, as they begin their way; nil does not.
	before func(class bdd.Ref) bdd.Ref
}

// merged sorts lists of variables into one.
func merged(lists ...[]bdd.Level) []bdd.Level {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
