package bugs_test

import "golang.org/x/sys/unix"

var layoutRulesets = []ruleset{
	{
		name: "verdicts",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ssh - [0:0]
:web - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -g ssh
-A INPUT -p tcp -m tcp --dport 80 -j web
-A INPUT -s 10.0.0.0/8 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 25 -j LOG --log-prefix "mail: " --log-level 6 --log-tcp-options
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -s 192.0.2.66/32 -j DROP
-A FORWARD -s 192.0.2.0/24 -j ACCEPT
-A ssh -s 198.51.100.0/24 -j ACCEPT
-A web -s 203.0.113.0/24 -j RETURN
-A web -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "jump for goto", batch: rule("INPUT", 1, verdict(unix.NFT_GOTO, unix.NFT_JUMP, "ssh")), shows: eventsDiffer},
			{name: "goto for jump", batch: rule("INPUT", 2, verdict(unix.NFT_JUMP, unix.NFT_GOTO, "web")), shows: eventsDiffer},
			{name: "jump to another chain", batch: rule("INPUT", 2, target("web", "ssh")), shows: verdictDiffers},
			{name: "accept for return", batch: rule("web", 1, verdict(unix.NFT_RETURN, 1, "")), shows: verdictDiffers},
			{name: "return for accept", batch: rule("web", 2, verdict(1, unix.NFT_RETURN, "")), shows: verdictDiffers},
			{name: "drop for accept", old: "ip saddr 198.51.100.0/24 accept", new: "ip saddr 198.51.100.0/24 drop", shows: verdictDiffers},
			{name: "policy accept for drop", batch: policy("FORWARD", 0, 1), shows: verdictDiffers},
			{name: "rules swapped", batch: swapRules("FORWARD", 1, 2), shows: verdictDiffers},
			{name: "rules swapped in the text", old: "ip saddr 192.0.2.66 drop      # rules.v4:13\n\t\tip saddr 192.0.2.0/24 accept", new: "ip saddr 192.0.2.0/24 accept\n\t\tip saddr 192.0.2.66 drop", shows: verdictDiffers},
			{name: "extra rule", old: "ip saddr 10.0.0.0/8 accept", new: "ip saddr 10.0.0.0/8 accept\n\t\tudp dport 53 accept", shows: verdictDiffers},
			{name: "missing rule", batch: dropRule("FORWARD", 1), shows: verdictDiffers},
			{name: "log doubled", batch: doubleRule("INPUT", 4), shows: eventsDiffer},
			{name: "lost log", batch: dropRule("INPUT", 4), shows: eventsDiffer},
			{name: "lost log prefix", batch: rule("INPUT", 4, attr("log", 1, unix.NFTA_LOG_PREFIX, zeroed("mail: "), zeroed(""))), shows: eventsDiffer},
			{name: "log prefix without its space", old: "prefix \"mail: \"", new: "prefix \"mail:\"", shows: eventsDiffer},
			{name: "wrong log level", batch: rule("INPUT", 4, attr("log", 1, unix.NFTA_LOG_LEVEL, be32(6), be32(7))), shows: eventsDiffer},
			{name: "lost log flags", batch: rule("INPUT", 4, attr("log", 1, unix.NFTA_LOG_FLAGS, be32(2), be32(0))), shows: eventsDiffer},
			{name: "log to a group", old: "level info flags tcp options", new: "group 1", shows: eventsDiffer},
			{name: "wrong kind of reject", batch: rule("INPUT", 6, attr("reject", 1, unix.NFTA_REJECT_ICMP_CODE, []byte{10}, []byte{3})), shows: eventsDiffer},
			{name: "drop for reject", old: "meta l4proto udp reject with icmp type host-prohibited", new: "meta l4proto udp drop", shows: eventsDiffer},
			{name: "reject for drop", old: "ip saddr 192.0.2.66 drop", new: "ip saddr 192.0.2.66 reject", shows: eventsDiffer},
			{name: "reset for an ICMP error", old: "meta l4proto tcp reject with tcp reset", new: "meta l4proto tcp reject with icmp type port-unreachable", shows: eventsDiffer},
			{name: "counters", old: "ip saddr 10.0.0.0/8 accept", new: "ip saddr 10.0.0.0/8 counter accept"},
		},
	},
	{
		name: "hooks",
		v4: `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x7/0xffffffff
-A OUTPUT -p tcp -m tcp --dport 25 -j MARK --set-xmark 0x9/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m mark --mark 0x7 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "raw after connection tracking", batch: hook("raw_PREROUTING", 0, -300, 0, -150), shows: trackingDiffers},
			{name: "raw after connection tracking in the text", old: "hook prerouting priority raw", new: "hook prerouting priority mangle", shows: trackingDiffers},
			{name: "filter before the mark is set", batch: hook("FORWARD", 2, 0, 2, -200), shows: verdictDiffers},
			{name: "type filter in mangle OUTPUT", batch: chainType("mangle_OUTPUT", "route", "filter"), shows: eventsDiffer},
			{name: "type filter in mangle OUTPUT in the text", old: "type route hook output", new: "type filter hook output", shows: eventsDiffer},
			{name: "wrong hook", batch: hook("FORWARD", 2, 0, 1, 0), shows: verdictDiffers},
			{name: "wrong hook for marks", batch: hook("mangle_FORWARD", 2, -150, 4, -150), shows: verdictDiffers},
			{name: "lost notrack", batch: dropRule("raw_PREROUTING", 1), shows: trackingDiffers},
			{name: "another priority in the same order", batch: hook("FORWARD", 2, 0, 2, 10)},
		},
	},
	{
		name: "families",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -p udp -m udp --dport 500 -j ACCEPT
COMMIT
`,
		v6: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT
-A INPUT -s 2001:db8:5::/48 -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "lost guard of IPv4", old: "meta nfproto ipv4 udp dport 500", new: "udp dport 500", shows: verdictDiffers},
			{name: "IPv4 for IPv6", batch: rule("INPUT", 3, constant(1, []byte{2}, []byte{10})), shows: verdictDiffers},
			{name: "IPv6 prefix shorter", old: "ip6 saddr 2001:db8:5::/48 tcp dport 443 exthdr", new: "ip6 saddr 2001:db8:4::/47 tcp dport 443 exthdr", shows: verdictDiffers},
			{name: "wrong ICMPv6 type", old: "icmpv6 type nd-neighbor-solicit exthdr", new: "icmpv6 type nd-neighbor-advert exthdr", shows: verdictDiffers},
			{name: "lost hop limit", old: "exthdr frag missing ip6 hoplimit 255", new: "exthdr frag missing", shows: verdictDiffers},
		},
	},
}
