package rulegen

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// tablesOf returns the tables of a text by their names, without comments.
func tablesOf(text string) map[string]string {
	tables := make(map[string]string)
	name := ""
	for line := range strings.Lines(text) {
		if line[0] == '*' {
			name = line
		}
		if line[0] != '#' {
			tables[name] += line
		}
	}
	return tables
}

// TestConfirm loads a small ruleset of each shape, another order and a mutant of
// it into the kernel by the real tools, and compares what they save.
func TestConfirm(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS,
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"),
		testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip6tables-legacy-save"))
	for _, s := range Shapes {
		t.Run(s.Name, func(t *testing.T) {
			text := s.Generate(150, 2)
			mutant, what := Mutate(text, 3)
			confirm(t, s, text, "")
			confirm(t, s, Reorder(text, 10, 4), "reordered")
			confirm(t, s, mutant, what)
		})
	}
}

func confirm(t *testing.T, s Shape, text []byte, what string) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}()
	env := append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	run := func(tool string, args ...string) string {
		name := "iptables-legacy-" + tool
		if s.IPv6 {
			name = "ip6tables-legacy-" + tool
		}
		cmd := ns.Command(name, args...)
		cmd.Env, cmd.Stdin = env, bytes.NewReader(text)
		var out, complaints bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &complaints
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %s %v: %v: %s", what, name, args, err, complaints.String())
		}
		return out.String()
	}
	run("restore", "--test")
	run("restore")
	want := tablesOf(string(text))
	got := tablesOf(run("save"))
	maps.DeleteFunc(got, func(name string, _ string) bool { return want[name] == "" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: saved otherwise (-want +got):\n%s", what, diff)
	}
}
