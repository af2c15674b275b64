package equivalence_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/translate"
)

// parsed parses iptables rules.
func parsed(t testing.TB, name, text string, family iptables.Family) *iptables.Ruleset {
	t.Helper()
	rs, list := iptables.Parse(diag.NewSource(name, []byte(strings.TrimSpace(text)+"\n")), family, extension.Registry)
	if list.HasErrors() {
		t.Fatalf("%v\n%s", list, text)
	}
	return rs
}

// translated makes a machine of nftables of what is made of iptables rules.
func translated(t testing.TB, v4, v6 *iptables.Ruleset) *nftsim.Machine {
	t.Helper()
	return edited(t, v4, v6, func(data []byte) []byte { return data })
}

// edited is translated, with an edit of the messages.
func edited(t testing.TB, v4, v6 *iptables.Ruleset, edit func(data []byte) []byte) *nftsim.Machine {
	t.Helper()
	result, list := translate.Translate(v4, v6, translate.Options{})
	if list.HasErrors() {
		t.Fatal(list)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batch.Messages {
		batch.Messages[i].Data = edit(batch.Messages[i].Data)
	}
	m, err := nftsim.Decode(batch.Messages)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// randomRules writes a small ruleset in which rules shadow each other often. With
// states, some rules ask buckets and counters.
func randomRules(r *rand.Rand, states bool) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	chain := func(table, name string, targets []string) {
		n := 2 + r.IntN(5)
		for range n {
			fmt.Fprintf(&b, "-A %s", name)
			if r.IntN(2) == 0 {
				b.WriteString(pick(" -s 10.0.0.0/8", " -s 10.1.0.0/16", " -s 10.1.0.5/32", " ! -s 10.1.0.0/16", " -s 192.0.2.0/24"))
			}
			if r.IntN(4) == 0 {
				b.WriteString(pick(" -i eth0", " -i eth+", " ! -i eth0", " -i lo"))
			}
			if r.IntN(5) == 0 && name != "PREROUTING" && name != "INPUT" {
				b.WriteString(pick(" -o eth1", " ! -o eth1"))
			}
			if r.IntN(3) == 0 {
				b.WriteString(pick(" -p tcp", " -p tcp -m tcp --dport 22", " -p tcp -m tcp --dport 1:80", " -p udp -m udp --dport 53", " ! -p udp"))
			}
			if r.IntN(5) == 0 {
				b.WriteString(pick(" -m conntrack --ctstate NEW", " -m conntrack --ctstate ESTABLISHED,RELATED", " -m conntrack ! --ctstate NEW"))
			}
			if r.IntN(4) == 0 {
				b.WriteString(pick(" -m mark --mark 0x1/0x1", " -m mark --mark 0x0/0x1", " -m mark --mark 0x2/0x3", " -m mark ! --mark 0x3/0x3", " -m connmark --mark 0x1/0x1"))
			}
			if states && r.IntN(4) == 0 {
				b.WriteString(pick(" -m limit --limit 1/hour --limit-burst 2", " -m statistic --mode nth --every 2 --packet 1"))
			}
			actions := []string{"ACCEPT", "ACCEPT", "DROP", "DROP", "RETURN", "LOG --log-prefix x"}
			if table == "mangle" || r.IntN(3) == 0 {
				if table == "mangle" {
					actions = append(actions, "MARK --set-xmark 0x1/0x1", "MARK --set-xmark 0x2/0x3", "MARK --set-xmark 0x0/0x1",
						"CONNMARK --restore-mark --nfmask 0x1 --ctmask 0x1", "CONNMARK --save-mark --nfmask 0x3 --ctmask 0x3", "CONNMARK --set-xmark 0x1/0x1")
				}
			}
			for _, to := range targets {
				actions = append(actions, to, to)
			}
			a := pick(actions...)
			verb := " -j "
			if slices.Contains(targets, a) && r.IntN(3) == 0 {
				verb = " -g "
			}
			b.WriteString(verb + a + "\n")
		}
	}
	b.WriteString("*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n:d - [0:0]\n:e - [0:0]\n")
	chain("mangle", "PREROUTING", []string{"d", "e"})
	chain("mangle", "FORWARD", []string{"e"})
	chain("mangle", "d", []string{"e"})
	chain("mangle", "e", nil)
	fmt.Fprintf(&b, "COMMIT\n*filter\n:INPUT %s\n:FORWARD %s\n:OUTPUT ACCEPT\n:a - [0:0]\n:b - [0:0]\n:c - [0:0]\n", pick("ACCEPT", "DROP"), pick("ACCEPT", "DROP"))
	chain("filter", "INPUT", []string{"a", "b"})
	chain("filter", "FORWARD", []string{"a", "b"})
	chain("filter", "a", []string{"b", "c"})
	chain("filter", "b", []string{"c"})
	chain("filter", "c", nil)
	b.WriteString("COMMIT\n")
	return b.String()
}

// somePackets are packets of all kinds that randomRules tells apart.
func somePackets(t testing.TB) (list []*packet.Packet, host *packet.Host) {
	host = packet.DefaultHost([]string{"eth0", "eth1", "ppp0"})
	add := func(s packet.Spec) {
		s.Version = 4
		p, err := s.Packet()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	for _, src := range []string{"10.1.0.5", "10.1.7.7", "10.200.0.1", "192.0.2.77", "203.0.113.9"} {
		for _, in := range []string{"eth0", "eth1", "ppp0", "lo"} {
			d := host.Device(in)
			for _, dst := range []netip.Addr{host.Devices[1].Addrs[0].Addr(), host.Devices[2].Addrs[0].Addr().Next().Next(), host.Devices[3].Addrs[0].Addr().Next().Next()} {
				for _, proto := range []uint8{packet.TCP, packet.UDP, packet.ICMP} {
					for _, port := range []uint16{22, 53, 80, 443} {
						for n, state := range []packet.State{packet.New, packet.Established, packet.Invalid} {
							mark := uint32(len(list)*7+n) % 4
							s := packet.Spec{
								Src: netip.MustParseAddr(src), Dst: dst, Proto: proto, SrcPort: 40000, DstPort: port, TCPFlags: packet.SYN,
								In: in, State: state, Mark: mark, ConnMark: mark * 5 % 4,
							}
							if proto == packet.ICMP {
								s.Type, s.SrcPort, s.DstPort = 8, port, 0
							}
							if d.Ethernet {
								s.Link = &packet.Link{Src: [6]byte{2, 0, 0, 0, 0, 9}, Dst: d.MAC}
							}
							add(s)
						}
					}
				}
			}
		}
	}
	return list, host
}

// watched looks at packets as they enter stages, and behind them.
type watched struct {
	equivalence.Machine
	enter func(stage string, f *packet.Flight)
	leave func(stage string, v packet.Verdict)
}

func (w *watched) Stages() []packet.Stage {
	stages := slices.Clone(w.Machine.Stages())
	for i := range stages {
		st := &stages[i]
		run := st.Run
		st.Run = func(f *packet.Flight) packet.Verdict {
			w.enter(st.Name, f)
			v := run(f)
			w.leave(st.Name, v)
			return v
		}
	}
	return stages
}

// A bruteForce holds an analysis against packets.
type bruteForce struct {
	machine  equivalence.Machine
	analysis *equivalence.Analysis
	states   bool // rules ask states, so that classes cannot be held against packets one by one
	wrong    []string
	// incomplete says that rules may be without answer and reason.
	incomplete bool
	missed     map[*equivalence.RuleFacts]bool // of which packets show more than the analysis
	// same are the rules of the analysis, by those of the machine where it is not
	// the one that was analysed; nil when it is.
	same map[any]any
}

// packets runs packets and notes what contradicts the analysis.
func (b *bruteForce) packets(list []*packet.Packet, host *packet.Host) {
	facts := map[any]*equivalence.RuleFacts{}
	stages := map[string][]*equivalence.RuleAt{}
	rules := map[*equivalence.RuleAt]*equivalence.RuleFacts{}
	for _, f := range b.analysis.Rules {
		facts[f.ID()] = f
		for _, at := range f.At {
			stages[at.Stage.Name] = append(stages[at.Stage.Name], at)
			rules[at] = f
		}
	}
	classes := map[*equivalence.RuleAt][3]equivalence.Class{}
	for at := range rules {
		if b.states {
			break
		}
		classes[at] = [3]equivalence.Class{at.Reached(), at.Matched(), at.Decided()}
	}
	complain := func(format string, args ...any) {
		if len(b.wrong) < 10 {
			b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
		}
	}
	b.missed = map[*equivalence.RuleFacts]bool{}
	looks := map[any]packet.Look{}
	var p *packet.Packet
	expected := map[*equivalence.RuleAt][3][2]bool{}
	w := &watched{Machine: b.machine}
	w.enter = func(stage string, f *packet.Flight) {
		clear(looks)
		if b.states || len(stages[stage]) == 0 {
			return
		}
		value := stages[stage][0].Stage.All().Bind(f, false)
		for _, at := range stages[stage] {
			var e [3][2]bool
			for i, c := range classes[at] {
				e[i][0], e[i][1] = c.Holds(value)
			}
			expected[at] = e
		}
	}
	w.leave = func(stage string, _ packet.Verdict) {
		for _, at := range stages[stage] {
			f := rules[at]
			look := looks[f.ID()]
			for i, what := range []string{"reaches", "matches", "decides"} {
				did := look >= packet.Look(i+1)
				if e := expected[at][i]; !b.states && (e[0] && !did || did && !e[1]) {
					complain("%s %s at %s: %t, the class says %v: %v", f, what, stage, did, e, p)
				}
			}
		}
	}
	walker := equivalence.NewWalker(w, host)
	walker.Visit = func(rule any, how packet.Look) {
		rule = b.analysed(rule)
		f := facts[rule]
		if f == nil {
			return
		}
		looks[rule] = max(looks[rule], how)
		for i, a := range []equivalence.Answer{f.Reached, f.Matched, f.Decides} {
			if how >= packet.Look(i+1) && a == equivalence.Never {
				complain("%s is said never to, and does %d: %v", f, how, p)
			}
			if how >= packet.Look(i+1) && a == equivalence.NotKnown {
				b.missed[f] = true
			}
		}
	}
	b.machine.Reset()
	for _, p = range list {
		// Tracking puts fragments together before the first rule.
		if !b.machine.NeedsConntrack(p.Version()) || !packet.IsFragment(p.Data) {
			walker.Run(p)
		}
	}
	for _, f := range b.analysis.Rules {
		b.example(f)
	}
}

// analysed is a rule of the machine in the analysis.
func (b *bruteForce) analysed(rule any) any {
	if b.same != nil {
		return b.same[rule]
	}
	return rule
}

// example runs the example of a rule again.
func (b *bruteForce) example(f *equivalence.RuleFacts) {
	shown := packet.Look(0)
	for i, a := range []equivalence.Answer{f.Reached, f.Matched, f.Decides} {
		if a == equivalence.Shown {
			shown = packet.Look(i + 1)
		}
	}
	var seen packet.Look
	if f.Example != nil {
		f.Example.Run(b.machine, func(rule any, how packet.Look) {
			if b.analysed(rule) == f.ID() {
				seen = max(seen, how)
			}
		})
	}
	if seen < shown {
		b.wrong = append(b.wrong, fmt.Sprintf("%s: the example shows %d, want %d", f, seen, shown))
	}
	if b.incomplete {
		return
	}
	if f.Matched == equivalence.Never && len(f.Why) == 0 || f.Undecided == "" && (f.Reached == equivalence.NotKnown || f.Matched == equivalence.NotKnown) {
		b.wrong = append(b.wrong, fmt.Sprintf("%s: no reason", f))
	}
}

// TestAnalyseRandom holds analyses of random rulesets of both languages against
// all packets that their rules tell apart.
func TestAnalyseRandom(t *testing.T) {
	list, host := somePackets(t)
	rulesets := 12
	if testing.Short() {
		rulesets = 6
	}
	answers := map[string]int{}
	for seed := range rulesets {
		states := seed%3 == 2
		text := randomRules(rand.New(rand.NewPCG(uint64(seed), 1)), states)
		rs := parsed(t, "rules.v4", text, iptables.IPv4)
		for name, m := range map[string]equivalence.Machine{"iptables": iptsim.New(rs), "nftables": translated(t, rs, nil)} {
			a, err := equivalence.Analyse(context.Background(), m, equivalence.ProofOptions{Versions: []int{4}})
			if err != nil || a.Incomplete != "" {
				t.Fatalf("seed %d, %s: %v, %s", seed, name, err, a.Incomplete)
			}
			b := &bruteForce{machine: m, analysis: a, states: states}
			b.packets(list, host)
			for _, wrong := range b.wrong {
				t.Errorf("seed %d, %s: %s", seed, name, wrong)
			}
			if len(b.wrong) > 0 {
				t.Logf("\n%s", text)
			}
			for f := range b.missed {
				t.Logf("seed %d, %s: not shown, but %s", seed, name, f)
			}
			for _, f := range a.Rules {
				answers[fmt.Sprintf("%s: %v, %v, %v", name, f.Reached, f.Matched, f.Decides)]++
			}
		}
	}
	t.Log(answers)
}

// TestAnalyseRandomBites plants mistakes, which packets must notice.
func TestAnalyseRandomBites(t *testing.T) {
	list, host := somePackets(t)
	for name, fault := range map[string]func(l symbolic.Leaf) symbolic.Leaf{
		"RETURN goes on": func(l symbolic.Leaf) symbolic.Leaf {
			if l.Verdict == symbolic.Return {
				l.Verdict = symbolic.Continue
			}
			return l
		},
		"ACCEPT goes on": func(l symbolic.Leaf) symbolic.Leaf {
			if l.Verdict == symbolic.Accept {
				l.Verdict = symbolic.Continue
			}
			return l
		},
		"what goes on returns": func(l symbolic.Leaf) symbolic.Leaf {
			if l.Verdict == symbolic.Continue {
				l.Verdict = symbolic.Return
			}
			return l
		},
		"writes are forgotten": func(l symbolic.Leaf) symbolic.Leaf {
			l.Effect = symbolic.NoEffect
			return l
		},
		"goto comes back": func(l symbolic.Leaf) symbolic.Leaf {
			if l.Verdict == symbolic.Goto {
				l.Verdict = symbolic.Jump
			}
			return l
		},
	} {
		noticed := 0
		for seed := 0; seed < 30 && noticed == 0; seed++ {
			rs := parsed(t, "rules.v4", randomRules(rand.New(rand.NewPCG(uint64(seed), 1)), false), iptables.IPv4)
			m := iptsim.New(rs)
			a, err := equivalence.AnalyseWrong(context.Background(), m, equivalence.ProofOptions{Versions: []int{4}}, fault)
			if err != nil {
				t.Fatal(err)
			}
			b := &bruteForce{machine: m, analysis: a}
			b.packets(list, host)
			if len(b.wrong) > 0 {
				noticed++
			}
		}
		if noticed == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
}
