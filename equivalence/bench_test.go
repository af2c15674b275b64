package equivalence_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/internal/rulegen"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// shapes are the rulesets of the benchmarks.
var shapes = []struct {
	name   string
	family iptables.Family
	save   func() []byte
}{
	{"gateway-1000", iptables.IPv4, func() []byte { return rulegen.Gateway(1000, 1) }},
	{"gateway-5500", iptables.IPv4, func() []byte { return rulegen.Gateway(rulegen.GatewayRules, 1) }},
	{"gateway6-6200", iptables.IPv6, func() []byte { return rulegen.Gateway6(rulegen.Gateway6Rules, 1) }},
	{"kubeproxy-11008", iptables.IPv4, func() []byte { return rulegen.KubeProxy(1000, 1) }},
	{"kubeproxy-110008", iptables.IPv4, func() []byte { return rulegen.KubeProxy(rulegen.KubeServices, 1) }},
	{"kubeproxy-968", iptables.IPv4, func() []byte { return rulegen.KubeProxy(88, 1) }},
	{"random-1000", iptables.IPv4, func() []byte { return rulegen.Random(1000, 1) }},
	{"block-10000", iptables.IPv4, func() []byte { return rulegen.Block(10000, 1) }},
}

// both makes the machines of rules and of their translation, and the deviations
// that the translation declares.
func both(tb testing.TB, save []byte, family iptables.Family) (a, b equivalence.Machine, codes []string) {
	tb.Helper()
	rs, list := iptables.Parse(diag.NewSource("rules", save), family, extension.Registry)
	if list.HasErrors() {
		tb.Fatal(list)
	}
	a, b, codes, ok := bothOf(tb, rs, family)
	if !ok {
		tb.Fatal("not translated")
	}
	return a, b, codes
}

// bothOf is both for a ruleset that was read; ok is false for one that is not
// translated.
func bothOf(tb testing.TB, rs *iptables.Ruleset, family iptables.Family) (a, b equivalence.Machine, codes []string, ok bool) {
	tb.Helper()
	v4, v6 := rs, (*iptables.Ruleset)(nil)
	if family == iptables.IPv6 {
		v4, v6 = nil, rs
	}
	result, list := translate.Translate(v4, v6, translate.Options{})
	if list.HasErrors() {
		return nil, nil, nil, false
	}
	for _, d := range result.Deviations {
		codes = append(codes, d.Code)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		tb.Fatal(err)
	}
	return iptsim.New(rs), target, codes, true
}

// BenchmarkProve proves rulesets equivalent to their translation.
func BenchmarkProve(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			source, target, codes := both(b, s.save(), s.family)
			for b.Loop() {
				benchmark(b, source, target, s.family, codes, equivalence.Equivalent)
			}
		})
	}
}

// BenchmarkRefute finds the packet that shows a small change of a ruleset.
func BenchmarkRefute(b *testing.B) {
	for _, s := range shapes {
		b.Run(s.name, func(b *testing.B) {
			save := s.save()
			mutated, what := rulegen.Mutate(save, 1)
			if what == "" {
				b.Fatal("nothing to change")
			}
			source, _, _ := both(b, save, s.family)
			_, target, codes := both(b, mutated, s.family)
			for b.Loop() {
				benchmark(b, source, target, s.family, codes, "")
			}
		})
	}
}

// BenchmarkProveCorpus compares each ruleset of MIGRATE_CORPUS that translates with
// its translation. It says how many are proven equivalent, and how long half of the
// proofs take at most.
func BenchmarkProveCorpus(b *testing.B) {
	type subject struct {
		source, target equivalence.Machine
		family         iptables.Family
		codes          []string
	}
	var subjects []subject
	files, err := filepath.Glob(filepath.Join(testkit.Corpus(b), "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			rs, list := iptables.Parse(diag.NewSource(file, text), family, extension.Registry)
			if list.HasErrors() {
				continue
			}
			source, target, codes, ok := bothOf(b, rs, family)
			if ok {
				subjects = append(subjects, subject{source, target, family, codes})
				break
			}
		}
	}
	var times []time.Duration
	equivalent := 0
	for b.Loop() {
		equivalent = 0
		for _, s := range subjects {
			p, err := equivalence.Prove(context.Background(), s.source, s.target, equivalence.ProofOptions{Versions: []int{int(s.family)}, Deviations: s.codes})
			switch {
			case err != nil:
				b.Fatal(err)
			case p.Word == equivalence.Different:
				b.Fatal("a translation is different")
			case p.Word == equivalence.Equivalent:
				equivalent++
			}
			times = append(times, p.Elapsed)
		}
	}
	slices.Sort(times)
	b.ReportMetric(float64(len(subjects)), "rulesets")
	b.ReportMetric(float64(equivalent), "equivalent")
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(times[len(times)*9/10].Microseconds())/1000, "p90-ms")
}

// benchmark makes one proof; want is the word, "" is any but Undecided.
func benchmark(b *testing.B, source, target equivalence.Machine, family iptables.Family, codes []string, want equivalence.Word) {
	p, err := equivalence.Prove(context.Background(), source, target, equivalence.ProofOptions{Versions: []int{int(family)}, Deviations: codes})
	if err != nil {
		b.Fatal(err)
	}
	if p.Word == equivalence.Undecided || want != "" && p.Word != want {
		b.Fatalf("%s: %s %v", p.Word, p.Incomplete, p.Unknown)
	}
	b.ReportMetric(float64(p.Nodes), "nodes")
}
