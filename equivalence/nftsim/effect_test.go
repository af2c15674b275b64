package nftsim_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// effects are chains whose rules act; each is a ruleset of its own.
var effects = []struct{ name, chains string }{
	{"verdicts", `chain u { tcp dport 22 accept; udp dport 53 return; ip ttl 10 goto v; counter; }
 chain v { tcp dport 80 drop; meta mark set 9; }
 chain c { type filter hook forward priority 0; policy drop; ip protocol icmp accept; jump u; meta l4proto tcp goto v; continue; meta mark 5 accept; }
 chain i { type filter hook input priority 0; tcp dport vmap { 22 : drop, 80 : jump v, 100-150 : goto u }; udp dport 53 return; udp dport 53 drop; }`},
	{"reject", `chain c { type filter hook forward priority 0; meta l4proto tcp reject with tcp reset; meta l4proto udp reject; ip protocol 132 reject with icmp type admin-prohibited; meta nfproto ipv6 reject with icmpv6 type addr-unreachable; reject with icmpx type no-route; }
 chain i { type filter hook input priority 0; meta l4proto tcp reject with tcp reset; meta l4proto icmp reject with icmp type host-prohibited; ip6 daddr 2001:db8::1 reject with icmpv6 type policy-fail; reject with icmpx type host-unreachable; }`},
	{"log", `chain c { type filter hook prerouting priority 0; log prefix "a " level info; tcp dport 22 log prefix "b" group 3; udp dport 53 log level debug flags all; log; }`},
	{"mangle", `chain c { type filter hook prerouting priority -150; ip dscp set 9; ip6 dscp set 9; ip ttl set 33; ip6 hoplimit set 33; udp dport 53 udp dport set 54; tcp dport 22 tcp dport set 23; icmp type 8 icmp code set 7; ip ecn set 1; }`},
	{"addresses", `chain c { type filter hook prerouting priority -150; ip daddr 198.51.100.9 ip daddr set 198.51.100.12; ip6 daddr 2001:db8:1::9 ip6 daddr set 2001:db8:1::77; }`},
	{"mss", `chain c { type filter hook forward priority -150; tcp option maxseg size set 700; }`},
	{"clamp", `chain c { type filter hook forward priority -150; tcp option maxseg size set rt mtu; }`},
	{"clamp local", `chain c { type filter hook output priority -150; tcp option maxseg size set rt mtu; }
 chain p { type filter hook postrouting priority -150; tcp option maxseg size set rt mtu; }`},
	{"strip", `chain c { type filter hook forward priority -150; reset tcp option 5; reset tcp option 254; reset tcp option 2; }`},
	{"marks", `chain c { type filter hook prerouting priority -150; ct mark set meta mark & 0x5 | 0x8; meta mark set ct mark << 3; meta mark set tcp dport map { 22 : 1, 80 : 2 }; }
 chain p { type filter hook postrouting priority -150; meta mark set ct mark & 0xff; meta mark set meta mark >> 1; }`},
	{"snat", `chain c { type nat hook postrouting priority 100; ip saddr 192.0.2.77 snat to 198.51.100.33; meta l4proto { tcp, udp } ip saddr 192.0.2.200 snat to 198.51.100.34:5000; meta l4proto { tcp, udp } ip6 saddr 2001:db8::77 snat ip6 to [2001:db8:1::33]:77; masquerade; }`},
	{"dnat", `chain c { type nat hook prerouting priority -100; tcp dport 22 dnat ip to 198.51.100.12; udp dport 53 dnat ip to 198.51.100.12:5353; tcp dport 80 redirect; udp dport 100-150 redirect to :99; udp dport 200 dnat ip prefix to 198.51.100.0/24; meta l4proto tcp dnat ip6 to 2001:db8:1::77; }
 chain o { type nat hook output priority -100; tcp dport 22 redirect to :23; udp dport 53 dnat ip to 198.51.100.12; }`},
	{"notrack", `chain c { type filter hook prerouting priority -300; udp dport 53 notrack; tcp dport 22 notrack; }
 chain d { type filter hook prerouting priority 0; ct state untracked meta mark set 77; ct state new meta mark set 78; }`},
	{"zone", `chain c { type filter hook prerouting priority -300; ct state new meta mark set 76; tcp dport 22 notrack; udp dport 53 ct zone set 5; tcp dport 80 ct original zone set 6; tcp dport 22 ct reply zone set 7; udp dport 53 notrack; ct state new meta mark set 79; ct state untracked meta mark set 80; }
 chain d { type filter hook prerouting priority 0; ct state untracked meta mark set 77; }`},
}

// Everything that a ruleset does to a packet is compared with what the kernel
// does.
func TestEffectsAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"))
	host := differentialHost()
	for n, e := range effects {
		t.Run(e.name, func(t *testing.T) {
			batch, _, _ := compile(t, fmt.Sprintf("table inet t {\n%s\n}", strings.ReplaceAll(e.chains, ";", "\n")))
			k, err := kernel.NewNftables(host, batch, kernel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			w := equivalence.NewWalker(decode(t, batch), host)
			r := rand.New(rand.NewPCG(11, uint64(n)))
			ran, wrong := 0, 0
			for range 1500 {
				p := randomPacket(r, false)
				if !plainRouting(p) {
					continue
				}
				want, got, ok := both(t, k, w, p)
				if !ok || want.Observed.State == 0 {
					continue // the kernel dropped it before the first hook
				}
				packet.FixChecksums(want.Data) // the walker does so
				got.Events = slices.DeleteFunc(got.Events, func(e packet.Event) bool {
					switch e := e.(type) {
					case packet.LogEvent:
						return false
					case packet.RejectEvent:
						return !host.Answers(p.Data, cmp.Or(p.In, got.Out), p.Type, e)
					}
					return true // the kernel shows no other events
				})
				want.Priority = got.Priority // forwarding of IPv4 sets it
				ran++
				if d := equivalence.Differ(want, got); len(d) > 0 {
					if wrong++; wrong <= 3 {
						t.Errorf("%v\nkernel:  %s\nmachine: %s\nobserved %+v", d, equivalence.Describe(want), equivalence.Describe(got), want.Observed)
						t.Logf("%v\n%x\n%x\n%x", p, p.Data, want.Data, got.Data)
					}
				}
			}
			if wrong > 0 || ran < 100 {
				t.Errorf("%d of %d packets differ", wrong, ran)
			}
		})
	}
}

// plainRouting says whether a packet is routed in the ordinary way: the
// machine under test is that of the rules.
func plainRouting(p *packet.Packet) bool {
	ends := packet.Endpoints(p.Data)
	for _, a := range []netip.Addr{ends.Src, ends.Dst} {
		if !a.IsValid() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is4() && a.As4()[0] == 0 {
			return false
		}
	}
	subnetAnycast, limited := netip.MustParseAddr("2001:db8::"), netip.MustParseAddr("255.255.255.255")
	own := ends.Src == netip.MustParseAddr("192.0.2.1") || ends.Src == netip.MustParseAddr("2001:db8::1")
	return ends.Dst != subnetAnycast && ends.Dst != limited && own == (p.Path == packet.Leaving)
}
