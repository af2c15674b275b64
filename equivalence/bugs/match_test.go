package bugs_test

import "golang.org/x/sys/unix"

var matchRulesets = []ruleset{
	{
		name: "addresses",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT ! -s 10.1.0.0/16 -p icmp -m icmp --icmp-type 8 -j DROP
-A INPUT -s 10.2.0.0/15 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -m iprange --src-range 10.9.0.5-10.9.0.77 -j ACCEPT
-A INPUT -d 192.0.2.1/32 -p udp -m udp --sport 123 -j ACCEPT
-A INPUT -m addrtype --dst-type BROADCAST -j ACCEPT
-A INPUT -m mac --mac-source 02:00:00:00:00:11 -j ACCEPT
-A INPUT -m pkttype --pkt-type multicast -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "lost negation", batch: rule("INPUT", 1, flip(1)), shows: verdictDiffers},
			{name: "lost negation in the text", old: "ip saddr != 10.1", new: "ip saddr 10.1", shows: verdictDiffers},
			{name: "prefix one bit long", batch: rule("INPUT", 2, mask(1, []byte{255, 254, 0, 0}, []byte{255, 255, 0, 0})), shows: verdictDiffers},
			{name: "prefix one bit short", batch: rule("INPUT", 2, mask(1, []byte{255, 254, 0, 0}, []byte{255, 252, 0, 0}), constant(1, []byte{10, 2, 0, 0}, []byte{10, 0, 0, 0})), shows: verdictDiffers},
			{name: "prefix one bit short in the text", old: "10.2.0.0/15", new: "10.0.0.0/14", shows: verdictDiffers},
			{name: "range begins late", batch: rule("INPUT", 3, constant(1, []byte{10, 9, 0, 5}, []byte{10, 9, 0, 6})), shows: verdictDiffers},
			{name: "range ends late", batch: rule("INPUT", 3, constant(2, []byte{10, 9, 0, 77}, []byte{10, 9, 0, 78})), shows: verdictDiffers},
			{name: "source for destination", batch: rule("INPUT", 4, attr("payload", 1, unix.NFTA_PAYLOAD_OFFSET, be32(16), be32(12))), shows: verdictDiffers},
			{name: "destination for source in the text", old: "ip saddr 10.2", new: "ip daddr 10.2", shows: verdictDiffers},
			{name: "source port for destination port", batch: rule("INPUT", 4, attr("payload", 2, unix.NFTA_PAYLOAD_OFFSET, be32(0), be32(2))), shows: verdictDiffers},
			{name: "wrong ICMP type", batch: rule("INPUT", 1, constant(3, []byte{8}, []byte{0})), shows: verdictDiffers},
			{name: "wrong protocol", batch: rule("INPUT", 4, constant(2, []byte{17}, []byte{6})), shows: verdictDiffers},
			{name: "wrong address type", batch: rule("INPUT", 5, constant(1, host32(3), host32(5))), shows: verdictDiffers},
			{name: "wrong link address", batch: rule("INPUT", 6, constant(2, []byte{2, 0, 0, 0, 0, 0x11}, []byte{2, 0, 0, 0, 0, 0x12})), shows: verdictDiffers},
			{name: "wrong packet type", batch: rule("INPUT", 7, constant(1, []byte{2}, []byte{1})), shows: verdictDiffers},
			{name: "wrong register", batch: rule("INPUT", 2, attr("cmp", 3, unix.NFTA_CMP_SREG, be32(1), be32(2))), shows: verdictDiffers},
			{name: "missing rule", batch: dropRule("INPUT", 4), shows: verdictDiffers},
			{name: "lost condition", batch: rule("INPUT", 2, drop(1, 2, 3)), shows: verdictDiffers},
			{name: "other comments", old: "# rules.v4:6", new: "comment \"another\" # elsewhere"},
			{name: "another table name", batch: tables("elsewhere")},
		},
	},
	{
		name: "ports",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT
-A INPUT -p udp -m udp --dport 5000:5009 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p tcp -m tcp --dport 23 ! --tcp-flags SYN,RST SYN -j ACCEPT
-A INPUT -p sctp -j ACCEPT
-A INPUT -m length --length 100:200 -j ACCEPT
-A INPUT -m ttl --ttl-lt 5 -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "lost port", batch: rule("INPUT", 2, drop(3, 4, 5)), shows: verdictDiffers},
			{name: "port range ends early", batch: rule("INPUT", 2, constant(3, be16(5009), be16(5008))), shows: verdictDiffers},
			{name: "port range begins late", batch: rule("INPUT", 2, constant(2, be16(5000), be16(5001))), shows: verdictDiffers},
			{name: "port range ends early in the text", old: "udp dport 5000-5009", new: "udp dport 5000-5008", shows: verdictDiffers},
			{name: "wrong element", batch: key(be16(443), be16(444)), shows: verdictDiffers},
			{name: "interval ends early", batch: key(be16(8011), be16(8010)), shows: verdictDiffers},
			{name: "lost element in the text", old: "80, 443, ", new: "80, ", shows: verdictDiffers},
			{name: "flags compared whole", old: "tcp flags & (fin|syn|rst|ack) == syn", new: "tcp flags == syn", shows: verdictDiffers},
			{name: "flags with a bit less in the mask", batch: rule("INPUT", 3, mask(1, []byte{0x17}, []byte{0x07})), shows: verdictDiffers},
			{name: "flags tested for any", old: "tcp flags & (syn|rst) != syn", new: "tcp flags & (syn|rst) == rst", shows: verdictDiffers},
			{name: "protocol beside the right one", batch: rule("INPUT", 5, constant(1, []byte{132}, []byte{131})), shows: verdictDiffers},
			{name: "length in host byte order", batch: rule("INPUT", 6, drop(2)), shows: verdictDiffers},
			{name: "length off by one", batch: rule("INPUT", 6, constant(2, be32(200), be32(201))), shows: verdictDiffers},
			{name: "TTL off by one", batch: rule("INPUT", 7, constant(1, []byte{5}, []byte{4})), shows: verdictDiffers},
			{name: "TTL or equal", batch: rule("INPUT", 7, attr("cmp", 1, unix.NFTA_CMP_OP, be32(unix.NFT_CMP_LT), be32(unix.NFT_CMP_LTE))), shows: verdictDiffers},
		},
	},
	{
		name: "connections",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate NEW,DNAT -p tcp -m tcp --dport 80 -j ACCEPT
-A INPUT -p udp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstatus ASSURED -j ACCEPT
-A INPUT -m connmark --mark 0x3/0xf -j ACCEPT
-A INPUT -m mark --mark 0x100/0xff00 -j ACCEPT
-A INPUT -m mark --mark 0x10000 -j ACCEPT
-A INPUT -m state --state INVALID -p udp -j ACCEPT
-A FORWARD -m conntrack --ctorigdstport 443 --ctdir ORIGINAL -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "AND for OR", old: "ct status dnat tcp", new: "ct state new ct status dnat tcp", shows: verdictDiffers},
			{name: "half of an OR lost", batch: dropRule("INPUT", 2), shows: verdictDiffers},
			{name: "a state lost", batch: rule("INPUT", 3, mask(1, host32(6), host32(2))), shows: verdictDiffers},
			{name: "a state too much", old: "ct state established,related", new: "ct state established,related,untracked", shows: verdictDiffers},
			{name: "status compared whole", batch: rule("INPUT", 4, drop(2), attr("cmp", 1, unix.NFTA_CMP_DATA, value(host32(0)), value(host32(4))), attr("cmp", 1, unix.NFTA_CMP_OP, be32(unix.NFT_CMP_NEQ), be32(unix.NFT_CMP_EQ))), shows: verdictDiffers},
			{name: "wrong status bit", batch: rule("INPUT", 4, mask(1, host32(4), host32(2))), shows: verdictDiffers},
			{name: "wrong ct mark mask", batch: rule("INPUT", 5, mask(1, host32(0xf), host32(0x1f))), shows: verdictDiffers},
			{name: "lost ct mark mask", batch: rule("INPUT", 5, drop(2)), shows: verdictDiffers},
			{name: "packet mark for ct mark", old: "ct mark & 0xf", new: "meta mark & 0xf", shows: verdictDiffers},
			{name: "wrong mark mask", batch: rule("INPUT", 6, mask(1, host32(0xff00), host32(0xfff00))), shows: verdictDiffers},
			{name: "mark in network byte order", batch: rule("INPUT", 7, constant(1, host32(0x10000), be32(0x10000))), shows: verdictDiffers},
			{name: "mark one more", batch: rule("INPUT", 7, constant(1, host32(0x10000), host32(0x10001))), shows: verdictDiffers},
			{name: "new for invalid", batch: rule("INPUT", 8, mask(1, host32(1), host32(8))), shows: verdictDiffers},
			{name: "lost direction", batch: rule("FORWARD", 2, drop(3, 4)), shows: verdictDiffers},
			{name: "reply tuple", batch: rule("FORWARD", 3, attr("ct", 2, unix.NFTA_CT_DIRECTION, []byte{0}, []byte{1})), shows: verdictDiffers},
		},
	},
	{
		name: "devices",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -i eth+ -o wan0 -j ACCEPT
-A FORWARD -i wan0 ! -o tun+ -p tcp -j ACCEPT
-A OUTPUT -m owner ! --uid-owner 1001 -p udp -j DROP
-A OUTPUT -m owner --gid-owner 50 -p tcp -j DROP
COMMIT
`,
		bugs: []bug{
			{name: "wrong device", batch: rule("INPUT", 2, constant(1, device("eth0"), device("eth1"))), shows: verdictDiffers},
			{name: "lost wildcard", batch: rule("FORWARD", 1, constant(1, []byte("eth"), device("eth"))), shows: verdictDiffers},
			{name: "wildcard for a name", old: "iifname \"eth0\"", new: "iifname \"eth0*\"", shows: verdictDiffers},
			{name: "wildcard one letter short", batch: rule("FORWARD", 1, constant(1, []byte("eth"), []byte("et"))), shows: verdictDiffers},
			{name: "input device for output device", batch: rule("FORWARD", 1, attr("meta", 2, unix.NFTA_META_KEY, be32(unix.NFT_META_OIFNAME), be32(unix.NFT_META_IIFNAME))), shows: verdictDiffers},
			{name: "lost negation of a device", batch: rule("FORWARD", 2, flip(2)), shows: verdictDiffers},
			{name: "owner negated without packets of no socket", old: "meta l4proto udp jump OUTPUT_branch", new: "meta l4proto udp meta skuid != 1001 drop", shows: verdictDiffers},
			{name: "group for user", batch: rule("OUTPUT", 2, attr("meta", 2, unix.NFTA_META_KEY, be32(unix.NFT_META_SKGID), be32(unix.NFT_META_SKUID))), shows: verdictDiffers},
			{name: "wrong user", batch: rule("OUTPUT_branch", 1, constant(1, host32(1001), host32(1002))), shows: verdictDiffers},
			{name: "rules swapped", batch: swapRules("OUTPUT_branch", 1, 2), shows: verdictDiffers},
		},
	},
}
