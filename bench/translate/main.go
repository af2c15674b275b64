// Translate measures what a translation takes next to iptables-restore-translate: the
// same rulesets are given to both in turns, and the times of the processes are compared.
//
//	go run ./bench/translate -rules 10000,100000
//
// One column is the processor time of both kinds, user and system, the other the time
// that passes; of several runs the median. Before that, with -set, come a set of ipset
// and rules, against iptables-restore-translate with the rules alone, since it takes no
// sets. Needed are iptables-restore-translate and ip6tables-restore-translate.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	var b bench
	names := flag.String("shape", "", "shapes, by commas; all when empty; set for the set alone")
	sizes := flag.String("rules", "10000,100000", "numbers of rules, by commas")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each program has its turn")
	flag.IntVar(&b.elements, "set", 0, "elements of the set; 0 for none")
	flag.StringVar(&b.program, "migrate", "", "the program; built when empty")
	flag.StringVar(&b.keep, "keep", "", "a directory that gets the rulesets")
	flag.Parse()
	if err := b.run(*names, *sizes); err != nil {
		fmt.Fprintln(os.Stderr, "translate:", err)
		os.Exit(1)
	}
}

type bench struct {
	rounds, elements int
	program, keep    string
	dir              string
	table            *tabwriter.Writer
}

func (b *bench) run(names, sizes string) (err error) {
	var counts []int
	for _, s := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-rules %s: %q is no number of rules", sizes, s)
		}
		counts = append(counts, n)
	}
	temporary, err := os.MkdirTemp("", "translate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if b.dir = b.keep; b.dir == "" {
		b.dir = temporary
	}
	if b.program == "" {
		b.program = filepath.Join(temporary, "migrate")
		if out, err := exec.Command("go", "build", "-o", b.program, "nftmigrate/cmd/migrate").CombinedOutput(); err != nil {
			return fmt.Errorf("build migrate: %w\n%s", err, out)
		}
	}
	b.table = tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(b.table, "shape\trules\tprocessor: theirs\tlevel 0\tlevel 2\ttheirs/0\ttheirs/2\tpassed: theirs\tlevel 0\tlevel 2\ttheirs/0\ttheirs/2\t")
	if b.elements > 0 {
		if err := b.measureSet(counts[len(counts)-1]); err != nil {
			return err
		}
	}
	for _, s := range shapes {
		if names != "" && !slices.Contains(strings.Split(names, ","), s.name) {
			continue
		}
		for _, n := range counts {
			v4, v6 := s.write(n, rand.New(rand.NewPCG(uint64(n), 1)))
			if err := b.measure(s.name, n, v4, v6, nil, ""); err != nil {
				return fmt.Errorf("%s of %d rules: %w", s.name, n, err)
			}
		}
	}
	fmt.Println("Seconds; of the times of each program the median. How often ours fits into theirs, by level of --optimize.")
	return b.table.Flush()
}

// measureSet is about a set and n rules.
func (b *bench) measureSet(n int) error {
	r := rand.New(rand.NewPCG(uint64(b.elements), 2))
	text, rule := sets(b.elements, r)
	i := slices.IndexFunc(shapes, func(s shape) bool { return s.name == "address-port" })
	rules, _ := shapes[i].write(n, r)
	return b.measure(fmt.Sprintf("set of %d", b.elements), n, rules, nil, text, rule)
}

// A cost is what a run takes.
type cost struct{ processor, passed time.Duration }

// measure has the programs in turns and prints a line. Only ours gets the set, and the
// rule about it.
func (b *bench) measure(name string, n int, v4, v6, set []byte, setRule string) error {
	file := func(kind string, text []byte) (string, error) {
		path := filepath.Join(b.dir, fmt.Sprintf("%s-%d.%s", strings.ReplaceAll(name, " ", "-"), n, kind))
		return path, os.WriteFile(path, text, 0o600)
	}
	path4, err := file("v4", v4)
	if err != nil {
		return err
	}
	theirs := [][]string{{"iptables-restore-translate", "-f", path4}}
	ours := []string{b.program, "translate", "--allow", "deviation", "--v4", path4}
	count := bytes.Count(v4, []byte("\n-A "))
	if v6 != nil {
		path6, err := file("v6", v6)
		if err != nil {
			return err
		}
		theirs = append(theirs, []string{"ip6tables-restore-translate", "-f", path6})
		ours = append(ours, "--v6", path6)
		count += bytes.Count(v6, []byte("\n-A "))
	}
	if set != nil {
		path, err := file("ipset", set)
		if err != nil {
			return err
		}
		withSet, err := file("with-set.v4", bytes.Replace(v4, []byte("-A "), []byte(setRule+"-A "), 1))
		if err != nil {
			return err
		}
		ours = []string{b.program, "translate", "--allow", "deviation", "--v4", withSet, "--ipset", path}
	}
	var costs [3][]cost
	for range b.rounds {
		for i, commands := range [][][]string{theirs, {ours}, {append(slices.Clip(ours), "--optimize", "2")}} {
			c, err := spend(commands)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], c)
		}
	}
	fmt.Fprintf(b.table, "%s\t%d", name, count)
	for _, of := range []func(cost) time.Duration{func(c cost) time.Duration { return c.processor }, func(c cost) time.Duration { return c.passed }} {
		var s [3]float64
		for i := range costs {
			s[i] = median(costs[i], of).Seconds()
			fmt.Fprintf(b.table, "\t%.3f", s[i])
		}
		fmt.Fprintf(b.table, "\t%.1f\t%.1f", s[0]/s[1], s[0]/s[2])
	}
	fmt.Fprintln(b.table, "\t")
	return nil
}

// spend runs commands one after the other.
func spend(commands [][]string) (c cost, err error) {
	for _, args := range commands {
		run := exec.Command(args[0], args[1:]...)
		var errs bytes.Buffer
		run.Stderr = &errs
		out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return c, err
		}
		run.Stdout = out
		began := time.Now()
		err = run.Run()
		c.passed += time.Since(began)
		out.Close()
		if err != nil {
			return c, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, errs.Bytes()[:min(errs.Len(), 2000)])
		}
		c.processor += run.ProcessState.UserTime() + run.ProcessState.SystemTime()
	}
	return c, nil
}

func median(list []cost, of func(cost) time.Duration) time.Duration {
	var all []time.Duration
	for _, c := range list {
		all = append(all, of(c))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
