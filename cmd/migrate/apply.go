package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/plan"
	"nftmigrate/report"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

const applySchema = "nftmigrate/apply/1"

// exitRolledBack is the exit code of a commit that was undone.
const exitRolledBack = 5

// applyFlags are the flags of migrate apply beside those of a translation.
type applyFlags struct {
	files     inputFlags
	translate translateFlags
	checks    checkFlags
	way       wayInFlags
	store     storeFlags
	namespace string
	timeout   time.Duration
	probe     string
	dry       bool
	diff      bool
	noWait    bool
	forGood   bool
	asJSON    bool
}

func applyCommand(s *streams) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply PLAN | apply [FILE]...",
		Short: "Put a plan in effect, and take it back unless it is confirmed",
		Long: `Apply puts the ruleset of a plan in effect, empties the rules of iptables that it
takes the place of, and waits. Unless somebody logs in again and confirms, what
was there before comes back at the deadline: whatever happens to this process, to
the terminal, to the connection or to the clock. Ctrl-C rolls back at once.

Before anything changes: the host must be as it was when the plan was made; this
kernel must take the ruleset; the SSH connection that the command runs under, and
those of --keep-open, are run through the new rules, and when these drop it, or a
new one like it, nothing is done without --force; what is there now is written
down, read back and restored in a namespace of its own; two guards are started.

With files instead of a plan, their rules are translated, checked, and put in
effect beside those of iptables, which stay; packets then go through both. With
--for-good nobody is asked and nothing is taken back: for containers and images.

Exit codes: 0 in effect and confirmed (with --no-wait: in effect), or nothing to
do; 1 refused; 2 usage, or input that cannot be read; 3 undecided or not
translatable; 4 a right, a tool or a kernel feature is missing; 5 rolled back.`,
		Example: "  migrate plan -o plan && migrate apply plan\n  migrate apply --for-good --netns web1 rules.v4\n  migrate apply --check rules.v4",
		RunE: func(c *cobra.Command, args []string) error {
			f.files.namespace = f.namespace
			j := &job{
				events: &events{s, f.asJSON}, store: &f.store, namespace: f.namespace,
				timeout: f.timeout, probe: f.probe, dry: f.dry, stay: !f.noWait,
			}
			if f.timeout < time.Second || f.timeout > 24*time.Hour {
				return usage("--timeout %v: expected a time from 1s to 24h", f.timeout)
			}
			if len(args) == 1 && plan.Is(args[0]) {
				return f.planned(c, s, j, args[0])
			}
			if len(args) == 1 {
				if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
					return usage("%s is a directory, and no plan: migrate plan makes one", args[0])
				}
			}
			return f.translated(c, s, j, args)
		},
	}
	f.files.register(c, false)
	f.translate.register(c)
	f.checks.register(c)
	f.way.register(c)
	f.store.register(c)
	c.Flags().StringVar(&f.namespace, "netns", "", "commit in the network namespace of this `NAME` (ip netns)")
	c.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for the confirmation")
	c.Flags().StringVar(&f.probe, "probe", "", "run this `PROGRAM` once the rules are in effect; when it fails, they are taken back")
	c.Flags().BoolVar(&f.dry, "check", false, "do all but the commit")
	c.Flags().BoolVar(&f.diff, "diff", false, "print how the plan differs from what runs")
	c.Flags().BoolVar(&f.noWait, "no-wait", false, "end once the rules are in effect; the guards keep the deadline")
	c.Flags().BoolVar(&f.forGood, "for-good", false, "commit the rules of files without a way back")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print an object of JSON for each step; with --for-good one document")
	return c
}

// planned applies a plan.
func (f *applyFlags) planned(c *cobra.Command, s *streams, j *job, dir string) error {
	p, err := plan.Read(dir)
	switch {
	case errors.Is(err, plan.ErrEdited):
		return &exit{exitDifferent, err}
	case err != nil:
		return &exit{exitUsage, err}
	case f.forGood:
		return usage("--for-good is for rules of files; a plan is applied so that it can be taken back")
	case p.Manifest.Netns != f.namespace && f.namespace != "":
		return usage("the plan is for network namespace %q, not %q", p.Manifest.Netns, f.namespace)
	}
	name, err := os.Hostname()
	if err != nil {
		return missing(err)
	}
	if name != p.Manifest.Host {
		return &exit{exitDifferent, fmt.Errorf("the plan was made on host %s, and this is %s: make one here", p.Manifest.Host, name)}
	}
	if f.diff {
		if _, err := s.errs.Write(p.Files[plan.Diff]); err != nil {
			return missing(err)
		}
	}
	j.namespace, j.state, j.empties = p.Manifest.Netns, p.Manifest.State, p.Manifest.Empties
	if j.batch, err = apply.UnmarshalBatch(p.Files[plan.Batch]); err != nil {
		return &exit{exitUsage, err}
	}
	in, pair, err := f.again(c, s, p, dir)
	if err != nil {
		return err
	}
	j.events.tell(event{Event: "planned", Text: fmt.Sprintf("%s; made %s, %s", dir, p.Manifest.Created.Format("2006-01-02 15:04 MST"), p.Manifest.Result)})
	j.wayIn = func() (string, error) { return f.way.check(s.errs, in, pair, j.namespace) }
	j.disk = func(m *transaction.Migration, before *snapshot.Snapshot) error {
		if err := keepPlan(m, p); err != nil || p.Manifest.Root == "" {
			return err
		}
		disk := diskFlags{root: p.Manifest.Root}
		layout, err := disk.lay(p, before, tablesOf(pair.batch), pair.inText, f.store.dir)
		if err != nil {
			return err
		}
		if text := layout.Describe(); text != string(p.Files[plan.Disk]) {
			return fmt.Errorf("what loads rules at boot is not as it was when the plan was made; make it again:\n%s", report.Diff(string(p.Files[plan.Disk]), text))
		}
		return disk.prepare(m, layout)
	}
	return j.run(c.Context())
}

// again makes the translation of a plan again, as the rules are what the way in is
// looked at with, and wants the same.
func (f *applyFlags) again(c *cobra.Command, s *streams, p *plan.Plan, dir string) (*input, *pair, error) {
	files, flags, err := madeFrom(dir, p.Manifest)
	if err != nil {
		return nil, nil, err
	}
	in, err := files.read(s, nil)
	if err != nil {
		return nil, nil, err
	}
	if in, err = in.asPlanned(); err != nil {
		return nil, nil, err
	}
	pair, list, err := machines(c.Context(), in, flags)
	if err != nil {
		return nil, nil, err
	}
	if pair == nil {
		return nil, nil, fail(s, f.asJSON, eventSchema, list)
	}
	batch, err := (apply.Batch{Messages: pair.batch, Labels: pair.labels}).Marshal()
	if err != nil {
		return nil, nil, err
	}
	if string(batch) != string(p.Files[plan.Batch]) {
		return nil, nil, &exit{exitDifferent, errors.New("this program translates the rules of the plan otherwise than the one that made it: make the plan again")}
	}
	return in, pair, nil
}

// madeFrom is what a plan was made from: its files, and the flags of its translation.
func madeFrom(dir string, m plan.Manifest) (*inputFlags, *translateFlags, error) {
	flags, files := new(translateFlags), new(inputFlags)
	known := &cobra.Command{}
	flags.register(known)
	if err := known.ParseFlags(m.Options); err != nil {
		return nil, nil, usage("the plan was made with flags that this program does not know (%v); make it again", err)
	}
	for name, path := range map[string]*string{plan.RulesV4: &files.v4, plan.RulesV6: &files.v6, plan.Sets: &files.ipset} {
		if m.Files[name] != "" {
			*path = filepath.Join(dir, name)
		}
	}
	return files, flags, nil
}

// translated applies the rules of files, beside those that are there.
func (f *applyFlags) translated(c *cobra.Command, s *streams, j *job, args []string) error {
	in, p, list, err := compared(c.Context(), s, &f.files, args, &f.translate, f.asJSON, applySchema)
	if err != nil {
		return err
	}
	r, err := f.checks.check(c.Context(), s, in, p, f.translate.strict)
	if err != nil {
		return err
	}
	doc := report.Document{Schema: applySchema, Diagnostics: report.Diagnostics(list), Deviations: p.deviations}
	r.document(&doc)
	if !f.asJSON {
		if err := r.show(s.out, report.Names{A: p.names[0], B: p.names[1]}); err != nil {
			return err
		}
	}
	refused := verdict(r.word())
	if refused != nil {
		fmt.Fprintf(s.errs, "migrate: nothing was committed, because the result of the check is %q\n", r.word())
	}
	if refused == nil && (f.forGood || f.dry) {
		_, refused = f.way.check(s.errs, in, p, f.namespace)
	}
	if refused != nil || f.dry {
		if f.asJSON {
			if err := doc.Write(s.out); err != nil {
				return err
			}
		}
		return refused
	}
	if f.forGood {
		doc.Commit, err = commit(c, p, f.namespace)
		if err != nil {
			return err
		}
		if f.asJSON {
			return doc.Write(s.out)
		}
		_, err = fmt.Fprintf(s.out, "committed %d messages, read back and found equal; the ruleset is generation %d\n", doc.Commit.Messages, doc.Commit.Generation)
		return err
	}
	j.batch = apply.Batch{Messages: p.batch, Labels: p.labels}
	j.wayIn = func() (string, error) { return f.way.check(s.errs, in, p, f.namespace) }
	return j.run(c.Context())
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

// commit commits the batch of a pair in a namespace, for good.
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
	receipt, err := apply.Switch(ctx, ns, apply.Batch{Messages: p.batch, Labels: p.labels}, apply.Options{})
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

// planDir is where the plan of a migration is kept.
func planDir(m *transaction.Migration) string { return filepath.Join(m.Dir(), "plan") }

// keepPlan keeps a plan with its migration.
func keepPlan(m *transaction.Migration, p *plan.Plan) error { return plan.Write(planDir(m), p) }
