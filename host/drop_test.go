package host_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/host"
)

// TestDroppers has one table for each way to drop, and some that do not.
func TestDroppers(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	run(t, n, `table ip docker-bridges {
	chain c {
		ip saddr 10.0.0.1 drop
		ip saddr 10.0.0.2 accept
	}
}
table ip rejects {
	chain c {
		reject
	}
}
table ip maps {
	map m {
		type inet_service : verdict
		elements = { 1 : accept, 2 : drop }
	}
	chain c {
		tcp dport vmap @m
	}
}
table ip harmless {
	map m {
		type inet_service : verdict
		elements = { 1 : accept }
	}
	chain c {
		type filter hook input priority 0; policy accept;
		tcp dport 3 counter
	}
}
`, "nft", "-f", "-")
	run(t, n, "", "iptables-nft", "-t", "security", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
	want := []string{
		"legacy table ip filter, policy of INPUT, 3 rules", "legacy table ip nat, 1 rules",
		"nf_tables table inet own, policy of input", "nf_tables table ip docker-bridges (Docker), 1 rules",
		"nf_tables table ip maps, 1 rules", "nf_tables table ip rejects, 1 rules",
		"nf_tables table ip security, 1 rules", "nf_tables table ip6 filter, policy of FORWARD",
	}
	var got []string
	for _, d := range host.Droppers(take(t, n)) {
		got = append(got, d.String())
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func sorted(list []string) []string { slices.Sort(list); return list }
