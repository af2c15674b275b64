package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nftmigrate/apply"
	"nftmigrate/diag"
	"nftmigrate/host"
	"nftmigrate/internal/netns"
	"nftmigrate/iptables"
	"nftmigrate/persist"
	"nftmigrate/plan"
	"nftmigrate/report"
	"nftmigrate/snapshot"
	"nftmigrate/transaction"
)

const planSchema = "nftmigrate/plan-report/1"

func planCommand(s *streams) *cobra.Command {
	var (
		files     inputFlags
		flags     translateFlags
		checks    checkFlags
		where     storeFlags
		disk      diskFlags
		namespace string
		output    string
		takeOver  []string
		asJSON    bool
	)
	c := &cobra.Command{
		Use:   "plan [FILE]...",
		Short: "Read the host, translate and check its rules, and write down what apply will do",
		Long: `Plan reads the rules that are in effect (those of iptables-legacy and of
iptables-nft, with the sets that they name), translates them, compares both
sides as verify does, and writes a directory with everything that apply will do:
the ruleset for people and as it is committed, the report, the difference from
what runs, and a checklist. It changes nothing on the host.

With files, the rules are taken from there instead, and replace those in effect.

Rules that other programs write (Docker, fail2ban and many more) are recognised.
Such programs write their rules again, so these are not converted: what to do is
told for each, and no plan is made, without --take-over.

The plan is bound to the host as it was: when that changed, apply says so, and
does nothing.

Exit codes: 0 the plan is written, or there is nothing to do; 1 the sides are
different; 2 usage, or input that cannot be read; 3 undecided or not translatable;
4 a right, a tool or a kernel feature is missing.`,
		Example: "  migrate plan -o plan\n  migrate plan --optimize 2 --v4 rules.v4 -o plan",
		RunE: func(c *cobra.Command, args []string) error {
			files.namespace = namespace
			ns, err := openNamespace(namespace)
			if err != nil {
				return err
			}
			defer ns.Close()
			before, err := snapshot.Take(c.Context(), ns)
			if err != nil {
				return missing(err)
			}
			given := len(args) > 0 || files.v4 != "" || files.v6 != ""
			in, err := planned(c.Context(), s, ns, before, &files, args, given)
			if err != nil {
				return err
			}
			if in == nil {
				_, err := fmt.Fprintln(s.out, "no rules of iptables are in effect here, so there is nothing to migrate")
				return err
			}
			owned, err := claims(in, takeOver)
			if err != nil {
				return err
			}
			p, list, err := machines(c.Context(), in, &flags)
			if err != nil {
				return err
			}
			if p == nil {
				return fail(s, asJSON, planSchema, list)
			}
			if err := tell(s, asJSON, list); err != nil {
				return err
			}
			r, err := checks.check(c.Context(), s, in, p, flags.strict)
			if err != nil {
				return err
			}
			doc := report.Document{Schema: planSchema, Diagnostics: report.Diagnostics(list), Deviations: p.deviations}
			r.document(&doc)
			var shown bytes.Buffer
			if err := r.show(&shown, report.Names{A: p.names[0], B: p.names[1]}); err != nil {
				return err
			}
			if asJSON {
				err = doc.Write(s.out)
			} else {
				_, err = s.out.Write(shown.Bytes())
			}
			if err != nil {
				return err
			}
			if word := verdict(r.word()); word != nil {
				fmt.Fprintf(s.errs, "migrate: no plan was written, because the result of the check is %q\n", r.word())
				return word
			}
			if err := tryBatch(c.Context(), apply.Batch{Messages: p.batch, Labels: p.labels}); err != nil {
				return missing(err)
			}
			draft := &draft{ns: ns, before: before, in: in, pair: p, result: r, shown: shown.Bytes(), given: given, owned: owned, disk: &disk, namespace: namespace}
			if err := draft.ours(&where); err != nil {
				return err
			}
			made, err := draft.plan(c, &flags, &where)
			if err != nil {
				return err
			}
			if err := plan.Write(output, made); err != nil {
				return &exit{exitUsage, err}
			}
			if asJSON {
				return nil
			}
			return draft.say(s, made, output)
		},
	}
	files.register(c, false)
	flags.register(c)
	checks.register(c)
	where.register(c)
	disk.register(c)
	c.Flags().StringVar(&namespace, "netns", "", "read the network namespace of this `NAME` (ip netns)")
	c.Flags().StringVarP(&output, "output", "o", "plan", "write the plan to `DIR`")
	c.Flags().StringSliceVar(&takeOver, "take-over", nil, "convert the rules of these programs, too, as they are now: a list of `NAME`s, as they are told without, or \"all\"")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document of the check")
	return c
}

// planned reads what a plan is made from: files, or the rules in effect. It is nil when
// there are none.
func planned(ctx context.Context, s *streams, ns *netns.NS, before *snapshot.Snapshot, files *inputFlags, args []string, given bool) (*input, error) {
	if given {
		in, err := files.read(s, args)
		if err != nil || in.diags.HasErrors() {
			return in, err
		}
		return in.asPlanned()
	}
	inUse := host.InUse(before)
	if len(inUse) == 0 {
		return nil, nil
	}
	for i, f := range inUse[1:] {
		if f.Version == inUse[i].Version {
			return nil, &exit{exitUndecided, fmt.Errorf("there are rules of IPv%d in two places, and packets go through both:\n  %s: %s\n  %s: %s\n"+
				"Decide which of them should stay, save what you want as one file (iptables-legacy-save, iptables-nft-save), and name it: migrate plan FILE. Both are emptied when it is applied",
				f.Version, inUse[i].Plane, strings.Join(inUse[i].Parts, ", "), f.Plane, strings.Join(f.Parts, ", "))}
		}
	}
	in := &input{}
	var sets []byte
	switch {
	case files.ipset != "":
		src, err := readSource(s, files.ipset)
		if err == nil {
			err = in.addSets(src)
		}
		if err != nil {
			return nil, err
		}
	case len(before.Sets) > 0:
		files.liveSets = true
		src, err := files.readLiveSets()
		if err != nil {
			return nil, err
		}
		sets = src.Text
		if err := in.addSets(diag.NewSource(plan.Sets, sets)); err != nil {
			return nil, err
		}
	}
	for _, f := range inUse {
		text, err := host.Rules(ctx, ns, before, f, sets)
		var tool *host.MissingError
		if errors.As(err, &tool) || errors.Is(err, os.ErrPermission) {
			return nil, missing(err)
		}
		if err != nil {
			return nil, &exit{exitUsage, err}
		}
		name, family := plan.RulesV4, iptables.IPv4
		if f.Version == 6 {
			name, family = plan.RulesV6, iptables.IPv6
		}
		if err := in.add(diag.NewSource(name, text), family); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// A draft is what a plan is made of.
type draft struct {
	ns        *netns.NS
	namespace string
	before    *snapshot.Snapshot
	in        *input
	pair      *pair
	result    *result
	shown     []byte
	given     bool // the rules are from files
	owned     []host.Claim
	disk      *diskFlags
}

// claims says which rules of the input belong to programs that write them again, and
// refuses those that are not to be taken over.
func claims(in *input, takeOver []string) (all []host.Claim, err error) {
	var refused strings.Builder
	for _, rs := range []*iptables.Ruleset{in.v4, in.v6} {
		if rs == nil {
			continue
		}
		for _, c := range host.Owners(rs) {
			all = append(all, c)
			taken := slices.ContainsFunc(takeOver, func(name string) bool { return name == "all" || strings.EqualFold(name, c.Name) })
			if taken || c.Action == host.Convert {
				continue
			}
			fmt.Fprintf(&refused, "  %s, in %s: %d chains (%s), and %d rules of other chains\n    %s\n", c.Name, rs.Source.Name, len(c.Chains), listed(c.Chains), c.Rules, c.How)
		}
	}
	if refused.Len() == 0 {
		return all, nil
	}
	return nil, &exit{exitUndecided, fmt.Errorf("some of the rules belong to programs that write them again:\n%s"+
		"Have these programs do what is told, and plan again; or give files without their rules, or convert these as they are now by --take-over", refused.String())}
}

// listed names some of a list.
func listed(names []string) string {
	const most = 4
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// ours refuses to replace a table that is there and that no migration made.
func (d *draft) ours(where *storeFlags) error {
	var made []string
	if store, err := transaction.OpenStore(where.dir); err == nil {
		if m, err := store.Last(); err == nil && m.Record.Netns == d.namespace {
			made = m.Record.Changed
		}
	}
	there := d.before.Parts()
	for _, t := range tablesOf(d.pair.batch) {
		if name := snapshot.TableName(t); slices.Contains(there, name) && !slices.Contains(made, name) {
			return &exit{exitDifferent, fmt.Errorf("%s is there, and no migration made it: choose another name by --table, so that it stays", name)}
		}
	}
	return nil
}

// empties are the parts of the old planes that the new rules take the place of.
func (d *draft) empties() (parts []string) {
	for _, f := range host.InUse(d.before) {
		if slices.Contains(d.in.versions(), f.Version) {
			parts = append(parts, f.Parts...)
		}
	}
	return parts
}

// plan puts everything together.
func (d *draft) plan(c *cobra.Command, flags *translateFlags, where *storeFlags) (*plan.Plan, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, missing(err)
	}
	p := &plan.Plan{Files: map[string][]byte{plan.Ruleset: d.pair.text, plan.Report: d.shown}}
	p.Manifest = plan.Manifest{
		Created: time.Now().UTC().Truncate(time.Second), Host: name, Netns: d.namespace, Table: flags.table, Options: given(c, flags),
		Result: string(d.result.word()), Deviations: d.pair.deviations, State: stateOf(d.before), Empties: d.empties(),
	}
	if p.Files[plan.Batch], err = (apply.Batch{Messages: d.pair.batch, Labels: d.pair.labels}).Marshal(); err != nil {
		return nil, err
	}
	v4, err4 := textOf(d.in.v4)
	v6, err6 := textOf(d.in.v6)
	sets, err := d.in.setsText()
	if err := errors.Join(err4, err6, err); err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{plan.RulesV4: v4, plan.RulesV6: v6, plan.Sets: sets} {
		if text != nil {
			p.Files[name] = text
		}
	}
	text := "Nothing: " + d.disk.apart(d.namespace) + ".\n"
	if d.disk.apart(d.namespace) == "" {
		p.Manifest.Root = d.disk.root
		layout, err := d.disk.lay(p, d.before, tablesOf(d.pair.batch), d.pair.inText, where.dir)
		if err != nil {
			return nil, missing(fmt.Errorf("%w\nOr leave what loads rules at boot alone, by --no-persist", err))
		}
		if problems := persist.Check(d.disk.root, layout.Changes); len(problems) > 0 {
			var list strings.Builder
			for _, x := range problems {
				fmt.Fprintf(&list, "\n  %s: %s; %s", x.Path, x.Text, x.Remedy)
			}
			return nil, missing(fmt.Errorf("what loads rules at boot cannot be changed:%s\nOr leave it alone, by --no-persist", list.String()))
		}
		text = layout.Describe()
	}
	p.Files[plan.Disk] = []byte(text)
	p.Files[plan.Diff] = []byte(d.difference(where, p))
	checklist, err := d.checklist(p)
	p.Files[plan.Checklist] = checklist
	return p, err
}

// given are the flags of a translation as they were given, so that apply can make it
// again.
func given(c *cobra.Command, flags *translateFlags) (list []string) {
	known := &cobra.Command{}
	new(translateFlags).register(known)
	c.Flags().Visit(func(f *pflag.Flag) {
		if known.Flags().Lookup(f.Name) != nil {
			value := f.Value.String()
			if slice, ok := f.Value.(pflag.SliceValue); ok {
				value = strings.Join(slice.GetSlice(), ",")
			}
			list = append(list, "--"+f.Name+"="+value)
		}
	})
	return list
}

// difference is how the plan differs from what runs: from the ruleset of the last
// migration that was confirmed, and from the rules of iptables in effect when the plan
// was made from files.
func (d *draft) difference(where *storeFlags, p *plan.Plan) string {
	var b strings.Builder
	old := ""
	if store, err := transaction.OpenStore(where.dir); err == nil {
		if m, err := store.Last(); err == nil {
			if last, err := plan.Read(planDir(m)); err == nil {
				old = string(last.Files[plan.Ruleset])
			}
		}
	}
	if diff := report.Diff(old, string(p.Files[plan.Ruleset])); diff != "" && old != "" {
		fmt.Fprintf(&b, "The ruleset of the last migration (-) and of this plan (+):\n\n%s\n", diff)
	}
	if old == "" {
		b.WriteString("No migration was made here before, so all of the ruleset is new.\n")
	}
	if !d.given {
		return b.String()
	}
	sets, _ := d.in.setsText()
	for _, f := range host.InUse(d.before) {
		name := plan.RulesV4
		if f.Version == 6 {
			name = plan.RulesV6
		}
		if p.Files[name] == nil {
			continue
		}
		text, err := host.Rules(context.Background(), d.ns, d.before, f, sets)
		if err != nil {
			fmt.Fprintf(&b, "\nThe rules of IPv%d in effect (%s) could not be read to compare them: %v\n", f.Version, f.Plane, err)
			continue
		}
		fmt.Fprintf(&b, "\nThe rules of IPv%d in effect (%s, -) and those of the plan (+):\n\n%s", f.Version, f.Plane, report.Diff(string(text), string(p.Files[name])))
	}
	return b.String()
}

// say tells what was planned.
func (d *draft) say(s *streams, p *plan.Plan, dir string) error {
	fmt.Fprintf(s.out, "\nThe plan is in %s:\n", dir)
	fmt.Fprintf(s.out, "  %-16s what will be in effect, for people\n", plan.Ruleset)
	fmt.Fprintf(s.out, "  %-16s what to look at before and after\n", plan.Checklist)
	fmt.Fprintf(s.out, "  %-16s what a confirmation changes on disk\n", plan.Disk)
	fmt.Fprintf(s.out, "  %-16s how it differs from what runs\n", plan.Diff)
	if len(p.Manifest.Empties) > 0 {
		fmt.Fprintf(s.out, "Emptied behind the commit: %s\n", strings.Join(p.Manifest.Empties, ", "))
	}
	_, err := fmt.Fprintf(s.out, "Nothing was changed. Next: migrate apply %s\n", dir)
	return err
}
