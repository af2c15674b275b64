package optimize_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"nftmigrate/translate/optimize"
)

// TestDocument holds the list of passes in docs/optimize.md against the one that runs.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/optimize.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, p := range optimize.Passes {
		fmt.Fprintf(&rows, "| `%s` | %d | %s |\n", p.Name, p.Level, p.Doc)
	}
	if !strings.Contains(string(text), rows.String()) {
		t.Errorf("docs/optimize.md does not list the passes as they are:\n%s", rows.String())
	}
}
