package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nftmigrate/transaction"
)

// guardCommand is what migrate apply starts twice, outside of the session; it is
// nothing for people to call.
func guardCommand(s *streams) *cobra.Command {
	var where storeFlags
	c := &cobra.Command{
		Use:    "guard ID LINE",
		Short:  "Roll a migration back when no confirmation comes",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			line, err := strconv.Atoi(args[1])
			if err != nil || line < 1 {
				return usage("guard %s: a line is 1 or 2", args[1])
			}
			// A session that ends, a terminal that is gone and a reader of the log
			// that went away are what the guard is there to outlive.
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
			stop := make(chan os.Signal, 1)
			signal.Notify(stop, syscall.SIGTERM)
			stopped := make(chan struct{})
			go func() { <-stop; close(stopped) }()
			// Where that needs a right which is missing, others are killed first
			// all the same.
			_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
			store, err := transaction.OpenStore(where.dir)
			if err != nil {
				return &exit{exitMissing, err}
			}
			m, err := store.Get(args[0])
			if err != nil {
				return &exit{exitMissing, err}
			}
			h, err := openHost(c.Context(), m)
			if err != nil {
				return err
			}
			defer h.Close()
			g := transaction.Guard{Line: line, Hooks: h.hooks(), Log: s.errs, Stopped: stopped}
			if err := g.Run(c.Context(), m); err != nil {
				return &exit{exitMissing, err}
			}
			return nil
		},
	}
	where.register(c)
	return c
}

// guards is how to start the guards of a migration: this program again.
func guards(m *transaction.Migration, store *transaction.Store) (transaction.GuardCommand, error) {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return transaction.GuardCommand{}, fmt.Errorf("find this program, to start a guard: %w", err)
	}
	return transaction.GuardCommand{Program: program, Arguments: []string{"guard", "--state", store.Dir(), m.Record.ID}}, nil
}

// recoverCommand is what a boot calls.
func recoverCommand(s *streams) *cobra.Command {
	var where storeFlags
	c := &cobra.Command{
		Use:   "recover",
		Short: "Finish or undo what a power cut or a crash left half done",
		Long: `Recover looks at the migration that is open, when there is one. What was confirmed
is finished; what was not is undone. It is called at boot, before the network is
up, and does nothing when there is nothing to do.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := os.Stat(where.dir); os.IsNotExist(err) {
				return nil
			}
			store, release, err := where.open(c.Context())
			if err != nil {
				return err
			}
			defer release()
			return recoverOpen(c.Context(), s.out, store)
		},
	}
	where.register(c)
	return c
}

// recoverOpen recovers the migration that is open, when there is one.
func recoverOpen(ctx context.Context, w io.Writer, store *transaction.Store) error {
	m, err := store.Open()
	if errors.Is(err, transaction.ErrNone) {
		return nil
	}
	if err != nil {
		return &exit{exitDifferent, err}
	}
	h, err := openHost(ctx, m)
	if err != nil {
		return err
	}
	defer h.Close()
	before := m.Record.State
	if err := m.Recover(ctx, h.hooks()); err != nil {
		return &exit{exitDifferent, err}
	}
	if m.Record.State == before {
		_, err := fmt.Fprintf(w, "migration %s is %s; its guards see to it\n", m.Record.ID, before)
		return err
	}
	_, err = fmt.Fprintf(w, "migration %s was %s and is %s now (%s)\n", m.Record.ID, before, m.Record.State, m.Record.Reason)
	return err
}

// seconds is a duration for people.
func seconds(d time.Duration) string { return d.Round(time.Second).String() }
