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
}
