package iptables

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// realTool says how a private namespace is restored and saved.
type realTool struct {
	ns   *netns.NS
	lock string
}

func newRealTool(t *testing.T) *realTool {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS,
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"),
		testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip6tables-legacy-save"))
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return &realTool{ns: ns, lock: filepath.Join(t.TempDir(), "lock")}
}

// run starts one of the tools and returns what it printed.
func (r *realTool) run(f Family, tool, stdin string, args ...string) (stdout, stderr string, err error) {
	name := "iptables-legacy-" + tool
	if f == IPv6 {
		name = "ip6tables-legacy-" + tool
	}
	cmd := r.ns.Command(name, args...)
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+r.lock)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

// save returns what the save tool prints, without comments.
func (r *realTool) save(t *testing.T, f Family, args ...string) string {
	t.Helper()
	out, stderr, err := r.run(f, "save", "", args...)
	if err != nil {
		t.Fatalf("save: %v: %s", err, stderr)
	}
	var kept strings.Builder
	for line := range strings.Lines(out) {
		if line[0] != '#' {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// TestConfirmRules holds the cases against the real tools: what is refused, and
// what is printed.
func TestConfirmRules(t *testing.T) {
	tool := newRealTool(t)
	for _, c := range ruleCases {
		if c.differs != "" {
			continue
		}
		f := c.family
		if f == 0 {
			f = IPv4
		}
		text := tableText(c.in)
		_, stderr, err := tool.run(f, "restore", text, "-c")
		// Policy lines without counters are refused with -c only.
		if err != nil && strings.Contains(stderr, "invalid policy counters") {
			_, stderr, err = tool.run(f, "restore", text)
		}
		if got, want := err == nil, c.want != ""; got != want {
			t.Errorf("restore of %q: accepted = %v, want %v: %s", c.in, got, want, stderr)
			continue
		}
		if err != nil {
			continue
		}
		r, _ := parseTest(t, f, text)
		got, want := printTest(t, r, PrintOptions{}), tool.save(t, f)
		if chainsAndRules(got) != chainsAndRules(want) {
			t.Errorf("%q prints\n%s\nsave prints\n%s", c.in, got, want)
		}
	}
}

// chainsAndRules leaves out built-in chains: their policies remain from the
// case before.
func chainsAndRules(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, ":") || strings.Contains(line, " - [") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// TestConfirmDiffering makes sure that the cases that are marked as different
// are different.
func TestConfirmDiffering(t *testing.T) {
	tool := newRealTool(t)
	for _, c := range ruleCases {
		if c.differs == "" {
			continue
		}
		_, _, err := tool.run(IPv4, "restore", tableText(c.in))
		if err != nil && c.want == "" {
			t.Errorf("%q is marked as different (%s), and both refuse it", c.in, c.differs)
		}
		if err == nil && c.want != "" && ruleLines(tool.save(t, IPv4)) == c.want {
			t.Errorf("%q is marked as different (%s), and is not", c.in, c.differs)
		}
	}
}

// TestConfirmTables compares whole texts, with counters.
func TestConfirmTables(t *testing.T) {
	texts := []string{
		"*filter\n:X - [0:0]\n:INPUT DROP [3:4]\n-A INPUT -j X\nCOMMIT\n*filter\n-A OUTPUT\nCOMMIT\n",
		"*nat\n:Z -\n:b -\n:a -\n:A-1 -\n:A1 -\n:_ -\n:OUTPUT ACCEPT [1:2]\nCOMMIT\n",
		"*nat\n:PREROUTING DROP [5:6]\nCOMMIT\n",
		"*filter\n:INPUT DROP [1:2]\n:X - [5:6]\n[7:8] -A INPUT\n-A INPUT -c 9,10\n[18446744073709551615:99999999999999999999] -A X -s 1.1.1.1,2.2.2.2\nCOMMIT\n",
		"*filter\n:INPUT DROP [1:2]\n-A INPUT\n:INPUT ACCEPT [3:4]\nCOMMIT\n",
		"*filter\n:INPUT DROP [1:2]\n:INPUT - [3:4]\n[5:6] -P FORWARD DROP\nCOMMIT\n",
		"*mangle\n[1:2] -A INPUT\n-Z\n[3:4] -A INPUT\nCOMMIT\n",
	}
	for _, text := range texts {
		tool := newRealTool(t)
		if _, stderr, err := tool.run(IPv4, "restore", text, "-c"); err != nil {
			t.Errorf("restore of %q: %v: %s", text, err, stderr)
			continue
		}
		r, list := parseTest(t, IPv4, text)
		if list.HasErrors() {
			t.Errorf("Parse(%q): %v", text, list)
		}
		if got, want := printTest(t, r, PrintOptions{Counters: true}), tool.save(t, IPv4, "-c"); got != want {
			t.Errorf("%q prints\n%s\nsave prints\n%s", text, got, want)
		}
	}
}

// TestConfirmLimits measures where lines and arguments become too long.
func TestConfirmLimits(t *testing.T) {
	tool := newRealTool(t)
	long := func(last string) string { return "-A INPUT -s " + strings.Repeat("1.1.1.1,", tokenMax/8) + last }
	words := func(n int) string { return "-A INPUT -f" + strings.Repeat(" -v", n-3) }
	blanks := func(n int) string { return "-A INPUT" + strings.Repeat(" ", n-8-8) + " -j DROP" }
	for _, c := range []struct {
		name string
		line string
		ok   bool
	}{
		{"longest argument", long("1.1.1.1"), true},
		{"argument too long", long("1.1.1.11"), false},
		{"most arguments", words(tokensMax), true},
		{"too many arguments", words(tokensMax + 1), false},
		{"longest line", blanks(lineMax), true},
		{"line too long", blanks(lineMax + 1), false},
	} {
		text := "*filter\n" + c.line + "\nCOMMIT\n"
		_, stderr, err := tool.run(IPv4, "restore", text)
		if (err == nil) != c.ok {
			t.Errorf("%s: restore: %v, %s", c.name, err, stderr)
		}
		if _, list := parseTest(t, IPv4, text); list.HasErrors() == c.ok {
			t.Errorf("%s: Parse: %v", c.name, list)
		}
	}
}

// TestConfirmRandom makes lines of words that mean something somewhere, and
// compares whether they are accepted and what they print as. The seed is
// printed with each difference.
func TestConfirmRandom(t *testing.T) {
	tool := newRealTool(t)
	phrases := []string{"-s 1.2.3.4", "-d 10/8", "!", "-i eth0", "-o eth+", "-p tcp", "-p udp", "-p 17", "--dport 22", "--sport 1:5",
		"-m comment", `--comment "a b"`, "-j ACCEPT", "-j A", "-g B", "-m mark --mark 0x1/0x3", "-m length", "--length 5:", "-j LOG",
		"--log-prefix x", "--syn", "--tcp-flags SYN,ACK SYN", "-f", "-m multiport --dports 5,6:7", "--sp 7", "--src 1.1.1.1", "--len 8",
		"-m tcp", "-m udp", "--dp 4", "-c 1 2", "x", "--dport", "--log-level 3", "-m comment --comment c"}
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	accepted := 0
	for i := range 1000 {
		line := "-A FORWARD"
		for range 1 + rng.IntN(6) {
			line += " " + phrases[rng.IntN(len(phrases))]
		}
		r, list := parseTest(t, IPv4, tableText(line))
		for _, d := range list {
			if d.Code == "old-negation" {
				line = ""
			}
		}
		if line == "" {
			continue
		}
		_, stderr, err := tool.run(IPv4, "restore", tableText(line))
		if (err == nil) == list.HasErrors() {
			t.Errorf("seed %d, line %d: %s\nrestore: %v %s\nParse: %v", seed, i, line, err, stderr, list)
			continue
		}
		if err != nil {
			continue
		}
		accepted++
		if got, want := printTest(t, r, PrintOptions{}), tool.save(t, IPv4); chainsAndRules(got) != chainsAndRules(want) {
			t.Errorf("seed %d, line %d: %s prints\n%s\nsave prints\n%s", seed, i, line, got, want)
		}
	}
	if accepted < 100 {
		t.Errorf("only %d lines were accepted", accepted)
	}
}
