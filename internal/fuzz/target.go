package main

import (
	"fmt"
	"slices"
	"strings"
)

// target returns a random target, with matches that it needs before it, and the
// protocol that it requires.
func (g *generator) target(c chain, user []chain) (target, proto string) {
	if to := g.next(c, user); to != "" && g.IntN(3) == 0 {
		return g.pick("-j ", "-j ", "-g ") + to, ""
	}
	if change := g.changeSet(); change != "" && g.IntN(8) == 0 {
		return change, ""
	}
	switch c.table {
	case "nat":
		if g.IntN(4) != 0 {
			return g.nat(c)
		}
	case "raw":
		switch g.IntN(4) {
		case 0, 1:
			switch {
			case g.stateless:
			case !g.templates:
				return g.pick("-j CT --notrack", "-j NOTRACK"), ""
			case g.IntN(4) == 0:
				return g.chosen()
			case g.late && g.IntN(4) == 0:
				return "-j CT --ctevents new,destroy,assured", ""
			default:
				return g.pick("-j CT --notrack", "-j NOTRACK", "-j CT", "-j CT --zone 5", "-j CT --zone-orig 7", "-j CT --zone-reply 9"), ""
			}
		case 2:
			return "-j TRACE", ""
		case 3:
			if !g.stateless && g.late && g.IntN(2) == 0 {
				return "-j CT --helper " + g.pick("ftp", "ftp --zone 3", "sip"), "tcp"
			}
		}
	case "mangle":
		if g.IntN(5) != 0 {
			return g.mangle(c)
		}
	case "filter":
		switch g.IntN(5) {
		case 0:
			return "-j REJECT --reject-with " + g.pick(rejections[g.v6]...), ""
		case 1:
			return "-j REJECT --reject-with tcp-reset", "tcp"
		case 2:
			// A rule with SYNPROXY makes the kernel change segments of connections that
			// the models know nothing of, in both engines alike.
			if g.queues && c.only("INPUT", "FORWARD") && !g.stateless && g.IntN(3) == 0 {
				return "-j SYNPROXY" + g.pick("", " --mss 1460 --wscale 7", " --timestamp --sack-perm", " --ecn"), "tcp"
			}
		}
	}
	if g.queues && g.IntN(6) == 0 {
		return g.pick("-j QUEUE", "-j NFQUEUE", "-j NFQUEUE --queue-bypass", "-j NFQUEUE --queue-num 7", "-j NFQUEUE --queue-balance 1:4 --queue-cpu-fanout"), ""
	}
	if g.IntN(16) == 0 {
		if g.queues { // the copy of a reset looks like an answer to who watches the kernel
			return "-j TEE --gateway " + g.address() + g.pick("", "", "", " --oif eth0"), ""
		}
		return "-j AUDIT --type drop", ""
	}
	if g.IntN(4) == 0 {
		return g.log(), ""
	}
	if g.IntN(20) == 0 && c.table != "nat" {
		return g.external(), ""
	}
	if g.IntN(20) == 0 {
		return "", "" // a rule that only counts
	}
	verdicts := []string{"ACCEPT", "RETURN", "ACCEPT", "DROP"}
	if c.table == "nat" { // which takes no DROP
		verdicts = verdicts[:3]
	}
	return "-j " + g.pick(verdicts...), ""
}

// chosen returns what new connections get: a helper, and the events that listeners
// are told of.
func (g *generator) chosen() (target, proto string) {
	const connection, expectation = " --ctevents new,destroy,assured,natseqinfo", " --expevents new"
	switch g.IntN(4) {
	case 0:
		return "-j CT" + g.pick(connection, connection+expectation), ""
	case 1:
		return "-j CT --helper tftp" + g.pick("", connection), "udp"
	}
	helper := g.pick("ftp", "irc")
	if g.v6 && helper == "irc" {
		helper = "sip" // the kernel has none for IRC over IPv6
	}
	return "-j CT --helper " + helper, "tcp"
}

// next returns a chain that can be jumped to, or "".
func (g *generator) next(c chain, user []chain) string {
	var names []string
	for _, u := range user {
		if !slices.ContainsFunc(c.from, func(f string) bool { return !slices.Contains(u.from, f) }) {
			names = append(names, u.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return g.pick(names...)
}

var rejections = map[bool][]string{
	false: {"icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited"},
	true:  {"icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable", "icmp6-policy-fail", "icmp6-reject-route"},
}

// external is a target that does something outside of the packet's way. Those of
// one name have to agree.
func (g *generator) external() string {
	n := g.IntN(3)
	return g.pick(
		fmt.Sprintf("-j RATEEST --rateest-name e%d --rateest-interval %ds --rateest-ewmalog 9s", n, n+1),
		fmt.Sprintf("-j IDLETIMER --timeout %d --label t%d", 100+n, n),
		fmt.Sprintf("-j IDLETIMER --timeout %d --label a%d --alarm", 100+n, n),
	)
}

func (g *generator) log() string {
	if g.IntN(4) == 0 {
		return "-j NFLOG" + g.pick("", " --nflog-group 7", " --nflog-group 9 --nflog-size 60") + g.pick("", ` --nflog-prefix "g "`) + g.pick("", " --nflog-threshold 5")
	}
	s := "-j LOG"
	if g.IntN(4) != 0 {
		prefix := fmt.Sprintf("\"p%d \"", g.IntN(10))
		if g.IntN(5) == 0 {
			prefix = g.odd(8)
		}
		s += " --log-prefix " + prefix
	}
	if g.IntN(2) == 0 {
		s += " --log-level " + g.pick("0", "1", "2", "3", "4", "5", "6", "7")
	}
	for _, option := range []string{" --log-uid", " --log-tcp-options", " --log-ip-options", " --log-tcp-sequence", " --log-macdecode"} {
		if g.IntN(6) == 0 {
			s += option
		}
	}
	return s
}

func (g *generator) mangle(c chain) (target, proto string) {
	number := func() string { return fmt.Sprintf("%#x", g.Uint32()&[...]uint32{0xff, 0xffff, 0xffffffff}[g.IntN(3)]) }
	kind := "-j MARK --"
	switch g.IntN(6) {
	case 0:
		if g.stateless {
			break
		}
		if g.IntN(4) == 0 {
			return "-j CONNSECMARK " + g.pick("--save", "--restore"), ""
		}
		return g.copied(), ""
	case 1:
		if !g.stateless {
			kind = "-j CONNMARK --"
		}
	case 2:
		clamp := "--clamp-mss-to-pmtu"
		if !c.leaving() || g.IntN(2) == 0 {
			clamp = g.pick("--set-mss 600", "--set-mss 1400", "--set-mss 536", "--set-mss 0")
		}
		return "-m tcp --tcp-flags SYN,RST SYN -j TCPMSS " + clamp, "tcp"
	case 3:
		if g.v6 || g.IntN(2) == 0 {
			return "-j TCPOPTSTRIP --strip-options " + g.pick("8", "2", "4,5,8", "3"), "tcp"
		}
		return "-j ECN --ecn-tcp-" + g.pick("remove", "cwr 1", "ece 0", "ece 1 --ecn-tcp-cwr 0"), "tcp"
	}
	if c.only("PREROUTING") && g.IntN(4) == 0 {
		return "-j TPROXY --on-port " + g.pick("0", "3128") + g.pick("", " --on-ip "+g.address()) + g.pick("", " --tproxy-mark 0x1/0xf"), g.pick("tcp", "udp")
	}
	if g.IntN(3) == 0 {
		return g.rewrite(c), ""
	}
	if g.IntN(8) == 0 {
		return g.hash(), ""
	}
	if g.IntN(2) == 0 {
		return kind + "set-xmark " + g.mark(), ""
	}
	return kind + g.pick("set-mark ", "and-mark ", "or-mark ", "xor-mark ") + number(), ""
}

// hash sets the mark to a hash.
func (g *generator) hash() string {
	fields := g.pick("--hmark-tuple src", "--hmark-tuple src,dst", "--hmark-tuple ct,src,dst,sport,dport", "--hmark-tuple src,dst,sport,dport,proto",
		"--hmark-src-prefix 24 --hmark-sport-mask 0xff --hmark-dport 7", "--hmark-tuple dst,spi,proto", "--hmark-dst-prefix 20 --hmark-spi 9 --hmark-proto-mask 5",
		"--hmark-dport-mask 0xf0f0 --hmark-sport 8", "--hmark-spi-mask 0xff00ff --hmark-tuple src")
	return "-j HMARK " + fields + " --hmark-mod " + g.pick("1", "4", "1000", "4294967295") + g.pick("", " --hmark-offset 16") + " --hmark-rnd " + g.pick("0", "0xcafe")
}

// prefixes are of all lengths that change another word, or part of a byte.
var prefixes = []string{"2001:db8::/48", "2001:db8:1::/48", "fd00:1::/44", "fd00:2:3:8::/61", "2001:db8:1::/64"}

// rewrite returns a change of the network header, or of the class.
func (g *generator) rewrite(c chain) string {
	if g.v6 && g.IntN(10) == 0 {
		switch {
		case c.only("INPUT", "POSTROUTING"):
			return "-j SNPT --src-pfx " + g.pick(prefixes...) + " --dst-pfx " + g.pick(prefixes...)
		case c.only("PREROUTING", "OUTPUT"):
			return "-j DNPT --src-pfx " + g.pick(prefixes...) + " --dst-pfx " + g.pick(prefixes...)
		}
	}
	hops := map[bool]string{false: "-j TTL --ttl", true: "-j HL --hl"}[g.v6]
	if !g.v6 {
		list := []string{"-j ECN --ecn-ip-ect 1", "-j ECN --ecn-ip-ect 3"}
		if g.IntN(8) == 0 {
			return g.pick(list...)
		}
	}
	list := []string{
		hops + "-set 7", hops + "-inc 1", hops + "-dec 2", "-j DSCP --set-dscp 10", "-j TOS --set-tos 0x12",
		"-j TOS --set-tos 0x10/0x3f", "-j TOS --xor-tos 0x05", "-j TOS --set-tos 0x01/0x03",
		"-j DSCP --set-dscp-class " + g.pick(dscpClasses...), "-j TOS --and-tos 0xf1", "-j TOS --or-tos 0x22", "-j CHECKSUM --checksum-fill",
	}
	if len(g.sets) > 0 {
		list = append(list, g.lookUpSet(c.leaving()))
	}
	if c.leaving() {
		list = append(list, "-j CLASSIFY --set-class 1:a", "-j CLASSIFY --set-class 0:0")
	}
	return g.pick(list...)
}

// nat returns a translation that is right in the chain.
func (g *generator) nat(c chain) (target, proto string) {
	flags := func(names ...string) string {
		s := ""
		for _, n := range names {
			if g.IntN(8) == 0 {
				s += " --" + n
			}
		}
		return s
	}
	port := func() string {
		p := 1 + g.port()%60000
		if g.IntN(2) == 0 {
			return fmt.Sprint(p)
		}
		return fmt.Sprintf("%d-%d", p, p+1+g.IntN(100))
	}
	to := func() (string, string) {
		address := g.address()
		if g.IntN(4) == 0 {
			address = map[bool]string{false: "10.9.0.3-10.9.0.60", true: "fd00:9::3-fd00:9::60"}[g.v6]
		}
		if g.IntN(3) != 0 {
			return address, ""
		}
		if g.v6 {
			address = "[" + address + "]"
		}
		return address + ":" + port(), g.pick("tcp", "udp")
	}
	netmap := map[bool][]string{false: {"10.1.0.0/16", "10.1.2.3/32", "10.0.0.0/8"}, true: {"fd00:1::/64", "fd00:2::/48", "fd00::7/128"}}[g.v6]
	destination := c.only("PREROUTING", "OUTPUT")
	switch {
	case !destination && !c.only("POSTROUTING", "INPUT"):
		return "-j " + g.pick("ACCEPT", "RETURN"), ""
	case g.IntN(5) == 0:
		return "-j NETMAP --to " + g.pick(netmap...), ""
	case destination && g.IntN(4) == 0:
		if g.IntN(3) == 0 {
			return "-j REDIRECT", ""
		}
		return "-j REDIRECT --to-ports " + port() + flags("random"), g.pick("tcp", "udp")
	case c.only("POSTROUTING") && g.IntN(2) == 0:
		if g.IntN(3) == 0 {
			return "-j MASQUERADE --to-ports " + port() + flags("random", "random-fully"), g.pick("tcp", "udp")
		}
		return "-j MASQUERADE" + flags("random", "random-fully"), ""
	}
	address, proto := to()
	if destination {
		if low, high, ranged := strings.Cut(port(), "-"); ranged && g.IntN(3) == 0 {
			address = g.address()
			if g.v6 {
				address = "[" + address + "]"
			}
			return fmt.Sprintf("-j DNAT --to-destination %s:%s-%s/%d", address, low, high, 1+g.IntN(65535)), g.pick("tcp", "udp")
		}
		return "-j DNAT --to-destination " + address + flags("random", "persistent"), proto
	}
	return "-j SNAT --to-source " + address + flags("random", "random-fully", "persistent"), proto
}
