package nftsim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/equivalence/nftsim"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// compile loads a text in a private namespace with the real nft. It returns the
// batch that makes the same ruleset, the kernel's dump, and what nft prints of
// the bytecode.
func compile(t *testing.T, text string) (batch, dump []netlink.Message, notation string) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	load := ns.Command("nft", "-f", "-")
	load.Stdin = strings.NewReader(text + "\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s\n%s", err, out, text)
	}
	out, err := ns.Command("nft", "--debug=netlink", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft list: %v\n%s", err, out)
	}
	err = ns.Do(func() error {
		c, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := nfnetlink.DumpRuleset(c)
		if err == nil {
			dump = d.Messages
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return nfnetlink.Replay(dump), dump, string(out)
}

func decode(t *testing.T, batch []netlink.Message) *nftsim.Machine {
	t.Helper()
	m, err := nftsim.Decode(batch)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return m
}

// instructions returns the lines of a text that are instructions.
func instructions(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[ ") && strings.HasSuffix(line, "]") {
			line = strings.Join(strings.Fields(line), " ")
			if strings.HasPrefix(line, "[ lookup ") {
				// A kernel dump has lookup flags also when there are none.
				line = strings.Replace(line, " 0x0 ]", " ]", 1)
			}
			line = strings.Replace(line, " timeout 0ms", "", 1) // likewise
			lines = append(lines, line)
		}
	}
	return lines
}

// inChains puts rules into the chains that may hold them.
func inChains(family, sets string, filter, dnat, snat []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s t {\n%s\nchain u { }\n", family, sets)
	for _, c := range []struct {
		head  string
		rules []string
	}{
		{"f { type filter hook forward priority 0;", filter},
		{"d { type nat hook prerouting priority -100;", dnat},
		{"s { type nat hook postrouting priority 100;", snat},
	} {
		fmt.Fprintf(&b, "chain %s\n%s\n}\n", c.head, strings.Join(c.rules, "\n"))
	}
	return b.String() + "}"
}

var notationSets = `
 set dyn { type ipv4_addr; flags dynamic,timeout; size 65535; timeout 60s; }
 set iv { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.168.1.1-192.168.1.9 } }
 set cc { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 } }
 map mm { type inet_service : mark; elements = { 1 : 5, 2 : 6 } }`

// Rules of every form that translations use, in nft 1.0.6 syntax.
var notationFilter = []string{
	"ip saddr 10.0.0.0/24 tcp dport 22 ct state new,established counter accept",
	"ip saddr 10.0.0.1-10.0.0.9 drop", "ip saddr != 10.0.0.1-10.0.0.9 drop", "ip saddr & 255.0.255.0 == 10.0.1.0 drop",
	"ip saddr { 1.2.3.4, 5.6.7.8 } accept", "ip saddr != @iv drop", "ip saddr . tcp dport @cc accept",
	"tcp dport vmap { 22 : accept, 80 : jump u, 100-200 : goto u }", "meta mark set tcp dport map @mm",
	"limit rate over 10/minute burst 7 packets drop", "limit rate 3/day return", "limit rate 10 kbytes/second burst 100 bytes drop",
	"log prefix \"foo: \" level info flags all", "log group 2 prefix \"x\" snaplen 10", "log", "log level audit",
	"log flags tcp sequence,options flags ip options flags skuid flags ether",
	"reject with icmp type host-unreachable", "reject with tcp reset", "reject",
	"meta mark set meta mark & 0xff00 ^ 0x12", "meta mark set ct mark << 4", "ct mark set meta mark >> 3",
	"ct mark set ct mark & 0xffffff00 ^ 0x1", "ct original ip saddr 1.2.3.4", "meta l4proto tcp ct reply proto-dst 22",
	"ct original bytes > 100", "ct bytes 100-200", "ct reply packets < 7", "ct avgpkt != 100",
	"ct state ! new", "ct status dnat,snat", "ct expiration 10-20", "ct direction reply", "ct protocol 6", "ct mark & 0xf == 3",
	"ct label set 5", "ct helper \"ftp\"", "ct zone 5", "ct state vmap { established : accept, related : accept, invalid : drop }",
	"tcp option maxseg size set 1400", "tcp option maxseg size set rt mtu", "tcp option 5 exists", "tcp option 30 missing",
	"reset tcp option 5", "tcp option maxseg size 100-200", "tcp flags & (fin|syn) == syn", "tcp flags & (fin|syn|rst|ack) != syn",
	"fib daddr type local", "fib saddr . iif oif missing", "fib daddr . iif type { local, broadcast }", "fib saddr oifname \"eth0\"",
	"fib saddr type != unicast", "numgen inc mod 5 == 2", "numgen random mod 5 offset 3 == 4",
	"add @dyn { ip saddr timeout 5s limit rate 3/second }", "update @dyn { ip saddr timeout 1m }",
	"add @dyn { ip saddr counter limit rate 3/second } drop", "delete @dyn { ip saddr }",
	"quota over 100 bytes drop", "quota 100 bytes accept", "ct count 20 accept", "ct count over 20 drop",
	"meta length 100-200", "meta length > 500", "meta skuid 1000-2000", "meta skgid != 5", "meta random & 0x7fffffff < 100",
	"iifname \"eth*\" oifname \"lo\"", "iifname != \"ethernet0\"", "iif \"lo\"", "iifgroup 5", "iiftype ether",
	"ip dscp set 5", "ip ttl set 3", "ip ttl < 9", "ip daddr set 1.2.3.4", "udp dport set 53", "notrack",
	"ether saddr 11:22:33:44:55:66", "ip frag-off & 0x1fff != 0", "@th,0,16 5", "@nh,8,8 & 0xf == 0x3",
	"meta priority set 1:2", "meta pkttype broadcast", "icmp type 3 icmp code 1", "icmp type . icmp code { 3 . 1 }",
	"ip protocol != 6", "meta l4proto { tcp, udp } th dport 53", "udp dport != { 1, 5-9 }", "return", "continue", "jump u", "goto u",
}

var notationDNAT = []string{
	"dnat to 1.2.3.4", "meta l4proto tcp dnat to 1.2.3.4-1.2.3.9:10-20 random,persistent", "dnat ip prefix to 10.0.0.0/8",
	"redirect", "meta l4proto tcp redirect to :80", "meta l4proto tcp redirect to :80-90 random", "meta l4proto tcp dnat to :80",
}

var notationSNAT = []string{
	"snat to 1.2.3.4", "meta l4proto tcp snat to 1.2.3.4:20-30 fully-random", "masquerade",
	"meta l4proto tcp masquerade to :10-20 random", "masquerade random,fully-random,persistent", "snat ip prefix to 10.0.0.0/8",
}

var notation6 = []string{
	"exthdr frag exists", "exthdr hbh missing", "rt type 0", "frag id 5", "reject with icmpv6 type admin-prohibited",
	"ip6 saddr fe80::/10 icmpv6 type . icmpv6 code { 1 . 2 }", "ip6 daddr set ::1", "ip6 dscp set 5", "ip6 hoplimit 5",
	"ip6 saddr ::1-::5", "ct original ip6 saddr ::1", "meta l4proto 58", "ip6 dscp 5", "ip6 flowlabel 7",
}

// The decoded rules must read as nft reads them back from the kernel.
func TestNotation(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	for name, text := range map[string]string{
		"ip":   inChains("ip", notationSets, notationFilter, notationDNAT, notationSNAT),
		"ip6":  inChains("ip6", "", notation6, nil, nil),
		"inet": inChains("inet", notationSets, append(slices.Clone(notationFilter), "reject with icmpx type no-route"), nil, nil),
	} {
		t.Run(name, func(t *testing.T) {
			batch, dump, want := compile(t, text)
			for source, messages := range map[string][]netlink.Message{"batch": batch, "dump": dump} {
				var got strings.Builder
				if err := decode(t, messages).Dump(&got); err != nil {
					t.Fatal(err)
				}
				g, w := instructions(got.String()), instructions(want)
				for i := range max(len(g), len(w)) {
					if i >= len(g) || i >= len(w) || g[i] != w[i] {
						t.Fatalf("%s: instruction %d of %d, %d: got %q, nft says %q", source, i, len(g), len(w), g[min(i, len(g)-1)], w[min(i, len(w)-1)])
					}
				}
				if len(g) == 0 {
					t.Fatal("nothing was compared")
				}
			}
		})
	}
}
