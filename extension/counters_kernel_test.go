package extension

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// TestCounters loads rules with counters and their translation side by side,
// sends packets, and wants both engines to have counted the same: comments say
// which rules belong together.
func TestCounters(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"), testkit.Tool("nft"), testkit.Tool("ip"))
	var rules strings.Builder
	rules.WriteString("*mangle\n:PREROUTING ACCEPT [3:4]\n:INPUT ACCEPT [10:2000]\n:OUTPUT ACCEPT [0:0]\n:user - [0:0]\n")
	for i := range 18 {
		fmt.Fprintf(&rules, ":deep%d - [0:0]\n", i)
	}
	n := 0
	rule := func(chain, matches, action string) {
		fmt.Fprintf(&rules, "[%d:%d] -A %s %s -m comment --comment r%d %s\n", n, 100*n, chain, matches, n, action)
		n++
	}
	rule("PREROUTING", "-p udp -m udp --dport 1000", "")
	rule("PREROUTING", "-p udp -m udp --dport 1000:1004", "-j MARK --set-mark 1")
	rule("PREROUTING", "-p udp -m udp --dport 1003", "-j RETURN")
	rule("PREROUTING", "-m conntrack --ctstate NEW,DNAT", "-j user") // one rule becomes a chain
	rule("PREROUTING", "-p udp -m multiport --ports 1001,1005", "-j ACCEPT")
	rule("PREROUTING", "-m owner ! --uid-owner 0-4294967294", "-j MARK --set-mark 3")
	rule("INPUT", "-p udp", "-g user")
	rule("INPUT", "", "-j LOG")
	rule("OUTPUT", "-p udp", "-j deep0")
	for i := range 17 {
		rule(fmt.Sprintf("deep%d", i), "-p udp", fmt.Sprintf("-j deep%d", i+1))
		rule(fmt.Sprintf("deep%d", i), fmt.Sprintf("-p udp -m udp --dport %d", 1000+i), "-j RETURN")
	}
	rule("user", "-p udp -m udp --dport 1002", "-j RETURN")
	rule("user", "-p udp -m limit --limit 1/hour --limit-burst 5", "-j MARK --set-mark 2")
	rule("user", "-p udp", "-j RETURN")
	rules.WriteString("COMMIT\n")
	text := strings.ReplaceAll(rules.String(), "-A PREROUTING -m owner", "-A OUTPUT -m owner")

	source, list := iptables.Parse(diag.NewSource("rules.v4", []byte(text)), iptables.IPv4, Registry)
	if list.HasErrors() {
		t.Fatal(list)
	}
	result, list := translate.Translate(source, nil, translate.Options{Counters: true})
	if result == nil {
		t.Fatal(list)
	}
	var nft bytes.Buffer
	if err := nftgen.Print(&nft, result.Ruleset); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	run := func(in, name string, args ...string) string {
		t.Helper()
		cmd := ns.Command(name, args...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", name, err, out, in)
		}
		return string(out)
	}
	run("", "ip", "link", "set", "lo", "up")
	run(text, "iptables-legacy-restore", "-c")
	run(nft.String(), "nft", "-f", "-")
	err = ns.Do(func() error {
		for i := range 1000 {
			c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", 1000+i%20))
			if err != nil {
				return err
			}
			_, _ = c.Write(make([]byte, i%40)) // nobody listens: ICMP says so
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	saved, listed := run("", "iptables-legacy-save", "-c", "-t", "mangle"), run("", "nft", "list", "ruleset")
	for i := range n {
		x := regexp.MustCompile(fmt.Sprintf(`(?m)^\[(\d+):(\d+)\].*--comment r%d( |$)`, i)).FindStringSubmatch(saved)
		var packets, bytes uint64
		for _, m := range regexp.MustCompile(fmt.Sprintf(`(?m)counter packets (\d+) bytes (\d+).*comment "r%d"`, i)).FindAllStringSubmatch(listed, -1) {
			var p, b uint64
			fmt.Sscan(m[1], &p)
			fmt.Sscan(m[2], &b)
			packets, bytes = packets+p, bytes+b
		}
		if x == nil || x[1] != fmt.Sprint(packets) || x[2] != fmt.Sprint(bytes) {
			t.Errorf("rule %d: xtables has counted %v, nf_tables [%d:%d]", i, x, packets, bytes)
		}
	}
	for _, chain := range []string{"PREROUTING", "INPUT", "OUTPUT"} {
		x := regexp.MustCompile(`(?m)^:` + chain + ` ACCEPT \[(\d+):(\d+)\]`).FindStringSubmatch(saved)
		m := regexp.MustCompile(`(?s)chain mangle_` + chain + ` \{.*?counter packets (\d+) bytes (\d+) comment "policy"`).FindStringSubmatch(listed)
		if x == nil || m == nil || x[1] != m[1] || x[2] != m[2] {
			t.Errorf("policy of %s: xtables has counted %v, nf_tables %v", chain, x, m)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", saved, listed)
	}
}
