package nftsim_test

import (
	"errors"
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

// The conditions that are put to the kernel and to the machine. Each sets a bit
// of the packet mark, so that many fit into one ruleset.
var conditions = []string{
	// headers and protocols
	"ip saddr 192.0.2.0/24", "ip saddr != 192.0.2.0/25", "ip daddr 198.51.100.0-198.51.100.99", "ip saddr & 0.255.0.255 == 0.0.0.77",
	"ip protocol tcp", "ip protocol != tcp", "meta l4proto tcp", "meta l4proto != tcp", "meta l4proto ah", "meta l4proto { 6, 17 }",
	"ip6 saddr 2001:db8::/32", "ip6 daddr != 2001:db8:1::/48", "ip6 nexthdr 6", "meta nfproto ipv4", "meta nfproto ipv6", "meta protocol ip6",
	"tcp dport 22", "tcp dport != 22", "tcp sport 1-1024", "tcp sport != 1-1024", "udp dport { 53, 100-200 }", "udp dport != { 53, 100-200 }",
	"th dport 22", "th dport >= 1024", "th sport . th dport { 22 . 22, 1000 . 22 }", "@th,0,16 >= 1000", "@th,16,8 0", "@th,96,24 > 5", "@th,0,64 > 1",
	"tcp flags & (fin|syn|rst|ack) == syn", "tcp flags & (fin|syn) != 0", "tcp flags syn", "@th,104,8 & 0x3f == 0x2",
	"icmp type echo-request", "icmp type != echo-request", "icmp code 1", "icmpv6 type nd-neighbor-solicit", "icmpv6 type != 128",
	"udp length 8", "udp checksum 0", "meta l4proto { 6, 17 } @ih,0,8 0", "meta l4proto 6 @ih,0,16 != 0", "meta l4proto 132 @ih,0,8 != 0",
	"sctp dport 22", "dccp dport 22", "esp spi 5", "ah spi 5", "ah spi != 5",
	"ip ttl < 10", "ip ttl != 64", "ip6 hoplimit 64", "ip dscp 8", "ip dscp != 0", "ip6 dscp 8", "ip ecn 1", "ip length 20-60", "meta length < 60", "meta length 40-100",
	"ip frag-off & 0x1fff != 0", "ip frag-off & 0x1fff == 0", "ip frag-off & 0x2000 != 0", "ip id 7", "ip hdrlength > 5", "ip6 flowlabel 0", "@nh,8,8 & 0xf0 == 0x20", "@nh,144,32 0x2010035",
	// extension headers and options
	"exthdr frag exists", "exthdr frag missing", "exthdr hbh exists", "exthdr dst missing", "exthdr rt exists", "exthdr mh exists",
	"frag id 0", "frag frag-off 0", "frag more-fragments 1", "rt type 0", "hbh hdrlength 0", "dst nexthdr 6",
	"tcp option maxseg exists", "tcp option maxseg missing", "tcp option maxseg size 500-1400", "tcp option maxseg size != 1000", "tcp option 5 exists", "tcp option 254 missing", "tcp option window exists", "tcp option window count 3",
	// devices
	"iifname \"eth0\"", "iifname != \"eth0\"", "iifname \"eth*\"", "iifname != \"e*\"", "oifname \"eth1\"", "oifname != \"eth1\"", "oifname \"tun*\"", "iifname \"et\"",
	"iif 2", "oif 3", "iif 0", "oif != 0", "iifgroup 5", "oifgroup 5", "iifgroup != 5", "iiftype ether", "oiftype ether", "iiftype != ether", "oiftype loopback", "iifname . oifname { \"eth0\" . \"eth1\", \"eth1\" . \"eth0\" }",
	"ether saddr 02:00:00:00:00:77", "ether saddr != 02:00:00:00:00:77", "ether daddr & ff:00:00:00:00:00 == 02:00:00:00:00:00", "ether type ip", "@ll,0,8 2", "@ll,96,24 > 5",
	"meta pkttype host", "meta pkttype != host", "meta pkttype broadcast", "meta pkttype multicast",
	// sockets
	"meta skuid 0", "meta skuid != 0", "meta skgid 1000-2000", "meta skuid >= 0", "meta skgid != 7", "meta skuid { 5, 1000 }",
	// numbers in host order
	"meta priority 0", "meta priority != 0", "meta priority > 1:0", "meta mark & 0 == 0", "meta length & 1 == 1",
	// addresses and routes
	"fib daddr type local", "fib daddr type != local", "fib saddr type local", "fib daddr type unicast", "fib daddr type multicast", "fib daddr type broadcast", "fib saddr type broadcast", "fib daddr type anycast", "fib daddr type unreachable", "fib daddr type { local, unicast }",
	"fib saddr type 0",
	// sets
	"ip saddr @one", "ip saddr != @one", "ip saddr . th dport @two", "ip6 saddr @six", "th dport @ports", "th dport != @ports",
}

// Conditions that only some hooks take.
var arriving = []string{
	"fib saddr oif exists", "fib saddr oif missing", "fib daddr oif exists", "fib daddr oifname \"eth1\"", "fib saddr oifname \"eth0\"",
	"fib daddr . iif type local", "fib daddr . iif type unicast", "fib saddr . iif type local", "fib saddr . iif oif missing", "fib saddr . iif oif exists",
}
var departing = []string{"fib daddr . oif type local", "fib saddr . oif type local", "fib daddr . oif type unicast"}

// Conditions about connections.
var tracked = []string{
	"ct state new", "ct state established", "ct state related", "ct state invalid", "ct state untracked", "ct state != new", "ct state ! new", "ct state new,invalid", "ct state ! established,related,invalid",
	"ct status assured", "ct status ! assured", "ct status seen-reply", "ct status dnat", "ct status ! dnat,snat", "ct status confirmed", "ct status >= 0", "ct mark 5", "ct mark != 5", "ct mark & 0x4 == 0x4", "ct mark < 3", "ct mark 1-4",
	"ct direction reply", "ct direction original", "ct direction != reply", "ct protocol tcp", "ct protocol != 17", "ct l3proto ipv4",
	"ct original ip saddr 192.0.2.0/24", "ct reply ip saddr != 192.0.2.0/24", "ct original ip6 daddr 2001:db8::/32", "ct reply ip6 daddr 2001:db8::77",
	"meta l4proto tcp ct original proto-dst 22", "meta l4proto tcp ct reply proto-src 22", "meta l4proto tcp ct original proto-src > 1000",
	"ct zone 0", "ct label 1", "ct helper \"ftp\"", "ct expiration > 0s",
}

const sets = `
 set one { type ipv4_addr; flags interval; elements = { 192.0.2.0-192.0.2.78, 198.51.100.0/24, 255.0.0.0-255.255.255.255 } }
 set two { type ipv4_addr . inet_service; flags interval; elements = { 192.0.2.0/24 . 20-30, 198.51.100.0/24 . 22, 0.0.0.0/1 . 1000-65535 } }
 set six { type ipv6_addr; flags interval; elements = { 2001:db8::/64, ::1 } }
 set ports { type inet_service; elements = { 22, 53, 1000 } }`

// conditionRules loads some conditions, from number first on, into a hook. A
// condition that nft does not take is an error of the test.
func conditionRules(list []string, hook string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet t {\n%s\nchain c { type filter hook %s priority -120;\n meta mark set 0\n", sets, hook)
	for i, c := range list {
		fmt.Fprintf(&b, " %s meta mark set meta mark | %#x\n", c, 1<<i)
	}
	return b.String() + "}\n}"
}

func differentialHost() *packet.Host {
	h := packet.DefaultHost([]string{"eth0", "eth1"})
	h.Devices = append(h.Devices, packet.Device{
		Name: "tun0", Index: 40, MTU: 1400, Group: 5, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")},
	})
	return h
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// randomPacket makes a packet of any kind.
func randomPacket(r *rand.Rand, fragments bool) *packet.Packet {
	for {
		s := packet.Spec{
			Proto:   pick[uint8](r, 6, 6, 6, 17, 17, 1, 132, 33, 50, 51, 136, 200, 0, 59),
			SrcPort: pick[uint16](r, 1, 22, 53, 1000, 1024, 1025, 65535), DstPort: pick[uint16](r, 0, 22, 53, 80, 100, 150, 200, 201, 1024),
			TCPFlags: uint8(r.IntN(256)), TTL: pick(r, 64, 2, 9, 10, 255), TOS: pick[uint8](r, 0, 1, 0x20, 0x21, 0xff),
			ID: pick[uint16](r, 1, 7, 65535), In: pick(r, "eth0", "eth0", "eth1", "tun0", ""), Type: pick[uint8](r, 8, 0, 3, 128, 135, 5), Code: uint8(r.IntN(3)),
			Mark: pick[uint32](r, 0, 5), SPI: 5, Priority: pick[uint32](r, 0, 0, 7, 0x10001),
		}
		v4 := r.IntN(2) == 0
		if v4 {
			s.Version = 4
			s.Src = netip.MustParseAddr(pick(r, "192.0.2.77", "192.0.2.200", "198.51.100.7", "10.9.0.7", "203.0.113.9", "8.8.8.8", "192.0.2.1", "0.0.0.0", "0.0.0.1"))
			s.Dst = netip.MustParseAddr(pick(r, "192.0.2.1", "198.51.100.9", "198.51.100.1", "10.9.0.9", "192.0.2.255", "224.0.0.1", "255.255.255.255", "8.8.4.4", "0.0.0.1"))
			if r.IntN(8) == 0 {
				s.IPOptions = []byte{1, 1, 1, 1}
			}
		} else {
			if s.Version = 6; s.Proto == 1 {
				s.Proto = 58
			}
			s.Src = netip.MustParseAddr(pick(r, "2001:db8::77", "2001:db8:1::7", "2001:db9::1", "fe80::5", "2001:db8::1"))
			s.Dst = netip.MustParseAddr(pick(r, "2001:db8::1", "2001:db8:1::9", "2001:db8:1::1", "ff02::1", "2001:dead::1", "2001:db8::", "fe80::9"))
			for r.IntN(3) == 0 {
				s.Headers = append(s.Headers, packet.Extension{Proto: pick[uint8](r, 0, 43, 60, 51), Body: make([]byte, pick(r, 6, 6, 14))})
			}
			s.Fragmented = fragments && r.IntN(6) == 0
		}
		if fragments && r.IntN(5) == 0 {
			s.FragmentOffset, s.MoreFragments = pick[uint16](r, 0, 1, 2, 185), r.IntN(2) == 0
		}
		s.Payload = make([]byte, pick(r, 0, 0, 1, 8, 30, 600))
		for i := range s.Payload {
			s.Payload[i] = byte(r.Uint32())
		}
		if s.Proto == 6 {
			s.MSS = pick[uint16](r, 0, 0, 499, 500, 1000, 1400, 1460)
			s.TCPOptions = pick(r, nil, nil, []byte{5, 10, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 1, 254, 2}, []byte{3, 3, 3}, []byte{5, 40, 1, 1}, []byte{4, 0, 5, 2})
			s.DataOffset = pick[uint8](r, 0, 0, 0, 0, 0, 0, 4, 15)
		}
		if r.IntN(10) == 0 {
			s.Truncate, s.Keep = true, r.IntN(24)
		}
		s.BadChecksum = r.IntN(12) == 0
		if s.In == "" {
			s.Socket = &packet.Socket{UID: pick[uint32](r, 0, 5, 1000), GID: pick[uint32](r, 0, 7, 1500)}
			s.Src = netip.MustParseAddr(map[bool]string{true: "192.0.2.1", false: "2001:db8::1"}[v4])
		} else {
			if s.In != "tun0" {
				s.Link = &packet.Link{Src: [6]byte{2, 0, 0, 0, 0, pick[byte](r, 0x77, 0x78)}, Dst: [6]byte{2, 0, 0, 0, 0, 1}}
				if s.In == "eth1" {
					s.Link.Dst[5] = 2
				}
			}
		}
		if r.IntN(2) == 0 && s.FragmentOffset == 0 && !s.MoreFragments {
			s.State, s.Reply = pick(r, packet.New, packet.Established, packet.Established), r.IntN(2) == 0
			s.ConnMark = pick[uint32](r, 0, 1, 5, 7)
		}
		if p, err := s.Packet(); err == nil {
			return p
		}
	}
}

// both runs a packet through the kernel and the machine.
func both(t *testing.T, k *kernel.Machine, w *equivalence.Walker, p *packet.Packet) (want, got packet.Fate, ok bool) {
	t.Helper()
	want, err := k.Run(p)
	if errors.Is(err, kernel.ErrNotRunnable) {
		return want, got, false
	}
	if err != nil {
		t.Fatal(err)
	}
	told := *p
	if want.Observed.State != 0 {
		told.Tracking = want.Observed
	}
	return want, w.Run(&told), true
}

func TestConditionsAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"))
	const perRuleset, packets = 30, 500
	const seed = 7
	host := differentialHost()
	allHooks := []string{"prerouting", "input", "forward", "output", "postrouting"}
	for first, group := range []struct{ list, hooks []string }{
		{conditions, allHooks}, {tracked, allHooks}, {arriving, allHooks[:2]}, {departing, allHooks[3:]},
	} {
		for list := range slices.Chunk(group.list, perRuleset) {
			for _, hook := range group.hooks {
				t.Run(fmt.Sprintf("%s/%s", list[0], hook), func(t *testing.T) {
					compareConditions(t, host, list, hook, rand.New(rand.NewPCG(seed, uint64(first))), packets)
				})
			}
		}
	}
}

// compareConditions runs packets through one ruleset.
func compareConditions(t *testing.T, host *packet.Host, list []string, hook string, r *rand.Rand, packets int) {
	batch, _, _ := compile(t, conditionRules(list, hook))
	m := decode(t, batch)
	tracks := m.NeedsConntrack(4)
	k, err := kernel.NewNftables(host, batch, kernel.Options{Untracked: !tracks})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	w := equivalence.NewWalker(m, host)
	ran := 0
	wrong := map[string]int{}
	for range packets {
		p := randomPacket(r, !tracks) // tracking collects fragments
		want, got, ok := both(t, k, w, p)
		if want.Last != got.Last || want.Out != got.Out {
			continue // not the machine's routing is compared
		}
		if !ok || want.Verdict != packet.Accept || got.Verdict != packet.Accept {
			if ok && got.Verdict == packet.Undecided {
				wrong["undecided: "+strings.Join(got.Unknown, ", ")]++
			}
			continue
		}
		ran++
		for i, c := range list {
			if strings.Contains(c, "meta priority") && want.Last >= packet.Forward {
				continue // forwarding sets it from the TOS before the hook
			}
			if want.Mark>>i&1 != got.Mark>>i&1 {
				if wrong[c]++; wrong[c] == 1 {
					t.Errorf("%s: kernel %d, machine %d for %v\n%x\nobserved %+v", c, want.Mark>>i&1, got.Mark>>i&1, p, p.Data, want.Observed)
				}
			}
		}
	}
	for c, n := range wrong {
		t.Errorf("%d times of %d: %s", n, ran, c)
	}
	if ran < 20 {
		t.Errorf("only %d packets could be compared", ran)
	}
}
