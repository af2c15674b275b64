package bugs_test

import "golang.org/x/sys/unix"

// targetRulesets are about targets that have something done to the packet.
var targetRulesets = []ruleset{
	{
		name: "queues",
		v4: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p udp -m udp --dport 1 -j NFQUEUE --queue-num 1
-A INPUT -p udp -m udp --dport 2 -j NFQUEUE --queue-balance 1:4 --queue-bypass --queue-cpu-fanout
-A INPUT -p udp -m udp --dport 3 -j QUEUE
COMMIT
`,
		bugs: []bug{
			{name: "another queue", batch: rule("INPUT", 1, attr("queue", 1, unix.NFTA_QUEUE_NUM, be16(1), be16(2))), shows: eventsDiffer},
			{name: "fewer queues", batch: rule("INPUT", 2, attr("queue", 1, unix.NFTA_QUEUE_TOTAL, be16(4), be16(3))), shows: eventsDiffer},
			{name: "lost bypass", batch: rule("INPUT", 2, attr("queue", 1, unix.NFTA_QUEUE_FLAGS, be16(3), be16(2))), shows: eventsDiffer},
			{name: "lost fanout", batch: rule("INPUT", 2, attr("queue", 1, unix.NFTA_QUEUE_FLAGS, be16(3), be16(1))), shows: eventsDiffer},
			{name: "lost queue", batch: dropRule("INPUT", 3), shows: eventsDiffer},
		},
	},
	{
		name: "segments and copies",
		v4: `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 1 -j TCPOPTSTRIP --strip-options 5,8
-A PREROUTING -p tcp -m tcp --dport 2 -j ECN --ecn-tcp-ece 1
-A PREROUTING -p udp -m udp --dport 3 -j TEE --gateway 192.0.2.9
-A PREROUTING -p udp -m udp --dport 4 -j AUDIT --type drop
COMMIT
`,
		bugs: []bug{
			{name: "option that stays", old: "reset tcp option 5 ", new: "", shows: dataDiffers},
			{name: "another option", old: "reset tcp option 8", new: "reset tcp option 2", shows: dataDiffers},
			{name: "flags that are lost", old: "tcp flags == syn tcp flags set (syn|ecn)", new: "tcp flags == syn tcp flags set ecn", shows: dataDiffers},
			{name: "another gateway", old: "dup to 192.0.2.9", new: "dup to 192.0.2.8", shows: eventsDiffer},
			{name: "lost copy", old: " dup to 192.0.2.9", new: " counter", shows: eventsDiffer},
			{name: "log for audit", old: "log level audit", new: "log level info", shows: eventsDiffer},
		},
	},
	{
		name: "handshakes",
		v4: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 1 -j SYNPROXY --mss 1460 --wscale 7
-A INPUT -p tcp -m tcp --dport 2 -j SYNPROXY --timestamp
COMMIT
`,
		bugs: []bug{
			{name: "another size", old: "tcp dport 1 tcp flags & (fin|syn|rst|ack) == syn synproxy mss 1460", new: "tcp dport 1 tcp flags & (fin|syn|rst|ack) == syn synproxy mss 1400", shows: eventsDiffer},
			{name: "lost timestamps", old: "tcp dport 2 tcp flags & (fin|syn|rst|ack) == ack synproxy timestamp", new: "tcp dport 2 tcp flags & (fin|syn|rst|ack) == ack synproxy", shows: eventsDiffer},
			{name: "every segment with an ACK", old: "tcp dport 1 tcp flags & (fin|syn|rst|ack) == ack synproxy", new: "tcp dport 1 tcp flags & ack == ack synproxy", shows: verdictDiffers},
		},
	},
	{
		name: "transparent sockets",
		v4: `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 1 -j TPROXY --on-port 3128 --on-ip 192.0.2.9 --tproxy-mark 0x1/0xff
-A PREROUTING -p udp -m udp --dport 2 -j TPROXY --on-port 0
COMMIT
`,
		bugs: []bug{
			{name: "another port", old: "tproxy to 192.0.2.9:3128", new: "tproxy to 192.0.2.9:3129", shows: eventsDiffer},
			{name: "another address", old: "tproxy to 192.0.2.9:3128", new: "tproxy to :3128", shows: eventsDiffer},
			{name: "nobody listens", batch: dropRule("mangle_PREROUTING", 2), shows: verdictDiffers},
		},
	},
	{
		name: "zones",
		v4: `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 1 -j CT --notrack
-A PREROUTING -p udp -m udp --dport 1:2 -j CT --zone 5
-A PREROUTING -p udp -m udp --dport 3 -j CT --zone-orig 6
-A PREROUTING -p udp -m udp --dport 4 -j CT
-A PREROUTING -p udp -m udp --dport 4 -j CT --zone 7
COMMIT
`,
		bugs: []bug{
			{name: "exempted and tracked again", old: " ct state ! untracked ct zone set 5", new: " ct zone set 5", shows: trackingDiffers},
			{name: "another zone", old: "ct zone set 5", new: "ct zone set 4", shows: eventsDiffer},
			{name: "zone of the other direction", old: "ct original zone set 6", new: "ct reply zone set 6", shows: eventsDiffer},
			{name: "zone of both directions", old: "ct original zone set 6", new: "ct zone set 6", shows: eventsDiffer},
			{name: "lost template", batch: dropRule("raw_PREROUTING", 4), shows: eventsDiffer},
		},
	},
	{
		name: "security marks",
		v4: `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j CONNSECMARK --restore
-A INPUT -j CONNSECMARK --save
COMMIT
`,
		bugs: []bug{
			{name: "restored over another", old: "meta secmark & 0xffff == 0 meta secmark & 0xffff0000 == 0 ", new: "", shows: secmarkDiffers},
			{name: "saved for restored", old: "meta secmark set ct secmark", new: "ct secmark set meta secmark", shows: secmarkDiffers},
			{name: "lost mark", batch: dropRule("mangle_INPUT", 1), shows: secmarkDiffers},
		},
	},
	{
		name: "helpers",
		v4: `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 3 -j CT --zone 5
-A PREROUTING -p tcp -m tcp --dport 1:4 -j CT --helper ftp
-A PREROUTING -p tcp -m tcp --dport 4 -j CT --helper irc
-A PREROUTING -p udp -m udp --dport 5 -j CT --ctevents new,destroy
COMMIT
`,
		bugs: []bug{
			{name: "another helper", old: `type "ftp"`, new: `type "sip"`, shows: eventsDiffer},
			{name: "other events", old: "ct event set new,destroy", new: "ct event set new", shows: eventsDiffer},
			{name: "lost events", old: "ct status ! confirmed ct event set new,destroy", new: "", shows: eventsDiffer},
			{name: "helper of the second template", batch: dropRule("raw_PREROUTING_new", 2), shows: eventsDiffer},
			{name: "lost helper", batch: dropRule("raw_PREROUTING_new", 3), shows: eventsDiffer},
			{name: "helper before tracking", old: "priority -199", new: "priority -250", shows: eventsDiffer},
			{name: "helper of what was expected", old: `ct state new ct helper set "ftp"`, new: `ct helper set "ftp"`, shows: eventsDiffer},
			{name: "no events of what was expected", old: "ct state ! related,new return", new: "ct state ! new return", shows: eventsDiffer},
		},
	},
}
