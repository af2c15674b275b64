package kernel

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"nftmigrate/packet"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the random packets")
	count = flag.Int("packets", 20000, "number of random packets")
)

const randomV4 = `*raw
-A PREROUTING -p udp -m udp --dport 4789 -j NOTRACK
COMMIT
*mangle
-A PREROUTING -i eth1 -j MARK --set-xmark 0x2/0x2
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j CONNMARK --set-xmark 0x40/0xf0
COMMIT
*nat
-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 198.51.100.80:80
-A POSTROUTING -o eth1 -s 192.0.2.0/24 -j SNAT --to-source 198.51.100.1
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j LOG --log-prefix "invalid " --log-level 5
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m udp --dport 1024:65535 -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 198.51.100.0/25 -j ACCEPT
-A FORWARD -m mark --mark 0x2/0x2 -j ACCEPT
-A OUTPUT -m owner --uid-owner 1000 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
COMMIT
`

const randomV6 = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -i eth0 -p udp -j LOG --log-prefix "six"
-A FORWARD -d 2001:db8:1::/64 -j ACCEPT
COMMIT
`

const randomNFT = `table ip four {
 chain raw {
  type filter hook prerouting priority -300
  udp dport 4789 notrack
 }
 chain mangle-pre {
  type filter hook prerouting priority -150
  iifname "eth1" meta mark set meta mark & 0xfffffffd | 0x2
 }
 chain mangle-fwd {
  type filter hook forward priority -150
  tcp flags & (syn | rst) == syn ct mark set ct mark & 0xffffff0f | 0x40
 }
 chain nat-pre {
  type nat hook prerouting priority -100
  tcp dport 8080 dnat to 198.51.100.80:80
 }
 chain nat-post {
  type nat hook postrouting priority 100
  oifname "eth1" ip saddr 192.0.2.0/24 snat to 198.51.100.1
 }
 chain input {
  type filter hook input priority 0
  policy drop
  ct state related,established accept
  ct state invalid log prefix "invalid " level notice
  ct state invalid drop
  icmp type 8 icmp code 0-255 accept
  tcp dport { 22, 80, 443 } accept
  meta l4proto tcp reject with tcp reset
  udp dport 1024-65535 reject with icmp type port-unreachable
 }
 chain forward {
  type filter hook forward priority 0
  policy drop
  ct state related,established accept
  ip daddr 198.51.100.0/25 accept
  meta mark & 0x2 == 0x2 accept
 }
 chain output {
  type filter hook output priority 0
  meta skuid 1000 tcp dport 25 reject with tcp reset
 }
}
table ip6 six {
 chain input {
  type filter hook input priority 0
  policy drop
  ct state related,established accept
  meta l4proto ipv6-icmp accept
  tcp dport 22 accept
 }
 chain forward {
  type filter hook forward priority 0
  policy drop
  iifname "eth0" meta l4proto udp log prefix "six"
  ip6 daddr 2001:db8:1::/64 accept
 }
}`

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// randomPacket returns a packet of any kind but one with a cut TCP header, in
// which the two planes differ.
func randomPacket(r *rand.Rand) packet.Spec {
	s := packet.Spec{
		In:    pick(r, "eth0", "eth0", "eth1", "net0", "tun0", "lo", ""),
		Proto: pick[uint8](r, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.ICMP, packet.SCTP, 47),
		ID:    uint16(1 + r.IntN(0xffff)), SrcPort: uint16(1024 + r.IntN(60000)),
		DstPort: pick[uint16](r, 22, 25, 53, 80, 443, 8080, 4789, uint16(1+r.IntN(0xffff))),
		Src:     pick(r, addr("192.0.2.77"), addr("198.51.100.77"), addr("203.0.113.77"), addr("10.9.0.7")),
		Dst:     pick(r, addr("192.0.2.1"), addr("198.51.100.9"), addr("198.51.100.200"), addr("203.0.113.9"), addr("8.8.8.8")),
		TOS:     pick[uint8](r, 0, 0, 0x10, 0xb8), TTL: pick(r, 64, 64, 1, 2),
		State: pick(r, packet.New, packet.New, packet.Established, packet.Related, packet.Untracked), Reply: r.IntN(2) == 0,
	}
	if r.IntN(4) == 0 {
		s.Src = pick(r, addr("2001:db8::77"), addr("2001:db8:1::77"))
		s.Dst = pick(r, addr("2001:db8::1"), addr("2001:db8:1::9"), addr("2001:db8:2::9"))
		if s.Proto == packet.ICMP {
			s.Proto = packet.ICMPv6
		}
		if r.IntN(8) == 0 {
			s.Headers = []packet.Extension{{Proto: packet.DestOpts}}
		}
	}
	switch s.Proto {
	case packet.TCP:
		s.TCPFlags = pick[uint8](r, packet.SYN, packet.ACK, packet.SYN|packet.ACK, packet.RST, packet.FIN|packet.ACK, 0, uint8(r.IntN(256)))
	case packet.ICMP:
		s.Type = pick[uint8](r, 8, 8, 0, 13, 5)
	case packet.ICMPv6:
		s.Type = pick[uint8](r, 128, 129, 135, 2)
	}
	s.BadChecksum = r.IntN(20) == 0
	if s.In == "" {
		s.Socket = &packet.Socket{UID: pick[uint32](r, 0, 1000)}
		s.Mark = pick[uint32](r, 0, 0, 2)
	}
	return s
}

// TestSideBySide runs the same random packets through both planes, in parallel.
func TestSideBySide(t *testing.T) {
	needKernel(t)
	t.Logf("-seed %d -packets %d", *seed, *count)
	r := rand.New(rand.NewPCG(*seed, 0))
	packets := make([]*packet.Packet, *count)
	for i := range packets {
		packets[i] = build(t, randomPacket(r))
	}
	machines := []*Machine{xtables(t, randomV4, randomV6, Options{}), nftables(t, randomNFT, Options{})}
	outcomes := make([][]Outcome, len(machines))
	start := time.Now()
	var wg sync.WaitGroup
	for i, m := range machines {
		wg.Go(func() {
			var err error
			if outcomes[i], err = m.RunAll(packets); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if t.Failed() {
		return
	}
	seen := map[string]int{}
	differences := 0
	for i, p := range packets {
		a, b := outcomes[0][i], outcomes[1][i]
		if (a.Err == nil) != (b.Err == nil) || !same(a.Fate, b.Fate) {
			if differences++; differences <= 5 {
				t.Errorf("packet %d: % x in %q:\n  xtables %s %v %v\nnf_tables %s %v %v", i, p.Data, p.In,
					describe(a.Fate), a.Fate.Observed.State, a.Err, describe(b.Fate), b.Fate.Observed.State, b.Err)
			}
		}
		if a.Err != nil && !errors.Is(a.Err, ErrNotRunnable) {
			t.Fatal(a.Err)
		}
		seen[a.Fate.Verdict.String()+" "+a.Fate.Last.String()]++
	}
	t.Logf("%d differences; %v; %.0f packets per second and machine; %+v", differences, seen, float64(len(packets))/took.Seconds(), machines[0].Stats())
	for _, want := range []string{"accept input", "accept postrouting", "drop prerouting", "drop input", "drop forward", "drop output"} {
		if seen[want] == 0 {
			t.Errorf("no packet ended with %q", want)
		}
	}
}

func same(a, b packet.Fate) bool {
	return describe(a) == describe(b) && bytes.Equal(a.Data, b.Data) && slices.Equal(a.Events, b.Events) &&
		a.Observed.State == b.Observed.State && a.Observed.Reply == b.Observed.Reply
}

func benchmark(b *testing.B, m *Machine, s packet.Spec) {
	p := build(b, s)
	b.ResetTimer()
	for range b.N {
		if _, err := m.Run(p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// BenchmarkRun measures one machine with one packet at a time.
func BenchmarkRun(b *testing.B) {
	needKernel(b)
	forwarded := packet.Spec{Proto: packet.UDP, SrcPort: 1, DstPort: 2, Dst: addr("198.51.100.9"), In: "eth0"}
	for _, c := range []struct {
		name string
		spec packet.Spec
	}{
		{"delivered", syn(22)},
		{"dropped", with(forwarded, func(s *packet.Spec) { s.Dst = addr("198.51.100.200") })},
		{"rejected", syn(23)},
		{"forwarded", forwarded},
		{"established", with(forwarded, func(s *packet.Spec) { s.State = packet.Established })},
		{"leaving", with(forwarded, func(s *packet.Spec) { s.In, s.Socket, s.Src, s.ID = "", root, addr("192.0.2.1"), 1 })},
	} {
		b.Run(c.name, func(b *testing.B) { benchmark(b, nftables(b, randomNFT, Options{}), c.spec) })
	}
}
