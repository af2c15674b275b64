package optimize

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nftmigrate/nftgen"
)

// services are the names of well-known ports, in names of sets.
//
// Source: IANA, Service Name and Transport Protocol Port Number Registry.
var services = map[uint64]string{
	22: "ssh", 25: "smtp", 53: "dns", 67: "dhcp", 80: "http", 123: "ntp", 143: "imap", 161: "snmp", 389: "ldap", 443: "https", 445: "smb", 465: "smtps",
	514: "syslog", 587: "submission", 636: "ldaps", 853: "dns_tls", 873: "rsync", 993: "imaps", 1194: "openvpn", 2049: "nfs", 3306: "mysql", 3389: "rdp", 5432: "postgresql",
	5353: "mdns", 6379: "redis", 6443: "kubernetes", 51820: "wireguard",
}

// nouns are what values of fields are called in names of sets.
var nouns = map[string]string{
	"saddr": "sources", "daddr": "destinations", "dport": "ports", "sport": "source_ports", "iifname": "inputs", "oifname": "outputs",
	"l4proto": "protocols", "mark": "marks", "type": "types",
}

// verdictWords are verdicts in names of sets.
var verdictWords = map[nftgen.VerdictKind]string{nftgen.Accept: "accepted", nftgen.Drop: "dropped", nftgen.Return: "returned", nftgen.Goto: "to", nftgen.Jump: "to"}

// name returns a free name for the set of a plan: what all its rules have in common, and
// what its elements are.
func (o *optimizer) name(p *plan, fields []nftgen.Field) string {
	g := p.group
	words := []string{o.current.Name}
	if c := g.comment(); c != "" {
		words = append(words, c)
	} else {
		for i, f := range g.elements.fields {
			if !slices.Contains(p.keys, i) && f.Text == dport.Text && g.elements.at(0)[i].single() {
				words = append(words, service(g.elements.at(0)[i].low.lo))
			}
		}
		if v := g.items[0].verdict; g.uniform && g.items[0].action == "" {
			words = append(words, verdictWords[v.Kind])
			if v.Chain != "" {
				words = append(words, v.Chain)
			}
		}
	}
	for i, f := range fields {
		if p.widened && i == len(fields)-1 {
			break
		}
		word := f.Text[strings.LastIndexByte(f.Text, ' ')+1:]
		if noun, ok := nouns[word]; ok {
			word = noun
		}
		words = append(words, word)
	}
	if !g.uniform {
		words = append(words, "map")
	}
	base := nftgen.CleanName(strings.Join(words, "_"))
	name := base
	for n := 2; o.names[name]; n++ {
		suffix := "_" + strconv.Itoa(n)
		name = base[:min(len(base), nameMost-len(suffix))] + suffix
	}
	o.names[name] = true
	return name
}

// nameMost is how long a name with a number gets.
const nameMost = 120

func service(port uint64) string {
	if name, ok := services[port]; ok {
		return name
	}
	return "port_" + strconv.FormatUint(port, 10)
}

// comment returns the comment that all rules of a group have, as a part of a name.
func (g *group) comment() string {
	first := g.items[0].rule.Comment
	if first == "" || slices.ContainsFunc(g.items, func(it *item) bool { return it.rule.Comment != first }) {
		return ""
	}
	return strings.Trim(strings.Map(func(c rune) rune {
		if c < 0x80 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			return c
		}
		return '_'
	}, first), "_")
}

// commentOf is the comment of an element: that of its rule, and on request its line.
func (o *optimizer) commentOf(r *nftgen.Rule) string {
	if !o.options.Lines || r.Origin.IsZero() {
		return r.Comment
	}
	line := filepath.Base(r.Origin.Source.Name) + ":" + strconv.Itoa(r.Origin.Line())
	if r.Comment != "" {
		line += " " + r.Comment
	}
	for len(line) > commentMost || !clean(line) {
		if !clean(line) {
			return r.Comment
		}
		line = strings.ToValidUTF8(line[:commentMost], "")
	}
	return line
}

// commentMost is how long a comment may be.
const commentMost = 127

// clean reports whether a text can stand in quotes.
func clean(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c == '"' || c < ' ' || c == 0x7f })
}
