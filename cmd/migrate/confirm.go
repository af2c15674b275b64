package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nftmigrate/transaction"
)

func confirmCommand(s *streams) *cobra.Command {
	var (
		where   storeFlags
		console bool
	)
	c := &cobra.Command{
		Use:   "confirm TOKEN",
		Short: "Make the rules last that migrate apply has put in effect",
		Long: `Confirm ends the waiting of migrate apply: the new rules stay, and only now what
loads rules at boot is changed. The token is the one that apply printed.

Log in again and confirm from there. A connection that was open before the rules
were shows nothing, because rules let such connections live on while they refuse
new ones; so a confirmation over one is refused. --console accepts one that comes
from a console, or over such a connection, and so shows nothing.

Exit codes: 0 confirmed; 1 refused, or what loads rules at boot could not be
changed (then everything is as it was before, and the deadline holds); 2 usage;
4 a right is missing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			store, release, err := where.open(c.Context())
			if err != nil {
				return err
			}
			defer release()
			m, err := store.Open()
			if errors.Is(err, transaction.ErrNone) {
				return &exit{exitDifferent, errors.New("nothing waits for a confirmation; migrate status tells what happened")}
			}
			if err != nil {
				return &exit{exitDifferent, err}
			}
			h, err := openHost(c.Context(), m)
			if err != nil {
				return err
			}
			defer h.Close()
			confirmation := transaction.Confirmation{Token: args[0], Console: console}
			if confirmation.Session, confirmation.Connections, err = session(h.ns); err != nil {
				return &exit{exitMissing, err}
			}
			if err := m.Confirm(c.Context(), h.hooks(), confirmation); err != nil {
				var refusal *transaction.Refusal
				if errors.As(err, &refusal) {
					err = fmt.Errorf("not confirmed: %w", err)
				}
				return &exit{exitDifferent, err}
			}
			_, err = fmt.Fprintf(s.out, "confirmed: migration %s lasts; migrate rollback undoes it at any time\n", m.Record.ID)
			return err
		},
	}
	where.register(c)
	c.Flags().BoolVar(&console, "console", false, "accept a confirmation that does not come over a new connection")
	return c
}
