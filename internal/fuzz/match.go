package main

import (
	"fmt"
	"strings"
)

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
		switch g.IntN(6) {
		case 0, 1:
			mask := g.flags()
			s += " " + g.not() + "--tcp-flags " + mask + " " + g.within(mask)
		case 2:
			s += " " + g.not() + "--tcp-option " + g.pick("2", "3", "5", "8", "254")
		case 3:
			s += " " + g.not() + "--syn"
		}
		switch g.IntN(8) {
		case 0:
			s += " -m ecn " + g.not() + g.pick("--ecn-tcp-cwr", "--ecn-tcp-ece")
		case 1:
			s += " -m tcpmss " + g.not() + "--mss " + g.pick("1460", "1:1459", "0:65535", "536:1460")
		}
		return s
	case "udp":
		return fmt.Sprintf("-m udp %s--sport %s %s--dport %s", g.not(), g.ports(), g.not(), g.ports())
	case "sctp":
		chunks := ""
		if g.IntN(4) == 0 {
			chunks = " " + g.not() + "--chunk-types " + g.pick("any", "all") + " " + g.pick("DATA", "INIT,SACK", "NONE", "COOKIE_ECHO,ASCONF")
		}
		if g.IntN(4) == 0 {
			return "-m sctp --sport " + g.ports() + chunks
		}
		return fmt.Sprintf("-m sctp %s--sport %s %s--dport %s", g.not(), g.ports(), g.not(), g.ports()) + chunks
	case "dccp":
		if g.IntN(4) == 0 {
			return "-m dccp " + g.not() + "--sport " + g.ports()
		}
		return "-m dccp " + g.not() + "--dport " + g.ports() + " " + g.not() + "--dccp-types " + g.pick("REQUEST", "DATA,ACK,INVALID", "RESET")
	case "esp":
		return "-m esp " + g.not() + "--espspi " + g.pick("0", "256", "1:1000", "5:2")
	case "ipcomp":
		return "-m ipcomp " + g.pick("", g.not()+"--ipcompspi "+g.pick("0", "256", "1:1000", "5:2", "40000:70000"), "--compres")
	case "ah":
		if !g.v6 {
			return "-m ah " + g.not() + "--ahspi " + g.pick("0", "256", "1:1000", "5:2")
		}
	case "icmp":
		return "-m icmp " + g.not() + "--icmp-type " + g.pick("any", "8", "0", "3", "3/1", "3/4", "11", "5/0", "13", "255/255")
	case "mobility-header":
		return "-m mh" + g.pick("", " "+g.not()+"--mh-type "+g.pick("0", "5", "1:5", "0:255"))
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
func (g *generator) match(c chain) string {
	if g.IntN(12) == 0 {
		return g.rare(c)
	}
	choices := []func() string{
		func() string { return "-m mark " + g.not() + "--mark " + g.mark() },
		func() string { return "-m iprange " + g.not() + "--src-range " + g.span() },
		func() string {
			return "-m iprange " + g.not() + "--dst-range " + g.span() + " " + g.not() + "--src-range " + g.span()
		},
		func() string {
			return "-m length " + g.not() + "--length " + g.pick("0:40", "40", "41:60", "60:65535", "20:28")
		},
		func() string {
			return "-m pkttype " + g.not() + "--pkt-type " + g.pick("unicast", "broadcast", "multicast")
		},
		func() string { return g.addrtype(c) },
		func() string {
			if g.v6 {
				return "-m hl " + g.pick("--hl-eq 64", "! --hl-eq 63", "--hl-lt 100", "--hl-gt 100")
			}
			return "-m ttl " + g.pick("--ttl-eq 64", "! --ttl-eq 63", "--ttl-lt 100", "--ttl-gt 100")
		},
		func() string {
			return "-m tos " + g.not() + "--tos " + g.pick("0", "0x10", "0x10/0x3f", "8/0xfc", "3/1")
		},
		func() string { return "-m ecn " + g.not() + "--ecn-ip-ect " + g.pick("0", "1", "2", "3") },
		func() string { return "-m dscp " + g.not() + "--dscp " + g.pick("0", "2", "4", "46", "63") },
		g.limit,
		g.hashlimit,
		func() string {
			return "-m quota " + g.not() + "--quota " + g.pick("0", "100", "1000", "100000", "9223372036854775808")
		},
		g.statistic,
		g.time,
		g.comment,
		func() string { return "-m nfacct --nfacct-name " + g.pick("a", "b") },
	}
	if g.IntN(6) == 0 {
		// A proof does not see what is behind the header.
		choices = append(choices, g.u32, g.search)
	}
	if len(g.sets) > 0 {
		choices = append(choices, g.set, g.set, g.set)
	}
	if !g.stateless {
		choices = append(choices, g.connlimit, func() string {
			return "-m state " + g.not() + "--state " + g.pick("NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID,NEW", "UNTRACKED")
		})
	}
	if !g.stateless && !(c.table == "raw" && g.templates) {
		choices = append(choices, g.conntrack, g.conntrack, g.conntrack,
			func() string { return "-m connmark " + g.not() + "--mark " + g.mark() },
			g.cluster,
			func() string { return "-m helper " + g.not() + "--helper " + g.pick("ftp", "ftp-2121", "irc", `""`) },
			func() string {
				return "-m connlabel " + g.not() + "--label " + g.pick("0", "5", "127") + g.pick("", " --set")
			})
		if c.table != "raw" {
			choices = append(choices, g.connbytes)
		}
	}
	if c.arriving() {
		choices = append(choices, func() string { return "-m devgroup " + g.not() + "--src-group " + g.pick("0", "1/3", "5") })
	}
	if g.v6 {
		choices = append(choices, func() string {
			return "-m frag " + g.not() + "--fragid " + g.pick("0", "1:9", "0:4294967294") + g.pick("", " --fragmore", " --fraglast", " --fragfirst", " --fragres")
		}, func() string {
			return "-m rt " + g.pick("", g.not()+"--rt-type "+g.pick("0", "2"), g.not()+"--rt-segsleft "+g.pick("0", "1:3"), g.not()+"--rt-len "+g.pick("8", "24"))
		}, func() string {
			return "-m ipv6header " + g.not() + "--header " + g.pick("prot", "hop,prot", "frag,prot", "dst", "esp,route") + g.pick("", " --soft")
		}, func() string { return "-m hbh " + g.pick("", g.not()+"--hbh-len "+g.pick("8", "16")) },
			func() string { return "-m dst " + g.pick("", g.not()+"--dst-len "+g.pick("8", "16")) })
	}
	if g.v6 && g.IntN(4) == 0 {
		choices = append(choices, func() string {
			return "-m rt --rt-type 0 " + g.pick("--rt-0-res", "--rt-0-addrs 2001:db8::1", "--rt-len 40 --rt-0-addrs 2001:db8::1 --rt-0-not-strict", "--rt-0-addrs ::,::")
		}, func() string {
			return "-m hbh " + g.pick("", g.not()+"--hbh-len 8 ") + "--hbh-opts " + g.pick("1", "1:4", "5:2,1:0", "0,0")
		}, func() string {
			return "-m srh " + g.pick("", g.not()+"--srh-segs-left-"+g.pick("eq", "gt", "lt")+" "+g.pick("0", "1", "3"), g.not()+"--srh-tag 0", "--srh-lsid 2001:db8::/32")
		})
	}
	if c.leaving() {
		choices = append(choices, func() string { return "-m devgroup " + g.not() + "--dst-group " + g.pick("0", "1/3", "5") })
	}
	if !g.v6 && c.only("INPUT", "FORWARD", "OUTPUT", "POSTROUTING") {
		choices = append(choices, func() string { return "-m realm " + g.not() + "--realm " + g.pick("0", "1/0xff", "5") })
	}
	if c.arriving() {
		choices = append(choices, func() string {
			return "-m mac " + g.not() + "--mac-source " + g.pick("02:00:00:01:00:09", "02:00:00:00:00:07")
		})
	}
	if c.only("PREROUTING") && (c.table == "raw" || c.table == "mangle") {
		choices = append(choices, func() string {
			return "-m rpfilter" + g.pick("", " --loose") + g.pick("", " --validmark") + g.pick("", " --accept-local") + g.pick("", " --invert")
		})
	}
	if c.only("PREROUTING", "INPUT", "FORWARD") {
		choices = append(choices, func() string { return "-m policy --dir in --pol " + g.pick("none", "ipsec") })
	}
	if c.only("FORWARD", "OUTPUT", "POSTROUTING") {
		choices = append(choices, func() string { return "-m policy --dir out --pol " + g.pick("none", "ipsec", "ipsec --reqid 5") })
	}
	if c.only("OUTPUT", "POSTROUTING") {
		choices = append(choices, g.owner, g.owner, func() string { return "-m cgroup " + g.not() + "--cgroup " + g.pick("0", "5") })
	}
	if c.table == "filter" || c.table == "raw" {
		choices = append(choices, g.recent, g.recent)
	}
	return choices[g.IntN(len(choices))]()
}

// conntrack returns a match with some of its options.
func (g *generator) conntrack() string {
	options := []func() string{
		func() string { return g.not() + "--ctstate " + g.state() },
		func() string {
			return g.not() + "--ctstatus " + g.pick("NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED,EXPECTED", "SEEN_REPLY,ASSURED")
		},
		func() string { return "--ctdir " + g.pick("ORIGINAL", "REPLY") },
		func() string { return g.not() + "--ctproto " + g.pick("6", "17", "1") },
		func() string { return g.not() + "--ctorigsrc " + g.prefix() },
		func() string { return g.not() + "--ctorigdst " + g.prefix() },
		func() string { return g.not() + "--ctreplsrc " + g.prefix() },
		func() string { return g.not() + "--ctrepldst " + g.prefix() },
		func() string { return g.not() + "--ctorigsrcport " + g.ports() },
		func() string { return g.not() + "--ctorigdstport " + g.ports() },
		func() string { return g.not() + "--ctreplsrcport " + g.ports() },
		func() string { return g.not() + "--ctrepldstport " + g.ports() },
		func() string { return g.not() + "--ctexpire 0:4294967295" },
	}
	g.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
	s := "-m conntrack"
	for _, o := range options[:1+g.IntN(2)] {
		s += " " + o()
	}
	return s
}

// cluster asks for one or several nodes of few, so that both answers come.
func (g *generator) cluster() string {
	nodes := g.pick("--cluster-total-nodes 2 "+g.not()+"--cluster-local-node 2", "--cluster-total-nodes 4 "+g.not()+"--cluster-local-nodemask "+g.pick("1", "5", "10", "15"))
	return "-m cluster " + nodes + " --cluster-hash-seed " + g.pick("0", "0xdeadbeef", "4294967295")
}

func (g *generator) connbytes() string {
	return fmt.Sprintf("-m connbytes %s--connbytes %s --connbytes-mode %s --connbytes-dir %s", g.not(),
		g.pick("1", "0:100", "41:", "50:60", "2:2", "1:1"), g.pick("packets", "bytes", "avgpkt"), g.pick("original", "reply", "both"))
}

func (g *generator) owner() string {
	uid := g.not() + "--uid-owner " + g.pick("0", "1000", "0-999", "60000-70000")
	gid := g.not() + "--gid-owner " + g.pick("0", "1000", "1-65535")
	return "-m owner " + g.pick(uid, gid, gid+" "+uid, g.not()+"--socket-exists", uid+" "+g.not()+"--socket-exists", gid+" --suppl-groups", gid+" "+uid+" --suppl-groups")
}

// recent returns a match on one of two lists, which last longer than a run.
func (g *generator) recent() string {
	s := "-m recent --name " + g.pick("x", "y")
	if g.v6 {
		s += "6"
	}
	switch g.IntN(8) {
	case 0, 1, 2:
		s += " " + g.not() + "--set"
	case 3:
		s += " " + g.not() + "--remove"
	default:
		s += " " + g.not() + g.pick("--rcheck", "--update")
		if g.IntN(3) != 0 {
			s += " --seconds " + g.pick("60", "600", "3600")
			if g.IntN(6) == 0 {
				s += " --reap"
			}
		}
		if g.IntN(2) == 0 {
			s += " --hitcount " + g.pick("1", "2", "3", "5", "20")
		}
		if g.IntN(6) == 0 {
			s += " --rttl"
		}
	}
	switch g.IntN(10) {
	case 0, 1:
		s += " --rdest"
	case 2:
		s += " --rsource"
	}
	if g.IntN(6) == 0 {
		s += " --mask " + map[bool]string{false: "255.255.255.255", true: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}[g.v6]
	}
	return s
}

// search returns a pattern with few places.
func (g *generator) search() string {
	from := 8 + g.IntN(40)
	if g.IntN(3) == 0 {
		return "-m string " + g.not() + "--string " + g.pick("A", "xy", "Dns") + " --algo " + g.pick("bm", "kmp") + g.pick("", fmt.Sprintf(" --from %d --to %d", from, from+4)) + g.pick("", " --icase")
	}
	return fmt.Sprintf("-m string %s--hex-string |%s| --algo bm --from %d --to %d%s", g.not(),
		g.pick("00", "0000", "01", "c0", "c000", "2001", "0a", "41"), from, from+2+g.IntN(4)*g.IntN(4), g.pick("", " --icase"))
}

// u32 returns one or two tests of bytes that nftables can load too.
func (g *generator) u32() string {
	test := func() string {
		at := fmt.Sprint(g.IntN(48))
		if !g.v6 && g.IntN(3) == 0 {
			at = fmt.Sprintf("0>>22&0x3C@%d", 4*g.IntN(6))
		}
		return at + g.pick("=0:0x7fffffff", "&0xff=0:0x3f,0x80", ">>16=0x50:0x1bb,0x4500", ">>24=0x45,0x60:0x6f", "&0xff00>>8=6,17,58", "<<8=0:0x11111111", "&0x00f0f000=0x00100000:0x00f0f000")
	}
	tests := test()
	if g.IntN(3) == 0 {
		tests += "&&" + test()
	}
	return "-m u32 " + g.not() + `--u32 "` + tests + `"`
}

// limit returns a rate. Most are so slow that no run lasts until the bucket is
// filled again.
func (g *generator) limit() string {
	rate := g.pick("1/hour", "3/hour", "4/day", "7/day", "24/day")
	switch g.IntN(6) {
	case 0:
		rate = fmt.Sprintf("%d/%s", 1+g.IntN(20), g.pick("sec", "min"))
	case 1:
		rate = fmt.Sprintf("%d/min", 1+g.IntN(6))
	}
	return fmt.Sprintf("-m limit --limit %s --limit-burst %d", rate, 1+g.IntN(4))
}

// hashlimit returns a rate by address or port, of a table of its own. It is so slow
// that no run lasts until a bucket is filled again.
func (g *generator) hashlimit() string {
	mode := g.pick("srcip", "dstip", "srcip,dstip", "srcip,dstport", "srcport", "srcip,srcport,dstip,dstport", "")
	g.tables++
	rate, burst := g.pick("1/hour", "3/hour", "4/hour"), fmt.Sprint(1+g.IntN(4))
	if g.IntN(6) == 0 {
		rate, burst = g.pick("16b/s", "100b/s", "1kb/s", "2mb/s"), g.pick("3000kb", "5mb")
	}
	s := fmt.Sprintf("-m hashlimit %s%s %s --hashlimit-burst %s --hashlimit-name t%d", g.not(), g.pick("--hashlimit-upto", "--hashlimit-above"),
		rate, burst, g.tables)
	if mode != "" {
		s += " --hashlimit-mode " + mode
	}
	if g.IntN(3) == 0 {
		s += " --hashlimit-srcmask " + g.pick("8", "24", "0")
	}
	if g.IntN(8) == 0 {
		s += " --hashlimit-dstmask " + g.pick("8", "24", "0")
	}
	if g.IntN(8) == 0 {
		s += g.pick(" --hashlimit-htable-size 64", " --hashlimit-htable-max 60000", " --hashlimit-htable-gcinterval 600000")
	}
	return s + " --hashlimit-htable-expire 36000000"
}

func (g *generator) statistic() string {
	if g.IntN(5) == 0 {
		return "-m statistic --mode random " + g.not() + "--probability " + g.pick("0.5", "0.01", "0.99")
	}
	every := 1 + g.IntN(5)
	return fmt.Sprintf("-m statistic --mode nth %s--every %d --packet %d", g.not(), every, g.IntN(every))
}

// time returns a time of which one knows whether it is now.
func (g *generator) time() string {
	return "-m time " + g.pick("--datestart 2020 --datestop 2037", "--datestart 2037-01-01T10:00", "--datestop 2020-02-29",
		"--timestart 00:00 --timestop 23:59:59", "--timestart 12:00 --timestop 11:59:59 --contiguous", "--weekdays Mon,Tue,Wed,Thu,Fri,Sat,Sun",
		"! --monthdays 30 --datestop 2020", "--kerneltz --datestart 2020", "--utc --datestart 2020",
		"! --weekdays Mon --datestop 2020", "--monthdays 1,2,31 --datestop 2020")
}

func (g *generator) comment() string {
	if g.IntN(8) == 0 {
		return `-m comment --comment "` + strings.Repeat("long ", 10+g.IntN(40)) + `"`
	}
	return "-m comment --comment " + g.odd(20)
}

func (g *generator) addrtype(c chain) string {
	types := []string{"LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "LOCAL,BROADCAST", "UNSPEC"}
	if g.v6 {
		types = []string{"LOCAL", "UNICAST", "MULTICAST", "ANYCAST", "LOCAL,ANYCAST"}
	}
	s := "-m addrtype " + g.not() + g.pick("--src-type ", "--dst-type ") + g.pick(types...)
	switch {
	case g.IntN(4) != 0:
	case c.arriving():
		s += " --limit-iface-in"
	case c.leaving():
		s += " --limit-iface-out"
	}
	return s
}

func (g *generator) span() string {
	if g.v6 {
		return g.pick("2001:db8::1-2001:db8::ff", "2001:db8::4-2001:db8::4", "fd00::-fdff::")
	}
	return g.pick("192.0.2.1-192.0.2.10", "10.0.0.7-10.0.0.7", "1.0.0.0-198.51.100.3")
}
