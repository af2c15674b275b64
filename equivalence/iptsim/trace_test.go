package iptsim_test

import (
	"fmt"
	"strings"
	"testing"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

func TestTrace(t *testing.T) {
	m := machine(t, iptables.IPv4, "filter", strings.Join([]string{
		":INPUT DROP [0:0]", ":A - [0:0]",
		"-A INPUT -s 10.9.0.0/16 -j ACCEPT",
		"-A INPUT -p tcp -m tcp --dport 23 -j ACCEPT",
		"-A INPUT -j A",
		"-A INPUT -g A",
		"-A A -j RETURN",
	}, "\n"))
	_, f := fly(t, m, packet.Input, ssh, nil)
	want := `  filter INPUT rules:4 -A INPUT -s 10.9.0.0/16 -j ACCEPT: no match at -s
  filter INPUT rules:5 -A INPUT -p tcp -m tcp --dport 23 -j ACCEPT: no match at tcp
  filter INPUT rules:6 -A INPUT -j A: match, jump A
  filter A rules:8 -A A -j RETURN: match, return
  filter INPUT rules:7 -A INPUT -g A: match, goto A
  filter A rules:8 -A A -j RETURN: match, return
  filter INPUT rules:2 policy DROP: drop
`
	if got := steps(f); got != want {
		t.Errorf("trace\n%swant\n%s", got, want)
	}
	_, f = fly(t, m, packet.Input, ssh, func(f *packet.Flight) { f.Traced = false })
	if f.Trace != nil {
		t.Error("a trace that nobody asked for")
	}
}

// mute is a match and a target without a meaning.
type mute struct{}

func (mute) Name() string              { return "mute" }
func (mute) Options() iptables.Options { return nil }

func ruleset(rules ...*iptables.Rule) *iptables.Ruleset {
	t := &iptables.Table{Name: "filter"}
	t.AddChain("INPUT").Rules = rules
	return &iptables.Ruleset{Family: iptables.IPv4, Tables: []*iptables.Table{t}}
}

// TestUndecided shows that what is not modelled makes a packet undecided only
// when it gets there.
func TestUndecided(t *testing.T) {
	withMatch := &iptables.Rule{Matches: []iptables.MatchUse{{Match: mute{}}}}
	withTarget := &iptables.Rule{Action: iptables.Action{Kind: iptables.Extend, Name: "mute", Target: mute{}}}
	stolen := &iptables.Rule{Action: iptables.Action{Kind: iptables.Verdict, Name: "STOLEN"}}
	nowhere := &iptables.Rule{Action: iptables.Action{Kind: iptables.Jump, Name: "gone"}}
	accept := &iptables.Rule{Action: iptables.Action{Kind: iptables.Verdict, Name: "ACCEPT"}}
	tests := []struct {
		rules   []*iptables.Rule
		verdict packet.Verdict
		unknown string
	}{
		{[]*iptables.Rule{withMatch}, packet.Undecided, "[filter INPUT: match mute]"},
		{[]*iptables.Rule{withTarget}, packet.Undecided, "[filter INPUT: target mute]"},
		{[]*iptables.Rule{stolen}, packet.Undecided, "[filter INPUT: verdict STOLEN]"},
		{[]*iptables.Rule{nowhere}, packet.Undecided, "[filter INPUT: chain gone, which does not exist]"},
		{[]*iptables.Rule{accept, withMatch}, packet.Accept, "[]"},
	}
	for _, tt := range tests {
		v, f := fly(t, iptsim.New(ruleset(tt.rules...)), packet.Input, ssh, nil)
		if got := fmt.Sprint(f.Unknown); v != tt.verdict || got != tt.unknown {
			t.Errorf("%v, %s, want %v, %s", v, got, tt.verdict, tt.unknown)
		}
	}
}

// TestLoop gives the machine what no kernel loads; it must not hang.
func TestLoop(t *testing.T) {
	table := &iptables.Table{Name: "filter"}
	jump := func(kind iptables.ActionKind, to string) []*iptables.Rule {
		return []*iptables.Rule{{Action: iptables.Action{Kind: kind, Name: to}}}
	}
	table.AddChain("INPUT").Rules = jump(iptables.Jump, "A")
	table.AddChain("A").Rules = jump(iptables.Goto, "B")
	table.AddChain("B").Rules = jump(iptables.Jump, "A")
	m := iptsim.New(&iptables.Ruleset{Family: iptables.IPv4, Tables: []*iptables.Table{table}})
	if v, f := fly(t, m, packet.Input, ssh, nil); v != packet.Undecided {
		t.Errorf("%v %v", v, f.Unknown)
	}
}

// TestDeepJumps nests chains deeper than nf_tables would.
func TestDeepJumps(t *testing.T) {
	var lines strings.Builder
	lines.WriteString(":INPUT DROP\n")
	const depth = 500
	for i := range depth {
		fmt.Fprintf(&lines, ":c%d -\n", i)
	}
	lines.WriteString("-A INPUT -j c0\n-A INPUT -p udp -j ACCEPT\n")
	for i := range depth - 1 {
		fmt.Fprintf(&lines, "-A c%d -j c%d\n", i, i+1)
	}
	fmt.Fprintf(&lines, "-A c%d -p tcp -j ACCEPT\n", depth-1)
	m := machine(t, iptables.IPv4, "filter", lines.String())
	for _, try := range []try{{ssh, "accept"}, {dns, "accept"}, {ping, "drop"}} {
		if v, f := fly(t, m, packet.Input, try.words, nil); outcome(v, f) != try.want {
			t.Errorf("%s: %s, want %s", try.words, outcome(v, f), try.want)
		}
	}
}

// TestState shows that states live from packet to packet, are one per rule, and
// end with Reset.
func TestState(t *testing.T) {
	m := machine(t, iptables.IPv4, "filter",
		":INPUT DROP\n-A INPUT -m statistic --mode nth --every 2 --packet 0 -j ACCEPT\n-A INPUT -s 10.1.0.0/16 -m limit --limit 1/min --limit-burst 1 -j ACCEPT")
	play := func() string {
		var b strings.Builder
		for _, words := range []string{ssh, ssh, dns, dns, dns, dns, dns + " --at 60", dns + " --at 60"} {
			v, _ := fly(t, m, packet.Input, words, nil)
			b.WriteString(v.String()[:1])
		}
		return b.String()
	}
	const want = "adaaadaa"
	if got := play(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	m.Reset()
	if got := play(); got != want {
		t.Errorf("after Reset: %s, want %s", got, want)
	}
}

// TestRandom draws a fresh number for each match.
func TestRandom(t *testing.T) {
	m := machine(t, iptables.IPv4, "filter",
		":INPUT DROP\n-A INPUT -m statistic --mode random --probability 0.5 -j ACCEPT\n-A INPUT -m statistic --mode random --probability 0.5 -j ACCEPT")
	for want, random := range map[string][]uint32{
		"accept": {0x7fffffff, 0}, "drop": {0x7fffffff, 0xffffffff},
	} {
		v, _ := fly(t, m, packet.Input, ssh, func(f *packet.Flight) { f.Packet.Random = random })
		if v.String() != want {
			t.Errorf("%x: %v, want %s", random, v, want)
		}
	}
}

// BenchmarkRun sends packets through a hundred rules of which the last matches.
func BenchmarkRun(b *testing.B) {
	var lines strings.Builder
	lines.WriteString(":INPUT DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n")
	for i := range 98 {
		fmt.Fprintf(&lines, "-A INPUT -s 10.0.0.0/24 -p tcp -m tcp --dport %d -j ACCEPT\n", 1000+i)
	}
	lines.WriteString("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n")
	m := machine(b, iptables.IPv4, "filter", lines.String())
	run := stage(b, m, "filter INPUT").Run
	_, f := fly(b, m, packet.Input, ssh, nil)
	f.Traced = false
	b.ReportAllocs()
	for b.Loop() {
		if run(f) != packet.Accept {
			b.Fatal("not accepted")
		}
	}
}
