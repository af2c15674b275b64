package bugs_test

// circumstanceRulesets are about the route back, the clock and the connection of a
// packet.
var circumstanceRulesets = []ruleset{
	{
		name: "circumstances",
		v4: `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p icmp -m rpfilter --invert -j DROP
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m time --timestart 08:30 --timestop 10:00 -j DROP
-A INPUT -p sctp -m time --weekdays Mon,Sun -j DROP
-A INPUT -p sctp -m time --datestart 2024-03-01 --datestop 2024-03-02T12:00 -j REJECT
-A INPUT -p tcp -m helper --helper ftp -j DROP
-A INPUT -p udp -m connlabel --label 5 --set
-A INPUT -p udp -m connlabel --label 5 -j REJECT
COMMIT
`,
		bugs: []bug{
			{name: "any device", old: "fib saddr . iif oif missing", new: "fib saddr oif missing", shows: verdictDiffers},
			{name: "time ends early", old: "meta hour 30600-36000", new: "meta hour 30600-35000", shows: verdictDiffers},
			{name: "week begins on Sunday", old: "meta day { 0, 1 }", new: "meta day { 1, 2 }", shows: verdictDiffers},
			{name: "date ends late", old: "meta time < 1709380801", new: "meta time < 1709380802", shows: verdictDiffers},
			{name: "lost helper", old: `"ft", "ftp"`, new: `"ft"`, shows: verdictDiffers},
			{name: "another label is set", old: "ct label set 5", new: "ct label set 6", shows: verdictDiffers},
		},
	},
}
