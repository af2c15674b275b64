package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the outputs that documents show")

// counted is what changes when packets are chosen otherwise, or diagrams are
// built otherwise.
var counted = regexp.MustCompile(`\d+ (packet|node)s?`)

// wantShown makes sure that a document shows an output, but for the numbers of
// packets and nodes, in the block behind a comment that says so.
func wantShown(t *testing.T, name, printed string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "holds it -->\n```\n", "```\n"
	head, rest, marked := strings.Cut(string(text), begin)
	shown, tail, closed := strings.Cut(rest, end)
	if !marked || !closed {
		t.Fatalf("%s has no block for an output", name)
	}
	if *update {
		if err := os.WriteFile(name, []byte(head+begin+printed+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if counted.ReplaceAllString(printed, "N $1") != counted.ReplaceAllString(shown, "N $1") {
		t.Errorf("%s shows\n%s\nand the command prints\n%s\nrewrite it by go test ./cmd/migrate -run %s -update", name, shown, printed, t.Name())
	}
}

// TestReadme runs the first command of README.md.
func TestReadme(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(text), "go run ./cmd/migrate ")
	line, _, _ = strings.Cut(line, "\n")
	if !found {
		t.Fatal("README.md has no command")
	}
	var out, errs bytes.Buffer
	if code := run(strings.Fields(line), strings.NewReader(""), &out, &errs); code != exitNothing {
		t.Fatalf("%s exits with %d: %s", line, code, errs.String())
	}
	wantShown(t, "README.md", out.String()+errs.String())
}
