// Switch measures what packets see while rules are switched: packets of known
// fate go through a namespace of its own, as fast as one processor sends them,
// while the rules change again and again, from one version to another or from
// legacy xtables to nf_tables and back.
//
//	go run ./bench/switch -shape whitelist-hash,services -rules 1000 -switches 100
//
// Way "naive" is one transaction, for comparison. It takes the right to make
// network namespaces, and iptables-legacy-restore.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	shapeNames := flag.String("shape", "", "shapes, by commas; all when empty")
	sizes := flag.String("rules", "1000", "numbers of rules or services, by commas")
	switches := flag.Int("switches", 100, "how often the rules are switched")
	wayName := flag.String("way", "staged", "staged or naive")
	level := flag.Int("O", 2, "level of optimisation")
	kinds := flag.String("kind", "nft,migrate", "nft: one version to the other; migrate: legacy to nft and back")
	pause := flag.Duration("pause", 5*time.Millisecond, "between switches")
	sessions := flag.Bool("sessions", false, "live TCP through NAT instead of packets")
	flag.Parse()
	o := options{way: staged, switches: *switches, level: *level, pause: *pause}
	if *wayName == naive.name {
		o.way = naive
	}
	var err error
	if *sessions {
		err = measureSessions(o)
	} else {
		err = measure(*shapeNames, *sizes, *kinds, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "switch:", err)
		os.Exit(1)
	}
}

func measure(names, sizes, kinds string, o options) error {
	const line = "%-17s %6v %-8s %8v %10v %5v %7v %8v %7v %8v\n"
	fmt.Printf(line, "shape", "rules", "kind", "switches", "packets", "kpps", "passed", "dropped", "target", "longest")
	wrong := 0
	for _, s := range shapes {
		if names != "" && !slices.Contains(strings.Split(names, ","), s.name) {
			continue
		}
		for _, size := range strings.Split(sizes, ",") {
			n, err := strconv.Atoi(size)
			if err != nil || n < 1 {
				return fmt.Errorf("-rules %s: %q is no number of rules", sizes, size)
			}
			for _, kind := range strings.Split(kinds, ",") {
				o.migrate = kind == "migrate"
				res, err := s.scenario(n).run(o)
				if err != nil {
					return fmt.Errorf("%s of %d, %s: %w", s.name, n, kind, err)
				}
				wrong += res.wrong()
				fmt.Printf(line, s.name, n, kind, res.switches, res.sent, int(float64(res.sent)/res.took.Seconds()/1000),
					res.wrongPassed, res.wrongDropped, res.wrongTarget, res.longest.Round(time.Millisecond))
			}
		}
	}
	fmt.Println("Passed, dropped and target count packets that were passed, dropped or sent elsewhere wrongly.")
	if wrong > 0 && o.way.name == staged.name {
		return fmt.Errorf("%d packets met neither the old rules nor the new ones", wrong)
	}
	return nil
}
