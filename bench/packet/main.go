// Packet measures what rulesets cost a packet in the kernel: the same packets are
// written to a TUN device of a namespace of its own for each form of the same rules,
// in turns, and the processor time of the writing thread is compared.
//
//	go run ./bench/packet -shape blacklist,ports -rules 10,100,1000
//
// The forms are: empty (no rules, the base that is subtracted), legacy (xtables), level 0,
// 1 and 2 of the translation. It takes the right to make network namespaces, and
// iptables-legacy-restore.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	shapeNames := flag.String("shape", "", "shapes, by commas; all when empty")
	sizes := flag.String("rules", "10,100,1000", "numbers of rules, by commas")
	rounds := flag.Int("rounds", 31, "how often each form has its turn")
	packets := flag.Int("packets", 2000, "packets of one turn")
	hook := flag.String("hook", "INPUT", "INPUT or FORWARD")
	flag.Parse()
	if err := measure(*shapeNames, *sizes, *hook, *rounds, *packets); err != nil {
		fmt.Fprintln(os.Stderr, "packet:", err)
		os.Exit(1)
	}
}

func measure(names, sizes, hook string, rounds, packets int) error {
	var counts []int
	for _, s := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-rules %s: %q is no number of rules", sizes, s)
		}
		counts = append(counts, n)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "shape\trules\tlegacy\tlevel 0\tlevel 1\tlevel 2\t2/legacy\t2/0\t")
	for _, s := range shapes {
		if names != "" && !slices.Contains(strings.Split(names, ","), s.name) {
			continue
		}
		for _, n := range counts {
			cost, err := s.measure(n, hook, rounds, packets)
			if err != nil {
				return fmt.Errorf("%s of %d rules: %w", s.name, n, err)
			}
			net := func(form string) float64 { return cost[form] - cost["empty"] }
			fmt.Fprintf(table, "%s\t%d", s.name, n)
			for _, f := range forms[1:] {
				fmt.Fprintf(table, "\t%.0f", net(f))
			}
			fmt.Fprintf(table, "\t%.3f\t%.3f\t\n", net("level 2")/net("legacy"), net("level 2")/net("level 0"))
			table.Flush()
		}
	}
	fmt.Println("Nanoseconds of processor time a packet, beyond those without rules; half of the packets meet a rule.")
	return nil
}
