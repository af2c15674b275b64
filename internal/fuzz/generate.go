package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A generator writes random rulesets in the form of iptables-save. The same
// seed gives the same rulesets.
type generator struct {
	*rand.Rand
	v6     bool
	tables int // of hashlimit, so far
	// sets are those that rules can name; common says that those of both families
	// are made.
	sets   []namedSet
	common bool
	// stateless rulesets do not make the kernel track connections, so that
	// fragments are seen.
	stateless bool
	// templates has rules of table raw give templates of connections, instead of
	// asking about connections: which both do is not translated.
	templates bool
	// late has templates say what nftables gives to connections behind tracking. Most
	// random rules of table raw cannot be asked there again, so that they are refused.
	late bool
	// unmodelled has matches of which a model says of some packets that it does not
	// know. It then remembers other things than its kernel.
	unmodelled bool
	// queues has packets handed over to queues, which takes an option of the kernel
	// that not every kernel has, and targets that send packets of their own.
	queues bool
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

// A chain is where a rule stands.
type chain struct {
	table, name string
	builtin     bool
	// from are the built-in chains from which it may be reached: what stands
	// in it is right in all of them.
	from []string
}

// only reports whether packets come from some built-in chains alone.
func (c chain) only(chains ...string) bool {
	for _, f := range c.from {
		if !slices.Contains(chains, f) {
			return false
		}
	}
	return true
}

// arriving and leaving report whether all packets have a device on that side.
func (c chain) arriving() bool { return c.only("PREROUTING", "INPUT", "FORWARD") }
func (c chain) leaving() bool  { return c.only("FORWARD", "OUTPUT", "POSTROUTING") }

// deepest is how many user chains a table has at most. Each jumps to later
// ones, so that jumps nest as deep.
const deepest = 6

// ruleset returns a random ruleset.
func (g *generator) ruleset() string {
	var b strings.Builder
	g.templates, g.unmodelled = g.IntN(2) == 0, g.IntN(6) == 0
	g.late = g.templates && g.IntN(8) == 0
	for _, t := range tables {
		if t.name != "filter" && g.IntN(3) == 0 || g.stateless && t.name == "nat" {
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
		var user []chain
		for i := range g.IntN(deepest + 1) {
			c := chain{table: t.name, name: fmt.Sprintf("user%d", i), from: g.some(t.chains)}
			user = append(user, c)
			fmt.Fprintf(&b, ":%s - [0:0]\n", c.name)
		}
		deep := g.ladder(t.name, t.chains)
		b.WriteString(deep.declare())
		for _, name := range t.chains {
			for range g.IntN(7) {
				b.WriteString(g.rule(chain{t.name, name, true, []string{name}}, user) + "\n")
			}
		}
		for i, c := range user {
			for range 1 + g.IntN(4) {
				b.WriteString(g.rule(c, user[i+1:]) + "\n")
			}
		}
		b.WriteString(g.rungs(deep, g.pick(t.chains...)))
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// some returns one, or some, of several chains.
func (g *generator) some(chains []string) []string {
	if g.IntN(2) == 0 {
		return []string{g.pick(chains...)}
	}
	var from []string
	for _, c := range chains {
		if g.IntN(2) == 0 {
			from = append(from, c)
		}
	}
	if len(from) == 0 {
		return chains
	}
	return from
}

// rule returns a random rule. user are the chains that it may jump to.
func (g *generator) rule(c chain, user []chain) string {
	parts := []string{"-A", c.name}
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
	if g.IntN(4) == 0 && c.arriving() {
		add(g.interfaceOption("-i"))
	}
	if g.IntN(4) == 0 && c.leaving() {
		add(g.interfaceOption("-o"))
	}
	target, proto := g.target(c, user)
	// A target that needs its own matches brings them.
	matches, target := split(target)
	if proto == "" && g.IntN(2) == 0 {
		proto = g.pick("tcp", "tcp", "udp", "icmp", "sctp", "udplite", "dccp", "esp", "ipcomp", "ah", "47")
		switch {
		case g.v6 && proto == "icmp":
			proto = "ipv6-icmp"
		case g.v6 && proto == "47" && g.IntN(2) == 0:
			proto = "mobility-header"
		}
	}
	switch {
	case proto != "":
		add("-p " + proto)
		add(matches)
		if g.IntN(3) != 0 && matches == "" {
			add(g.protocolMatch(proto))
		}
		if proto == "tcp" && g.unmodelled && g.IntN(8) == 0 && !g.v6 && c.arriving() {
			add(g.osf())
		}
		if g.IntN(4) == 0 {
			add(g.multiport(proto))
		}
	case g.IntN(6) == 0:
		add("! -p " + g.pick("tcp", "udp", "sctp", "47"))
	case g.IntN(12) == 0 && !g.v6, g.stateless && !g.v6 && g.IntN(4) == 0:
		add(g.not() + "-f")
	}
	for range g.IntN(3) {
		add(g.match(c))
	}
	add(target)
	rule := strings.Join(parts, " ")
	if g.IntN(16) == 0 {
		return respell(rule)
	}
	return rule
}

// split takes the matches before a target apart from it.
func split(s string) (matches, target string) {
	if at := strings.Index(s, "-j "); at > 0 {
		return strings.TrimSpace(s[:at]), s[at:]
	}
	return "", s
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

// prefix returns a network without a mask of holes.
func (g *generator) prefix() string {
	if g.v6 {
		return g.address() + g.pick("", "/128", "/64", "/33", "/8", "/0")
	}
	return g.address() + g.pick("", "/32", "/24", "/25", "/9", "/0")
}

func (g *generator) device() string {
	return g.pick("eth0", "eth1", "eth+", "wan", "w+", "lan0", "lo", "e*")
}

// interfaceOption returns -i or -o with a device. "! -i +" is left out: the
// legacy tool itself loses the negation when it prints the rule.
func (g *generator) interfaceOption(letter string) string {
	if g.IntN(12) == 0 {
		return letter + " +"
	}
	return g.not() + letter + " " + g.device()
}

func (g *generator) port() int {
	return [...]int{22, 80, 443, 0, 1, 65535, 1024, 1023, 8080, g.IntN(65536)}[g.IntN(10)]
}

func (g *generator) ports() string {
	a, b := g.port(), g.port()
	if g.IntN(2) == 0 || a == b {
		return fmt.Sprint(a)
	}
	low, high := min(a, b), max(a, b)
	if low == 0 && high == 65535 {
		// iptables-legacy-save leaves "! --dport 0:65535" out, and the kernel
		// machine reloads what it prints.
		low = 1
	}
	return fmt.Sprintf("%d:%d", low, high)
}

// odd returns text that is hard to quote, of at most a length.
func (g *generator) odd(most int) string {
	alphabet := []string{"a", "Z", "7", " ", "-", "_", "'", "#", ";", "{", "}", "(", "|", "&", "*", "<", "~", "%", "\\\\", "\\\"", "$", "é", "=", ":", "/", "@"}
	var b strings.Builder
	n := 1 + g.IntN(most)
	for range n {
		b.WriteString(alphabet[g.IntN(len(alphabet))])
	}
	return `"x` + b.String() + `"`
}
