package extension_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

// A spelling is a rule, and how iptables-save prints it, or "" when
// iptables-restore refuses it.
//
// stricter says that we refuse what iptables takes: it does not do what is
// written. The reason stands at the value that refuses it.
type spelling struct {
	rule, printed string
	stricter      bool
}

// readSpellings reads testdata/spelling_*.txt: a rule, and below it, indented,
// how it is printed, or "refused".
func readSpellings(t *testing.T, name string) []spelling {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatalf("read spellings: %v", err)
	}
	var list []spelling
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines)%2 != 0 {
		t.Fatalf("%s: a rule without its print", name)
	}
	for i := 0; i < len(lines); i += 2 {
		s := spelling{rule: lines[i], printed: strings.TrimSpace(lines[i+1])}
		if s.printed, s.stricter = strings.CutPrefix(s.printed, "refused by us: "); s.printed == "refused" {
			s.printed = ""
		}
		list = append(list, s)
	}
	return list
}

var spellingFiles = []struct {
	name   string
	family iptables.Family
	tool   string
}{
	{"spelling_v4.txt", iptables.IPv4, "iptables-legacy"},
	{"spelling_v6.txt", iptables.IPv6, "ip6tables-legacy"},
}

func inMangle(rule string) []byte { return fmt.Appendf(nil, "*mangle\n%s\nCOMMIT\n", rule) }

// TestSpelling reads and prints each rule.
func TestSpelling(t *testing.T) {
	for _, file := range spellingFiles {
		for _, s := range readSpellings(t, file.name) {
			rs, list := iptables.Parse(diag.NewSource("rule", inMangle(s.rule)), file.family, extension.Registry)
			want := s.printed
			if s.stricter {
				want = ""
			}
			got := ""
			if !list.HasErrors() {
				got = printedRule(printRules(t, rs))
			}
			if got != want {
				t.Errorf("%s\n  is printed as %q %v\n  want          %q", s.rule, got, list, want)
			}
		}
	}
}

// TestSpellingConfirm gives the same rules to the real tools.
func TestSpellingConfirm(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS,
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"),
		testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip6tables-legacy-save"))
	for _, file := range spellingFiles {
		for _, s := range readSpellings(t, file.name) {
			got := ""
			if saved, err := restoreAndSave(t, file.tool, inMangle(s.rule), nil); err == nil {
				got = printedRule(saved)
			}
			if got != s.printed {
				t.Errorf("%s\n  %s prints %q\n  want     %q", s.rule, file.tool, got, s.printed)
			}
		}
	}
}

// printedRule returns the rules of a save file.
func printedRule(save []byte) string {
	var rules []string
	for line := range bytes.Lines(save) {
		if bytes.HasPrefix(line, []byte("-A ")) {
			rules = append(rules, strings.TrimSuffix(string(line), "\n"))
		}
	}
	return strings.Join(rules, "\n")
}
