package main

import (
	"fmt"
	"strings"
)

// A setKind is a type of ipset that rules can name.
type setKind struct {
	name       string
	dimensions int
	// element returns the text of a random element.
	element func(g *generator) string
}

// setKinds are the types with families that the kernel at hand has.
var setKinds = []setKind{
	{"hash:ip", 1, (*generator).address},
	{"hash:net", 1, (*generator).setNetwork},
	{"hash:ip,port", 2, func(g *generator) string { return g.address() + "," + g.setPort() }},
	{"hash:net,port", 2, func(g *generator) string { return g.setNetwork() + "," + g.setPort() }},
	{"hash:ip,port,ip", 3, func(g *generator) string { return g.address() + "," + g.setPort() + "," + g.address() }},
	{"hash:ip,port,net", 3, func(g *generator) string { return g.address() + "," + g.setPort() + "," + g.setNetwork() }},
	{"hash:net,iface", 2, func(g *generator) string {
		return g.setNetwork() + "," + g.pick("eth0", "eth1", "lo", "wan", "physdev:eth0")
	}},
}

// A namedSet is a set that was made.
type namedSet struct {
	name       string
	dimensions int
	nomatch    bool
	changes    bool // packets can change it
	carries    bool // its elements carry marks and classes
}

// makeSets makes random sets of the family, and those that serve both when they
// are not there yet. It returns the text that ipset restores.
func (g *generator) makeSets() string {
	var b strings.Builder
	g.sets = nil
	family, prefix := "inet", "four"
	if g.v6 {
		family, prefix = "inet6", "six"
	}
	for i := range 1 + g.IntN(4) {
		kind := setKinds[g.IntN(len(setKinds))]
		name := fmt.Sprintf("%s%d", prefix, i)
		options := ""
		if kind.name == "hash:ip" && g.IntN(3) == 0 {
			if g.v6 {
				options = g.pick(" netmask 64", " netmask 48")
			} else {
				options = g.pick(" netmask 24", " netmask 8", " bitmask 255.0.255.0", " bitmask 0.0.0.255")
			}
		}
		if kind.name == "hash:ip" && g.IntN(3) == 0 {
			options += " timeout 600"
		}
		// What packets change is not asked for what it carries.
		carries := kind.name != "hash:ip" && g.IntN(2) == 0
		more := g.pick("", "", " counters", " comment")
		if carries {
			more += " skbinfo"
		}
		fmt.Fprintf(&b, "create %s %s family %s%s%s\n", name, kind.name, family, options, more)
		nets := strings.Contains(kind.name, "net")
		seen := map[string]bool{}
		for range g.IntN(12) {
			element := kind.element(g)
			if seen[element] || options != "" && len(seen) > 0 {
				continue // masks make elements alike
			}
			seen[element] = true
			if nets && g.IntN(4) == 0 {
				element += " nomatch"
			}
			if carries {
				element += g.pick("", " skbmark 0x1", " skbmark 0x1/0x3", " skbmark 0x12/0xff0000", " skbmark 0xffffffff", " skbmark 0x5/0x0") +
					g.pick("", "", " skbprio 1:2", " skbprio ffff:0")
			}
			fmt.Fprintf(&b, "add %s %s\n", name, element)
		}
		g.sets = append(g.sets, namedSet{name, kind.dimensions, nets, kind.name == "hash:ip", carries})
	}
	if !g.common {
		fmt.Fprintf(&b, "create ports bitmap:port range 0-65535\n")
		seen := map[int]bool{}
		for range g.IntN(8) {
			if p := g.port(); !seen[p] {
				seen[p] = true
				fmt.Fprintf(&b, "add ports %d\n", p)
			}
		}
		b.WriteString("create list list:set\nadd list ports\n")
		g.common = true
	}
	if len(g.sets) > 0 && g.IntN(2) == 0 {
		fmt.Fprintf(&b, "add list %s\n", g.sets[0].name)
	}
	g.sets = append(g.sets, namedSet{name: "ports", dimensions: 1}, namedSet{name: "list", dimensions: 3, nomatch: true})
	return b.String()
}

// setNetwork returns a network that a set takes: not all addresses, and none
// twice in other words.
func (g *generator) setNetwork() string {
	if g.v6 {
		return g.pick("2001:db8::/32", "2001:db8::/48", "2001:db8:1::/48", "2001:db8::4", "2001:db8:1::/64", "fd00::/8", "::/1", "8000::/1", "2001:db8:77:8000::ffff")
	}
	return g.pick("192.0.2.0/24", "192.0.2.0/29", "192.0.2.4", "198.51.100.0/24", "10.0.0.0/8", "10.0.0.0/16", "10.244.0.0/16", "0.0.0.0/1", "128.0.0.0/1", "203.0.113.64/26", "203.0.113.77")
}

// setPort returns a protocol and a port.
func (g *generator) setPort() string {
	icmp := g.pick("icmp:echo-request", "icmp:3/13", "icmp:0/0")
	if g.v6 {
		icmp = g.pick("ipv6-icmp:echo-request", "ipv6-icmp:138/1", "ipv6-icmp:1/0")
	}
	return g.pick(fmt.Sprintf("tcp:%d", g.port()), fmt.Sprintf("udp:%d", g.port()), fmt.Sprintf("sctp:%d", g.port()),
		fmt.Sprintf("udplite:%d", g.port()), icmp, "gre:0", "esp:0", "dccp:0", "200:0")
}

// set returns a match of one of the sets.
func (g *generator) set() string {
	s := g.sets[g.IntN(len(g.sets))]
	sides := make([]string, s.dimensions)
	for i := range sides {
		sides[i] = g.pick("src", "dst")
	}
	if g.IntN(8) == 0 {
		sides = sides[:1]
	}
	options := ""
	if s.nomatch && g.IntN(3) == 0 {
		options = " --return-nomatch"
	}
	return "-m set " + g.not() + "--match-set " + s.name + " " + strings.Join(sides, ",") + options + g.pick("", "", "", " ! --update-counters", " ! --update-counters", " --update-counters", " ! --update-subcounters", " --update-subcounters")
}

// changeSet returns a target that changes one of the sets, or "".
func (g *generator) changeSet() string {
	for _, s := range g.sets {
		if !s.changes {
			continue
		}
		side := g.pick("src", "dst")
		return "-j SET " + g.pick(
			fmt.Sprintf("--add-set %s %s", s.name, side), fmt.Sprintf("--add-set %s %s --exist", s.name, side), fmt.Sprintf("--del-set %s %s", s.name, side),
			fmt.Sprintf("--add-set %s %s --timeout 0", s.name, side), fmt.Sprintf("--add-set %s %s --exist --timeout 300", s.name, side))
	}
	return ""
}

// lookUpSet returns a target that sets what elements of one of the sets carry.
func (g *generator) lookUpSet(leaving bool) string {
	var of []namedSet
	for _, s := range g.sets {
		if s.carries || s.name == "ports" {
			of = append(of, s)
		}
	}
	s := of[g.IntN(len(of))]
	sides := make([]string, s.dimensions)
	for i := range sides {
		sides[i] = g.pick("src", "dst")
	}
	what := " --map-mark"
	if leaving {
		what = g.pick(" --map-mark", " --map-prio", " --map-mark --map-prio")
	}
	return "-j SET --map-set " + s.name + " " + strings.Join(sides, ",") + what
}
