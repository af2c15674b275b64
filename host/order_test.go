package host_test

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// TestLaterComesFirst finds out by packets which of two base chains of the same hook
// and priority is asked first: that which was registered later, whichever plane it is
// in. Each chain takes the packet, so that only the first one counts it.
//
// Split says so, and what is proved about its parts must not rest on an order.
func TestLaterComesFirst(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy"), testkit.Tool("iptables-legacy-save"), testkit.Tool("iptables-nft"), testkit.Tool("nft"))
	nft := func(family, name string) func(nat bool) []string {
		return func(nat bool) []string {
			chain, rule := "{ type filter hook output priority 0; }", "drop"
			if nat {
				chain, rule = "{ type nat hook output priority -100; }", "redirect to :1"
			}
			if nat && family == "inet" {
				rule = "meta nfproto ipv4 counter redirect to :1"
			} else {
				rule = "counter " + rule
			}
			return []string{"nft", fmt.Sprintf("add table %[1]s %[2]s; add chain %[1]s %[2]s c %[3]s; add rule %[1]s %[2]s c meta l4proto udp %[4]s", family, name, chain, rule)}
		}
	}
	ipt := func(tool string) func(nat bool) []string {
		return func(nat bool) []string {
			if nat {
				return []string{tool, "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "REDIRECT", "--to-ports", "1"}
			}
			return []string{tool, "-A", "OUTPUT", "-p", "udp", "-j", "DROP"}
		}
	}
	planes := []struct {
		name string
		make func(nat bool) []string
	}{
		{"legacy", ipt("iptables-legacy")},
		{"iptables-nft", ipt("iptables-nft")},
		{"ip", nft("ip", "ours")},
		{"inet", nft("inet", "ours6")},
	}
	for _, nat := range []bool{false, true} {
		for _, first := range planes {
			for _, second := range planes {
				if first.name == second.name {
					continue
				}
				t.Run(fmt.Sprintf("nat=%v/%s, then %s", nat, first.name, second.name), func(t *testing.T) {
					ns, err := netns.New()
					if err != nil {
						t.Fatal(err)
					}
					defer ns.Close()
					for _, args := range [][]string{first.make(nat), second.make(nat)} {
						if out, err := ns.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
							t.Fatalf("%q: %v: %s", args, err, out)
						}
					}
					err = ns.Do(func() error {
						c, err := net.Dial("udp", "127.0.0.1:9")
						if err != nil {
							return err
						}
						defer c.Close()
						c.Write([]byte("x")) // the chains of filter refuse it
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
					counted := counts(t, ns)
					if counted[first.name] != "0" || counted[second.name] != "1" {
						t.Errorf("packets counted: %v, want all by %s, which came later", counted, second.name)
					}
				})
			}
		}
	}
}

// counts returns the packets that the rule for UDP of each plane has counted.
func counts(t *testing.T, ns *netns.NS) map[string]string {
	t.Helper()
	counted := map[string]string{}
	legacy, err := ns.Command("iptables-legacy-save", "-c").Output()
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?m)^\[(\d+):\d+\] -A OUTPUT -p udp`).FindSubmatch(legacy); m != nil {
		counted["legacy"] = string(m[1])
	}
	rules, err := ns.Command("nft", "list", "ruleset").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"ip filter": "iptables-nft", "ip nat": "iptables-nft", "ip ours": "ip", "inet ours6": "inet"}
	for _, table := range strings.Split(string(rules), "table ")[1:] {
		name, _, _ := strings.Cut(table, " {")
		if m := regexp.MustCompile(`counter packets (\d+)`).FindStringSubmatch(table); m != nil && names[name] != "" {
			counted[names[name]] = m[1]
		}
	}
	return counted
}
