package equivalence_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// changedRules leaves out a rule of some rules, changes what it does, or puts it
// behind the next one.
func changedRules(r *rand.Rand, text string) string {
	lines := strings.Split(text, "\n")
	var rules []int
	for i, line := range lines {
		if strings.HasPrefix(line, "-A") {
			rules = append(rules, i)
		}
	}
	i := rules[r.IntN(len(rules))]
	switch {
	case r.IntN(3) == 0:
		lines = slices.Delete(lines, i, i+1)
	case strings.HasSuffix(lines[i], "ACCEPT"):
		lines[i] = strings.TrimSuffix(lines[i], "ACCEPT") + "DROP"
	case strings.HasSuffix(lines[i], "DROP"):
		lines[i] = strings.TrimSuffix(lines[i], "DROP") + "RETURN"
	case strings.HasPrefix(lines[i+1], "-A"):
		lines[i], lines[i+1] = lines[i+1], lines[i]
	}
	return strings.Join(lines, "\n")
}

// wrongChanges runs packets through two machines, and notes what contradicts a
// comparison of them.
func wrongChanges(c *equivalence.Comparison, before, after equivalence.Machine, list []*packet.Packet, host *packet.Host) (wrong []string) {
	classes := map[string][]equivalence.Change{}
	for _, ch := range slices.Concat(c.Changes, c.Unshown) {
		if ch.Packets.Err() == nil {
			classes[ch.Stage] = append(classes[ch.Stage], ch)
		}
	}
	var inside bool // some class, at some stage
	side := func(m equivalence.Machine, outcome func(ch equivalence.Change) equivalence.Outcome) *equivalence.Walker {
		var of []equivalence.Change
		w := &watched{Machine: m}
		w.enter = func(stage string, f *packet.Flight) {
			of = nil
			for _, ch := range classes[stage] {
				if _, may := ch.Packets.Holds(ch.Packets.Bind(f, false)); may {
					of, inside = append(of, ch), true
				}
			}
		}
		w.leave = func(stage string, v packet.Verdict) {
			for _, ch := range of {
				if want := outcome(ch); want.Verdict != map[packet.Verdict]string{packet.Accept: "accept", packet.Drop: "drop"}[v] {
					wrong = append(wrong, fmt.Sprintf("%s: %v, not %v", stage, v, want))
				}
			}
		}
		return equivalence.NewWalker(w, host)
	}
	a := side(before, func(ch equivalence.Change) equivalence.Outcome { return ch.Before })
	b := side(after, func(ch equivalence.Change) equivalence.Outcome { return ch.After })
	differ := false
	for _, p := range list {
		inside = false
		if len(equivalence.Differ(a.Run(p), b.Run(p))) > 0 {
			differ = true
			if !inside {
				wrong = append(wrong, fmt.Sprintf("of no class: %v", p))
			}
		}
	}
	if differ && c.Word != equivalence.Different {
		wrong = append(wrong, fmt.Sprintf("said to be %s", c.Word))
	}
	return wrong
}

// TestChangesRandom holds comparisons of random rules with changed ones against
// packets, in both languages.
func TestChangesRandom(t *testing.T) {
	list, host := somePackets(t)
	words := map[equivalence.Word]int{}
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		text := randomRules(r, false)
		before, after := parsed(t, "before.v4", text, iptables.IPv4), parsed(t, "after.v4", changedRules(r, text), iptables.IPv4)
		for name, m := range map[string][2]equivalence.Machine{
			"iptables": {iptsim.New(before), iptsim.New(after)}, "nftables": {translated(t, before, nil), translated(t, after, nil)},
		} {
			c := compared(t, m[0], m[1], 4)
			words[c.Word]++
			for _, wrong := range wrongChanges(c, m[0], m[1], list, host) {
				t.Errorf("seed %d, %s: %s", seed, name, wrong)
			}
		}
	}
	t.Log(words)
	if words[equivalence.Different] == 0 || words[equivalence.Equivalent] == 0 {
		t.Errorf("all are alike: %v", words)
	}
}

// A mistaken machine compiles its rules to other functions than those that they
// are.
type mistaken struct {
	*iptsim.Machine
	fault func(l symbolic.Leaf) symbolic.Leaf
}

func (m mistaken) Compile(s *symbolic.Space, slots []symbolic.Slot) *symbolic.Program {
	p := m.Machine.Compile(s, slots)
	for i := range p.Stages {
		p.Stages[i].Policy = m.fault(symbolic.Leaf{Verdict: p.Stages[i].Policy}).Verdict
	}
	for _, c := range p.Chains {
		for i := range c.Rules {
			truth := c.Rules[i].Function
			c.Rules[i].Function = func(number func(*symbolic.RuleChain) int) bdd.Ref {
				return s.Map(s.NewMapping(func(v uint32) bdd.Ref { return s.Leaf(m.fault(s.LeafOf(v))) }), truth(number))
			}
		}
	}
	return p
}

// TestChangesRandomBites plants mistakes, which packets must notice.
func TestChangesRandomBites(t *testing.T) {
	list, host := somePackets(t)
	for name, fault := range map[string]func(l symbolic.Leaf) symbolic.Leaf{
		"all is accepted": func(l symbolic.Leaf) symbolic.Leaf {
			l.Verdict = symbolic.Accept
			return l
		},
		"nothing is written": func(l symbolic.Leaf) symbolic.Leaf {
			l.Effect = symbolic.NoEffect
			return l
		},
	} {
		noticed := false
		for seed := uint64(0); seed < 20 && !noticed; seed++ {
			r := rand.New(rand.NewPCG(seed, 3))
			text := randomRules(r, false)
			before, after := iptsim.New(parsed(t, "before.v4", text, iptables.IPv4)), iptsim.New(parsed(t, "after.v4", changedRules(r, text), iptables.IPv4))
			c, err := equivalence.Changes(context.Background(), mistaken{before, fault}, mistaken{after, fault}, equivalence.ProofOptions{Versions: []int{4}})
			if err != nil {
				t.Fatal(err)
			}
			noticed = len(wrongChanges(c, before, after, list, host)) > 0
		}
		if !noticed {
			t.Errorf("%s: not noticed", name)
		}
	}
}
