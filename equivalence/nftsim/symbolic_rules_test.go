package nftsim_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nftmigrate/internal/testkit"
)

// separately puts each condition into a base chain of its own.
func separately(list []string, hook string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet t {\n%s\n", sets)
	for i, c := range list {
		fmt.Fprintf(&b, "chain c%d { type filter hook %s priority %d\n %s meta mark set 77\n}\n", i, hook, i, c)
	}
	return b.String() + "}"
}

// undecidedConditions are those of which the proof knows nothing, at least for
// some packets that have what they ask for.
var undecidedConditions = []string{
	"frag id 0",                 // may be cut off
	"tcp option window count 3", // values of options but the maximum segment size
	"iif 2", "oif 3",            // indexes of devices
	" oif exists", " oif missing", " oifname \"eth", // routes
	"meta l4proto 132 @ih", // SCTP has no inner header
}

// Every condition is compiled, and its function compared with what the machine
// does with packets.
func TestSymbolicConditions(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	allHooks := []string{"prerouting", "input", "forward", "output", "postrouting"}
	for n, group := range []struct{ list, hooks []string }{
		{conditions, allHooks}, {tracked, allHooks[2:4]}, {arriving, allHooks[:1]}, {departing, allHooks[3:]},
	} {
		for _, hook := range group.hooks {
			t.Run(fmt.Sprintf("%s/%s", group.list[0], hook), func(t *testing.T) {
				batch, _, _ := compile(t, separately(group.list, hook))
				stages := compareStages(t, batch, rand.New(rand.NewPCG(1, uint64(n))), 100)
				for i, c := range group.list {
					tally := stages[fmt.Sprintf("table inet t chain c%d", i)]
					known := !slices.ContainsFunc(undecidedConditions, func(s string) bool { return strings.Contains(c, s) })
					// An authentication header with nothing behind it may be cut off.
					if known && tally.undecided > tally.ran/20 {
						t.Errorf("%s: %d of %d packets are undecided: %v", c, tally.undecided, tally.ran, tally.why)
					}
				}
			})
		}
	}
}

// Likewise of everything that rules do to packets.
func TestSymbolicEffects(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	for n, e := range effects {
		t.Run(e.name, func(t *testing.T) {
			batch, _, _ := compile(t, fmt.Sprintf("table inet t {\n%s\n}", strings.ReplaceAll(e.chains, ";", "\n")))
			for name, tally := range compareStages(t, batch, rand.New(rand.NewPCG(2, uint64(n))), 400) {
				// Without a connection, nat chains are undecided in the machine, too, and
				// zones for packets that tracking has looked at.
				if tally.undecided > 0 && !strings.Contains(e.name, "nat") && e.name != "zone" {
					t.Errorf("%s: %+v", name, tally)
				}
			}
		})
	}
}

// Rules that remember are compared over flows of packets: what the state says is
// open, so that some answer must give what the machine did.
func TestSymbolicSequences(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	for n, c := range sequences {
		if c.name == "size" {
			continue // the proof takes sets never to be full
		}
		t.Run(c.name, func(t *testing.T) {
			batch, _, _ := compile(t, "table inet t {\n"+c.sets+"\n chain c { type filter hook prerouting priority 0\n"+c.rules+"\n}\n}")
			for name, tally := range compareStages(t, batch, rand.New(rand.NewPCG(3, uint64(n))), 300) {
				if tally.undecided > 0 {
					t.Errorf("%s: %+v", name, tally)
				}
			}
		})
	}
}

// neutral are conditions that go with any other.
var neutral = []string{
	"meta mark 5", "meta mark & 0x4 == 0x4", "meta mark < 0x100", "meta mark 1-200", "meta priority 7", "meta length > 60", "ct state new", "ct state established,related", "ct state invalid",
	"ct mark 5", "ct mark & 0x5 == 0x1", "ct status assured", "ct direction reply", "iifname \"eth0\"", "iifname != \"e*\"", "oifname { \"eth1\", \"tun0\" }", "oifname \"eth*\"",
	"meta pkttype host", "fib daddr type local", "limit rate 3/second", "limit rate over 3/second", "meta skuid 5", "quota 500 bytes", "meta mark { 5, 7, 9-100 }", "ct mark . meta mark { 5 . 5, 0 . 0 }",
	"numgen random mod 4 < 2", "numgen inc mod 3 1", "iifname . meta mark { \"eth0\" . 5, \"tun0\" . 0 }", "meta random & 0x80000000 == 0", "ct label 9", "ct original bytes > 0",
}

// actions end a rule with anything before them.
var actions = []string{
	"accept", "drop", "return", "jump u", "jump v", "goto v", "goto w", "counter", "log prefix \"x\"", "log prefix \"y\" meta mark set 5 log prefix \"z\" drop", "meta mark set 5", "meta mark set 7 jump w",
	"meta mark set meta mark & 0xf0 ^ 0x5", "meta mark set meta mark | 0x10", "meta mark set ct mark", "ct mark set meta mark", "ct mark set ct mark << 2", "ct mark set 5", "meta priority set 1:2", "meta mark set meta mark >> 1",
	"meta mark set 5 ct mark set meta mark accept", "ct mark set meta mark meta mark set 0", "reject with icmpx type no-route", "ct label set 9", "meta mark vmap { 5 : accept, 7 : jump u, 0-4 : drop, 200-300 : goto v }", "ct mark set meta mark map { 5 : 7, 7 : 5 }", "meta mark set iifname map { \"eth0\" : 3, \"tun0\" : 4 }",
	"ct state vmap { established : accept, new : jump w, invalid : drop }", "notrack meta mark set 3", "meta mark 5 notrack log prefix \"n\"", "log prefix \"q\" limit rate 3/second drop", "meta mark set numgen inc mod 3 offset 4", "meta mark set meta mark & 0xff meta mark 5 accept",
	"meta mark set 9 meta mark set ct mark", "ip ttl set 33 ip ttl 33 accept", "ip6 hoplimit set 33 ip6 hoplimit != 33 drop", "tcp dport set 23", "tcp dport 22 tcp dport set 80 tcp dport 80 drop", "udp sport set 5", "ip dscp set 9", "ip6 dscp set 9 ip6 dscp 9 log prefix \"d\"", "tcp option maxseg size set 700",
	"ip saddr vmap { 192.0.2.0/24 : jump u, 198.51.100.7 : drop }", "ip daddr . th dport vmap { 198.51.100.9 . 22 : accept, 224.0.0.1 . 53 : jump w }",
	"add @dyn { ip saddr }", "ip saddr @dyn drop", "update @limited { ip saddr timeout 5s limit rate 3/second } accept", "ip saddr @limited reject with tcp reset", "delete @dyn { ip daddr }", "add @buckets { ip saddr . th dport limit rate over 2/second } drop", "ip saddr @counted accept", "meta mark set ip saddr map @learnt",
	"add @learnt { ip saddr : meta mark }", "meta mark set tcp dport map { 22 : 0x16, 80 : 0x50, 100-200 : 0x64 } accept", "tcp flags & (fin|syn) == syn tcp option maxseg size 500-1400 drop", "ip ecn set 1",
}

const randomSets = sets + `
 set dyn { type ipv4_addr; flags dynamic,timeout; timeout 60s; size 65535; }
 set buckets { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65535; }
 set limited { type ipv4_addr; flags dynamic,timeout; timeout 60s; size 65535; }
 set counted { type ipv4_addr; counter; elements = { 192.0.2.77 counter packets 3 bytes 4, 10.9.0.7 counter packets 0 bytes 0 } }
 map learnt { type ipv4_addr : mark; flags dynamic,timeout; timeout 60s; size 65535; }`

// leadsOnlyTo reports whether the chains that an action jumps to are among some,
// so that there are no loops.
func leadsOnlyTo(action string, chains []string) bool {
	words := strings.Fields(strings.ReplaceAll(action, ",", " "))
	for i, w := range words {
		if (w == "jump" || w == "goto") && !slices.Contains(chains, words[i+1]) {
			return false
		}
	}
	return true
}

// randomRules makes a ruleset of conditions and actions that nft takes.
func randomRules(r *rand.Rand) string {
	var b strings.Builder
	known := slices.DeleteFunc(slices.Clone(conditions), func(c string) bool {
		return slices.ContainsFunc(undecidedConditions, func(s string) bool { return strings.Contains(c, s) })
	})
	chain := func(name, head string, rules int, jumps ...string) {
		fmt.Fprintf(&b, "chain %s {%s\n", name, head)
		for range rules {
			action := pick(r, actions...)
			for !leadsOnlyTo(action, jumps) {
				action = pick(r, actions...)
			}
			line := ""
			if r.IntN(3) == 0 && !strings.Contains(action, "ip") && !strings.Contains(action, "tcp") && !strings.Contains(action, "th ") && !strings.Contains(action, "udp") {
				line = pick(r, known...)
			}
			for r.IntN(2) == 0 {
				line += " " + pick(r, neutral...)
			}
			fmt.Fprintf(&b, " %s %s\n", line, action)
		}
		b.WriteString("}\n")
	}
	fmt.Fprintf(&b, "table inet t {\n%s\n", randomSets)
	chain("w", "", 2)
	chain("v", "", 3, "w")
	chain("u", "", 3, "v", "w")
	for i, hook := range []string{"prerouting", "forward", "output"} {
		policy := pick(r, "accept", "drop")
		chain(fmt.Sprintf("c%d", i), fmt.Sprintf(" type filter hook %s priority %d; policy %s;", hook, pick(r, -300, 0, 5), policy), 6, "u", "v", "w")
	}
	return b.String() + "}"
}

func TestSymbolicRandomRules(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	const seed, rulesets, packets = 5, 20, 200
	for n := range uint64(rulesets) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, n))
			text := randomRules(r)
			batch, _, _ := compile(t, text)
			for name, tally := range compareStages(t, batch, r, packets) {
				if tally.wrong > 0 {
					t.Errorf("%s: %+v\n%s", name, tally, text)
				}
				if tally.undecided > tally.ran/20 {
					t.Errorf("%s: %d of %d are undecided: %v", name, tally.undecided, tally.ran, tally.why)
				}
			}
		})
	}
}
