package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nftmigrate/transaction"
)

func rollbackCommand(s *streams) *cobra.Command {
	var (
		where storeFlags
		force bool
	)
	c := &cobra.Command{
		Use:   "rollback [ID]",
		Short: "Put back what was there before a migration",
		Long: `Rollback undoes the newest migration that is in effect, or the one of an ID, at any
time, also weeks after it was confirmed: rules, sets and counters in the kernel as
they were, and each file and link that decides what a boot loads. Tables that
belong to others are not touched. A file that somebody else changed since is named,
and only with --force put back; their version is kept beside it.

Exit codes: 0 rolled back; 1 nothing to roll back, or it failed (say so again
to try again); 2 usage; 4 a right is missing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			store, release, err := where.open(c.Context())
			if err != nil {
				return err
			}
			defer release()
			m, err := store.Last()
			if len(args) > 0 {
				newest := m
				if m, err = store.Get(args[0]); err == nil && newest != nil && newest.Record.ID != m.Record.ID && m.Record.State != transaction.RolledBack {
					return &exit{exitDifferent, fmt.Errorf("migration %s came after %s; roll that one back first", newest.Record.ID, m.Record.ID)}
				}
			}
			if errors.Is(err, transaction.ErrNone) {
				return &exit{exitDifferent, errors.New("there is no migration to roll back")}
			}
			if err != nil {
				return &exit{exitDifferent, err}
			}
			h, err := openHost(c.Context(), m)
			if err != nil {
				return err
			}
			defer h.Close()
			h.force = force
			if err := m.RollBack(c.Context(), h.hooks(), "rolled back by migrate rollback"); err != nil {
				return &exit{exitDifferent, err}
			}
			fmt.Fprint(s.out, h.told())
			for _, path := range h.kept {
				fmt.Fprintf(s.out, "kept, because others changed or use it: %s\n", path)
			}
			_, err = fmt.Fprintf(s.out, "rolled back: what was there before migration %s is in effect again\n", m.Record.ID)
			return err
		},
	}
	where.register(c)
	c.Flags().BoolVar(&force, "force", false, "put files back that somebody else changed since")
	return c
}
