package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A generator writes random rulesets in the form of iptables-save. The same
// seed gives the same rulesets.
type generator struct {
	*rand.Rand
	v6 bool
}

// tables are the tables with the built-in chains that rules are put into.
var tables = []struct {
	name   string
	chains []string
}{
	{"raw", []string{"PREROUTING", "OUTPUT"}},
	{"mangle", []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}},
	{"nat", []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}},
	{"filter", []string{"INPUT", "FORWARD", "OUTPUT"}},
	{"security", []string{"INPUT", "FORWARD", "OUTPUT"}},
}

// ruleset returns a random ruleset.
func (g *generator) ruleset() string {
	var b strings.Builder
	for _, t := range tables {
		if t.name != "filter" && g.IntN(3) == 0 {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t.name)
		for _, c := range t.chains {
			policy := "ACCEPT"
			if t.name != "nat" && g.IntN(8) == 0 {
				policy = "DROP"
			}
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c, policy)
		}
		var user []string
		for i := range g.IntN(4) {
			user = append(user, fmt.Sprintf("user%d", i))
			fmt.Fprintf(&b, ":user%d - [0:0]\n", i)
		}
		for _, c := range t.chains {
			for range g.IntN(7) {
				b.WriteString(g.rule(t.name, c, user) + "\n")
			}
		}
		// A chain jumps only to later ones, so there are no loops. What may
		// stand in it must be right for every hook, so it has fewer options.
		for i, c := range user {
			for range 1 + g.IntN(4) {
				b.WriteString(g.rule(t.name, c, user[i+1:]) + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// rule returns a random rule.
func (g *generator) rule(table, chain string, user []string) string {
	parts := []string{"-A", chain}
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if g.IntN(3) == 0 {
		add(g.not() + "-s " + g.network())
	}
	if g.IntN(3) == 0 {
		add(g.not() + "-d " + g.network())
	}
	if g.IntN(4) == 0 && (chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD") {
		add(g.not() + "-i " + g.device())
	}
	if g.IntN(4) == 0 && (chain == "POSTROUTING" || chain == "OUTPUT" || chain == "FORWARD") {
		add(g.not() + "-o " + g.device())
	}
	target, proto := g.target(table, chain, user)
	if proto == "-" { // the target brings its own
		proto = ""
		parts = append(parts, target)
		return strings.Join(parts, " ")
	}
	if proto == "" && g.IntN(2) == 0 {
		proto = g.pick("tcp", "tcp", "udp", "icmp", "sctp", "udplite", "47")
		if g.v6 && proto == "icmp" {
			proto = "ipv6-icmp"
		}
	}
	switch {
	case proto != "":
		add("-p " + proto)
		if g.IntN(3) != 0 {
			add(g.protocolMatch(proto))
		}
		if g.IntN(4) == 0 {
			add(g.multiport(proto))
		}
	case g.IntN(6) == 0:
		add("! -p " + g.pick("tcp", "udp", "sctp"))
	case g.IntN(12) == 0 && !g.v6:
		add(g.not() + "-f")
	}
	for range g.IntN(3) {
		add(g.match(table, chain))
	}
	add(target)
	return strings.Join(parts, " ")
}

// pick returns one of several words.
func (g *generator) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g *generator) not() string {
	if g.IntN(3) == 0 {
		return "! "
	}
	return ""
}

func (g *generator) address() string {
	if g.v6 {
		return g.pick("2001:db8::4", "2001:db8:1::4", "2001:db8::1", "fd00::1", "fe80::1", "2001:db8:77:8000::ffff")
	}
	return g.pick("192.0.2.4", "198.51.100.4", "192.0.2.1", "10.0.0.7", "10.244.3.9", "203.0.113.77")
}

func (g *generator) network() string {
	if g.v6 {
		return g.address() + g.pick("", "/128", "/64", "/48", "/33", "/65", "/127", "/8", "/0", "/ffff::ff")
	}
	return g.address() + g.pick("", "/32", "/31", "/24", "/25", "/20", "/16", "/9", "/8", "/1", "/0", "/255.0.255.0", "/0.0.0.255")
}

func (g *generator) device() string {
	return g.pick("eth0", "eth1", "eth+", "wan", "w+", "lan0", "lo", "+", "e*")
}

func (g *generator) port() int {
	return [...]int{22, 80, 443, 0, 1, 65535, 1024, 1023, 8080, g.IntN(65536)}[g.IntN(10)]
}

func (g *generator) ports() string {
	a, b := g.port(), g.port()
	if g.IntN(2) == 0 {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d:%d", min(a, b), max(a, b))
}

func (g *generator) protocolMatch(proto string) string {
	switch proto {
	case "tcp":
		s := "-m tcp"
		if g.IntN(2) == 0 {
			s += " " + g.not() + "--sport " + g.ports()
		}
		if g.IntN(2) == 0 {
			s += " " + g.not() + "--dport " + g.ports()
		}
		switch g.IntN(4) {
		case 0:
			mask := g.flags()
			s += " " + g.not() + "--tcp-flags " + mask + " " + g.within(mask)
		case 1:
			s += " " + g.not() + "--tcp-option " + g.pick("2", "3", "5", "8", "254")
		}
		return s
	case "udp":
		return fmt.Sprintf("-m udp %s--sport %s %s--dport %s", g.not(), g.ports(), g.not(), g.ports())
	case "icmp":
		return "-m icmp " + g.not() + "--icmp-type " + g.pick("any", "8", "0", "3", "3/1", "3/4", "11", "5/0", "13", "255/255")
	case "ipv6-icmp":
		return "-m icmp6 " + g.not() + "--icmpv6-type " + g.pick("128", "129", "1", "1/4", "3", "135", "136", "2", "4/1")
	}
	return ""
}

var flagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

func (g *generator) flags() string {
	var names []string
	for _, n := range flagNames {
		if g.IntN(2) == 0 {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return g.pick("SYN", "ACK", "ALL")
	}
	return strings.Join(names, ",")
}

// within returns a part of the flags of a mask.
func (g *generator) within(mask string) string {
	var names []string
	for _, n := range strings.Split(mask, ",") {
		if g.IntN(2) == 0 {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "NONE"
	}
	return strings.Join(names, ",")
}

func (g *generator) multiport(proto string) string {
	switch proto {
	case "tcp", "udp", "udplite", "sctp":
	default:
		return ""
	}
	list := g.ports()
	for range g.IntN(4) {
		list += "," + g.ports()
	}
	return "-m multiport " + g.not() + g.pick("--dports", "--sports", "--ports") + " " + list
}

func (g *generator) state() string {
	list := []string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "SNAT", "DNAT"}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return strings.Join(list[:1+g.IntN(3)], ",")
}

func (g *generator) mark() string {
	return fmt.Sprintf("%#x/%#x", g.Uint32()&0xff, g.pickMask())
}

func (g *generator) pickMask() uint32 {
	return [...]uint32{0xff, 0xf, 0xffffffff, 0x80000001, 0, 0xff00}[g.IntN(6)]
}

// match returns a random match that is right in the chain.
func (g *generator) match(table, chain string) string {
	choices := []func() string{
		func() string { return "-m conntrack " + g.not() + "--ctstate " + g.state() },
		func() string {
			return "-m state " + g.not() + "--state " + g.pick("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID,NEW", "UNTRACKED")
		},
		func() string {
			return "-m conntrack " + g.not() + "--ctstatus " + g.pick("NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED,EXPECTED", "SEEN_REPLY,ASSURED")
		},
		func() string { return "-m conntrack --ctdir " + g.pick("ORIGINAL", "REPLY") },
		func() string { return "-m conntrack " + g.not() + "--ctproto " + g.pick("6", "17", "1") },
		func() string {
			return "-m conntrack " + g.not() + "--ctorigsrc " + g.network() + " --ctstate " + g.state()
		},
		func() string { return "-m conntrack " + g.not() + "--ctrepldst " + g.network() },
		func() string { return "-m conntrack " + g.not() + "--ctorigdstport " + g.ports() },
		func() string { return "-m mark " + g.not() + "--mark " + g.mark() },
		func() string { return "-m connmark " + g.not() + "--mark " + g.mark() },
		func() string { return "-m comment --comment \"fuzz " + g.pick("a", "b c", "d-e") + "\"" },
		func() string { return "-m iprange " + g.not() + "--src-range " + g.span() },
		func() string { return "-m iprange " + g.not() + "--dst-range " + g.span() },
		func() string {
			return "-m length " + g.not() + "--length " + g.pick("0:40", "40", "41:60", "60:65535", "20:28")
		},
		func() string {
			return "-m pkttype " + g.not() + "--pkt-type " + g.pick("unicast", "broadcast", "multicast")
		},
		func() string { return "-m addrtype " + g.not() + "--dst-type " + g.addressType() },
		func() string { return "-m addrtype " + g.not() + "--src-type " + g.addressType() },
		func() string {
			if g.v6 {
				return "-m hl " + g.pick("--hl-eq 64", "! --hl-eq 63", "--hl-lt 100", "--hl-gt 100")
			}
			return "-m ttl " + g.pick("--ttl-eq 64", "! --ttl-eq 63", "--ttl-lt 100", "--ttl-gt 100")
		},
		func() string {
			return fmt.Sprintf("-m limit --limit %d/%s --limit-burst %d", 1+g.IntN(20), g.pick("sec", "min", "hour"), 1+g.IntN(6))
		},
		func() string { return "-m statistic --mode nth --every 3 --packet " + g.pick("0", "1", "2") },
		func() string { return "-m statistic --mode random " + g.not() + "--probability 0.5" },
	}
	if chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD" {
		choices = append(choices, func() string {
			return "-m mac " + g.not() + "--mac-source " + g.pick("02:00:00:01:00:09", "02:00:00:00:00:07")
		})
	}
	if chain == "OUTPUT" || chain == "POSTROUTING" {
		choices = append(choices,
			func() string {
				return "-m owner " + g.not() + "--uid-owner " + g.pick("0", "1000", "0-999", "60000-70000")
			},
			func() string {
				return "-m owner " + g.not() + "--gid-owner " + g.pick("0", "1000", "1-65535") + " --uid-owner 0"
			},
			func() string { return "-m owner " + g.not() + "--socket-exists" })
	}
	if table == "filter" {
		choices = append(choices, func() string {
			return "-m recent --name " + g.pick("x", "y") + " " + g.pick("--set", "--rcheck --seconds 60 --hitcount 3", "--update --seconds 30", "--remove", "! --rcheck")
		})
	}
	return choices[g.IntN(len(choices))]()
}

func (g *generator) addressType() string {
	if g.v6 {
		return g.pick("LOCAL", "UNICAST", "MULTICAST")
	}
	return g.pick("LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "LOCAL,BROADCAST")
}

func (g *generator) span() string {
	if g.v6 {
		return g.pick("2001:db8::1-2001:db8::ff", "2001:db8::4-2001:db8::4", "fd00::-fdff::")
	}
	return g.pick("192.0.2.1-192.0.2.10", "10.0.0.7-10.0.0.7", "1.0.0.0-198.51.100.3")
}

// target returns a random target, and the protocol that it requires.
func (g *generator) target(table, chain string, user []string) (target, proto string) {
	if len(user) > 0 && g.IntN(4) == 0 {
		return g.pick("-j ", "-j ", "-g ") + user[g.IntN(len(user))], ""
	}
	builtin := strings.ToUpper(chain) == chain
	to := func() string { return g.address() }
	switch table {
	case "nat":
		withPorts := g.IntN(3) == 0
		address := to()
		if withPorts {
			proto = g.pick("tcp", "udp")
			port := fmt.Sprint(1 + g.port()%60000)
			if g.v6 {
				address = "[" + address + "]"
			}
			address += ":" + port
		}
		switch {
		case !builtin:
			return "-j " + g.pick("ACCEPT", "RETURN"), ""
		case chain == "PREROUTING" || chain == "OUTPUT":
			switch g.IntN(4) {
			case 0:
				return "-j REDIRECT --to-ports 8080", g.pick("tcp", "udp")
			case 1:
				if g.v6 {
					return "-j NETMAP --to fd00:1::/64", ""
				}
				return "-j NETMAP --to 10.1.0.0/16", ""
			}
			return "-j DNAT --to-destination " + address, proto
		case chain == "POSTROUTING" && g.IntN(2) == 0:
			return "-j MASQUERADE", ""
		}
		return "-j SNAT --to-source " + address, proto
	case "raw":
		if g.IntN(2) == 0 {
			return g.pick("-j CT --notrack", "-j NOTRACK"), ""
		}
	case "mangle":
		switch g.IntN(6) {
		case 0:
			return "-j MARK --set-xmark " + g.mark(), ""
		case 1:
			return "-j CONNMARK --set-xmark " + g.mark(), ""
		case 2:
			return fmt.Sprintf("-j CONNMARK --%s-mark --nfmask %#x --ctmask %#x", g.pick("save", "restore"), g.pickMask(), g.pickMask()), ""
		case 3:
			if builtin {
				return "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS " + g.pick("--set-mss 600", "--set-mss 1400", "--clamp-mss-to-pmtu"), "-"
			}
		}
	case "filter":
		switch g.IntN(5) {
		case 0:
			if g.v6 {
				return "-j REJECT --reject-with " + g.pick("icmp6-port-unreachable", "icmp6-adm-prohibited", "icmp6-no-route"), ""
			}
			return "-j REJECT --reject-with " + g.pick("icmp-port-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited"), ""
		case 1:
			return "-j REJECT --reject-with tcp-reset", "tcp"
		}
	}
	if g.IntN(4) == 0 {
		return fmt.Sprintf("-j LOG --log-prefix \"p%d \" --log-level %d%s", g.IntN(10), g.IntN(8), g.pick("", " --log-uid", " --log-tcp-options --log-ip-options")), ""
	}
	return "-j " + g.pick("ACCEPT", "DROP", "RETURN", "ACCEPT"), ""
}
