package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nftmigrate/report"
	"nftmigrate/translate/optimize"
)

// registerPasses makes the flags of the optimisation.
func (f *translateFlags) registerPasses(c *cobra.Command) {
	c.Flags().IntVar(&f.optimize, "optimize", 0, "how much is done to make the rules faster: 0 is rule by rule; 1 keeps their order; 2 also moves rules that have nothing in common")
	c.Flags().BoolVar(&f.lines, "element-lines", false, "give each element of the sets that the optimisation makes its line in the file, as a comment")
	c.Flags().StringSliceVar(&f.passesOff, "no-pass", nil, "leave out passes of the optimisation, by `NAME`: "+passNames())
}

func passNames() string {
	var names []string
	for _, p := range optimize.Passes {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// checkPasses refuses what is no level and no pass.
func (f *translateFlags) checkPasses() error {
	if f.optimize < 0 || f.optimize > optimize.MostLevel {
		return usage("--optimize %d: it is 0, 1 or %d", f.optimize, optimize.MostLevel)
	}
	for _, name := range f.passesOff {
		if !slices.ContainsFunc(optimize.Passes, func(p optimize.Pass) bool { return p.Name == name }) {
			return usage("--no-pass %s: there is no pass of that name; they are %s", name, passNames())
		}
	}
	return nil
}

// costFlags say what is shown of an optimisation beside its result.
type costFlags struct{ diff bool }

func (f *costFlags) register(c *cobra.Command, flags *translateFlags) {
	c.Flags().BoolVar(&flags.costs, "explain-cost", false, "print to standard error what each chain costs a packet before and after the optimisation")
	c.Flags().BoolVar(&f.diff, "diff", false, "print to standard error how the result differs from the translation rule by rule")
}

// show prints what was asked for.
func (f *costFlags) show(s *streams, in *input, t *translated, flags translateFlags) error {
	if flags.costs {
		if err := printCosts(s.errs, t.Costs); err != nil {
			return err
		}
	}
	if !f.diff {
		return nil
	}
	flags.optimize = 0
	plain, _, err := flags.translate(in)
	if err != nil {
		return err
	}
	_, err = io.WriteString(s.errs, report.Diff(string(plain.text), string(t.text)))
	return err
}

// printCosts prints a table of costs.
func printCosts(w io.Writer, costs []optimize.ChainCost) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "rules\tbecame\tns before\tns after\t  chain")
	for _, c := range costs {
		fmt.Fprintf(table, "%d\t%d\t%.0f\t%.0f\t  %s\n", c.Rules, c.Became, c.Before, c.After, c.Chain)
	}
	fmt.Fprintln(table, "A packet that passes no rule of the chain; measured elsewhere, so compare them with each other only.")
	return table.Flush()
}
