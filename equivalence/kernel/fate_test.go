package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"nftmigrate/packet"
)

// describe tells a fate in one line: verdict, hook, device, what is seen in the
// bytes, marks, and events.
func describe(f packet.Fate) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v", f.Verdict, f.Last)
	if f.Verdict == packet.Accept {
		if f.Out != "" {
			fmt.Fprintf(&b, " by %s", f.Out)
		}
		if h, ok := headerOf(f.Data); ok {
			t := h.tuple
			fmt.Fprintf(&b, ", %s > %s", netip.AddrPortFrom(t.Src, t.SrcPort), netip.AddrPortFrom(t.Dst, t.DstPort))
		}
		if f.Mark != 0 {
			fmt.Fprintf(&b, ", mark %#x", f.Mark)
		}
		if f.ConnMark != 0 {
			fmt.Fprintf(&b, ", connmark %#x", f.ConnMark)
		}
		if f.Priority != 0 {
			fmt.Fprintf(&b, ", priority %#x", f.Priority)
		}
		if !f.Tracked {
			b.WriteString(", not tracked")
		}
	}
	for _, e := range f.Events {
		fmt.Fprintf(&b, ", %v", e)
	}
	return b.String()
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// quoting returns an ICMP error about a packet.
func quoting(kind, code uint8, inner packet.Spec, in string) packet.Spec {
	p, err := inner.Packet()
	if err != nil {
		panic(err)
	}
	s := packet.Spec{Proto: packet.ICMP, Type: kind, Code: code, Payload: p.Data, In: in}
	if p.Version() == 6 {
		s.Proto, s.Version = packet.ICMPv6, 6
	}
	return s
}

// syn is the first packet of a TCP connection from outside to the host.
func syn(port uint16) packet.Spec {
	return packet.Spec{Proto: packet.TCP, SrcPort: 4000, DstPort: port, TCPFlags: packet.SYN, In: "eth0"}
}

func with(s packet.Spec, change func(*packet.Spec)) packet.Spec {
	change(&s)
	return s
}

// root is the socket of a packet of root.
var root = &packet.Socket{}

// A fateCase is a pair of rulesets that mean the same, and packets with what
// must become of them in both machines.
type fateCase struct {
	name    string
	v4, v6  string
	nft     string
	options Options
	packets []fatePacket
}

type fatePacket struct {
	spec packet.Spec
	want string
}

func runCases(t *testing.T, cases []fateCase) {
	needKernel(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			machines := []struct {
				name string
				m    *Machine
			}{{"xtables", xtables(t, c.v4, c.v6, c.options)}, {"nf_tables", nftables(t, c.nft, c.options)}}
			for i, p := range c.packets {
				for _, x := range machines {
					got := ""
					f, err := x.m.Run(build(t, p.spec))
					if got = describe(f); err != nil {
						got = err.Error()
					}
					if got != p.want {
						t.Errorf("%s: packet %d:\n got %s\nwant %s", x.name, i, got, p.want)
					}
				}
			}
		})
	}
}

func TestFilter(t *testing.T) {
	out := packet.Spec{Proto: packet.TCP, Src: addr("192.0.2.1"), Dst: addr("203.0.113.9"), SrcPort: 4000, DstPort: 80, TCPFlags: packet.SYN, ID: 7, Socket: root}
	v6 := packet.Spec{Version: 6, Proto: packet.UDP, SrcPort: 53, DstPort: 53, In: "eth0"}
	runCases(t, []fateCase{{
		name: "verdicts",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 23 -j REJECT --reject-with tcp-reset
-A INPUT -p tcp -m tcp --dport 24 -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -d 198.51.100.66/32 -j DROP
-A FORWARD -d 198.51.100.67/32 -j REJECT --reject-with icmp-port-unreachable
-A OUTPUT -m owner --uid-owner 1234 -j DROP
-A OUTPUT -m owner --gid-owner 99 -j REJECT --reject-with icmp-admin-prohibited
COMMIT
`,
		v6: `*filter
:INPUT DROP [0:0]
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A INPUT -p udp -m udp --dport 54 -j REJECT --reject-with icmp6-adm-prohibited
COMMIT
`,
		nft: `table inet f {
 chain i { type filter hook input priority 0; policy drop
  meta nfproto ipv4 iifname lo accept
  meta nfproto ipv4 tcp dport 22 accept
  meta nfproto ipv4 tcp dport 23 reject with tcp reset
  meta nfproto ipv4 tcp dport 24 reject with icmp type host-prohibited
  meta nfproto ipv6 udp dport 53 accept
  meta nfproto ipv6 udp dport 54 reject with icmpv6 type admin-prohibited
 }
 chain f { type filter hook forward priority 0
  ip daddr 198.51.100.66 drop
  ip daddr 198.51.100.67 reject with icmp type port-unreachable
 }
 chain o { type filter hook output priority 0
  meta skuid 1234 drop
  meta skgid 99 reject with icmp type admin-prohibited
 }
}`,
		packets: []fatePacket{
			{syn(22), "accept input, 192.0.2.77:4000 > 192.0.2.1:22"},
			{syn(23), "drop input, reject with tcp reset"},
			{syn(24), "drop input, reject with icmp type 3 code 10"},
			{syn(25), "drop input"},
			{with(syn(25), func(s *packet.Spec) { s.In, s.Src, s.Dst = "lo", addr("127.0.0.1"), addr("127.0.0.1") }),
				"accept input, 127.0.0.1:4000 > 127.0.0.1:25"},
			{with(syn(25), func(s *packet.Spec) { s.In, s.Version, s.Src, s.Dst = "lo", 6, addr("::1"), addr("::1") }), "drop input"},
			{with(syn(22), func(s *packet.Spec) { s.In, s.Src = "tun0", addr("10.9.0.2") }), "accept input, 10.9.0.2:4000 > 192.0.2.1:22"},
			{with(syn(22), func(s *packet.Spec) { s.Dst = addr("198.51.100.9") }), "accept postrouting by eth1, 192.0.2.77:4000 > 198.51.100.9:22"},
			{with(syn(22), func(s *packet.Spec) { s.Dst = addr("198.51.100.66") }), "drop forward"},
			{with(syn(22), func(s *packet.Spec) { s.Dst = addr("198.51.100.67") }), "drop forward, reject with icmp type 3 code 3"},
			// The stack's own answers are no events.
			{with(syn(22), func(s *packet.Spec) { s.Dst, s.TTL = addr("198.51.100.9"), 1 }), "drop prerouting"},
			{with(syn(22), func(s *packet.Spec) { s.PktType = packet.TypeOtherHost }), "drop prerouting"},
			{with(syn(22), func(s *packet.Spec) { s.PktType = packet.TypeBroadcast }), "accept input, 192.0.2.77:4000 > 192.0.2.1:22"},
			{out, "accept postrouting by net0, 192.0.2.1:4000 > 203.0.113.9:80"},
			{with(out, func(s *packet.Spec) { s.Dst = addr("198.51.100.9"); s.Mark = 5; s.ID = 0 }),
				"accept postrouting by eth1, 192.0.2.1:4000 > 198.51.100.9:80, mark 0x5"},
			{with(out, func(s *packet.Spec) { s.Socket = &packet.Socket{UID: 1234} }), "drop output"},
			{with(out, func(s *packet.Spec) { s.Socket = &packet.Socket{UID: 1235, GID: 99} }), "drop output, reject with icmp type 3 code 13"},
			{with(out, func(s *packet.Spec) { s.Socket = nil }), "packet cannot be run in the kernel: it leaves without a socket of a user"},
			{with(out, func(s *packet.Spec) { s.Length = 1501 }), "packet cannot be run in the kernel: it is longer than the device allows"},
			{with(syn(9), func(s *packet.Spec) {
				s.Proto, s.Dst, s.PktType = packet.UDP, addr("224.0.0.251"), packet.TypeMulticast
			}), "drop input"},
			{with(v6, func(s *packet.Spec) { s.Dst, s.PktType = addr("ff02::fb"), packet.TypeMulticast }),
				"accept input, [2001:db8::77]:53 > [ff02::fb]:53"},
			{v6, "accept input, [2001:db8::77]:53 > [2001:db8::1]:53"},
			{with(v6, func(s *packet.Spec) { s.DstPort = 54 }), "drop input, reject with icmp type 1 code 1"},
			{with(v6, func(s *packet.Spec) { s.Dst = addr("2001:db8:1::9") }), "accept postrouting by eth1, [2001:db8::77]:53 > [2001:db8:1::9]:53"},
			{with(v6, func(s *packet.Spec) { s.In, s.Socket, s.Dst = "", root, addr("2001:db8:1::9") }),
				"accept postrouting by eth1, [2001:db8::77]:53 > [2001:db8:1::9]:53"},
		},
	}})
}

func TestMarkLog(t *testing.T) {
	runCases(t, []fateCase{{
		name: "marks and logs in order",
		v4: `*mangle
-A PREROUTING -p tcp -m tcp --dport 22 -j MARK --set-xmark 0x10/0xff
-A PREROUTING -p tcp -m tcp --dport 22 -j CONNMARK --save-mark
-A PREROUTING -p tcp -m tcp --dport 22 -j LOG --log-prefix "a b: c "
-A POSTROUTING -j LOG --log-prefix "last "
COMMIT
*filter
-A INPUT -m connmark --mark 0x10 -j LOG --log-prefix "second" --log-level 7 --log-tcp-sequence --log-tcp-options --log-ip-options --log-uid
-A INPUT -p tcp -j LOG
-A INPUT -m mark --mark 0x310 -j DROP
-A FORWARD -p tcp -j NFLOG --nflog-group 7 --nflog-prefix seven --nflog-threshold 20
COMMIT
`,
		v6: "*filter\nCOMMIT\n",
		nft: `table ip f {
 chain p { type filter hook prerouting priority -150
  tcp dport 22 meta mark set meta mark & 0xffffff00 | 0x10
  tcp dport 22 ct mark set meta mark
  tcp dport 22 log prefix "a b: c "
 }
 chain q { type filter hook postrouting priority -150
  log prefix "last "
 }
 chain i { type filter hook input priority 0
  ct mark 0x10 log prefix "second" level debug flags tcp sequence,options flags ip options flags skuid
  meta l4proto tcp log
  meta mark 0x310 drop
 }
 chain f { type filter hook forward priority 0
  meta l4proto tcp log group 7 prefix "seven" queue-threshold 20
 }
}`,
		packets: []fatePacket{
			{syn(22), `accept input, 192.0.2.77:4000 > 192.0.2.1:22, mark 0x10, connmark 0x10, log prefix "a b: c " level 4 flags 0x0, log prefix "second" level 7 flags 0xf, log prefix "" level 4 flags 0x0`},
			{with(syn(22), func(s *packet.Spec) { s.Mark = 0x342 }), `drop input, log prefix "a b: c " level 4 flags 0x0, log prefix "" level 4 flags 0x0`},
			{with(syn(23), func(s *packet.Spec) { s.Mark = 0x342 }), `accept input, 192.0.2.77:4000 > 192.0.2.1:23, mark 0x342, log prefix "" level 4 flags 0x0`},
			{with(syn(23), func(s *packet.Spec) { s.State, s.ConnMark, s.TCPFlags = packet.Established, 0x10, packet.ACK }),
				`accept input, 192.0.2.77:4000 > 192.0.2.1:23, connmark 0x10, log prefix "second" level 7 flags 0xf, log prefix "" level 4 flags 0x0`},
			{with(syn(23), func(s *packet.Spec) { s.Dst, s.Priority = addr("198.51.100.9"), 3 }),
				`accept postrouting by eth1, 192.0.2.77:4000 > 198.51.100.9:23, log prefix "seven" level 0 flags 0x0 group 7, log prefix "last " level 4 flags 0x0`},
			{with(syn(23), func(s *packet.Spec) { s.Priority = 3 }),
				`accept input, 192.0.2.77:4000 > 192.0.2.1:23, priority 0x3, log prefix "" level 4 flags 0x0`},
		},
	}})
}

// TestMulticastGroups: more groups than one socket may join.
func TestMulticastGroups(t *testing.T) {
	needKernel(t)
	m := nftables(t, empty, Options{})
	for i := range 100 {
		s := packet.Spec{Proto: packet.UDP, In: "eth0", Dst: netip.AddrFrom4([4]byte{239, 1, 1, byte(i / 2)}), PktType: packet.TypeMulticast}
		if f, err := m.Run(build(t, s)); err != nil || f.Verdict != packet.Accept || f.Last != packet.Input {
			t.Fatalf("group %d: %s, %v, want it delivered", i/2, describe(f), err)
		}
	}
}
