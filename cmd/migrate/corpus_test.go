package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nftmigrate/apply"
	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/scratch"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/translate"
	"nftmigrate/translate/optimize"
)

// corpusPackets is how many packets are compared for each real ruleset.
const corpusPackets = 10000

// TestCorpus takes each real ruleset the whole way, rule by rule and optimised. What iptables-legacy loads
// must be refused by the name of what has no counterpart, or translate, load as
// text and as batch to the same listing, and show no difference. What it does
// not load must come to an end with a diagnostic or a translation.
func TestCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"), testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var translated, refused, rules int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		for level := 0; level <= optimize.MostLevel; level += optimize.MostLevel {
			t.Run(fmt.Sprintf("%s/optimize%d", filepath.Base(file), level), func(t *testing.T) {
				s := &streams{in: bytes.NewReader(nil), out: new(bytes.Buffer), errs: new(bytes.Buffer)}
				in := &input{}
				if err := in.add(diag.NewSource("rules", text), 0); err != nil {
					testkit.NotHere(t, "%v", err)
				}
				family := iptables.IPv4
				if in.v6 != nil {
					family = iptables.IPv6
				}
				loadable := legacyLoads(t, family, text)
				p, list, err := machines(context.Background(), in, &translateFlags{table: "firewall", allow: []string{translate.AllowAll}, optimize: level})
				if err != nil {
					t.Fatal(err)
				}
				if p == nil {
					refusal(t, list, loadable)
					refused++
					return
				}
				translated++
				rules += bytes.Count(text, []byte("\n-A "))
				loadsAlike(t, p)
				checks := &checkFlags{packets: corpusPackets, seed: 1, memory: equivalence.DefaultMemory >> 20, time: equivalence.DefaultTime}
				r, err := checks.check(context.Background(), s, in, p, false)
				if err != nil {
					t.Fatal(err)
				}
				if r.word() == equivalence.Equivalent {
					return
				}
				code := new(bytes.Buffer)
				if err := showCheck(code, in, p, r, nil); err != nil {
					t.Fatal(err)
				}
				t.Errorf("loadable: %v\n%.3000s", loadable, code)
			})
		}
	}
	t.Logf("%d translations of %d rules, with and without optimisation, %d refused", translated, rules, refused)
	if translated == 0 {
		t.Error("no ruleset was translated")
	}
}

func legacyLoads(t *testing.T, family iptables.Family, text []byte) bool {
	t.Helper()
	n := privateNS(t)
	tool := map[iptables.Family]string{iptables.IPv4: "iptables-legacy-restore", iptables.IPv6: "ip6tables-legacy-restore"}[family]
	cmd := n.Command(tool)
	cmd.Stdin = bytes.NewReader(text)
	return cmd.Run() == nil
}

func privateNS(t *testing.T) *netns.NS {
	t.Helper()
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// refusal wants errors with places; of rulesets that a kernel takes, they say
// what is not supported, by its name.
func refusal(t *testing.T, list diag.List, loadable bool) {
	t.Helper()
	if !list.HasErrors() {
		t.Fatal("no translation, and no reason")
	}
	for _, d := range list {
		name := string(d.Subject.Text())
		switch {
		case d.Severity != diag.Error:
		case d.Subject.Source == nil || name == "":
			t.Errorf("an error without a place: %s", d.Summary)
		case loadable && d.Class != diag.Unsupported:
			t.Errorf("%s: the kernel takes this: %s: %s", d.Subject, d.Summary, d.Detail)
		case loadable && !strings.Contains(d.Summary+d.Detail, strings.Fields(name)[0]):
			t.Logf("%s: %q is not named: %s: %s", d.Subject, name, d.Summary, d.Detail)
		}
	}
}

// loadsAlike loads the text by nft and commits the batch.
func loadsAlike(t *testing.T, p *pair) {
	t.Helper()
	byText, list, err := scratch.Load(context.Background(), diag.NewSource("rules.nft", p.text))
	if err != nil || list.HasErrors() {
		t.Fatalf("nft refuses the translation: %v %v", err, list)
	}
	n := privateNS(t)
	if _, err := apply.Commit(context.Background(), n, []apply.Batch{{Messages: p.batch, Labels: p.labels}}, apply.Options{}); err != nil {
		t.Fatalf("commit: %v", err)
	}
	listing, err := n.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(listing) != byText.Listing {
		t.Errorf("the batch is listed as\n%s\nand the text as\n%s", listing, byText.Listing)
	}
}
