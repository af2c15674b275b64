// Command measure proves rulesets of growing size equivalent to their
// translation, each in a process of its own, and writes what that took to
// docs/growth.md and to plots beside it.
//
//	go run ./internal/growth/measure
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/internal/growth"
	"nftmigrate/internal/rulegen"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func main() {
	point := flag.String("point", "", "measure one `SHAPE` and print it")
	size := flag.Int("size", 0, "its size")
	budget := flag.Duration("budget", 20*time.Second, "time for one proof; a shape ends with the first that takes longer")
	dir := flag.String("dir", "docs", "folder to write to")
	flag.Parse()
	var err error
	if *point != "" {
		err = one(*point, *size, *budget)
	} else {
		err = all(*dir, *budget)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// A measurement is what one proof took.
type measurement struct {
	Rules   int
	Seconds float64
	Bytes   uint64 // most memory of the process
	Word    equivalence.Word
}

// one proves one ruleset and prints the measurement.
func one(name string, size int, budget time.Duration) error {
	plain, reordered := strings.CutSuffix(name, reorderedEnd)
	i := slices.IndexFunc(rulegen.Shapes, func(s rulegen.Shape) bool { return s.Name == plain })
	if i < 0 {
		return fmt.Errorf("there is no shape %q", name)
	}
	shape := rulegen.Shapes[i]
	save := shape.Generate(size, 1)
	family, v4, v6 := iptables.IPv4, (*iptables.Ruleset)(nil), (*iptables.Ruleset)(nil)
	if shape.IPv6 {
		family = iptables.IPv6
	}
	rs, list := iptables.Parse(diag.NewSource(name, save), family, extension.Registry)
	if list.HasErrors() {
		return fmt.Errorf("%s: %v", name, list)
	}
	other := rs
	if reordered {
		if other, list = iptables.Parse(diag.NewSource(name, rulegen.Reorder(save, passes, 2)), family, extension.Registry); list.HasErrors() {
			return fmt.Errorf("%s: %v", name, list)
		}
	}
	if v4 = other; shape.IPv6 {
		v4, v6 = nil, other
	}
	result, list := translate.Translate(v4, v6, translate.Options{})
	if list.HasErrors() {
		return fmt.Errorf("%s: %v", name, list)
	}
	var codes []string
	for _, d := range result.Deviations {
		codes = append(codes, d.Code)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		return err
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		return err
	}
	source := iptsim.New(rs)
	runtime.GC()
	start := time.Now()
	p, err := equivalence.Prove(context.Background(), source, target, equivalence.ProofOptions{
		Versions: []int{int(family)}, Deviations: codes, Time: budget,
	})
	if err != nil {
		return err
	}
	m := measurement{Seconds: time.Since(start).Seconds(), Word: p.Word}
	m.Rules, _ = rulegen.Count(save)
	if m.Bytes, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that this process had, proc(5).
func peak() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	found := highWater.FindSubmatch(status)
	if found == nil {
		return 0, fmt.Errorf("no VmHWM in /proc/self/status")
	}
	kB, err := strconv.ParseUint(string(found[1]), 10, 64)
	return kB << 10, err
}

// A shape whose name ends so is proven equivalent to the translation of its rules
// in another order: neighbours changed places in so many passes.
const (
	reorderedEnd = ", reordered"
	passes       = 40
)

// sizes are those that each shape is measured at, up to its full size.
var sizes = []int{100, 300, 1000, 3000, 10_000, 30_000, 100_000}

// all measures all shapes and writes the document.
func all(dir string, budget time.Duration) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	var series []growth.Series
	var ended []string
	shapes := slices.Clone(rulegen.Shapes)
	for _, shape := range rulegen.Shapes {
		if slices.Contains([]string{"random", "pooled", "cross", "block"}, shape.Name) {
			shape.Name += reorderedEnd
			shapes = append(shapes, shape)
		}
	}
	for _, shape := range shapes {
		s := growth.Series{Shape: shape.Name}
		list := sizes
		if shape.Name == "gateway" || shape.Name == "gateway6" { // between two sizes
			list = append(slices.Clone(sizes), shape.Full)
			slices.Sort(list)
		}
		for _, size := range list {
			if shape.Name == "kube-proxy" {
				size = size / 11 / 4 * 4 // services; 11 rules each
			}
			if size > shape.Full || size == 0 {
				continue
			}
			cmd := exec.Command(program, "-point", shape.Name, "-size", strconv.Itoa(size), "-budget", budget.String())
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s of %d: %w", shape.Name, size, err)
			}
			var m measurement
			if err := json.Unmarshal(out, &m); err != nil {
				return fmt.Errorf("%s of %d: %w", shape.Name, size, err)
			}
			fmt.Fprintf(os.Stderr, "%s, %d rules: %s, %.3f s, %d MB\n", shape.Name, m.Rules, m.Word, m.Seconds, m.Bytes>>20)
			if m.Word != equivalence.Equivalent {
				ended = append(ended, fmt.Sprintf("- %s, %d rules: %s after %.1f s and %d MB", shape.Name, m.Rules, m.Word, m.Seconds, m.Bytes>>20))
				break
			}
			s.Points = append(s.Points, growth.Point{Rules: m.Rules, Seconds: m.Seconds, Bytes: m.Bytes})
		}
		if len(s.Points) > 0 {
			series = append(series, s)
		}
	}
	return write(dir, budget, series, ended)
}

// write writes the document and the plots.
func write(dir string, budget time.Duration, series []growth.Series, ended []string) error {
	for _, p := range []struct {
		file, title string
		of          growth.Quantity
	}{{"growth-time.svg", "Time of a proof", growth.Time}, {"growth-memory.svg", "Memory of a proof", growth.Memory}} {
		var b bytes.Buffer
		if err := growth.Plot(&b, p.title, p.of, series); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, p.file), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# How a proof grows

What proving generated rulesets equivalent to their translation takes, all tables, both sides. The shapes are those of
`+"`go doc ./internal/rulegen`"+`. A translation has the rules in the same order, so that they are compared one by one; of shapes that
are *reordered* it is that of the same rules in another order (neighbours that no packet tells apart change places, in 40 passes), so
that rules have to be put together. Written by

`+"```\ngo run ./internal/growth/measure\n```"+`

on %d processors (%s, %s); each proof in a process of its own, whose memory includes the parsed rules. A shape ends
with the first proof that is not made within %v and the default memory.

![time](growth-time.svg)

![memory](growth-memory.svg)

`, runtime.NumCPU(), runtime.GOARCH, runtime.Version(), budget)
	if err := growth.Table(&b, series); err != nil {
		return err
	}
	if len(ended) > 0 {
		b.WriteString("\nNot proven within the budget:\n\n")
		for _, line := range ended {
			b.WriteString(line + "\n")
		}
	}
	return os.WriteFile(filepath.Join(dir, "growth.md"), b.Bytes(), 0o644)
}
