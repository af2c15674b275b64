package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nftmigrate/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the outputs that documents show")

// counted is what changes when packets are chosen otherwise.
var counted = regexp.MustCompile(`\d+ (packet|fragment)s?`)

// wantShown makes sure that a document shows an output, but for the numbers of
// packets, in the block behind a comment.
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

// TestIncident puts the line of the incident on top of the rules and asks what
// it changes, as examples/incident/README.md does.
func TestIncident(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	t.Chdir("../..")
	const before = "examples/incident/rules.v4"
	rules, err := os.ReadFile(before)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	after, compiled := filepath.Join(dir, "after.v4"), filepath.Join(dir, "after.nft")
	changed := strings.Replace(string(rules), "-A INPUT -i lo", "-A INPUT -s 10.0.0.0/8 -j DROP\n-A INPUT -i lo", 1)
	if err := os.WriteFile(after, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	want := func(code int, args ...string) string {
		var out, errs bytes.Buffer
		if got := run(args, strings.NewReader(""), &out, &errs); got != code {
			t.Fatalf("%v exits with %d, want %d: %s", args, got, code, errs.String())
		}
		return strings.ReplaceAll(out.String(), dir+"/", "")
	}
	want(exitNothing, "translate", after, "-o", compiled)
	report := want(exitDifferent, "verify", before, compiled)
	_, report, found := strings.Cut(report, "\n\ndifference 1:")
	if !found {
		t.Fatal("verify shows no difference")
	}
	first, _, _ := strings.Cut(report, "\n\n")
	wantShown(t, "examples/incident/README.md", "difference 1:"+first+"\n")
	for _, lost := range []string{"10.0.0.7:4000-192.0.2.1:22", "10.244.3.9:4000-192.0.2.1:8080"} {
		trace := want(exitDifferent, "trace", before, compiled, "--in", "eth0", "--tcp", lost, "--syn", "--ct", "new")
		if !strings.HasSuffix(trace, "→ drop\n") {
			t.Errorf("%s is not dropped:\n%s", lost, trace)
		}
	}
}
