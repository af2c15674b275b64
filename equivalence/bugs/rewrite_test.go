package bugs_test

import "golang.org/x/sys/unix"

var rewriteRulesets = []ruleset{
	{
		name: "addresses and ports",
		v4: `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080
-A PREROUTING -d 198.51.100.0/24 -j NETMAP --to 10.20.30.0/24
-A PREROUTING -p udp -m udp --dport 5353 -j REDIRECT --to-ports 53
-A PREROUTING -p tcp -m tcp --dport 2000:2003 -j DNAT --to-destination 10.0.0.6:3000-3001/2001
-A POSTROUTING -s 10.0.0.0/24 -j MASQUERADE --random
-A POSTROUTING -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.7
COMMIT
`,
		bugs: []bug{
			{name: "another address", batch: rule("nat_PREROUTING", 1, attr("immediate", 1, unix.NFTA_IMMEDIATE_DATA, value([]byte{10, 0, 0, 5}), value([]byte{10, 0, 0, 6}))), shows: eventsDiffer},
			{name: "another port", batch: rule("nat_PREROUTING", 1, attr("immediate", 2, unix.NFTA_IMMEDIATE_DATA, value(be16(8080)), value(be16(8081)))), shows: eventsDiffer},
			{name: "lost port", old: "dnat to 10.0.0.5:8080", new: "dnat to 10.0.0.5", shows: dataDiffers},
			{name: "half of a network", batch: rule("nat_PREROUTING", 2, attr("immediate", 2, unix.NFTA_IMMEDIATE_DATA, value([]byte{10, 20, 30, 255}), value([]byte{10, 20, 30, 127}))), shows: dataDiffers},
			{name: "network mapped as a range", batch: rule("nat_PREROUTING", 2, attr("nat", 1, unix.NFTA_NAT_FLAGS, be32(0x40), be32(0))), shows: eventsDiffer},
			{name: "network mapped with a shorter prefix", old: "dnat prefix to 10.20.30.0/24", new: "dnat prefix to 10.20.30.0/25", shows: dataDiffers},
			{name: "another port of a redirection", batch: rule("nat_PREROUTING", 3, attr("immediate", 1, unix.NFTA_IMMEDIATE_DATA, value(be16(53)), value(be16(54)))), shows: dataDiffers},
			{name: "shifted one port too far", old: "2002 : 3001", new: "2002 : 3002", shows: dataDiffers},
			{name: "shifted from another base", old: "{ 2000 : 3001, 2001 : 3000, 2002 : 3001, 2003 : 3000 }", new: "{ 2000 : 3000, 2001 : 3001, 2002 : 3000, 2003 : 3001 }", shows: dataDiffers},
			{name: "port that is not shifted", old: ", 2003 : 3000 }", new: " }", shows: dataDiffers},
			{name: "lost random", batch: rule("nat_POSTROUTING", 1, attr("masq", 1, unix.NFTA_MASQ_FLAGS, be32(4), be32(0))), shows: eventsDiffer},
			{name: "fully random", old: "masquerade random", new: "masquerade fully-random", shows: eventsDiffer},
			{name: "SNAT for masquerade", old: "masquerade random", new: "snat to 203.0.113.7", shows: eventsDiffer},
			{name: "masquerade for SNAT", old: "snat to 203.0.113.7", new: "masquerade", shows: dataDiffers},
			{name: "another source", batch: rule("nat_POSTROUTING", 2, attr("immediate", 1, unix.NFTA_IMMEDIATE_DATA, value([]byte{203, 0, 113, 7}), value([]byte{203, 0, 113, 8}))), shows: dataDiffers},
			{name: "rules swapped", batch: swapRules("nat_PREROUTING", 2, 3), shows: eventsDiffer},
			{name: "rules of other packets swapped", batch: swapRules("nat_PREROUTING", 1, 2)},
			{name: "accept before the translation", old: "udp dport 5353 redirect to :53", new: "udp dport 5353 accept\n\t\tudp dport 5353 redirect to :53", shows: dataDiffers},
		},
	},
	{
		name: "marks and options",
		v4: `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j CONNMARK --restore-mark
-A PREROUTING -i eth1 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x10/0xf0
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1400
-A POSTROUTING -m mark --mark 0x10/0xf0 -j CONNMARK --set-xmark 0x10/0xff
COMMIT
`,
		bugs: []bug{
			{name: "wrong mark", batch: rule("mangle_PREROUTING", 2, attr("bitwise", 1, unix.NFTA_BITWISE_XOR, value(host32(0x10)), value(host32(0x20)))), shows: markDiffers},
			{name: "mark without its mask", old: "meta mark set meta mark & 0xffffff0f | 0x10", new: "meta mark set 0x10", shows: markDiffers},
			{name: "marks added, not set", old: "meta mark set meta mark & 0xffffff0f | 0x10", new: "meta mark set meta mark | 0x10", shows: markDiffers},
			{name: "connection mark without its mask", old: "ct mark set ct mark & 0xffffff00 | 0x10", new: "ct mark set 0x10", shows: connMarkDiffers},
			{name: "packet mark for connection mark", old: "ct mark set ct mark & 0xffffff00 | 0x10", new: "meta mark set ct mark & 0xffffff00 | 0x10", shows: connMarkDiffers},
			{name: "wrong maximum segment size", batch: rule("mangle_FORWARD", 1, attr("immediate", 1, unix.NFTA_IMMEDIATE_DATA, value(be16(1400)), value(be16(1401)))), shows: dataDiffers},
			{name: "lost maximum segment size", batch: dropRule("mangle_FORWARD", 1), shows: dataDiffers},
			{name: "mark not restored", batch: dropRule("mangle_PREROUTING", 1), shows: markDiffers},
		},
	},
}
