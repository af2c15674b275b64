package equivalence_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/iptables"
)

func compared(t testing.TB, before, after equivalence.Machine, version int) *equivalence.Comparison {
	t.Helper()
	c, err := equivalence.Changes(context.Background(), before, after, equivalence.ProofOptions{Versions: []int{version}})
	if err != nil || c.Incomplete != "" || len(c.Unknown) > 0 {
		t.Fatalf("%v, %v", err, c)
	}
	return c
}

// changes lists changes in words: which packets, and what becomes of them.
func changes(list []equivalence.Change) []string {
	var words []string
	for _, ch := range list {
		cover := ch.Packets.Words(8)
		var cubes []string
		for _, cube := range cover.Cubes {
			cubes = append(cubes, cube.String())
		}
		if !cover.Exact {
			cubes = append(cubes, "...")
		}
		words = append(words, fmt.Sprintf("%s: %v => %v", strings.Join(cubes, "; "), ch.Before, ch.After))
	}
	return words
}

// TestChangesIncident wants exactly the classes of packets that the incident's
// line changes, in both languages.
func TestChangesIncident(t *testing.T) {
	read := func(name string) *iptables.Ruleset {
		text, err := os.ReadFile("../examples/incident/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return parsed(t, name, string(text), iptables.IPv4)
	}
	before, after := read("rules.v4"), read("after.v4")
	const other, all = "in any but lo", ", ct state any but established or related"
	want := []string{
		"in lo from 10.0.0.0/8: accept => drop",
		other + " from 10.0.0.0/8, ct state established or related: accept => drop",
		other + ", tcp from 10.0.0.0/8 to port 80 or 443" + all + ": accept => drop",
		other + ", tcp from 10.244.0.0/16 to port 8080" + all + ": accept => drop",
		other + ", tcp from 10.0.0.0/24 to port 22" + all + ": accept => drop",
	}
	const logged = `asks limit one per 12s burst 5, sometimes log prefix "iptables denied: " level 7 flags 0x0, drop => drop`
	for name, m := range map[string][2]equivalence.Machine{
		"iptables": {iptsim.New(before), iptsim.New(after)}, "nftables": {translated(t, before, nil), translated(t, after, nil)},
	} {
		c := compared(t, m[0], m[1], 4)
		if c.Word != equivalence.Different || len(c.Unshown) > 0 {
			t.Errorf("%s: %s, %v", name, c.Word, changes(c.Unshown))
		}
		list := slices.DeleteFunc(slices.Clone(c.Changes), func(ch equivalence.Change) bool { return ch.Cut })
		got := changes(list)
		if len(got) != len(want)+1 || !slices.Equal(got[:len(want)], want) || !strings.HasSuffix(got[len(want)], logged) {
			t.Errorf("%s:\n%s\nwant\n%s\n… %s", name, strings.Join(got, "\n"), strings.Join(want, "\n"), logged)
		}
		for _, ch := range list {
			d := ch.Example
			if d == nil || len(d.A.Trace) == 0 || len(d.Aspects) == 0 || ch.Stage == "" {
				t.Errorf("%s: no example of %v", name, ch.Before)
			}
			if size, err := ch.Packets.Size(); err != nil || size.Most.Sign() == 0 {
				t.Errorf("%s: %v, %v", name, size, err)
			}
		}
		if name == "iptables" {
			var rules []string
			for _, ch := range list {
				rules = append(rules, ch.Before.Rule.Place+" "+ch.After.Rule.Place)
			}
			if want := []string{
				"rules.v4:5 after.v4:5", "rules.v4:6 after.v4:5", "rules.v4:8 after.v4:5", "rules.v4:9 after.v4:5", "rules.v4:7 after.v4:5",
				"rules.v4:11 after.v4:5",
			}; !slices.Equal(rules, want) {
				t.Errorf("decided by %q, want %q", rules, want)
			}
		}
		// What an analysis of either says of the packets is the same.
		if same := compared(t, m[0], m[0], 4); same.Word != equivalence.Equivalent || len(same.Changes)+len(same.Unshown) > 0 {
			t.Errorf("%s: %s with itself", name, same.Word)
		}
	}
}

func TestChanges(t *testing.T) {
	const begin, end = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n", "COMMIT"
	for _, c := range []struct {
		name, before, after string
		version             int
		word                equivalence.Word
		changes, unshown    []string
	}{
		{name: "order of rules", before: begin + "-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j DROP\n" + end,
			after: begin + "-A INPUT -p udp -j DROP\n-A INPUT -p tcp -j DROP\n" + end, word: equivalence.Equivalent},
		{name: "to another table", before: "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A INPUT -s 10.0.0.1/32 -j DROP\nCOMMIT\n" + begin + end,
			after: begin + "-A INPUT -s 10.0.0.1/32 -j DROP\n" + end, word: equivalence.Equivalent,
			unshown: []string{"from 10.0.0.1: drop => accept", "from 10.0.0.1: accept => drop"}},
		{name: "a mark", before: "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A FORWARD -p udp -j MARK --set-xmark 0x1/0x1\nCOMMIT",
			after: "*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n-A FORWARD -p udp -j MARK --set-xmark 0x3/0x3\nCOMMIT",
			word:  equivalence.Different, changes: []string{"udp, mark 0x0/0x2: mark 0x1/0x1, accept => mark 0x3/0x3, accept"}},
		{name: "a kind of answer", before: begin + "-A FORWARD -p udp -j REJECT --reject-with icmp-port-unreachable\n" + end,
			after: begin + "-A FORWARD -p udp -j REJECT --reject-with icmp-admin-prohibited\n" + end,
			word:  equivalence.Different, changes: []string{"udp: reject with icmp type 3 code 3, drop => reject with icmp type 3 code 13, drop"}},
		{name: "a second bucket before the first", before: begin + "-A INPUT -p tcp -m limit --limit 6/min -j ACCEPT\n-A INPUT -j DROP\n" + end,
			after: begin + "-A INPUT -p udp -m limit --limit 6/min -j ACCEPT\n-A INPUT -p tcp -m limit --limit 6/min -j ACCEPT\n-A INPUT -j DROP\n" + end,
			word:  equivalence.Different, changes: []string{
				"udp, limit one per 10s burst 5 says yes: drop => asks limit one per 10s burst 5, accept"},
			unshown: []string{"udp, limit one per 10s burst 5 says no: drop => asks limit one per 10s burst 5, drop"}},
		{name: "IPv6", version: 6, before: begin + "-A INPUT -s fd00::/8 -j DROP\n" + end, after: begin + "-A INPUT -s fd00::/16 -j DROP\n" + end,
			word: equivalence.Different, changes: []string{"from fd01::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff: drop => accept"}},
	} {
		version := max(c.version, 4)
		machine := func(text string) equivalence.Machine {
			return iptsim.New(parsed(t, "rules", text, iptables.Family(version)))
		}
		got := compared(t, machine(c.before), machine(c.after), version)
		if shown := changes(got.Changes); got.Word != c.word || !slices.Equal(shown, c.changes) {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, got.Word, shown, c.word, c.changes)
		}
		if unshown := changes(got.Unshown); !slices.Equal(unshown, c.unshown) {
			t.Errorf("%s: not shown %q, want %q", c.name, unshown, c.unshown)
		}
	}
}
