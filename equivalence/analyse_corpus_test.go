package equivalence_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/extension"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

// TestAnalyseCorpus holds analyses of real rulesets, and of their translations,
// against packets that are chosen for them.
func TestAnalyseCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testkit.Corpus(t), "*"))
	if err != nil {
		t.Fatal(err)
	}
	answered := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			if held(t, filepath.Base(file), text, family, answered) {
				break
			}
		}
	}
	t.Log(answered)
}

// TestAnalyseArchives does so with the rules of all matches and targets.
func TestAnalyseArchives(t *testing.T) {
	files, err := filepath.Glob("../extension/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	answered := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part, family := range map[string]iptables.Family{"rules.v4": iptables.IPv4, "rules.v6": iptables.IPv6} {
			if _, rules, ok := bytes.Cut(text, []byte("-- "+part+" --\n")); ok {
				rules, _, _ = bytes.Cut(rules, []byte("\n-- "))
				held(t, filepath.Base(file), append(rules, '\n'), family, answered)
			}
		}
	}
	t.Log(answered)
	if answered["SSS"] == 0 || answered["SSN"] == 0 {
		t.Error("nothing was shown")
	}
}

// held holds an analysis of rules, and of their translation, against packets, and
// counts the answers. It reports whether the rules can be read.
func held(t *testing.T, file string, text []byte, family iptables.Family, answered map[string]int) bool {
	rs, list := iptables.Parse(diag.NewSource(file, text), family, extension.Registry)
	if list.HasErrors() {
		return false
	}
	machines := map[string]equivalence.Machine{"iptables": iptsim.New(rs)}
	v4, v6 := rs, (*iptables.Ruleset)(nil)
	if family == iptables.IPv6 {
		v4, v6 = nil, rs
	}
	if _, list := translate.Translate(v4, v6, translate.Options{}); !list.HasErrors() {
		machines["nftables"] = translated(t, v4, v6)
	}
	for name, m := range machines {
		a, err := equivalence.Analyse(context.Background(), m, equivalence.ProofOptions{Versions: []int{int(family)}, Time: time.Minute})
		if err != nil {
			t.Fatalf("%s, %s: %v", file, name, err)
		}
		if a.Incomplete != "" {
			t.Logf("%s, %s, %d rules: %s", file, name, len(a.Rules), a.Incomplete)
		}
		packets, host := equivalence.Candidates(m, int(family), 2000)
		b := &bruteForce{machine: m, analysis: a, states: true, incomplete: a.Incomplete != ""}
		b.packets(packets, host)
		for _, wrong := range b.wrong {
			t.Errorf("%s, %s: %s", file, name, wrong)
		}
		c, err := equivalence.Changes(context.Background(), m, m, equivalence.ProofOptions{Versions: []int{int(family)}, Time: time.Second / 2})
		if err != nil || c.Word == equivalence.Different || c.Word == equivalence.Undecided && c.Incomplete == "" && len(c.Unknown) == 0 {
			t.Errorf("%s, %s: with itself: %v, %v", file, name, c, err)
		}
		answered["rules"] += len(a.Rules)
		for _, f := range a.Rules {
			answered[answers(f)]++
			if f.Undecided != "" && testing.Verbose() {
				t.Logf("%s, %s, %s: %s: %s", file, name, f, answers(f), f.Undecided)
			}
		}
	}
	return true
}
