package main

import (
	"bytes"
	"context"
	"net/netip"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/packet"
)

// TestRegressions runs packets through both engines and both models that the
// fuzzer once found to be treated unlike.
func TestRegressions(t *testing.T) {
	needs(t)
	addr := netip.MustParseAddr
	chunks := func(bytes ...byte) packet.Spec {
		return packet.Spec{Proto: packet.SCTP, SrcPort: 4000, DstPort: 80, In: "net0", Dst: addr("198.51.100.4"), Payload: bytes}
	}
	tests := []struct {
		name, rules string
		v6          bool
		packets     []packet.Spec
		explained   map[string]int // by declared deviation
		chance      bool           // some packets are not compared
	}{
		{
			// The match holds for what is no chunk, and wants the packet to be
			// dropped: the target works on it first.
			name: "the target of a packet that is dropped behind the rule",
			rules: "*filter\n-A FORWARD -p sctp -m sctp ! --chunk-types any DATA -j LOG --log-prefix \"odd \"\n" +
				"-A FORWARD -j LOG --log-prefix \"behind \"\nCOMMIT\n",
			packets:   []packet.Spec{chunks(), chunks(0, 0, 0, 0), chunks(1, 0, 0, 4), chunks(0, 0, 0, 4), chunks(1, 0, 0, 4, 0)},
			explained: map[string]int{"hotdrop": 3},
		},
		{
			name:      "a chain is not entered by a packet that is dropped behind the rule",
			rules:     "*filter\n:odd - [0:0]\n-A FORWARD -p sctp -m sctp ! --chunk-types all DATA -g odd\n-A odd -j LOG\nCOMMIT\n",
			packets:   []packet.Spec{chunks(), chunks(1, 0, 0, 4)},
			explained: map[string]int{"hotdrop": 1},
		},
		{
			name:      "a verdict of a packet that is dropped behind the rule",
			rules:     "*filter\n-A FORWARD -p sctp -m sctp ! --chunk-types all DATA -j ACCEPT\nCOMMIT\n",
			packets:   []packet.Spec{chunks(), chunks(1, 0, 0, 4)},
			explained: map[string]int{"hotdrop": 1},
		},
		{
			name:  "a host without an address reports its groups",
			rules: "*mangle\n-A INPUT -j MARK --set-mark 1\nCOMMIT\n",
			packets: []packet.Spec{
				{Src: addr("0.0.0.0"), Dst: addr("235.0.0.0"), Proto: 2, In: "net0", Payload: make([]byte, 8)},
				{Src: addr("0.0.0.0"), Dst: addr("235.0.0.0"), Proto: 17, In: "net0", Payload: make([]byte, 8)},
				{Src: addr("0.0.0.0"), Dst: addr("224.0.0.9"), Proto: 17, In: "net0", Payload: make([]byte, 8)},
			},
		},
		{
			name: "the first address of all groups is an anycast address",
			rules: "*filter\n-A OUTPUT -m addrtype --dst-type LOCAL,ANYCAST -j LOG --log-prefix \"own \"\n" +
				"-A OUTPUT -m addrtype --dst-type MULTICAST -j LOG --log-prefix \"group \"\nCOMMIT\n",
			v6: true,
			packets: []packet.Spec{
				{Dst: addr("ff00::"), Proto: packet.UDP, Socket: &packet.Socket{}},
				{Dst: addr("ff00::1"), Proto: packet.UDP, Socket: &packet.Socket{}},
				{Dst: addr("ff02::1"), Proto: packet.UDP, Socket: &packet.Socket{}},
			},
		},
		{
			name:  "the largest segment between addresses of the host",
			rules: "*mangle\n-A OUTPUT -p tcp -m tcp --syn -j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n",
			v6:    true,
			packets: []packet.Spec{
				{Src: addr("2001:db8::1"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 65535, Socket: &packet.Socket{}},
				{Src: addr("2001:db8::1"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 65475, Socket: &packet.Socket{}},
			},
			explained: map[string]int{"tcpmss-loopback": 2},
		},
		{
			name: "a rule looks at the largest segment between addresses of the host",
			rules: "*mangle\n-A OUTPUT -p tcp -m tcp --syn -j TCPMSS --clamp-mss-to-pmtu\n-A OUTPUT -p tcp -m tcp --syn -m tcpmss --mss 536 -j MARK --set-mark 1\nCOMMIT\n" +
				"*filter\n-A OUTPUT -s 2001:db8:1::1 -m mark --mark 1 -j DROP\nCOMMIT\n",
			v6: true,
			packets: []packet.Spec{
				{Src: addr("2001:db8:1::1"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 1460, Socket: &packet.Socket{}},
				{Src: addr("2001:db8::1"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 1460, Socket: &packet.Socket{}},
			},
			explained: map[string]int{"tcpmss-loopback": 2},
		},
		{
			name:  "an answer to a link-local address by the loopback device",
			rules: "*filter\n-A INPUT -j REJECT\nCOMMIT\n",
			v6:    true,
			packets: []packet.Spec{
				{Src: addr("fe80::40"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "lo"},
				{Src: addr("fe80::40"), Dst: addr("2001:db8:1::1"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "lo"},
				{Src: addr("fe80::40"), Dst: addr("2001:db8::1"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "net0"},
				{Src: addr("fe80::40"), Dst: addr("2001:db8:1::1"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "net1"},
				{Src: addr("fe80::40"), Dst: addr("::1"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "lo"},
			},
		},
		{
			// nft would make one test of two neighbours that must not be equal.
			name: "three ports that are not one",
			rules: "*filter\n-A FORWARD -p tcp -m tcp ! --dport 1023 -m multiport ! --ports 1023 -j DROP\n" +
				"-A FORWARD -p tcp -m tcp ! --dport 1023 -m multiport ! --dports 1023 -m multiport ! --ports 1023 -j DROP\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 1023, DstPort: 80, In: "net0"},
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 80, DstPort: 1023, In: "net0"},
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 1023, DstPort: 1023, In: "net0"},
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 80, DstPort: 80, In: "net0"},
			},
		},
		{
			// The one engine drops the packet before the counter, the other behind it.
			name: "counters of packets that are dropped anyway",
			rules: "*mangle\n-A FORWARD -p tcp -m tcp --tcp-flags SYN SYN -j MARK --set-mark 1\n-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j MARK --or-mark 2\nCOMMIT\n" +
				"*filter\n-A FORWARD -m mark --mark 0/1 -p tcp -m length --length 0:30 -j DROP\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, In: "net0", Truncate: true, Keep: 4},
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, In: "net0"},
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, In: "net0"},
			},
			explained: map[string]int{"hotdrop": 2},
		},
		{
			// Nobody is told of the first connection, which must not be there for the
			// second packet; and the helper of that one shows.
			name:  "an expected connection, of which only other events are told",
			rules: "*raw\n-A PREROUTING -p udp -m udp --dport 69 -j CT --helper tftp --ctevents new,destroy\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, SrcPort: 4000, DstPort: 69, In: "net0", State: packet.Related},
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, SrcPort: 4000, DstPort: 69, In: "net0", State: packet.New},
			},
		},
		{
			name: "a label that is set behind the rule that asks for it",
			rules: "*mangle\n-A FORWARD -m connlabel ! --label 0 -j MARK --set-mark 1\nCOMMIT\n" +
				"*filter\n-A FORWARD -m connlabel ! --label 0 --set -j ACCEPT\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, SrcPort: 4000, DstPort: 69, In: "net0", State: packet.New},
				{Dst: addr("198.51.100.4"), Proto: packet.UDP, SrcPort: 4000, DstPort: 70, In: "net0", State: packet.New},
			},
		},
		{
			name: "an option that was added keeps a packet from an answer",
			rules: "*mangle\n-A PREROUTING -p tcp -m tcp --syn -j TCPMSS --set-mss 600\nCOMMIT\n" +
				"*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -m tcp ! --tcp-option 2 -j REJECT --reject-with tcp-reset\nCOMMIT\n",
			packets:   []packet.Spec{{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "net0"}},
			explained: map[string]int{"tcpmss-adds-option": 1},
		},
		{
			name: "an option that was added, taken away and added again",
			rules: "*mangle\n-A PREROUTING -p tcp -m tcp --syn -j TCPMSS --set-mss 600\n-A FORWARD -p tcp -j TCPOPTSTRIP --strip-options 2\n" +
				"-A POSTROUTING -p tcp -m tcp --syn -j TCPMSS --set-mss 500\nCOMMIT\n",
			packets:   []packet.Spec{{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, In: "net0"}},
			explained: map[string]int{"tcpmss-adds-option": 1},
		},
		{
			// Which node an expected connection belongs to no machine decides.
			name: "a deviation behind a match that is undecided",
			rules: "*mangle\n-A FORWARD -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1 -j MARK --set-mark 1\n" +
				"-A FORWARD -p tcp -m tcp --syn -j TCPMSS --set-mss 500\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4000, DstPort: 80, In: "net0", State: packet.Related},
				{Dst: addr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 400, SrcPort: 4000, DstPort: 80, In: "net0", State: packet.Related},
			},
			explained: map[string]int{"tcpmss-adds-option": 1},
		},
		{
			// The last byte of the header is missing, or 16 of those that it claims.
			name: "a packet that ends within the header that a rule asks for",
			rules: "*mangle\n-A OUTPUT -m rt --rt-type 3 -j MARK --set-mark 1\n-A OUTPUT -m hbh --hbh-len 16 -j MARK --set-mark 2\n" +
				"-A OUTPUT -m dst --dst-len 16 -j MARK --set-mark 4\n-A OUTPUT -p ah -m ah ! --ahspi 7 -j MARK --set-mark 8\nCOMMIT\n",
			v6: true,
			packets: []packet.Spec{
				endsIn(43, make([]byte, 7)), endsIn(43, make([]byte, 8)), endsIn(0, make([]byte, 7)), endsIn(60, []byte{59, 1, 0, 0, 0, 0, 0, 0}),
				endsIn(51, []byte{59, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1}), endsIn(51, []byte{59, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1}),
			},
			explained: map[string]int{"hotdrop": 4},
		},
		{
			name:  "nobody is told of a local packet whose address has no word to change",
			rules: "*mangle\n-A OUTPUT -j DNPT --src-pfx 2001:db8:5::/64 --dst-pfx 2001:db8:1::/48\nCOMMIT\n",
			v6:    true,
			packets: []packet.Spec{
				{Dst: addr("2001:db8:5:0:ffff:ffff:ffff:ffff"), Proto: packet.UDP, Socket: &packet.Socket{}},
				{Dst: addr("2001:db8:5::1"), Proto: packet.UDP, Socket: &packet.Socket{}},
			},
		},
		{
			name:  "an error about an address is sent whatever the checksum, and to the new address",
			rules: "*mangle\n-A PREROUTING -i net0 -j DNPT --src-pfx 2001:db8:5::/64 --dst-pfx 2001:db8:1::/48\n-A PREROUTING -i net1 -j DNPT --src-pfx ff0e::/64 --dst-pfx 2001:db8:1::/48\nCOMMIT\n",
			v6:    true,
			packets: []packet.Spec{
				{Dst: addr("2001:db8:5:0:ffff:ffff:ffff:ffff"), Proto: 5, Payload: []byte{1}, In: "net0"},
				{Dst: addr("2001:db8:5:0:ffff:ffff:ffff:ffff"), Proto: packet.ICMPv6, Type: 3, In: "net0", State: packet.Invalid},
				{Dst: addr("ff0e::ffff:ffff:ffff:ffff"), Proto: packet.UDP, In: "net1"},
			},
			explained: map[string]int{"npt-no-error": 2},
		},
		{
			name:  "an error that a raw socket sends, behind a translation of prefixes",
			rules: "*mangle\n-A POSTROUTING -j SNPT --src-pfx fd00:1::/48 --dst-pfx fd00:2::/48\nCOMMIT\n",
			v6:    true,
			packets: []packet.Spec{{
				Dst: addr("2001:db8:5::1"), Proto: packet.ICMPv6, Type: 4, State: packet.Invalid, Socket: &packet.Socket{},
				Payload: append([]byte{0x60, 0, 0, 0, 0, 0, 59, 64, 23: 0, 24: 0xfd, 26: 0, 27: 1}, make([]byte, 12)...),
			}},
			chance: true,
		},
		{
			// The match makes it a packet for the host, which is forwarded.
			name: "a packet for a group of the link and one address, behind a match that is undecided",
			rules: "*mangle\n-A PREROUTING -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1 -j MARK --set-mark 1\n" +
				"-A POSTROUTING -p ipcomp -m ipcomp --ipcompspi 256 -j MARK --set-mark 2\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("198.51.100.4"), Proto: 108, In: "net0", PktType: packet.TypeMulticast, Payload: make([]byte, 2)},
				{Dst: addr("198.51.100.4"), Proto: 108, In: "net0", PktType: packet.TypeMulticast, Payload: make([]byte, 4)},
			},
			explained: map[string]int{"hotdrop": 1},
		},
		{
			// Both engines count the first packet, one model does not.
			name:  "a counter behind a count of connections, out of step",
			rules: "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m connlimit --connlimit-above 0 -m statistic --mode nth --every 3 --packet 1 -j REJECT\nCOMMIT\n",
			packets: []packet.Spec{
				{Dst: addr("192.0.2.1"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4000, DstPort: 80, In: "net0", State: packet.Related},
				{Dst: addr("192.0.2.1"), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4001, DstPort: 80, In: "net0", State: packet.New},
			},
			explained: map[string]int{"connlimit-established": 1},
		},
		{
			name:    "rules tell the addresses of a range apart",
			rules:   "*nat\n-A PREROUTING -j DNAT --to-destination 198.51.100.4-198.51.100.40\nCOMMIT\n*filter\n-A FORWARD -d 198.51.100.0/255.255.255.1 -j DROP\nCOMMIT\n",
			packets: fromSources(packet.New, 24),
			chance:  true,
		},
		{
			name: "a range behind a match that is undecided",
			rules: "*mangle\n-A PREROUTING -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1 -j MARK --set-mark 1\nCOMMIT\n" +
				"*nat\n-A POSTROUTING -p tcp -j SNAT --to-source 203.0.113.5:1000-1063\nCOMMIT\n",
			packets: fromSources(packet.Related, 8),
			chance:  true,
		},
		{
			name: "a random number behind a match that is undecided",
			rules: "*mangle\n-A PREROUTING -m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1 -j MARK --set-mark 1\n" +
				"-A POSTROUTING -m statistic --mode random --probability 0.5 -j DROP\nCOMMIT\n",
			packets: fromSources(packet.Related, 24),
			chance:  true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			f := &fuzz{seed: 1, out: &out, counts: make(map[string]int)}
			f.given = func() (s sources, list diag.List) {
				i := 0
				if tt.v6 {
					i = 1
				}
				list = s.parse(i, "rules", tt.rules)
				return s, list
			}
			for _, spec := range tt.packets {
				p, err := spec.Packet()
				if err != nil {
					t.Fatal(err)
				}
				f.sample = append(f.sample, p)
			}
			f.add(f.ruleset(context.Background(), 0))
			if f.different != 0 || f.packets != len(tt.packets) || f.volatile != 0 && !tt.chance {
				t.Errorf("%d of %d packets, %d were not compared: %v\n%s", f.packets, len(tt.packets), f.volatile, f.counts, out.String())
			}
			for code, want := range tt.explained {
				if n := f.counts["declared deviation "+code]; n != want {
					t.Errorf("%d packets of deviation %s, want %d", n, code, want)
				}
			}
		})
	}
}

// endsIn is a local packet of IPv6 that ends within a header.
func endsIn(header uint8, bytes []byte) packet.Spec {
	return packet.Spec{Dst: netip.MustParseAddr("2001:db8:5::1"), Proto: header, Payload: bytes, Socket: &packet.Socket{}}
}

// fromSources are packets of many hosts.
func fromSources(state packet.State, n int) (list []packet.Spec) {
	for i := range n {
		list = append(list, packet.Spec{
			Dst: netip.MustParseAddr("198.51.100.4"), Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 500,
			Src: netip.AddrFrom4([4]byte{192, 0, 2, byte(77 + i)}), SrcPort: 4000, DstPort: 80, In: "net0", State: state,
		})
	}
	return list
}
