package main

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nftmigrate/extension"
	"nftmigrate/iptables"
)

// TestGeneratorCoversExtensions wants every option of every match and target,
// and every negation, in the rulesets of a run.
func TestGeneratorCoversExtensions(t *testing.T) {
	const rulesets = 3000
	written := map[string]int{}
	for n := range uint64(rulesets) {
		g := &generator{Rand: rand.New(rand.NewPCG(3, n)), v6: n%2 == 1, stateless: n%5 == 0, queues: n%3 == 0}
		if n%4 > 1 {
			g.makeSets()
		}
		for line := range strings.Lines(g.ruleset()) {
			count(line, g.v6, written)
		}
	}
	reasons := map[string]bool{}
	for _, name := range wanted() {
		reason, ok := notGenerated(name)
		switch {
		case written[name] == 0 && !ok:
			t.Errorf("%d rulesets do not have %s", rulesets, name)
		case written[name] > 0 && ok:
			t.Errorf("%s is written, and said not to be: %s", name, reason)
		}
		reasons[reason] = true
	}
	for name, reason := range left {
		if !reasons[reason] {
			t.Errorf("the registry has nothing like %s, which is said not to be written", name)
		}
	}
}

// count adds what a rule has to the counts by name.
func count(line string, v6 bool, written map[string]int) {
	part, not := "", ""
	for word := range strings.FieldsSeq(line) {
		switch {
		case word == "-m" || word == "-j":
			part = word
		case part == "-m" || part == "-j":
			part = label(v6, part, word)
			written[part]++
		case strings.HasPrefix(word, "--") && part != "":
			written[part+" "+not+word]++
		}
		not = ""
		if word == "!" {
			not = "! "
		}
	}
}

// label names a match or target of a family.
func label(v6 bool, kind, name string) string {
	if v6 {
		return "v6 " + kind + " " + name
	}
	return "v4 " + kind + " " + name
}

// wanted names everything that a rule can have, by the registry.
func wanted() (names []string) {
	for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
		v6 := family == iptables.IPv6
		for _, name := range extension.Registry.Matches(family) {
			names = append(names, wantedOf(label(v6, "-m", name), extension.Registry.NewMatch(family, name).Options())...)
		}
		for _, name := range extension.Registry.Targets(family) {
			names = append(names, wantedOf(label(v6, "-j", name), extension.Registry.NewTarget(family, name).Options())...)
		}
	}
	return names
}

func wantedOf(label string, options iptables.Options) []string {
	names := []string{label}
	for _, o := range options {
		names = append(names, label+" --"+o.Name)
		if o.Flags&iptables.Invertible != 0 {
			names = append(names, label+" ! --"+o.Name)
		}
	}
	return names
}

// left is what the generator does not write, and why. A name stands for all that
// it begins.
var left = map[string]string{
	"-m bpf --object-pinned":                 "it takes a program that was pinned before",
	"-m dccp --dccp-option":                  "no machine knows the options of DCCP",
	"-m dccp ! --dccp-option":                "no machine knows the options of DCCP",
	"-m hashlimit --hashlimit-rate-match":    noCount,
	"-m hashlimit --hashlimit-rate-interval": noCount,
	"-m rateest":                             noCount,
	"-m ipvs":                                "it takes a kernel with virtual servers",
	"-m set --packets-eq":                    noCounters,
	"-m set ! --packets-eq":                  noCounters,
	"-m set --packets-lt":                    noCounters,
	"-m set --packets-gt":                    noCounters,
	"-m set --bytes-eq":                      noCounters,
	"-m set ! --bytes-eq":                    noCounters,
	"-m set --bytes-lt":                      noCounters,
	"-m set --bytes-gt":                      noCounters,
	"-j SET --map-queue":                     "it is not translated",
	"-j CT --timeout":                        "it is not translated",
	"-j CLUSTERIP":                           "kernels do not have it any more",
	"-j ULOG":                                "kernels do not have it any more",
	"-j SECMARK":                             "it takes a kernel with a policy of SELinux",
	"-m dst --dst-opts":                      "the model of nf_tables does not walk options",
	"-j LED":                                 "it takes a kernel with lights",
}

const noCount = "what an extension counts that is kept, the model of nf_tables does not know"

const noCounters = "rules cannot read the counters of elements"

// notGenerated says why something is not written.
func notGenerated(name string) (reason string, ok bool) {
	_, name, _ = strings.Cut(name, " ") // the family
	at := slices.IndexFunc(leftNames, func(l string) bool { return name == l || strings.HasPrefix(name, l+" ") })
	if at < 0 {
		return "", false
	}
	return left[leftNames[at]], true
}

var leftNames = func() (names []string) {
	for n := range left {
		names = append(names, n)
	}
	return names
}()
