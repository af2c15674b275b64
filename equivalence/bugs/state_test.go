package bugs_test

import "golang.org/x/sys/unix"

var stateRulesets = []ruleset{
	{
		name: "rates",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m limit --limit 5/min --limit-burst 10 -j ACCEPT
-A INPUT -p udp -m limit --limit 2/sec -m udp --dport 53 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -m statistic --mode nth --every 3 --packet 1 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 81 -m statistic --mode random --probability 0.25 -j ACCEPT
-A INPUT -m connbytes --connbytes 1000:2000 --connbytes-dir both --connbytes-mode bytes -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{name: "burst one less", batch: rule("INPUT", 1, attr("limit", 1, unix.NFTA_LIMIT_BURST, be32(10), be32(9))), shows: verdictDiffers},
			{name: "burst one more", batch: rule("INPUT", 2, attr("limit", 1, unix.NFTA_LIMIT_BURST, be32(5), be32(6))), shows: verdictDiffers},
			{name: "wrong rate", batch: rule("INPUT", 2, attr("limit", 1, unix.NFTA_LIMIT_RATE, be64(2), be64(3))), shows: verdictDiffers},
			{name: "wrong unit", batch: rule("INPUT", 1, attr("limit", 1, unix.NFTA_LIMIT_UNIT, be64(60), be64(3600))), shows: verdictDiffers},
			{name: "over the rate", batch: rule("INPUT", 1, attr("limit", 1, unix.NFTA_LIMIT_FLAGS, be32(0), be32(1))), shows: verdictDiffers},
			{name: "limit behind a match", batch: rule("INPUT", 2, move(3, 5)), shows: verdictDiffers},
			{name: "limit before a match", batch: rule("INPUT", 1, move(3, 1)), shows: verdictDiffers},
			{name: "lost limit", batch: rule("INPUT", 1, drop(3)), shows: verdictDiffers},
			{name: "every fourth", batch: rule("INPUT", 3, attr("numgen", 1, unix.NFTA_NG_MODULUS, be32(3), be32(4))), shows: verdictDiffers},
			{name: "another packet of three", batch: rule("INPUT", 3, constant(3, host32(1), host32(2))), shows: verdictDiffers},
			{name: "another probability", batch: rule("INPUT", 4, constant(3, be32(0x20000000), be32(0x20000001))), shows: verdictDiffers},
			{name: "twice the probability", batch: rule("INPUT", 4, constant(3, be32(0x20000000), be32(0x40000000))), shows: verdictDiffers},
			{name: "packets for bytes", batch: rule("INPUT", 5, attr("ct", 1, unix.NFTA_CT_KEY, be32(unix.NFT_CT_BYTES), be32(unix.NFT_CT_PKTS))), shows: verdictDiffers},
			{name: "bytes off by one", batch: rule("INPUT", 5, constant(2, be64(2000), be64(2001))), shows: verdictDiffers},
		},
	},
	{
		name: "shared bucket",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:rate - [0:0]
-A INPUT -p tcp -j rate
-A INPUT -p udp -j rate
-A rate -m limit --limit 1/sec --limit-burst 5 -j ACCEPT
COMMIT
`,
		bugs: []bug{
			{
				name: "a bucket for each way",
				old:  "meta l4proto tcp jump rate", new: "meta l4proto tcp limit rate 1/second burst 5 packets accept",
				shows: verdictDiffers,
			},
			{name: "lost jump", batch: dropRule("INPUT", 2), shows: verdictDiffers},
			{name: "a bucket asked twice", batch: doubleRule("rate", 1), shows: verdictDiffers},
		},
	},
	{
		name: "recent",
		v4: `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -m recent --update --seconds 60 --hitcount 4 --name SSH --mask 255.255.255.255 --rsource -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name SSH --mask 255.255.255.255 --rsource -j ACCEPT
-A INPUT -p tcp -m tcp --dport 1000 -m recent --set --name KNOCK --mask 255.255.255.255 --rsource -j DROP
-A INPUT -p tcp -m tcp --dport 2000 -m recent --rcheck --seconds 15 --name KNOCK --mask 255.255.255.255 --rsource -j ACCEPT
-A INPUT -p tcp -m tcp --dport 3000 -m recent --remove --name KNOCK --mask 255.255.255.255 --rsource -j DROP
COMMIT
`,
		bugs: []bug{
			{name: "one slot too few", batch: rule("INPUT", 1, drop(11, 12)), shows: verdictDiffers},
			{name: "slots that stay", batch: rule("recent_SSH_seen", 1, drop(5, 6)), shows: verdictDiffers},
			{name: "lost step to the next slot", batch: rule("recent_SSH_seen", 2, drop(7, 8)), shows: verdictDiffers},
			{name: "wrong timeout", old: "# recent list KNOCK: seen within 15 s\n\t\ttype ipv4_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 15s4ms", new: "type ipv4_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 14s", shows: verdictDiffers},
			{name: "time that add does not renew", old: "update @recent_KNOCK_15s { ip saddr }", new: "add @recent_KNOCK_15s { ip saddr }", shows: verdictDiffers},
			{name: "lost timeout", old: "# recent list KNOCK: seen within 15 s\n\t\ttype ipv4_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 15s4ms", new: "type ipv4_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout", shows: verdictDiffers},
			{name: "missing delete", batch: rule("INPUT", 5, drop(9, 10)), shows: verdictDiffers},
			{name: "destination remembered", batch: rule("recent_KNOCK_seen", 2, attr("payload", 1, unix.NFTA_PAYLOAD_OFFSET, be32(12), be32(16))), shows: verdictDiffers},
			{name: "not remembered", batch: dropRule("INPUT_branch_3", 1), shows: verdictDiffers},
			{name: "not remembered when it is too much", batch: dropRule("INPUT_branch", 1), shows: verdictDiffers},
		},
	},
}
