package main

import (
	"fmt"
	"strings"
)

// rare returns a match that few rulesets have, or "" when there is none for the
// chain.
func (g *generator) rare(c chain) string {
	choices := []func() string{g.bpf, g.dscpClass, g.cpu, g.physdev(c)}
	if g.v6 {
		choices = append(choices, g.authentication, g.segments, func() string { return "-m frag " + g.not() + "--fraglen " + g.pick("8", "16") })
		if c.arriving() {
			choices = append(choices, func() string { return "-m eui64" })
		}
	}
	if c.only("PREROUTING", "INPUT") && !g.stateless && g.unmodelled {
		choices = append(choices, func() string {
			return "-m socket" + g.pick("", " --transparent") + g.pick("", " --nowildcard") + g.pick("", " --restore-skmark")
		})
	}
	if c.arriving() && g.unmodelled {
		choices = append(choices, func() string { return g.policy("in") })
	}
	if c.leaving() && g.unmodelled {
		choices = append(choices, func() string { return g.policy("out") })
	}
	if c.only("INPUT") || g.unmodelled && c.only("INPUT", "OUTPUT", "POSTROUTING") {
		choices = append(choices, func() string { return "-m cgroup " + g.not() + "--path " + g.pick("/", `""`) })
	}
	return choices[g.IntN(len(choices))]()
}

// bpf returns a program of the packet filter, which begins at the network header.
func (g *generator) bpf() string {
	return `-m bpf --bytecode "` + g.pick(
		"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0",                                                        // IPv4: TCP
		"4,48 0 0 6,21 0 1 17,6 0 0 1,6 0 0 0",                                                       // IPv6: UDP
		"9,48 0 0 9,21 0 6 17,40 0 0 6,69 4 0 8191,177 0 0 0,72 0 0 2,21 0 1 53,6 0 0 65535,6 0 0 0", // a port
		"4,128 0 0 0,53 0 1 29,6 0 0 1,6 0 0 0",                                                      // the length
		"2,32 0 0 26,6 0 0 1", "5,0 0 0 7,1 0 0 0,60 0 0 0,4 0 0 1,22 0 0 0", "1,6 0 0 65535", "1,6 0 0 0") + `"`
}

var dscpClasses = []string{"CS0", "CS1", "AF11", "AF43", "EF"}

func (g *generator) dscpClass() string {
	return "-m dscp " + g.not() + "--dscp-class " + g.pick(dscpClasses...)
}

func (g *generator) cpu() string { return "-m cpu " + g.not() + "--cpu " + g.pick("0", "1", "7") }

// physdev returns a match of the devices of a bridge, which no packet here comes by.
func (g *generator) physdev(c chain) func() string {
	return func() string {
		in := g.pick(g.not()+"--physdev-in "+g.device(), g.not()+"--physdev-is-in")
		if !c.only("FORWARD") {
			return "-m physdev " + in
		}
		return "-m physdev " + g.pick(in+" ", "") + g.pick(g.not()+"--physdev-is-bridged", g.not()+"--physdev-is-out", "--physdev-is-bridged "+g.not()+"--physdev-out "+g.device())
	}
}

// authentication returns a match of the authentication header of IPv6.
func (g *generator) authentication() string {
	return "-m ah " + g.pick(g.not()+"--ahspi "+g.pick("0", "256", "1:1000", "5:2"), g.not()+"--ahlen "+g.pick("12", "16"), "--ahres")
}

// segments returns a match of the segment routing header.
func (g *generator) segments() string {
	number := func(option string) string {
		return g.not() + "--srh-" + option + "-" + g.pick("eq", "gt", "lt") + " " + g.pick("0", "1", "2", "4")
	}
	return "-m srh " + g.pick(number("hdr-len"), number("segs-left"), number("last-entry"), g.not()+"--srh-next-hdr "+g.pick("6", "17"), g.not()+"--srh-tag 256",
		"--srh-last-entry-lt 2 "+g.not()+"--srh-psid 2001:db8::2", "--srh-segs-left-lt 3 "+g.not()+"--srh-nsid 2001:db8::2/64", g.not()+"--srh-lsid 2001:db8::/32")
}

// policy returns a match of how IPsec protects packets on their way in or out, which
// it does not here.
func (g *generator) policy(dir string) string {
	element := func() string {
		address := g.address()
		return g.pick(g.not()+"--reqid 5", g.not()+"--spi 0x100", g.not()+"--proto "+g.pick("esp", "ah"), g.not()+"--mode transport",
			"--mode tunnel "+g.not()+"--tunnel-src "+address, "--mode tunnel "+g.not()+"--tunnel-dst "+address)
	}
	s := "-m policy --dir " + dir + " --pol ipsec "
	if g.IntN(2) == 0 {
		return s + element()
	}
	s += "--strict " + element()
	if g.IntN(2) == 0 {
		s += " --next " + element()
	}
	return s
}

// respelled are other spellings of options, which iptables reads and does not
// print.
var respelled = map[string]string{
	"--sport": "--source-port", "--dport": "--destination-port", "--sports": "--source-ports", "--dports": "--destination-ports",
	"--ttl-eq": "--ttl", "--hl-eq": "--hl", "--hashlimit-upto": "--hashlimit", "--match-set": "--set", "--kerneltz": "--localtz",
	"--nflog-size": "--nflog-range",
}

// respell writes some options of a rule in the other spelling.
func respell(rule string) string {
	words := strings.Split(rule, " ")
	for i, w := range words {
		if other, ok := respelled[w]; ok && words[i-1] != "!" {
			words[i] = other
		}
	}
	return strings.Join(words, " ")
}

// osf returns a match of the system that opens a connection, which is of TCP.
func (g *generator) osf() string {
	return "-m osf " + g.not() + "--genre " + g.pick("Linux", "Windows", "unknown") + g.pick("", " --ttl 0", " --ttl 2") + g.pick("", " --log 1", " --log 2")
}

// connlimit returns a bound of connections that no run comes near to.
func (g *generator) connlimit() string {
	return "-m connlimit " + g.pick("--connlimit-above 0", "--connlimit-upto 0", "--connlimit-upto 1000000", "! --connlimit-above 0", "! --connlimit-upto 1000000") +
		g.pick("", " --connlimit-mask 24", " --connlimit-daddr", " --connlimit-saddr")
}

// copied returns a change of the packet's mark or the connection's by the other.
func (g *generator) copied() string {
	s := "-j CONNMARK --" + g.pick("save", "restore") + "-mark"
	if g.IntN(8) == 0 {
		return s + g.pick("", fmt.Sprintf(" --mask %#x", g.pickMask()))
	}
	s += fmt.Sprintf(" --nfmask %#x --ctmask %#x", g.pickMask(), g.pickMask())
	if g.IntN(8) == 0 {
		s += g.pick(" --left-shift-mark ", " --right-shift-mark ") + g.pick("1", "8", "31")
	}
	return s
}
