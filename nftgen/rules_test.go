package nftgen

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"nftmigrate/diag"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// caseRuleset returns a ruleset of the family that holds the cases it can.
func caseRuleset(family Family, cases []ruleCase) *Ruleset {
	chains := []*Chain{
		{Name: inInput, Base: &Base{Type: "filter", Hook: 1, Drop: true}},
		{Name: inPrerouting, Base: &Base{Type: "filter", Hook: 0, Priority: -300}, Note: "before connections\nare known"},
		{Name: inDstnat, Base: &Base{Type: "nat", Hook: 0, Priority: -100}},
		{Name: inSrcnat, Base: &Base{Type: "nat", Hook: 4, Priority: 100}},
		{Name: "user"},
	}
	for _, k := range cases {
		r := k.rule
		if r.checkIn(family) != nil {
			continue
		}
		name := k.chain
		if name == "" {
			name = inInput
		}
		i := slices.IndexFunc(chains, func(c *Chain) bool { return c.Name == name })
		chains[i].Rules = append(chains[i].Rules, &r)
	}
	return &Ruleset{Head: []string{"the cases"}, Table: &Table{Family: family, Name: "cases", Objects: caseObjects, Sets: caseSets, Chains: chains}}
}

func allCases() []ruleCase {
	return slices.Concat(matchCases, actionCases, objectCases, circumstanceCases, mapCases)
}

// TestRules compares the text and the bytecode of each case, alone in a table
// of both families, with testdata/rules.txt.
func TestRules(t *testing.T) {
	source := diag.NewSource("cases", []byte("rule\n"))
	var got strings.Builder
	for i, k := range allCases() {
		k.rule.Origin = diag.Range{Source: source, End: 4}
		p := printer{family: Inet}
		err := p.rule(&k.rule)
		text := string(p.rules)
		if err != nil {
			t.Errorf("case %d: text: %v", i, err)
			continue
		}
		batch, err := Encode(caseRuleset(Inet, []ruleCase{k}))
		if err != nil {
			t.Errorf("case %q: Encode: %v", text, err)
			continue
		}
		var messages []netlink.Message
		for n, m := range batch.Messages {
			if !batch.Origins[n].IsZero() {
				messages = append(messages, m)
			}
		}
		fmt.Fprintf(&got, "%s\n%s\n", text, notation(messages))
	}
	golden(t, "testdata/rules.txt", got.String())
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// printed returns the text of a ruleset.
func printed(t testing.TB, rs *Ruleset) string {
	t.Helper()
	var b bytes.Buffer
	if err := Print(&b, rs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
