package snapshot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// tables are the parts of the tests that are no sets.
func tables() (names []string) {
	for _, name := range parts {
		if !strings.HasPrefix(name, setPrefix) {
			names = append(names, name)
		}
	}
	return names
}

// TestEmpty empties all tables of the snapshot, and brings them back.
func TestEmpty(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	lines := listing(t, n)
	before := takeOf(t, n)
	run(t, n, newText, "nft", "-f", "-")
	if err := before.Empty(context.Background(), n, What{Parts: tables(), Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
	now := takeOf(t, n)
	for _, table := range now.Legacy {
		if !table.Idle() && slices.Contains(tables(), LegacyName(table.Family(), table.Name())) {
			t.Errorf("legacy table %s still decides", table)
		}
	}
	if left := tablesOf(now.Ruleset); len(left) != 1 || left[0].Name != "firewall" {
		t.Errorf("tables %v are left, want the new one", left)
	}
	if _, err := before.Restore(context.Background(), n, What{Parts: what, Lock: lockIn(t)}); err != nil {
		t.Fatal(err)
	}
	checkRestored(t, n, before, lines)
}

// TestEmptyMoved is G14: what somebody changed since is not emptied.
func TestEmptyMoved(t *testing.T) {
	for _, c := range []struct{ part, tool, change string }{
		{"legacy table ip filter", "iptables-legacy", "-I INPUT -s 198.51.100.9 -j DROP"},
		{"nf_tables table ip mangle", "iptables-nft", "-t mangle -I FORWARD -s 198.51.100.9 -j DROP"},
	} {
		n := newNS(t)
		fill(t, n)
		before := takeOf(t, n)
		run(t, n, "", c.tool, strings.Fields(c.change)...)
		changed := takeOf(t, n)
		err := before.Empty(context.Background(), n, What{Parts: []string{c.part}, Lock: lockIn(t)})
		if !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: error %v, want ErrMoved", c.part, err)
		}
		if left := Changed(changed, takeOf(t, n)); len(left) > 0 {
			t.Errorf("%s: refused, and still %q", c.part, left)
		}
	}
	n := newNS(t)
	fill(t, n)
	before := takeOf(t, n)
	for _, part := range []string{"legacy table ip raw", "nf_tables table ip raw", "ipset hosts", "nonsense"} {
		if err := before.Empty(context.Background(), n, What{Parts: []string{part}, Lock: lockIn(t)}); err == nil {
			t.Errorf("%s was emptied", part)
		}
	}
}
