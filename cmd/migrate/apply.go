package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/report"
)

const applySchema = "nftmigrate/apply/1"

// exitRolledBack is the exit code of a commit that was undone.
const exitRolledBack = 5

func applyCommand(s *streams) *cobra.Command {
	var (
		files     inputFlags
		flags     translateFlags
		checks    checkFlags
		way       wayInFlags
		namespace string
		dry       bool
		asJSON    bool
	)
	c := &cobra.Command{
		Use:   "apply [FILE]...",
		Short: "Translate, check and commit iptables rules as one nftables transaction",
		Long: `Apply translates the rules, compares both sides as verify does, and
commits the translation in one netlink transaction: the table of the chosen name
is replaced, all others stay. What the kernel stores is read back and compared
with what was sent; when something is not as it must be, the table is put back.

The SSH connection that the command runs under, and those of --keep-open, are
run through the new rules first: when these drop it, or a new one like it,
nothing is committed (exit code 1) without --force.

The iptables rules that are loaded stay loaded: both then decide about each
packet. Nothing is written to disk, so a reboot brings back what was there.`,
		Example: "  migrate apply rules.v4 --netns web1\n  migrate apply --check rules.v4",
		RunE: func(c *cobra.Command, args []string) error {
			files.namespace = namespace
			in, p, list, err := compared(c.Context(), s, &files, args, &flags, asJSON, applySchema)
			if err != nil {
				return err
			}
			r, err := checks.check(c.Context(), s, in, p, flags.strict)
			if err != nil {
				return err
			}
			doc := report.Document{Schema: applySchema, Diagnostics: report.Diagnostics(list), Deviations: p.deviations}
			r.document(&doc)
			if !asJSON {
				if err := r.show(s.out, report.Names{A: p.names[0], B: p.names[1]}); err != nil {
					return err
				}
			}
			refused := verdict(r.word())
			if refused == nil {
				refused = way.check(s.errs, in, p, namespace)
			}
			if refused != nil || dry {
				if asJSON {
					if err := doc.Write(s.out); err != nil {
						return err
					}
				}
				if word := verdict(r.word()); word != nil {
					fmt.Fprintf(s.errs, "migrate: nothing was committed, because the result of the check is %q\n", r.word())
				}
				return refused
			}
			doc.Commit, err = commit(c, p, namespace)
			if err != nil {
				return err
			}
			if asJSON {
				return doc.Write(s.out)
			}
			_, err = fmt.Fprintf(s.out, "committed %d messages as one transaction, read back and found equal; the ruleset is generation %d\n", doc.Commit.Messages, doc.Commit.Generation)
			return err
		},
	}
	files.register(c, false)
	flags.register(c)
	checks.register(c)
	way.register(c)
	c.Flags().StringVar(&namespace, "netns", "", "commit in the network namespace of this `NAME` (ip netns)")
	c.Flags().BoolVar(&dry, "check", false, "do all but the commit")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document")
	return c
}

// openNamespace opens the network namespace of a name, or with "" the one the
// process is in.
func openNamespace(name string) (*netns.NS, error) {
	open := netns.Current
	if name != "" {
		open = func() (*netns.NS, error) { return netns.OpenNamed(name) }
	}
	ns, err := open()
	if err != nil {
		return nil, &exit{exitMissing, fmt.Errorf("open the network namespace: %w", err)}
	}
	return ns, nil
}

// commit commits the batch of a pair in a namespace.
func commit(c *cobra.Command, p *pair, namespace string) (*report.CommitJSON, error) {
	ns, err := openNamespace(namespace)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	// Only here is a signal held back: a commit that has begun is finished or
	// undone.
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	receipt, err := apply.Commit(ctx, ns, []apply.Batch{{Messages: p.batch, Labels: p.labels}}, apply.Options{})
	var refused *apply.Error
	switch {
	case errors.As(err, &refused) && refused.RolledBack:
		return nil, &exit{exitRolledBack, err}
	case errors.As(err, &refused) && refused.Missing:
		return nil, &exit{exitMissing, err}
	case err != nil:
		return nil, &exit{exitDifferent, err}
	}
	return &report.CommitJSON{Messages: receipt.Messages, Generation: receipt.Generation, Namespace: namespace}, nil
}
