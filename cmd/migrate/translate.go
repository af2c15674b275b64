package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nftmigrate/diag"
	"nftmigrate/nftgen"
	"nftmigrate/report"
	"nftmigrate/translate"
)

const translateSchema = "nftmigrate/translate/1"

// translateFlags are the flags that steer a translation, wherever one is made.
type translateFlags struct {
	table     string
	strict    bool
	allow     []string
	keepXt    bool
	counters  bool
	optimize  int
	lines     bool
	costs     bool // are wanted
	passesOff []string
	target    string
	// lenient takes every declared deviation, for a translation that is not
	// used itself.
	lenient bool
}

func (f *translateFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.table, "table", "firewall", "`NAME` of the table to generate")
	c.Flags().BoolVar(&f.strict, "strict", false, "count as differences also what the engines themselves do unlike")
	c.Flags().StringSliceVar(&f.allow, "allow", nil, "accept declared deviations: a list of `CODE`s, or \""+translate.AllowAll+"\" for all")
	f.registerPasses(c)
	c.Flags().BoolVar(&f.counters, "counters", false, "keep the counters of rules and policies that the files have (iptables-save -c)")
	c.Flags().StringVar(&f.target, "target", "", "use only what the oldest `VERSIONS` have that must load the result: kernel=4.18,nft=0.9.3 or one of them")
	c.Flags().BoolVar(&f.keepXt, "keep-xt", false, "keep what has no native form as extensions of xtables, which only migrate apply loads")
}

// A translated is a translation in all its forms.
type translated struct {
	*translate.Result
	text []byte
}

// translate translates an input. The diagnostics of the input are in the list.
func (f *translateFlags) translate(in *input) (*translated, diag.List, error) {
	list := in.diags
	if !nftgen.ValidName(f.table) {
		return nil, list, usage("%q cannot be the name of an nftables table", f.table)
	}
	if foreignTables[f.table] {
		return nil, list, usage("the table name %q belongs to iptables-nft; choose another", f.table)
	}
	target, err := translate.ParseTarget(f.target)
	if err != nil {
		return nil, list, usage("--target %s: %v", f.target, err)
	}
	if f.strict && len(f.allow) > 0 {
		return nil, list, usage("--strict allows no deviation; give it or --allow")
	}
	if list.HasErrors() {
		return nil, list, nil
	}
	if err := f.checkPasses(); err != nil {
		return nil, list, err
	}
	result, more := translate.Translate(in.v4, in.v6, translate.Options{Table: f.table, Sets: in.sets, Strict: !f.lenient, Allow: f.allow, KeepXt: f.keepXt, Counters: f.counters, Target: target, Optimize: f.optimize, PassesOff: f.passesOff, ElementLines: f.lines, ExplainCost: f.costs})
	list = append(list, more...)
	if result == nil {
		return nil, list, nil
	}
	t := &translated{Result: result}
	t.text, err = nftgen.Text(result.Ruleset)
	if tooLarge := new(nftgen.RuleSizeError); errors.As(err, &tooLarge) {
		list.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Unsupported, Code: "rule-too-large",
			Summary: "the translation of a rule is larger than nf_tables allows",
			Detail:  tooLarge.Error() + ".\nSplit the rule in two by a user chain, or lower its --hitcount.",
			Subject: tooLarge.Origin, Context: tooLarge.Origin,
		})
		return nil, list, nil
	}
	if err != nil {
		return nil, list, fmt.Errorf("print the translation: %w", err)
	}
	return t, list, nil
}

// foreignTables are the names that iptables-nft claims for itself.
var foreignTables = map[string]bool{"filter": true, "nat": true, "mangle": true, "raw": true, "security": true}

func translateCommand(s *streams) *cobra.Command {
	var (
		files  inputFlags
		flags  translateFlags
		checks checkFlags
		output string
		verify bool
		asJSON bool
		show   costFlags
	)
	c := &cobra.Command{
		Use:   "translate [FILE]...",
		Short: "Translate iptables-save files into an .nft file",
		Long: `Translate reads what iptables-save and ip6tables-save wrote and prints the same
rules for nft -f. With files of both families the result is one inet table.
A shell script of iptables, ip6tables and ipset commands may stand in the place of
those files: it is followed, not run.
Nothing is left out in silence: what has no counterpart is named with its line,
and then nothing is printed (exit code 3).

With --verify the rules and the result are compared for every packet as verify does.
The result of that goes to standard error, and decides the exit code.`,
		Example: "  migrate translate --verify rules.v4\n  iptables-save | migrate translate -\n  migrate translate --v4 rules.v4 --v6 rules.v6 -o firewall.nft",
		RunE: func(c *cobra.Command, args []string) error {
			usual := collectRarely()
			in, err := files.read(s, args)
			if err != nil {
				return err
			}
			t, list, err := flags.translate(in)
			if err != nil {
				return err
			}
			if t == nil {
				return fail(s, asJSON, translateSchema, list)
			}
			if err := tell(s, asJSON, list); err != nil {
				return err
			}
			if err := show.show(s, in, t, flags); err != nil {
				return err
			}
			var r *result
			if verify {
				usual()
				p, err := ourPair(in, t)
				if err != nil {
					return err
				}
				if r, err = checks.check(c.Context(), s, in, p, flags.strict); err != nil {
					return err
				}
			}
			if !asJSON {
				return t.show(s, in, output, r)
			}
			doc := report.Document{Schema: translateSchema, Diagnostics: report.Diagnostics(list), Ruleset: string(t.text)}
			for _, d := range t.Deviations {
				doc.Deviations = append(doc.Deviations, d.Code)
			}
			for _, r := range t.Renamed {
				doc.Renamed = append(doc.Renamed, report.RenameJSON(r))
			}
			if r != nil {
				r.document(&doc)
			}
			var b bytes.Buffer
			if err := doc.Write(&b); err != nil {
				return err
			}
			if err := writeFile(s, output, b.Bytes()); err != nil || r == nil {
				return err
			}
			return verdict(r.word())
		},
	}
	files.register(c, false)
	flags.register(c)
	checks.register(c)
	c.Flags().BoolVar(&verify, "verify", false, "prove that the rules and the result do the same")
	show.register(c, &flags)
	c.Flags().StringVarP(&output, "output", "o", "", "write to `FILE` (mode 0600) instead of standard output")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON document")
	return c
}

// show writes a translation and, when it was checked, what the check found.
func (t *translated) show(s *streams, in *input, output string, r *result) error {
	if err := writeFile(s, output, t.text); err != nil || r == nil {
		return err
	}
	if err := r.show(s.errs, report.Names{A: in.sources(), B: "its translation"}); err != nil {
		return err
	}
	return verdict(r.word())
}
