package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the output that README.md shows")

// counted is what changes when packets are chosen otherwise.
var counted = regexp.MustCompile(`\d+ (packet|fragment)s?`)

// TestReadme makes sure that README.md shows what its first command prints, but
// for the numbers of packets.
func TestReadme(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "go run ./cmd/migrate "
	_, line, found := strings.Cut(string(text), command)
	line, _, _ = strings.Cut(line, "\n")
	head, rest, marked := strings.Cut(string(text), "holds it -->\n```\n")
	shown, tail, closed := strings.Cut(rest, "```\n")
	if !found || !marked || !closed {
		t.Fatal("README.md has no command with its output")
	}
	var out, errs bytes.Buffer
	if code := run(strings.Fields(line), strings.NewReader(""), &out, &errs); code != exitNothing {
		t.Fatalf("%s exits with %d: %s", line, code, errs.String())
	}
	printed := out.String() + errs.String()
	if *update {
		if err := os.WriteFile("README.md", []byte(head+"holds it -->\n```\n"+printed+"```\n"+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if masked := counted.ReplaceAllString(printed, "N $1"); masked != counted.ReplaceAllString(shown, "N $1") {
		t.Errorf("README.md shows\n%s\nand the command prints\n%s\nrewrite it by go test ./cmd/migrate -run TestReadme -update", shown, printed)
	}
}
