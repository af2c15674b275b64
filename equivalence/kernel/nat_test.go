package kernel

import (
	"testing"

	"nftmigrate/packet"
)

const natV4 = `*nat
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 198.51.100.80:8080
-A PREROUTING -p tcp -m tcp --dport 81 -j REDIRECT --to-ports 3128
-A OUTPUT -d 203.0.113.5/32 -j DNAT --to-destination 198.51.100.5
-A POSTROUTING -o eth1 -p udp -j MASQUERADE
-A POSTROUTING -o net0 -j SNAT --to-source 203.0.113.200
COMMIT
`

const natNFT = `table ip n {
 chain p { type nat hook prerouting priority -100
  tcp dport 80 dnat to 198.51.100.80:8080
  tcp dport 81 redirect to :3128
 }
 chain o { type nat hook output priority -100
  ip daddr 203.0.113.5 dnat to 198.51.100.5
 }
 chain q { type nat hook postrouting priority 100
  oifname "eth1" meta l4proto udp masquerade
  oifname "net0" snat to 203.0.113.200
 }
}`

func TestNAT(t *testing.T) {
	udp := packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, Dst: addr("198.51.100.9"), In: "eth0"}
	established := func(s packet.Spec) packet.Spec {
		s.State, s.TCPFlags = packet.Established, packet.ACK
		return s
	}
	runCases(t, []fateCase{{
		name: "translation", v4: natV4, v6: "*filter\nCOMMIT\n", nft: natNFT,
		packets: []fatePacket{
			{syn(80), "accept postrouting by eth1, 192.0.2.77:4000 > 198.51.100.80:8080"},
			{syn(80), "accept postrouting by eth1, 192.0.2.77:4000 > 198.51.100.80:8080"},
			{syn(81), "accept input, 192.0.2.77:4000 > 192.0.2.1:3128"},
			{udp, "accept postrouting by eth1, 198.51.100.1:5000 > 198.51.100.9:53"},
			{with(syn(9), func(s *packet.Spec) { s.Dst = addr("203.0.113.9") }), "accept postrouting by net0, 203.0.113.200:4000 > 203.0.113.9:9"},
			{packet.Spec{Proto: packet.UDP, Src: addr("192.0.2.1"), SrcPort: 5000, DstPort: 53, Dst: addr("203.0.113.5"), Socket: root},
				"accept postrouting by eth1, 198.51.100.1:5000 > 198.51.100.5:53"},
			// A related connection is a new one to NAT.
			{with(syn(80), func(s *packet.Spec) { s.State, s.ConnMark = packet.Related, 5 }), "accept postrouting by eth1, 192.0.2.77:4000 > 198.51.100.80:8080, connmark 0x5"},
			{with(quoting(8, 0, udp, "eth0"), func(s *packet.Spec) { s.State = packet.Related }), "packet cannot be run in the kernel: no connection expects an ICMP query"},
			// An injected connection is not offered to nat chains, in either
			// direction, and neither is an error about it.
			{established(syn(80)), "accept input, 192.0.2.77:4000 > 192.0.2.1:80"},
			{with(established(syn(80)), func(s *packet.Spec) { s.Reply = true }), "accept input, 192.0.2.77:4000 > 192.0.2.1:80"},
			{with(quoting(3, 1, packet.Spec{Proto: packet.UDP, Src: addr("203.0.113.9"), Dst: addr("192.0.2.77"), SrcPort: 1, DstPort: 2}, "eth0"),
				func(s *packet.Spec) { s.State, s.Dst = packet.Related, addr("203.0.113.9") }),
				"accept postrouting by net0, 192.0.2.77:0 > 203.0.113.9:769"},
		},
	}})
}

// An injected connection with unlike tuples is translated as it says, where
// the ruleset has any nat chain.
func TestInjectedNAT(t *testing.T) {
	needKernel(t)
	m := nftables(t, natNFT, Options{})
	entry := &packet.Entry{
		Protocol: packet.TCP, Mark: 7, Status: packet.StatusSeenReply | packet.StatusAssured,
		Original: packet.Tuple{Src: addr("192.0.2.77"), Dst: addr("192.0.2.1"), SrcPort: 4000, DstPort: 80},
		Reply:    packet.Tuple{Src: addr("198.51.100.80"), Dst: addr("198.51.100.1"), SrcPort: 8080, DstPort: 4001},
	}
	for _, c := range []struct {
		spec  packet.Spec
		reply bool
		want  string
	}{
		{syn(80), false, "accept postrouting by eth1, 198.51.100.1:4001 > 198.51.100.80:8080, connmark 0x7"},
		{packet.Spec{Proto: packet.TCP, In: "eth1", Src: addr("198.51.100.80"), Dst: addr("198.51.100.1"), SrcPort: 8080, DstPort: 4001}, true,
			"accept postrouting by eth0, 192.0.2.1:80 > 192.0.2.77:4000, connmark 0x7"},
	} {
		c.spec.TCPFlags = packet.ACK
		p := build(t, c.spec)
		p.Tracking = packet.Tracking{State: packet.Established, Reply: c.reply, Entry: entry}
		f, err := m.Run(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(f); got != c.want {
			t.Errorf("reply %v:\n got %s\nwant %s", c.reply, got, c.want)
		}
		o := f.Observed
		if o.State != packet.Established || o.Reply != c.reply || o.Entry == nil || o.Entry.Original != entry.Original || o.Entry.Reply != entry.Reply || o.Entry.Mark != 7 ||
			o.Entry.Status&(packet.StatusSrcNAT|packet.StatusDstNAT) != packet.StatusSrcNAT|packet.StatusDstNAT {
			t.Errorf("reply %v: observed %v %v %+v", c.reply, o.State, o.Reply, o.Entry)
		}
	}
}
