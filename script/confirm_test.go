package script_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/script"
)

// A host is a private network namespace in which scripts are run by a real
// shell. plane is "legacy" or "nft".
type host struct {
	ns    *netns.NS
	dir   string
	plane string
}

func newHost(t testing.TB, plane string) *host {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-"+plane), testkit.Tool("ip6tables-"+plane))
	h := &host{dir: t.TempDir(), plane: plane}
	for _, name := range []string{"iptables", "ip6tables"} {
		for _, tool := range []string{"", "-restore", "-save"} {
			path, err := exec.LookPath(name + "-" + plane + tool)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, filepath.Join(h.dir, name+tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

// fresh gives the host a kernel without rules.
func (h *host) fresh(t testing.TB) {
	t.Helper()
	h.end(t)
	var err error
	if h.ns, err = netns.New(); err != nil {
		t.Fatal(err)
	}
}

func (h *host) end(t testing.TB) {
	if h.ns != nil {
		if err := h.ns.Close(); err != nil {
			t.Error(err)
		}
		h.ns = nil
	}
}

// run runs a program with the tools of the plane under their usual names.
func (h *host) run(t testing.TB, stdin string, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := h.ns.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+h.dir+":"+os.Getenv("PATH"), "XTABLES_LOCKFILE="+filepath.Join(h.dir, "lock"))
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), complaints.String()
}

// save returns the rules of a family in a form that does not depend on the
// order in which chains are listed.
func (h *host) save(t testing.TB, f iptables.Family) string {
	t.Helper()
	out, stderr := h.run(t, "", filepath.Join(h.dir, f.String()+"-save"))
	if stderr != "" && !strings.HasPrefix(stderr, "#") {
		t.Fatalf("save: %s", stderr)
	}
	return normal(out)
}

// normal orders a text of iptables-save, and leaves out tables that say nothing
// and the counters of chains.
func normal(text string) string {
	var out []string
	var chains, rules []string
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			table, chains, rules = line, nil, nil
		case line[0] == ':':
			words := strings.Fields(line)
			if words[1] != "ACCEPT" {
				chains = append(chains, words[0]+" "+words[1])
			}
		case line == "COMMIT":
			slices.Sort(chains)
			slices.SortStableFunc(rules, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
			if len(chains)+len(rules) > 0 {
				out = append(out, strings.Join(append(append([]string{table}, chains...), rules...), "\n"))
			}
		default:
			rules = append(rules, line)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// made returns what a script makes in our model, in the same form.
func made(t testing.TB, text string) (v4, v6, sets string, list diag.List) {
	t.Helper()
	result, list := script.Run(diag.NewSource("script.sh", []byte(text)), extension.Registry)
	print := func(rs *iptables.Ruleset) string {
		if rs == nil {
			return ""
		}
		var b strings.Builder
		if err := iptables.Print(&b, rs, iptables.PrintOptions{}); err != nil {
			t.Fatal(err)
		}
		return normal(b.String())
	}
	if result.Sets != nil {
		var b strings.Builder
		if err := ipset.Print(&b, result.Sets); err != nil {
			t.Fatal(err)
		}
		sets = normalSets(b.String())
	}
	return print(result.V4), print(result.V6), sets, list
}

// failingLines returns the lines whose command fails, by what is reported of
// them, but for those that ask.
func failingLines(list diag.List, asks map[int]bool) string {
	lines := make(map[int]bool)
	for _, d := range list {
		switch d.Code {
		case "not-firewall", "unreachable-command", "shell-pattern", "default-value":
		default:
			if n := d.Subject.Line(); !asks[n] {
				lines[n] = true
			}
		}
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(lines)))
}

// normalSets orders a text of ipset save, and leaves out what the kernel draws by
// lot.
func normalSets(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for i := 0; i+1 < len(words); i++ {
			if words[i] == "initval" || words[i] == "bucketsize" {
				words = slices.Delete(words, i, i+2)
				i--
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
