package nftsim_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// Stateful rules whose state does not depend on how fast the packets come.
var sequences = []struct{ name, sets, rules string }{
	{"quota", "", "quota 500 bytes accept\n drop"},
	{"quota over", "", "quota over 500 bytes drop"},
	{"quota met exactly", "", "udp dport 53 quota over 84 bytes drop"},
	{"numgen", "", "numgen inc mod 3 1 drop\n numgen inc mod 2 offset 7 8 meta mark set 3"},
	{"limit", "", "udp dport 53 limit rate 1/week burst 7 packets drop"},
	{"limit over", "", "limit rate over 1/day drop"},
	{"limit of bytes", "", "limit rate over 10 bytes/week burst 300 bytes drop"},
	{"limit behind a match", "", "limit rate 1/week burst 4 packets udp dport 53 drop\n udp dport 53 limit rate 1/week burst 4 packets meta mark set 9"},
	{"add", "set s { type ipv4_addr\n flags dynamic,timeout\n timeout 1h\n size 9\n }", "ip saddr @s drop\n udp dport 53 add @s { ip saddr }"},
	{"size", "set s { type ipv4_addr\n flags dynamic\n size 2\n }", "add @s { ip saddr } drop"},
	{"delete", "set s { type ipv4_addr\n flags dynamic,timeout\n timeout 1h\n size 99\n }", "udp dport 53 delete @s { ip saddr }\n udp dport 80 update @s { ip saddr timeout 2h }\n ip saddr @s drop"},
	{"limit of an element", "set s { type ipv4_addr . inet_service\n flags dynamic,timeout\n timeout 1h\n size 99\n }", "update @s { ip saddr . udp dport limit rate over 1/week burst 3 packets } drop"},
	{"masked key", "set s { type ipv4_addr\n flags dynamic\n size 9\n }", "add @s { ip saddr & 255.255.255.0 limit rate over 1/week burst 5 packets } drop"},
	{"slots", "set a { type ipv4_addr\n flags dynamic,timeout\n size 99\n }\n set b { type ipv4_addr\n flags dynamic,timeout\n size 99\n }",
		"ip saddr @a ip saddr @b drop\n ip saddr @a add @b { ip saddr timeout 1h } accept\n add @a { ip saddr timeout 1h }"},
	{"map of packets", "map m { type ipv4_addr : mark\n flags dynamic,timeout\n timeout 1h\n size 9\n }", "meta mark set ip saddr map @m drop\n udp dport 53 add @m { ip saddr : 7 }"},
	{"elements of the text", "set s { type ipv4_addr\n flags dynamic,timeout\n timeout 1h\n size 99\n elements = { 192.0.2.77, 192.0.2.78 timeout 2h }\n }", "ip saddr @s update @s { ip saddr } meta mark set 4\n udp dport 80 delete @s { ip saddr }\n udp dport 53 add @s { ip saddr } drop"},
	{"counter of an element", "set s { type ipv4_addr\n counter\n elements = { 192.0.2.77 counter packets 3 bytes 4 }\n }", "ip saddr @s drop"},
}

func TestSequencesAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"))
	host := differentialHost()
	for n, c := range sequences {
		t.Run(c.name, func(t *testing.T) {
			batch, _, _ := compile(t, "table ip t {\n"+c.sets+"\n chain c { type filter hook prerouting priority 0\n"+c.rules+"\n}\n}")
			k, err := kernel.NewNftables(host, batch, kernel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			w := equivalence.NewWalker(decode(t, batch), host)
			r := rand.New(rand.NewPCG(3, uint64(n)))
			verdicts := map[packet.Verdict]int{}
			for i := range 60 {
				s := packet.Spec{
					Proto: packet.UDP, SrcPort: 9, DstPort: pick[uint16](r, 53, 53, 80), Length: pick(r, 28, 42, 100), In: "eth0",
					Src: netip.MustParseAddr(pick(r, "192.0.2.77", "192.0.2.78", "192.0.2.79", "192.0.2.80")),
				}
				p, err := s.Packet()
				if err != nil {
					t.Fatal(err)
				}
				want, got, ok := both(t, k, w, p)
				if !ok {
					t.Fatal("not run")
				}
				if want.Verdict != got.Verdict || want.Verdict == packet.Accept && want.Mark != got.Mark {
					t.Fatalf("packet %d: kernel %s, machine %s for %v, %v", i, equivalence.Describe(want), equivalence.Describe(got), p, got.Unknown)
				}
				verdicts[got.Verdict]++
			}
			if len(verdicts) < 2 {
				t.Errorf("all packets went the same way: %v", verdicts)
			}
		})
	}
}
