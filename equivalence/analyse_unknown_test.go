package equivalence_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// blind is a machine of what is made of iptables rules, in which the expressions
// that log are of a name that it does not know.
func blind(t testing.TB, rs *iptables.Ruleset) *nftsim.Machine {
	t.Helper()
	return edited(t, rs, nil, func(data []byte) []byte { return bytes.ReplaceAll(data, []byte("log\x00"), []byte("gol\x00")) })
}

// TestAnalyseUnmodelled wants nothing to be said of packets behind a rule that is
// not modelled, and all else to be said of others.
func TestAnalyseUnmodelled(t *testing.T) {
	rs := parsed(t, "rules.v4", `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:sub - [0:0]
-A INPUT -p tcp -j LOG
-A INPUT -p tcp -j ACCEPT
-A INPUT -p udp -j sub
-A INPUT -p udp -j DROP
-A INPUT -s 10.0.0.0/8 -j DROP
-A INPUT -s 10.0.0.0/8 -j ACCEPT
-A INPUT -s 10.0.0.0/8 -m iprange --src-range 192.0.2.1-192.0.2.9 -j DROP
-A sub -s 10.0.0.0/8 -j ACCEPT
-A sub -j RETURN
COMMIT`, iptables.IPv4)
	m := blind(t, rs)
	a := analysed(t, m, 4)
	want := map[string]string{
		"INPUT#1": "S??", "INPUT#2": "S??", "INPUT#6": "S??",
		"INPUT#7": "SNN tests exclude each other",
	}
	for _, f := range a.Rules {
		name := fmt.Sprintf("%s#%d", f.Chain[strings.LastIndex(f.Chain, " ")+1:], f.Number)
		checkRule(t, f, want[name])
		if strings.Contains(want[name], "?") && !strings.Contains(f.Undecided, "gol") {
			t.Errorf("%s: %q does not say what is not modelled", f, f.Undecided)
		}
	}
	in := a.Stages[slices.IndexFunc(a.Stages, func(s *equivalence.StageFacts) bool { return s.Hook == packet.Input })]
	tcp, icmp := in.Packets(equivalence.Filter{Protocol: packet.TCP}), in.Packets(equivalence.Filter{Protocol: packet.ICMP})
	accepted := in.Accepted()
	for _, c := range []struct {
		what      string
		got, want bool
	}{
		{"what is accepted is known", accepted.Exact(), false},
		{"of ICMP it is known", accepted.And(icmp).Exact(), true},
		{"some TCP is certainly accepted", accepted.And(tcp).Certain(), false},
		{"no TCP is accepted", accepted.And(tcp).Empty(), false},
		{"all TCP is accepted", tcp.Within(accepted), false},
		{"some TCP is certainly not accepted", tcp.Minus(accepted).Certain(), false},
		{"what is accepted is within itself", accepted.Within(accepted), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %t", c.what, c.got)
		}
	}
	c, err := equivalence.Changes(context.Background(), m, m, equivalence.ProofOptions{Versions: []int{4}})
	if err != nil || c.Word != equivalence.Undecided || !slices.ContainsFunc(c.Unknown, func(why string) bool { return strings.Contains(why, "gol") }) {
		t.Errorf("with itself: %v, %v", c, err)
	}
}

// TestAnalyseRandomUnmodelled wants an analysis that does not know what some rules
// do to hold for what they do: packets run through the same rules, known.
func TestAnalyseRandomUnmodelled(t *testing.T) {
	list, host := somePackets(t)
	undecided, never := 0, 0
	for seed := range uint64(8) {
		text := randomRules(rand.New(rand.NewPCG(seed, 4)), false)
		text = strings.Replace(text, "-A b", "-A b -s 10.0.0.0/8 -p udp -j LOG\n-A b", 1)
		rs := parsed(t, "rules.v4", text, iptables.IPv4)
		a := analysed(t, blind(t, rs), 4)
		known := translated(t, rs, nil)
		same := map[any]any{}
		for i, f := range analysed(t, known, 4).Rules {
			same[f.ID()] = a.Rules[i].ID()
		}
		b := &bruteForce{machine: known, analysis: a, same: same}
		b.packets(list, host)
		for _, wrong := range b.wrong {
			t.Errorf("seed %d: %s", seed, wrong)
		}
		for _, f := range a.Rules {
			switch f.Matched {
			case equivalence.NotKnown:
				undecided++
			case equivalence.Never:
				never++
			}
		}
	}
	if undecided == 0 || never == 0 {
		t.Errorf("%d rules undecided, %d never match", undecided, never)
	}
}
