package examples_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the output in the walkthroughs, but for parts that are left out")

// TestWalkthroughs runs each command of each walkthrough, "$ migrate …" in a
// block of code, and compares what it prints with what stands below. "…" stands
// for anything, at the end of a line or as one or more lines of its own.
func TestWalkthroughs(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "nftmigrate/cmd/migrate").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	guides, err := filepath.Glob("*/README.md")
	if err != nil || len(guides) < 4 {
		t.Fatalf("%d walkthroughs: %v", len(guides), err)
	}
	for _, path := range guides {
		t.Run(filepath.Dir(path), func(t *testing.T) { walk(t, filepath.Join(bin, "migrate"), path) })
	}
}

func walk(t *testing.T, program, path string) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```\n") // those of odd number are code
	commands := 0
	for i := 1; i < len(blocks); i += 2 {
		var now strings.Builder
		for _, step := range strings.Split("\n"+blocks[i], "\n$ ")[1:] {
			commands++
			command, want, _ := strings.Cut(step, "\n")
			got := execute(t, program, dir, command)
			if !matches(want, got) {
				if !*update {
					t.Errorf("%s prints\n%s\nand the walkthrough shows\n%s", command, got, want)
				}
				want = got
			}
			now.WriteString("$ " + command + "\n" + strings.TrimSuffix(want, "\n"))
			if want != "" {
				now.WriteString("\n")
			}
		}
		blocks[i] = now.String()
	}
	if commands == 0 {
		t.Error("no command")
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(blocks, "```\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// execute runs a command and returns what it prints.
func execute(t *testing.T, program, dir, command string) string {
	t.Helper()
	args := strings.Fields(command)
	if args[0] != "migrate" {
		t.Fatalf("%q is no command of this program", command)
	}
	if args[1] != "translate" && strings.Contains(command, ".nft") {
		testkit.Need(t, testkit.Tool("nft"), testkit.NetNS)
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out) + "(exit code " + strconv.Itoa(exit.ExitCode()) + ")\n"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// matches compares an output with what is shown of it.
func matches(shown, got string) bool {
	quoted := regexp.QuoteMeta(strings.TrimSuffix(shown, "\n"))
	quoted = regexp.MustCompile(`(?m)^…$`).ReplaceAllLiteralString(quoted, `(?s:.*?)`)
	quoted = strings.ReplaceAll(quoted, "…", ".*")
	return regexp.MustCompile("^" + quoted + "$").MatchString(strings.TrimSuffix(got, "\n"))
}
