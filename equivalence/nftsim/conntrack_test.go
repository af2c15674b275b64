package nftsim_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// Whether the kernel tracks connections is asked of the kernel: a datagram is
// sent inside a namespace that holds the ruleset, and the connections counted.
func TestNeedsConntrackAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	filter, nat := "chain c { type filter hook input priority 0\n", "chain c { type nat hook prerouting priority 0\n"
	source := "chain c { type nat hook postrouting priority 100\n"
	for _, c := range []struct{ family, chain, rule string }{
		{"ip", filter, "accept"}, {"ip", filter, "ct state new"}, {"ip6", filter, "ct state new"}, {"inet", filter, "ct mark set 5"},
		{"ip", nat, ""}, {"inet", nat, ""}, {"inet", nat, "ip daddr 1.2.3.4 accept"},
		{"ip", "chain c { type filter hook prerouting priority -300\n", "udp dport 5 notrack"},
		{"ip", source, "ip daddr 1.2.3.4 masquerade"}, {"inet", source, "ip daddr 1.2.3.4 masquerade"},
		{"inet", source, "ip daddr 1.2.3.4 snat ip to 5.6.7.8"}, {"inet", nat, "ip6 daddr ::5 dnat ip6 to ::6"},
		{"inet", nat, "ip daddr 1.2.3.4 redirect"}, {"inet", nat, "tcp dport 4 dnat to :5"},
		{"ip", filter, "ct count over 100 drop"}, {"ip", filter, "log"}, {"inet", filter, "limit rate 1/second"}, {"inet", filter, "fib daddr type local"},
		{"ip", "set s { type ipv4_addr\n flags dynamic\n }\n" + filter, "add @s { ip saddr ct count over 100 } drop"},
	} {
		name := c.family + " " + c.rule
		text := "table " + c.family + " t {\n" + c.chain + c.rule + "\n}\n}\n"
		batch, _, _ := compile(t, text)
		m := decode(t, batch)
		for version, address := range map[int]string{4: "127.0.0.1:9", 6: "[::1]:9"} {
			if got, want := m.NeedsConntrack(version), tracks(t, text, address); got != want {
				t.Errorf("%s, version %d: got %v, the kernel tracks: %v", name, version, got, want)
			}
		}
	}
}

// tracks says whether the kernel has a connection after a datagram.
func tracks(t *testing.T, text, address string) bool {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	load := ns.Command("nft", "-f", "-")
	load.Stdin = strings.NewReader(text)
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	var count []byte
	err = ns.Do(func() error {
		c, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		count, err = os.ReadFile("/proc/thread-self/net/stat/nf_conntrack")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return connections(t, string(count)) > 0
}

// connections reads the number of entries: the first column, in hexadecimal,
// behind a line of titles.
func connections(t *testing.T, stat string) int {
	t.Helper()
	lines := strings.Split(stat, "\n")
	if len(lines) < 2 {
		t.Fatalf("statistics %q", stat)
	}
	n := 0
	for _, digit := range strings.Fields(lines[1])[0] {
		n = n*16 + strings.IndexRune("0123456789abcdef", digit)
	}
	return n
}
