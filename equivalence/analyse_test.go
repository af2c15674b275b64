package equivalence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/internal/rulegen"
	"nftmigrate/iptables"
)

func analysed(t testing.TB, m equivalence.Machine, versions ...int) *equivalence.Analysis {
	t.Helper()
	a, err := equivalence.Analyse(context.Background(), m, equivalence.ProofOptions{Versions: versions})
	if err != nil || a.Incomplete != "" {
		t.Fatalf("%v, %s", err, a.Incomplete)
	}
	return a
}

// found is what is wanted of a rule: answers by their first letters, and of one
// that never matches the kinds of reasons, with the places of the rules to blame.
type found struct {
	rule    string // a part of its text
	answers string // reached, matched, decides: Shown, Never or ? for not known
	why     string
}

func answers(f *equivalence.RuleFacts) string {
	s := ""
	for _, a := range []equivalence.Answer{f.Reached, f.Matched, f.Decides} {
		s += map[equivalence.Answer]string{equivalence.Shown: "S", equivalence.Never: "N", equivalence.NotKnown: "?"}[a]
	}
	return s
}

func why(f *equivalence.RuleFacts) string {
	var list []string
	for _, r := range f.Why {
		words := string(r.Kind)
		for _, to := range r.Rules {
			_, line, _ := strings.Cut(to.Place, ":")
			if line == "" {
				line = fmt.Sprintf("%s#%d", to.Chain[strings.LastIndex(to.Chain, " ")+1:], to.Number)
			}
			words += " " + line
		}
		list = append(list, words)
	}
	return strings.Join(list, "; ")
}

var reasonCases = []struct {
	name, rules string
	version     int
	// ipt and nft are what is wanted of single rules, of the source and of its
	// translation, by chain and number. Others must be SSS, or SSN when they do
	// not decide.
	ipt []found
	nft map[string]string
}{
	{name: "shadowed by one, by several, by a jump", rules: `
*filter
:INPUT DROP
:FORWARD ACCEPT
:OUTPUT ACCEPT
:web - [0:0]
-A INPUT -s 10.0.0.0/8 -j DROP
-A INPUT -s 10.1.0.0/16 -p tcp -j ACCEPT
-A INPUT -s 192.0.2.0/25 -j ACCEPT
-A INPUT -s 192.0.2.128/25 -j DROP
-A INPUT -s 192.0.2.0/24 -p udp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j web
-A INPUT -p tcp -m tcp --dport 80 -j LOG
-A INPUT -p tcp -j ACCEPT
-A INPUT -j DROP
-A INPUT -p icmp -j ACCEPT
-A web -s 203.0.113.0/24 -j DROP
-A web -j ACCEPT
COMMIT`, ipt: []found{
		{"10.1.0.0/16", "SNN", "earlier rules take all 6"},
		{"192.0.2.0/24 -p udp", "SNN", "earlier rules take all 8 9"},
		{"-j LOG", "SNN", "earlier rules take all 11"},
		{"-p icmp", "NNN", "earlier rules take all 14"},
	}, nft: map[string]string{
		"INPUT#2": "SNN earlier rules take all INPUT#1", "INPUT#5": "SNN earlier rules take all INPUT#3 INPUT#4",
		"INPUT#7": "SNN earlier rules take all INPUT#6", "INPUT#10": "NNN earlier rules take all INPUT#9",
	}},
	{name: "a chain without use, and one without packets", rules: `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:dead - [0:0]
:deader - [0:0]
:late - [0:0]
-A INPUT -p tcp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j late
-A dead -j deader
-A deader -j DROP
-A late -s 10.0.0.0/8 -j DROP
COMMIT`, ipt: []found{
		{"-j deader", "NNN", "unused chain"},
		{"-A deader", "NNN", "unused chain 10"},
		{"-j late", "SNN", "earlier rules take all 8"},
		{"-A late", "NNN", "earlier rules take all 8"},
	}, nft: map[string]string{
		"INPUT#2": "SNN earlier rules take all INPUT#1", "dead#1": "NNN unused chain", "deader#1": "NNN unused chain dead#1",
		"late#1": "NNN earlier rules take all INPUT#1",
	}},
	{name: "impossible tests", rules: `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:both - [0:0]
:udp - [0:0]
-A INPUT -p udp -j udp
-A INPUT -s 10.0.0.0/8 -j both
-A INPUT -s 10.0.0.0/8 -m iprange --src-range 192.0.2.1-192.0.2.9 -j DROP
-A INPUT -m conntrack --ctstate NEW -m conntrack --ctstate ESTABLISHED -j DROP
-A INPUT -f -j DROP
-A both -o eth0 -j DROP
-A both -j RETURN
-A udp -p tcp -m tcp --dport 53 -j DROP
-A udp -j ACCEPT
COMMIT`, ipt: []found{
		{"iprange", "SNN", "tests exclude each other"},
		{"--ctstate NEW", "SNN", "tests exclude each other"},
		{"-f", "SNN", "impossible at the hook"},
		{"-o eth0", "SNN", "impossible at the hook"},
		{"--dport 53", "SNN", "other packets come to the chain 7"},
	}, nft: map[string]string{
		"INPUT#3": "SNN tests exclude each other", "INPUT#4": "SNN tests exclude each other", "INPUT#5": "SNN impossible at the hook", "both#1": "SNN impossible at the hook",
		"_//udp#1": "SNN other packets come to the chain INPUT#1",
	}},
	{name: "writes", rules: `
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -p tcp -j MARK --set-xmark 0x1/0xffffffff
-A PREROUTING -p tcp -m mark --mark 0x2 -j DROP
-A PREROUTING -p tcp -m mark --mark 0x1 -j ACCEPT
-A PREROUTING -p udp -j MARK --set-xmark 0x4/0x4
-A PREROUTING -p udp -m mark ! --mark 0x4/0x4 -j DROP
-A PREROUTING -m mark --mark 0x4/0x4 -j ACCEPT
COMMIT`, ipt: []found{
		{"--mark 0x2 -j DROP", "SNN", "earlier rules write what it tests 7"},
		{"! --mark 0x4/0x4", "SNN", "earlier rules write what it tests 10"},
	}, nft: map[string]string{
		"mangle_PREROUTING#2": "SNN earlier rules write what it tests mangle_PREROUTING#1",
		"mangle_PREROUTING#5": "SNN earlier rules write what it tests mangle_PREROUTING#4",
	}},
	{name: "goto and return", rules: `
*filter
:INPUT DROP
:FORWARD ACCEPT
:OUTPUT ACCEPT
:a - [0:0]
:b - [0:0]
-A INPUT -s 10.0.0.0/8 -g a
-A INPUT -s 10.1.0.0/16 -j ACCEPT
-A INPUT -s 192.0.2.0/24 -j b
-A INPUT -s 192.0.2.0/25 -j ACCEPT
-A a -p tcp -j RETURN
-A a -p tcp -j DROP
-A b -p tcp -j RETURN
-A b -p tcp -j DROP
-A b -j DROP
COMMIT`, ipt: []found{
		{"10.1.0.0/16", "SNN", "earlier rules take all 7"},
		{"-A a -p tcp -j DROP", "SNN", "earlier rules take all 11"},
		{"-A b -p tcp -j DROP", "SNN", "earlier rules take all 13"},
	}, nft: map[string]string{
		"INPUT#2": "SNN earlier rules take all INPUT#1", "a#2": "SNN earlier rules take all a#1", "b#2": "SNN earlier rules take all b#1",
	}},
	{name: "IPv6", version: 6, rules: `
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -s 2001:db8::/32 -j ACCEPT
-A INPUT -s 2001:db8:1::/48 -p tcp -m tcp --dport 22 -j DROP
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP
COMMIT`, ipt: []found{
		{"2001:db8:1::/48", "SNN", "earlier rules take all 5"},
		{"--icmpv6-type", "SNN", "earlier rules take all 7"},
	}, nft: map[string]string{
		// Of the tests of a protocol, those behind "-p" are rules of their own.
		"INPUT#2": "SNN earlier rules take all INPUT#1", "INPUT#3": "SNN earlier rules take all INPUT#1",
		"INPUT#5": "SNN earlier rules take all INPUT#4", "INPUT#6": "SNN earlier rules take all INPUT#4",
	}},
	{name: "states answer either way", rules: `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
-A INPUT -m limit --limit 1/hour --limit-burst 3 -j ACCEPT
-A INPUT -p tcp -m statistic --mode nth --every 3 --packet 2 -j DROP
-A INPUT -p tcp -m statistic --mode random --probability 0.5 -j DROP
-A INPUT -p tcp -m limit --limit 1/hour --limit-burst 2 -j ACCEPT
-A INPUT -p tcp -j DROP
-A INPUT -p tcp -j ACCEPT
COMMIT`, ipt: []found{
		{"-A INPUT -p tcp -j ACCEPT", "SNN", "earlier rules take all 9"},
	}, nft: map[string]string{"INPUT#6": "SNN earlier rules take all INPUT#5"}},
	{name: "a state that one packet asks twice", rules: `
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
:ask - [0:0]
:out - [0:0]
-A INPUT -j MARK --set-xmark 0x0/0xffffffff
-A INPUT -j ask
-A INPUT -j MARK --set-xmark 0x1/0xffffffff
-A INPUT -j ask
-A ask -m statistic --mode nth --every 3 --packet 1 -j out
-A out -m mark --mark 0x1 -j DROP
-A out -j ACCEPT
COMMIT`},
}

// TestAnalyseReasons wants each kind of rule that never matches to be found, with
// the right reason, and no other.
func TestAnalyseReasons(t *testing.T) {
	for _, c := range reasonCases {
		t.Run(c.name, func(t *testing.T) {
			version := max(c.version, 4)
			rs := parsed(t, "rules.v4", c.rules, iptables.Family(version))
			for _, f := range analysed(t, iptsim.New(rs), version).Rules {
				i := slices.IndexFunc(c.ipt, func(w found) bool { return strings.Contains(f.String(), w.rule) })
				want := ""
				if i >= 0 {
					want = c.ipt[i].answers + " " + c.ipt[i].why
				}
				checkRule(t, f, want)
			}
			v4, v6 := rs, (*iptables.Ruleset)(nil)
			if version == 6 {
				v4, v6 = nil, rs
			}
			for _, f := range analysed(t, translated(t, v4, v6), version).Rules {
				checkRule(t, f, c.nft[fmt.Sprintf("%s#%d", f.Chain[strings.LastIndex(f.Chain, " ")+1:], f.Number)])
			}
		})
	}
}

// checkRule wants answers and reasons of a rule; "" is that it matches. The
// classes have to fit the answers.
func checkRule(t *testing.T, f *equivalence.RuleFacts, want string) {
	t.Helper()
	some := slices.ContainsFunc(f.At, func(at *equivalence.RuleAt) bool { return !at.Matched().Empty() })
	if some == (f.Matched == equivalence.Never) {
		t.Errorf("%s: %v matches, and has a class: %t", f, f.Matched, some)
	}
	got := strings.TrimSpace(answers(f) + " " + why(f))
	if want == "" && (got == "SSS" || got == "SSN") {
		return
	}
	if got != want {
		t.Errorf("%s: %s; want %q", f, got, want)
	}
	for _, r := range f.Why {
		if !strings.HasSuffix(r.Text, ".") {
			t.Errorf("%s: no sentence: %q", f, r.Text)
		}
	}
}

// TestAnalyseManyWays wants the one way to a chain that is open to be found among
// many, and many that are not to be seen through.
func TestAnalyseManyWays(t *testing.T) {
	const ways = 30
	for dropped, want := range map[int]string{ways - 1: "", ways: "NNN earlier rules take all 6"} {
		var b strings.Builder
		fmt.Fprintf(&b, "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:late - [0:0]\n-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.%d -j DROP\n", dropped)
		for i := range ways {
			fmt.Fprintf(&b, "-A INPUT -s 10.0.0.%d/32 -j late\n", i+1)
		}
		b.WriteString("-A late -p udp -m udp --dport 4711 -j ACCEPT\nCOMMIT")
		a := analysed(t, iptsim.New(parsed(t, "rules.v4", b.String(), iptables.IPv4)), 4)
		checkRule(t, a.Rules[len(a.Rules)-1], want)
	}
}

// TestAnalyseRing wants a chain that remembers addresses not to leave open what is
// behind it.
func TestAnalyseRing(t *testing.T) {
	a := analysed(t, translated(t, parsed(t, "rules.v4", `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
-A INPUT -p tcp -m recent --set --name x
-A INPUT -p tcp -m recent --rcheck --seconds 60 --hitcount 3 --name x -j DROP
-A INPUT -s 10.0.0.0/8 -j DROP
-A INPUT -s 10.0.0.0/9 -j ACCEPT
COMMIT`, iptables.IPv4), nil), 4)
	last := slices.IndexFunc(a.Rules, func(f *equivalence.RuleFacts) bool { return !strings.HasSuffix(f.Chain, "chain INPUT") }) - 1
	checkRule(t, a.Rules[last-1], "")
	checkRule(t, a.Rules[last], fmt.Sprintf("SNN earlier rules take all INPUT#%d", last))
	for _, s := range a.Stages {
		if !s.Accepted().Exact() {
			t.Errorf("%s: what is accepted is not known", s.Name)
		}
	}
}

// TestAnalyseManyWrites wants writes that are too many to be told apart to leave
// answers open, not wrong: each bit of the source sets a bit of the mark.
func TestAnalyseManyWrites(t *testing.T) {
	var b strings.Builder
	b.WriteString("*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n:late - [0:0]\n-A INPUT -j MARK --set-xmark 0x0/0xffffffff\n")
	for bit := range 12 {
		fmt.Fprintf(&b, "-A INPUT -s 0.0.%d.%d/0.0.%d.%d -j MARK --set-xmark %#x/%#x\n", 1<<bit>>8, 1<<bit&255, 1<<bit>>8, 1<<bit&255, 1<<bit, 1<<bit)
	}
	b.WriteString("-A INPUT -m mark --mark 0x801 -j DROP\n-A INPUT -m mark --mark 0x1000/0x1000 -j DROP\n-A INPUT -p tcp -j late\n-A INPUT -p tcp -j ACCEPT\n-A late -m mark --mark 0x3/0x3 -j DROP\n-A late -m iprange --src-range 10.0.0.1-10.0.0.2 -m iprange --src-range 10.0.0.8-10.0.0.9 -j DROP\nCOMMIT")
	a := analysed(t, iptsim.New(parsed(t, "rules.v4", b.String(), iptables.IPv4)), 4)
	for _, f := range a.Rules {
		want := ""
		switch {
		case strings.Contains(f.Text, "0x1000"):
			want = "S??" // it never does, which is not found out
		case strings.Contains(f.Text, "iprange"):
			want = "SNN tests exclude each other"
		}
		checkRule(t, f, want)
	}
}

// TestAnalyseBudget wants a budget that runs out to be named, and nothing to be
// said of rules.
func TestAnalyseBudget(t *testing.T) {
	m := iptsim.New(parsed(t, "rules.v4", string(rulegen.Gateway(200, 1)), iptables.IPv4))
	for name, o := range map[string]equivalence.ProofOptions{
		"memory": {Versions: []int{4}, Memory: 1 << 20}, "time": {Versions: []int{4}, Time: time.Nanosecond},
	} {
		a, err := equivalence.Analyse(context.Background(), m, o)
		if err != nil || !strings.Contains(a.Incomplete, "budget of "+name) {
			t.Fatalf("%s: %v, %q", name, err, a.Incomplete)
		}
		if len(a.Rules) != 200 {
			t.Errorf("%s: %d rules", name, len(a.Rules))
		}
		for _, f := range a.Rules {
			if answers(f) != "???" || f.Undecided != a.Incomplete {
				t.Fatalf("%s: %s: %s, %q", name, f, answers(f), f.Undecided)
			}
		}
		c, err := equivalence.Changes(context.Background(), m, m, o)
		if err != nil || !strings.Contains(c.Incomplete, "budget of "+name) || c.Word != equivalence.Undecided {
			t.Errorf("%s: changes: %v, %v", name, err, c)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := equivalence.Analyse(ctx, m, equivalence.ProofOptions{Versions: []int{4}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := equivalence.Analyse(context.Background(), m, equivalence.ProofOptions{}); !errors.Is(err, equivalence.ErrNoVersions) {
		t.Errorf("no versions: %v", err)
	}
	if _, err := equivalence.Analyse(context.Background(), struct{ equivalence.Machine }{m}, equivalence.ProofOptions{Versions: []int{4}}); !errors.Is(err, equivalence.ErrNotCompilable) {
		t.Errorf("not compilable: %v", err)
	}
}

// TestAnalyseBoth looks at both IP versions of one machine at once.
func TestAnalyseBoth(t *testing.T) {
	const v4, v6 = "*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT ACCEPT\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -s 10.0.0.0/9 -j DROP\nCOMMIT",
		"*filter\n:INPUT DROP\n:FORWARD DROP\n:OUTPUT ACCEPT\n-A INPUT -s fd00::/8 -j ACCEPT\n-A INPUT -p tcp -j ACCEPT\nCOMMIT"
	four, six := parsed(t, "rules.v4", v4, iptables.IPv4), parsed(t, "rules.v6", v6, iptables.IPv6)
	for name, m := range map[string]equivalence.Machine{
		"iptables": equivalence.Join(iptsim.New(four), iptsim.New(six)), "nftables": translated(t, four, six),
	} {
		a := analysed(t, m, 4, 6)
		never := 0
		for _, f := range a.Rules {
			if f.Matched == equivalence.Never {
				never++
				if f.Version != 4 || len(f.Why) != 1 || f.Why[0].Kind != equivalence.Shadowed {
					t.Errorf("%s: %s: %s", name, f, why(f))
				}
			}
		}
		if never != 1 {
			t.Errorf("%s: %d rules never match, want 1", name, never)
		}
		if c := a.Stages[0].All().And(a.Stages[len(a.Stages)-1].All()); c.Err() == nil || c.Empty() || c.Within(c) {
			t.Errorf("%s: classes of unlike versions go together", name)
		}
	}
}

// BenchmarkAnalyse analyses a large ruleset.
func BenchmarkAnalyse(b *testing.B) {
	for _, n := range []int{500, 2000, 5500} {
		m := iptsim.New(parsed(b, "rules.v4", string(rulegen.Gateway(n, 1)), iptables.IPv4))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				a, err := equivalence.Analyse(context.Background(), m, equivalence.ProofOptions{Versions: []int{4}})
				if err != nil || a.Incomplete != "" {
					b.Fatal(err, a.Incomplete)
				}
				b.ReportMetric(float64(a.Nodes), "nodes")
			}
		})
	}
}
