package equivalence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// rules makes a machine of iptables rules of IPv4.
func rules(t *testing.T, text string) *iptsim.Machine {
	t.Helper()
	rs, list := iptables.Parse(diag.NewSource("rules.v4", []byte(strings.TrimSpace(text)+"\n")), iptables.IPv4, extension.Registry)
	if list.HasErrors() {
		t.Fatalf("%v\n%s", list, text)
	}
	return iptsim.New(rs)
}

func prove(t *testing.T, a, b equivalence.Machine, o equivalence.ProofOptions) *equivalence.Proof {
	t.Helper()
	o.Versions = []int{4}
	p, err := equivalence.Prove(context.Background(), a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProveMoves compares rules that stand in other tables or at other hooks:
// single stages are unlike, and the whole way decides.
func TestProveMoves(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		want       equivalence.Word
	}{
		{"to another table of the hook", `
*mangle
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT
*filter
:INPUT ACCEPT
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT`, equivalence.Equivalent},
		{"to another hook that only part of the packets pass", `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.1 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT`, equivalence.Different},
		{"to all hooks that follow", `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.1 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
-A FORWARD -s 10.0.0.1 -j DROP
COMMIT`, equivalence.Equivalent},
		{"a mark that is set and tested, and the test alone", `
*mangle
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -m mark --mark 0x1 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
-A INPUT -m mark --mark 0x1 -j DROP
COMMIT`, equivalence.Equivalent},
		{"a mark of other packets", `
*mangle
:INPUT ACCEPT
-A INPUT -s 10.0.0.2 -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -m mark --mark 0x1 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
-A INPUT -m mark --mark 0x1 -j DROP
COMMIT`, equivalence.Different},
		{"a mark that routing sees, and one that it does not", `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.1 -j MARK --set-xmark 0x1/0xffffffff
COMMIT`, `
*mangle
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -s 10.0.0.1 -j MARK --set-xmark 0x1/0xffffffff
-A FORWARD -s 10.0.0.1 -j MARK --set-xmark 0x1/0xffffffff
COMMIT`, equivalence.Undecided},
		{"a mark before and behind another routing decision", `
*mangle
:OUTPUT ACCEPT
-A OUTPUT -d 192.0.2.7 -j MARK --set-xmark 0x1/0xffffffff
COMMIT`, `
*filter
:OUTPUT ACCEPT
-A OUTPUT -d 192.0.2.7 -j MARK --set-xmark 0x1/0xffffffff
COMMIT`, equivalence.Different},
		{"a test of the address before and behind a translation", `
*nat
:PREROUTING ACCEPT
-A PREROUTING -d 192.0.2.1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.9
COMMIT
*mangle
:PREROUTING ACCEPT
-A PREROUTING -d 192.0.2.1 -j DROP
COMMIT`, `
*nat
:PREROUTING ACCEPT
-A PREROUTING -d 192.0.2.1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.9
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -d 192.0.2.1 -j DROP
-A FORWARD -d 192.0.2.1 -j DROP
COMMIT`, equivalence.Different},
		{"a test of the port before and behind a translation", `
*nat
:PREROUTING ACCEPT
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:8080
COMMIT
*mangle
:PREROUTING ACCEPT
-A PREROUTING -p tcp -m tcp --dport 80 -j DROP
COMMIT`, `
*nat
:PREROUTING ACCEPT
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.1:8080
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j DROP
-A FORWARD -p tcp -m tcp --dport 80 -j DROP
COMMIT`, equivalence.Different},
		{"a test of the source of what was translated before", `
*nat
:INPUT ACCEPT
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.0/8 -j DROP
COMMIT`, `
*nat
:INPUT ACCEPT
COMMIT
*security
:INPUT ACCEPT
-A INPUT -s 10.0.0.0/8 -j DROP
COMMIT`, equivalence.Equivalent},
		{"an exemption from tracking, and no state that asks for it", `
*raw
:PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.1 -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -m conntrack --ctstate UNTRACKED -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -m conntrack --ctstate UNTRACKED -j DROP
COMMIT`, equivalence.Different},
		{"a segment size that is lowered twice", `
*mangle
:FORWARD ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --set-mss 1400
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --set-mss 1400
COMMIT`, `
*mangle
:FORWARD ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --set-mss 1400
COMMIT`, equivalence.Equivalent},
		{"a segment size of what is dropped", `
*mangle
:FORWARD ACCEPT
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --set-mss 1400
COMMIT
*filter
:FORWARD ACCEPT
-A FORWARD -s 10.0.0.1 -j DROP
COMMIT`, `
*raw
:PREROUTING ACCEPT
COMMIT
*mangle
:FORWARD ACCEPT
-A FORWARD -s 10.0.0.1 -j DROP
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN --tcp-option 2 -j TCPMSS --set-mss 1400
COMMIT`, equivalence.Equivalent},
		{"a mark of which each bit may be another", `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -j CONNMARK --restore-mark
-A PREROUTING -i eth1 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x10/0xf0
COMMIT`, `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -i eth1 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x10/0xf0
COMMIT`, equivalence.Different},
		{"an empty bucket that is asked again", `
*filter
:INPUT DROP
:rate -
-A INPUT -j rate
-A INPUT -s 10.0.0.1 -j rate
-A rate -m limit --limit 1/sec -j ACCEPT
COMMIT`, `
*filter
:INPUT DROP
:rate -
-A INPUT -j rate
-A rate -m limit --limit 1/sec -j ACCEPT
COMMIT`, equivalence.Equivalent},
		{"a bucket that is asked again", `
*filter
:INPUT DROP
:rate -
-A INPUT -j rate
-A INPUT -s 10.0.0.1 -j rate
-A rate -m limit --limit 1/sec -j LOG
COMMIT`, `
*filter
:INPUT DROP
:rate -
-A INPUT -j rate
-A rate -m limit --limit 1/sec -j LOG
COMMIT`, equivalence.Different},
		{"of what is delivered, nothing is a fragment", `
*filter
:INPUT ACCEPT
-A INPUT -f -j ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT`, `
*mangle
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT`, equivalence.Equivalent},
		{"what is delivered is as long as all its fragments", `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -m length --length 1000:65535 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
-A INPUT -m length --length 1000:65535 -j DROP
-A FORWARD -m length --length 1000:65535 -j DROP
COMMIT`, equivalence.Undecided},
		{"behind a drop nothing matters", `
*raw
:PREROUTING DROP
COMMIT
*filter
:INPUT ACCEPT
-A INPUT -s 10.0.0.1 -j DROP
COMMIT`, `
*raw
:PREROUTING DROP
COMMIT
*filter
:INPUT ACCEPT
COMMIT`, equivalence.Equivalent},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := rules(t, c.a), rules(t, c.b)
			p := prove(t, a, b, equivalence.ProofOptions{})
			if p.Word != c.want {
				t.Errorf("%s, want %s: %s %v", p.Word, c.want, p.Incomplete, p.Unknown)
			}
			if p.Word == equivalence.Different && len(p.Classes) != len(p.Differences) {
				t.Errorf("%d classes for %d differences", len(p.Classes), len(p.Differences))
			}
		})
	}
}

// TestProveStates compares who asks which bucket, for which packets, in which
// order.
func TestProveStates(t *testing.T) {
	const one = `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:slow -
-A INPUT -p tcp -j slow
-A FORWARD -p tcp -j slow
-A slow -m limit --limit 3/min --limit-burst 4 -j RETURN
-A slow -j DROP
COMMIT`
	for _, c := range []struct {
		name, a, b string
		want       equivalence.Word
	}{
		{"the same", one, one, equivalence.Equivalent},
		{"split in two", one, `
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:slow -
:slower -
-A INPUT -p tcp -j slow
-A FORWARD -p tcp -j slower
-A slow -m limit --limit 3/min --limit-burst 4 -j RETURN
-A slow -j DROP
-A slower -m limit --limit 3/min --limit-burst 4 -j RETURN
-A slower -j DROP
COMMIT`, equivalence.Different},
		{"another rate", one, strings.ReplaceAll(one, "3/min", "30/min"), equivalence.Different},
		{"another burst", one, strings.ReplaceAll(one, "burst 4", "burst 5"), equivalence.Different},
		{"asked for more packets", `
*filter
:INPUT ACCEPT
-A INPUT -p tcp -m limit --limit 3/min -m tcp --dport 22 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j DROP
COMMIT`, equivalence.Different},
		{"a counter of another length", `
*filter
:INPUT ACCEPT
-A INPUT -m statistic --mode nth --every 3 --packet 0 -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
-A INPUT -m statistic --mode nth --every 4 --packet 0 -j DROP
COMMIT`, equivalence.Different},
		{"asked twice", `
*filter
:INPUT ACCEPT
:slow -
-A INPUT -p tcp -j slow
-A INPUT -p tcp -j slow
-A slow -m limit --limit 3/min --limit-burst 4 -j RETURN
-A slow -j DROP
COMMIT`, `
*filter
:INPUT ACCEPT
:slow -
-A INPUT -p tcp -j slow
-A slow -m limit --limit 3/min --limit-burst 4 -j RETURN
-A slow -j DROP
COMMIT`, equivalence.Different},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := prove(t, rules(t, c.a), rules(t, c.b), equivalence.ProofOptions{})
			if p.Word != c.want {
				t.Errorf("%s, want %s: %s %v", p.Word, c.want, p.Incomplete, p.Unknown)
			}
		})
	}
}

// TestProveBudget wants a budget that ends to be no answer.
func TestProveBudget(t *testing.T) {
	m := rules(t, "*filter\n:INPUT ACCEPT\n-A INPUT -s 10.0.0.1 -j DROP\nCOMMIT")
	p := prove(t, m, m, equivalence.ProofOptions{Time: 1})
	if p.Word != equivalence.Undecided || !strings.Contains(p.Incomplete, "time") {
		t.Errorf("%s: %s", p.Word, p.Incomplete)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := equivalence.Prove(ctx, m, m, equivalence.ProofOptions{Versions: []int{4}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled proof: %v", err)
	}
	if _, err := equivalence.Prove(context.Background(), m, m, equivalence.ProofOptions{}); !errors.Is(err, equivalence.ErrNoVersions) {
		t.Errorf("no version: %v", err)
	}
}

// lie is the leaf of a function that says the opposite of a verdict.
func lie(l symbolic.Leaf) symbolic.Leaf {
	if l.Verdict == symbolic.Drop {
		l.Verdict = symbolic.Accept
	}
	return l
}

// TestReplay runs the packets of a proof, and plants functions that do not say
// what the machine does.
func TestReplay(t *testing.T) {
	const text = `
*mangle
:PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.0/8 -j MARK --set-xmark 0x10/0xf0
COMMIT
*filter
:INPUT ACCEPT
:FORWARD DROP
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j LOG --log-prefix "ssh "
-A INPUT -p tcp -m tcp --dport 22 -j REJECT
-A FORWARD -i eth0 -o eth1 -m mark --mark 0x10/0xf0 -j ACCEPT
COMMIT`
	o := equivalence.ProofOptions{Versions: []int{4}}
	m := rules(t, text)
	r, err := equivalence.ReplayProof(context.Background(), m, rules(t, text), o, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || r.Packets < 100 || len(r.Mismatches)+len(r.Differences) > 0 {
		t.Errorf("complete %v, %d packets, %v, %d differences", r.Complete, r.Packets, r.Mismatches, len(r.Differences))
	}
	if r, err = equivalence.ReplayProof(context.Background(), m, rules(t, text), o, 10); err != nil || r.Complete || r.Packets > 20 {
		t.Errorf("of at most 10 packets: complete %v, %d packets, %v", r.Complete, r.Packets, err)
	}
	r, err = equivalence.ReplayProof(context.Background(), m, mistaken{rules(t, text), lie}, o, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Mismatches) == 0 {
		t.Error("functions that turn drop into accept are not noticed")
	}
	p := prove(t, mistaken{m, lie}, mistaken{rules(t, text), lie}, o)
	if got := equivalence.Combine(p, r); got != equivalence.Undecided {
		t.Errorf("a proof that packets contradict is %s", got)
	}
}

// TestCounterexamples wants differences that the walkers confirm, at the hook of
// their class.
func TestCounterexamples(t *testing.T) {
	a := rules(t, "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n-A INPUT -s 10.1.0.0/16 -p udp -m udp --dport 53 -j DROP\n-A FORWARD -o eth7 -m conntrack --ctstate ESTABLISHED -j DROP\nCOMMIT")
	b := rules(t, "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n-A INPUT -s 10.1.0.0/16 -p udp -m udp --dport 54 -j DROP\n-A FORWARD -o eth7 -m conntrack --ctstate RELATED -j DROP\nCOMMIT")
	p := prove(t, a, b, equivalence.ProofOptions{})
	if p.Word != equivalence.Different || len(p.Differences) < 4 {
		t.Fatalf("%s with %d differences", p.Word, len(p.Differences))
	}
	var hooks []packet.Hook
	for i, d := range p.Differences {
		c := p.Classes[i]
		hooks = append(hooks, c.Hook)
		if c.A == "" || c.B == "" || c.Packets.Sign() <= 0 || c.Packets.Cmp(c.All) >= 0 {
			t.Errorf("class %+v", c)
		}
		walkA, walkB := equivalence.NewWalker(a, d.Host), equivalence.NewWalker(b, d.Host)
		if fateA, fateB := walkA.Run(d.Packet), walkB.Run(d.Packet); len(equivalence.Differ(fateA, fateB)) == 0 {
			t.Errorf("%v: %s on both sides", d.Packet, equivalence.Describe(fateA))
		}
	}
	if !slices.Contains(hooks, packet.Input) || !slices.Contains(hooks, packet.Forward) {
		t.Errorf("differences at %v", hooks)
	}
}

// TestReplayStandings has the same fields read where tracking has looked, where
// it has not, and where only packets come that start a connection: what each
// stage does must be what its function says.
func TestReplayStandings(t *testing.T) {
	const text = `
*raw
:PREROUTING ACCEPT
:OUTPUT ACCEPT
-A PREROUTING -m conntrack --ctstate INVALID -j NOTRACK
-A OUTPUT -m conntrack ! --ctstatus NONE -j NOTRACK
-A OUTPUT -m conntrack ! --ctstatus NONE -j DROP
COMMIT
*nat
:PREROUTING ACCEPT
-A PREROUTING -p tcp -m conntrack --ctstate NEW ! --ctstatus NONE -j REDIRECT --to-ports 81
COMMIT
*filter
:INPUT ACCEPT
:OUTPUT ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED ! --ctstatus NONE -j DROP
-A OUTPUT -m conntrack ! --ctstatus NONE -j DROP
COMMIT
`
	o := equivalence.ProofOptions{Versions: []int{4}}
	m := rules(t, text)
	r, err := equivalence.ReplayProof(context.Background(), m, rules(t, text), o, 5000)
	if err != nil || r.Packets == 0 || len(r.Mismatches) > 0 || len(r.Differences) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestProveManyTurns asks one bucket more often than a stage can be put together
// with: that is no matter to rules that are the same, and to nothing else a crash.
func TestProveManyTurns(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT\n:l -\n")
	for port := range 80 {
		fmt.Fprintf(&b, "-A INPUT -p tcp -m tcp --dport %d -j MARK --set-xmark 0x1/0x1\n-A INPUT -j l\n", 1000+port)
	}
	b.WriteString("-A l -m limit --limit 1/sec -j LOG\nCOMMIT\n")
	source, target, codes := both(t, []byte(b.String()), iptables.IPv4)
	o := equivalence.ProofOptions{Versions: []int{4}, Deviations: codes}
	p := prove(t, source, target, o)
	if p.Word != equivalence.Equivalent {
		t.Errorf("%s: %s", p.Word, p.Incomplete)
	}
	r, err := equivalence.ReplayProof(context.Background(), source, target, o, 100)
	if err != nil || r.Packets == 0 || r.Complete || len(r.Mismatches)+len(r.Differences) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
