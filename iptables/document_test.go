package iptables

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCodesDocumented makes sure that every code of the package has a row in
// docs/diagnostics.md, and every row a code.
func TestCodesDocumented(t *testing.T) {
	document, err := os.ReadFile("../docs/diagnostics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(document), "(package `iptables`)")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1) {
		documented[m[1]] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`Code(?:, d\.Summary(?:, d\.Subject)?)?\s*(?::|=)\s*"([a-z-]+)"`)
	used := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllStringSubmatch(string(source), -1) {
			used[m[1]] = true
		}
	}
	for code := range used {
		if !documented[code] {
			t.Errorf("code %s is not documented", code)
		}
	}
	for code := range documented {
		if !used[code] {
			t.Errorf("code %s is documented, and not used", code)
		}
	}
}
