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
	sets := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			rs, list := iptables.Parse(diag.NewSource(filepath.Base(file), text), family, extension.Registry)
			if list.HasErrors() {
				continue
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
				o := equivalence.ProofOptions{Versions: []int{int(family)}, Time: time.Minute}
				a, err := equivalence.Analyse(context.Background(), m, o)
				if err != nil {
					t.Fatalf("%s, %s: %v", filepath.Base(file), name, err)
				}
				if a.Incomplete != "" {
					t.Logf("%s, %s, %d rules: %s", filepath.Base(file), name, len(a.Rules), a.Incomplete)
				}
				packets, host := equivalence.Candidates(m, int(family), 2000)
				b := &bruteForce{machine: m, analysis: a, states: true, incomplete: a.Incomplete != ""}
				b.packets(packets, host)
				for _, wrong := range b.wrong {
					t.Errorf("%s, %s: %s", filepath.Base(file), name, wrong)
				}
				sets++
				answered["rules"] += len(a.Rules)
				for _, f := range a.Rules {
					answered[answers(f)]++
					if f.Undecided != "" && testing.Verbose() {
						t.Logf("%s, %s, %s: %s: %s", filepath.Base(file), name, f, answers(f), f.Undecided)
					}
				}
				if a.Elapsed > 2*time.Second {
					t.Logf("%s, %s, %d rules: %v, %d nodes", filepath.Base(file), name, len(a.Rules), a.Elapsed, a.Nodes)
				}
			}
			break
		}
	}
	t.Logf("%d rulesets: %v", sets, answered)
}
