package host_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/host"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

func parsed(t *testing.T, text string) *iptables.Ruleset {
	t.Helper()
	rs, diags := iptables.Parse(diag.NewSource("rules.v4", []byte(text)), iptables.IPv4, extension.Registry)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	return rs
}

// printed is a ruleset as text, without counters of rules and without the lines that
// all tables have.
func printed(t *testing.T, rs *iptables.Ruleset) string {
	t.Helper()
	if rs == nil {
		return ""
	}
	var b bytes.Buffer
	if err := iptables.Print(&b, rs, iptables.PrintOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	filterHead = "*filter\n:INPUT DROP [7:700]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
	keptHead   = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name           string
		rules          string
		takeOver       []string
		operator, kept string
	}{
		{
			name:     "nobody",
			rules:    ":MY - [0:0]\n-A INPUT -j MY\n-A MY -p tcp -j DROP\n",
			operator: ":MY - [0:0]\n-A INPUT -j MY\n-A MY -p tcp -j DROP\n",
		},
		{
			name: "DOCKER-USER is the operator's",
			rules: ":DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER\n" +
				"-A DOCKER -o docker0 -j DROP\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\n-A DOCKER-USER -j RETURN\n",
			operator: ":DOCKER-USER - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\n-A DOCKER-USER -j RETURN\n",
			kept:     ":DOCKER - [0:0]\n-A FORWARD -j DOCKER\n-A DOCKER -o docker0 -j DROP\n",
		},
		{
			name: "taken over by name, another stays",
			rules: ":DOCKER - [0:0]\n:f2b-sshd - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd\n-A FORWARD -j DOCKER\n" +
				"-A f2b-sshd -s 192.0.2.1/32 -j DROP\n-A f2b-sshd -j RETURN\n",
			takeOver: []string{"docker"},
			operator: ":DOCKER - [0:0]\n-A FORWARD -j DOCKER\n",
			kept:     ":f2b-sshd - [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd\n-A f2b-sshd -s 192.0.2.1/32 -j DROP\n-A f2b-sshd -j RETURN\n",
		},
		{
			name:     "all taken over",
			rules:    ":DOCKER - [0:0]\n-A FORWARD -j DOCKER\n",
			takeOver: []string{"all"},
			operator: ":DOCKER - [0:0]\n-A FORWARD -j DOCKER\n",
		},
		{
			name:     "ufw is converted, but not what it leads to",
			rules:    ":f2b-x - [0:0]\n:ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n-A ufw-user-input -p tcp -j f2b-x\n-A ufw-user-input -p udp -j DROP\n",
			operator: ":ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n-A ufw-user-input -p udp -j DROP\n",
			kept:     ":f2b-x - [0:0]\n:ufw-user-input - [0:0]\n-A INPUT -j ufw-user-input\n-A ufw-user-input -p tcp -j f2b-x\n",
		},
		{
			name: "the way to an owner's rule",
			rules: ":LAN - [0:0]\n:f2b-x - [0:0]\n-A INPUT -p udp -j DROP\n-A INPUT -s 10.0.0.0/8 -g LAN\n-A LAN -p icmp -j ACCEPT\n-A LAN -j f2b-x\n" +
				"-A LAN -p tcp -m comment --comment \"generated for LXD network x\" -j DROP\n",
			operator: ":LAN - [0:0]\n-A INPUT -p udp -j DROP\n-A INPUT -s 10.0.0.0/8 -g LAN\n-A LAN -p icmp -j ACCEPT\n",
			kept: ":LAN - [0:0]\n:f2b-x - [0:0]\n-A INPUT -s 10.0.0.0/8 -g LAN\n-A LAN -j f2b-x\n" +
				"-A LAN -p tcp -m comment --comment \"generated for LXD network x\" -j DROP\n",
		},
		{
			name: "what owners lead to is in both",
			rules: ":LOG_DROP - [0:0]\n:SAY - [0:0]\n:f2b-x - [0:0]\n-A INPUT -j f2b-x\n-A INPUT -p udp -j LOG_DROP\n-A LOG_DROP -j SAY\n-A LOG_DROP -j DROP\n" +
				"-A SAY -j LOG\n-A f2b-x -s 192.0.2.1/32 -j LOG_DROP\n",
			operator: ":LOG_DROP - [0:0]\n:SAY - [0:0]\n-A INPUT -p udp -j LOG_DROP\n-A LOG_DROP -j SAY\n-A LOG_DROP -j DROP\n-A SAY -j LOG\n",
			kept: ":LOG_DROP - [0:0]\n:SAY - [0:0]\n:f2b-x - [0:0]\n-A INPUT -j f2b-x\n-A LOG_DROP -j SAY\n-A LOG_DROP -j DROP\n" +
				"-A SAY -j LOG\n-A f2b-x -s 192.0.2.1/32 -j LOG_DROP\n",
		},
	} {
		rs := parsed(t, filterHead+c.rules+"COMMIT\n")
		operator, kept := host.Split(rs, c.takeOver...)
		if diff := cmp.Diff(filterHead+c.operator+"COMMIT\n", printed(t, operator)); diff != "" {
			t.Errorf("%s, operator (-want +got):\n%s", c.name, diff)
		}
		want := ""
		if c.kept != "" {
			want = keptHead + c.kept + "COMMIT\n"
		}
		if diff := cmp.Diff(want, printed(t, kept)); diff != "" {
			t.Errorf("%s, kept (-want +got):\n%s", c.name, diff)
		}
		if len(c.takeOver) > 0 {
			continue // rules of owners are the operator's then
		}
		if err := divided(rs, operator, kept, 100000); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// ways lists each way of jumps from a built-in chain to a rule, as the lines of the
// rules on it; nil when there are too many.
func ways(rs *iptables.Ruleset, most int) (list []string) {
	if rs == nil {
		return nil
	}
	var walk func(t *iptables.Table, c *iptables.Chain, way string)
	walk = func(t *iptables.Table, c *iptables.Chain, way string) {
		for _, r := range c.Rules {
			if len(list) > most {
				return
			}
			here := fmt.Sprintf("%s\n  %d %s", way, r.Range.Start, iptables.PrintRule(r, c.Name))
			list = append(list, here)
			if r.Action.Kind == iptables.Jump || r.Action.Kind == iptables.Goto {
				if to := t.Chain(r.Action.Name); to != nil {
					walk(t, to, here)
				}
			}
		}
	}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			if c.Builtin {
				walk(t, c, t.Name)
			}
		}
	}
	if len(list) > most {
		return nil
	}
	return list
}

// divided checks the parts of a ruleset without asking how they were made: both can be
// loaded, the operator's has nothing of owners, rules keep their order, policies are
// where they belong, and each way of jumps of the whole is a way in the part where it
// has to be, and no other is anywhere.
func divided(rs, operator, kept *iptables.Ruleset, most int) error {
	for _, c := range host.Owners(operator) {
		if c.Action != host.Convert {
			return fmt.Errorf("the operator's part has rules of %s: %v, %d rules", c.Name, c.Chains, c.Rules)
		}
	}
	for _, part := range []*iptables.Ruleset{operator, kept} {
		if part == nil {
			continue
		}
		for _, t := range part.Tables {
			whole := rs.Table(t.Name)
			for _, c := range t.Chains {
				from := whole.Chain(c.Name)
				if policy := from.Policy; part == operator && c.Policy != policy || part == kept && c.Builtin && c.Policy != "ACCEPT" {
					return fmt.Errorf("the policy of %s is %q", c.Name, c.Policy)
				}
				rest := from.Rules
				for _, r := range c.Rules {
					i := slices.Index(rest, r)
					if i < 0 {
						return fmt.Errorf("rules of chain %s are not those of the whole in their order", c.Name)
					}
					rest = rest[i+1:]
					if (r.Action.Kind == iptables.Jump || r.Action.Kind == iptables.Goto) && t.Chain(r.Action.Name) == nil {
						return fmt.Errorf("%s leads to a chain that is not there", iptables.PrintRule(r, c.Name))
					}
				}
			}
		}
	}
	// Marks of owners, told from the words of a line alone.
	foreign := func(way string) bool {
		for _, line := range strings.Split(way, "\n")[1:] {
			for _, mark := range []string{" DOCKER ", " DOCKER-FORWARD ", " f2b-", " KUBE-", "generated for LXD"} {
				if strings.Contains(line+" ", mark) {
					return true
				}
			}
		}
		return false
	}
	whole, a, b := ways(rs, most), ways(operator, most), ways(kept, most)
	set := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, w := range list {
			m[w] = true
		}
		return m
	}
	inWhole, inA, inB := set(whole), set(a), set(b)
	for _, w := range whole {
		if foreign(w) && !inB[w] {
			return fmt.Errorf("no way in what stays:\n%s", w)
		}
		if !foreign(w) && !inA[w] && !inB[w] {
			return fmt.Errorf("no way in any part:\n%s", w)
		}
	}
	for _, w := range slices.Concat(a, b) {
		if !inWhole[w] {
			return fmt.Errorf("a way that was not there:\n%s", w)
		}
	}
	return nil
}

// random makes a table in which chains of the operator and of owners lead to one
// another, without loops.
func random(r *rand.Rand) string {
	names := []string{"MY1", "DOCKER", "f2b-a", "MY2", "DOCKER-USER", "KUBE-X", "MY3", "DOCKER-FORWARD", "MY4", "f2b-b"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:2+r.IntN(len(names)-1)]
	var b strings.Builder
	b.WriteString(filterHead)
	for _, n := range slices.Sorted(slices.Values(names)) {
		fmt.Fprintf(&b, ":%s - [0:0]\n", n)
	}
	chains := append([]string{"INPUT", "FORWARD"}, names...)
	for i, c := range chains {
		below := chains[max(i+1, 2):]
		for range r.IntN(5) {
			line := fmt.Sprintf("-A %s -s 10.0.0.%d/32", c, r.IntN(250)+1)
			switch n := r.IntN(8); {
			case n < 4 && len(below) > 0:
				line += " -" + []string{"j", "g"}[r.IntN(2)] + " " + below[r.IntN(len(below))]
			case n == 4:
				line += " -m comment --comment \"generated for LXD network l\" -j DROP"
			default:
				line += " -j " + []string{"ACCEPT", "DROP", "RETURN"}[r.IntN(3)]
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String() + "COMMIT\n"
}

// TestSplitRandom divides random tables, and wants most of them to have both parts.
func TestSplitRandom(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("MIGRATE_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MIGRATE_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 6))
	both := 0
	for range 2000 {
		text := random(r)
		rs := parsed(t, text)
		operator, kept := host.Split(rs)
		if err := divided(rs, operator, kept, 100000); err != nil {
			t.Fatalf("%v\nof\n%s\noperator\n%s\nkept\n%s", err, text, printed(t, operator), printed(t, kept))
		}
		if kept == nil {
			continue
		}
		both++
		// What stays is all of owners again, and nothing of it is lost when it is
		// read again and divided once more.
		again := parsed(t, printed(t, kept))
		if _, twice := host.Split(again); printed(t, twice) != printed(t, kept) {
			t.Fatalf("divided again:\n%s\nof\n%s", printed(t, twice), printed(t, kept))
		}
	}
	if both < 1000 {
		t.Errorf("only %d of 2000 tables had rules of owners", both)
	}
}

// TestDividedFindsMistakes plants mistakes that divided must find.
func TestDividedFindsMistakes(t *testing.T) {
	text := filterHead + ":LAN - [0:0]\n:LOG_DROP - [0:0]\n:f2b-x - [0:0]\n-A INPUT -p udp -j LOG_DROP\n-A INPUT -s 10.0.0.0/8 -j LAN\n-A LAN -p icmp -j ACCEPT\n-A LAN -j f2b-x\n" +
		"-A LOG_DROP -j DROP\n-A f2b-x -s 192.0.2.1/32 -j LOG_DROP\nCOMMIT\n"
	for name, spoil := range map[string]func(operator, kept *iptables.Table){
		"a kept rule is lost": func(_, kept *iptables.Table) { kept.Chain("f2b-x").Rules = nil },
		"the way is lost":     func(_, kept *iptables.Table) { kept.Chain("INPUT").Rules = nil },
		"the copy is lost":    func(_, kept *iptables.Table) { kept.Chain("LOG_DROP").Rules = nil },
		"an operator's rule is lost": func(operator, _ *iptables.Table) {
			operator.Chain("LAN").Rules = nil
		},
		"the policy is lost":  func(operator, _ *iptables.Table) { operator.Chain("INPUT").Policy = "ACCEPT" },
		"the policy stays":    func(_, kept *iptables.Table) { kept.Chain("INPUT").Policy = "DROP" },
		"the order is turned": func(operator, _ *iptables.Table) { slices.Reverse(operator.Chain("INPUT").Rules) },
		"an owner's rule is converted": func(operator, kept *iptables.Table) {
			operator.AddChain("f2b-x").Rules = kept.Chain("f2b-x").Rules
			operator.Chain("LAN").Rules = append(operator.Chain("LAN").Rules, kept.Chain("LAN").Rules...)
		},
		"a rule leads nowhere": func(operator, kept *iptables.Table) {
			operator.Chain("LAN").Rules = append(operator.Chain("LAN").Rules, kept.Chain("LAN").Rules...)
		},
	} {
		rs := parsed(t, text)
		operator, kept := host.Split(rs)
		if err := divided(rs, operator, kept, 1000); err != nil {
			t.Fatal(err)
		}
		spoil(operator.Table("filter"), kept.Table("filter"))
		if err := divided(rs, operator, kept, 1000); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

// TestSplitCorpus divides real rulesets, and loads both parts of each that this kernel can load as a whole.
func TestSplitCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-nft-restore"), testkit.Tool("iptables-nft-save"))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		rs, diags := iptables.Parse(diag.NewSource(file, text), 0, extension.Registry)
		if diags.HasErrors() || rs.Family != iptables.IPv4 {
			continue
		}
		operator, kept := host.Split(rs)
		if kept == nil {
			continue
		}
		for _, c := range host.Owners(operator) {
			if c.Action != host.Convert {
				t.Errorf("%s: the operator's part has rules of %s", filepath.Base(file), c.Name)
			}
		}
		if _, err := reloaded(t, printed(t, rs)); err != nil {
			t.Logf("%s cannot be loaded here: %v", filepath.Base(file), err)
			continue
		}
		count++
		for _, part := range []*iptables.Ruleset{operator, kept} {
			want := rulesOnly(printed(t, part))
			got, err := reloaded(t, printed(t, part))
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
			} else if got != want {
				t.Errorf("%s (-want +got):\n%s", filepath.Base(file), cmp.Diff(want, got))
			}
		}
	}
	t.Logf("%d rulesets", count)
	if count < 3 {
		t.Error("hardly any ruleset has rules of owners")
	}
}

// reloaded loads a text in a namespace, and returns the rules that are there then.
func reloaded(t *testing.T, text string) (rules string, err error) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	load := ns.Command("iptables-nft-restore")
	load.Stdin = strings.NewReader(text)
	if out, err := load.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %.200s", err, out)
	}
	out, err := ns.Command("iptables-nft-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	return rulesOnly(string(out)), nil
}

// rulesOnly is the rules of a text, with their tables, in the order of names.
func rulesOnly(text string) string {
	var all []string
	table := ""
	rules := map[string][]string{}
	for _, line := range strings.Split(text, "\n") {
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		}
		if strings.HasPrefix(line, "-A ") {
			rules[table] = append(rules[table], line)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		list := rules[name]
		slices.SortStableFunc(list, func(a, b string) int { return strings.Compare(strings.Fields(a)[1], strings.Fields(b)[1]) })
		all = append(all, "*"+name+"\n"+strings.Join(list, "\n"))
	}
	return strings.Join(all, "\n")
}
