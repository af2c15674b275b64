package iptables

import (
	"fmt"
	"strings"

	"nftmigrate/diag"
)

// chainNameMax is the longest name of a chain or target.
//
// Kernel: include/uapi/linux/netfilter/x_tables.h, XT_EXTENSION_MAXNAMELEN - 1.
const chainNameMax = 28

// tableNames lists the tables for messages.
var tableNames = []string{"raw", "mangle", "nat", "filter", "security"}

// verdicts are the targets that need no extension.
var verdicts = []string{"ACCEPT", "DROP", "RETURN", "QUEUE"}

func isVerdict(name string) bool {
	for _, v := range verdicts {
		if v == name {
			return true
		}
	}
	return false
}

// validChainName reports why a name cannot be that of a new chain.
func (p *parser) validChainName(name token) bool {
	summary, detail := "", ""
	switch {
	case name.text == "":
		summary, detail = "a chain cannot have an empty name", "Write a name."
	case len(name.text) > chainNameMax:
		summary = fmt.Sprintf("the chain name has more than %d bytes", chainNameMax)
		detail = fmt.Sprintf("%q has %d. Choose a shorter name, here and in the rules that use it.", clip(name.text), len(name.text))
	case isVerdict(name.text):
		summary = fmt.Sprintf("a chain cannot be called %q", name.text)
		detail = "It is the name of a verdict. Choose another name."
	case strings.ContainsAny(name.text, " \t\n\v\f\r"):
		summary = fmt.Sprintf("a chain cannot be called %q", name.text)
		detail = "A chain name has no blanks. Choose another name."
	default:
		return true
	}
	p.report(finding{Code: "invalid-chain-name", Summary: summary, Detail: detail, Subject: p.of(name)})
	return false
}

// ghost returns a chain that stands for an undefined one, so that it is
// reported only once.
func (p *parser) ghost(name string) *Chain {
	c := p.ghosts[name]
	if c == nil {
		if p.ghosts == nil {
			p.ghosts = make(map[string]*Chain)
		}
		c = &Chain{Name: name}
		p.ghosts[name] = c
	}
	return c
}

// findChain returns a chain that a line names, or reports it as undefined and
// returns one that stands for it.
func (p *parser) findChain(name token) *Chain {
	if c := p.table.Chain(name.text); c != nil {
		return c
	}
	if c := p.ghosts[name.text]; c != nil {
		return c
	}
	p.undefinedChain(name)
	return p.ghost(name.text)
}

// undefinedChain reports that there is no chain of a name, at this line.
func (p *parser) undefinedChain(name token) {
	d := finding{Code: "undefined-chain", Summary: fmt.Sprintf("there is no chain %q in table %s", clip(name.text), p.table.Name), Subject: p.of(name)}
	if !p.terse() {
		if d.Detail = p.chainElsewhere(name.text); d.Detail == "" {
			d.Detail = fmt.Sprintf("%s, or correct the name.%s%s", p.declaration(clip(name.text)), chainOwner(name.text), didYouMean(name.text, p.chainNames()))
		}
	}
	p.report(d)
}

// chainOwners are programs that make chains which files of others use, by how
// the names of those begin.
var chainOwners = []struct{ prefix, program string }{
	{"ufw6-", "ufw"}, {"ufw-", "ufw"}, {"f2b-", "fail2ban"}, {"fail2ban-", "fail2ban"}, {"DOCKER", "Docker"}, {"KUBE-", "Kubernetes"}, {"cali-", "Calico"},
	{"LIBVIRT_", "libvirt"}, {"INPUT_ZONES", "firewalld"}, {"FORWARD_", "firewalld"}, {"PREROUTING_ZONES", "firewalld"}, {"POSTROUTING_ZONES", "firewalld"},
}

// chainOwner says which program makes a chain of that name, or "".
func chainOwner(name string) string {
	for _, o := range chainOwners {
		if strings.HasPrefix(name, o.prefix) {
			return fmt.Sprintf(" A chain of this name is one of %s: this may be a part of its files. Take what iptables-save prints where it runs.", o.program)
		}
	}
	return ""
}

// declaration says how a chain is made before the line.
func (p *parser) declaration(name string) string {
	if p.session {
		return fmt.Sprintf("Make it by \"%s -t %s -N %s\" above", p.family, p.table.Name, name)
	}
	return fmt.Sprintf("Declare it by a line \":%s - [0:0]\" above", name)
}

// chainElsewhere says where a chain is that is not where it should be, or "".
func (p *parser) chainElsewhere(name string) string {
	if rest := p.text[p.line.End:]; name != "" && !p.session {
		if i := strings.Index(rest, "\n:"+name+" "); i >= 0 && !strings.Contains(rest[:i], "\nCOMMIT") {
			return fmt.Sprintf("It is declared only below, in line %d, and iptables-restore reads from top to bottom. Move that line up.",
				p.at(p.line.End+int32(i)+1, p.line.End+int32(i)+1).Line())
		}
	}
	for _, t := range p.ruleset.Tables {
		if t != p.table && t.Chain(name) != nil {
			if p.session {
				return fmt.Sprintf("Table %s has a chain of that name, but each table has its own chains. Write -t %s, or make the chain in table %s, too.", t.Name, t.Name, p.table.Name)
			}
			return fmt.Sprintf("Table %s has a chain of that name, but each table has its own chains. Move the rule, or declare the chain here by a line \":%s - [0:0]\".", t.Name, name)
		}
	}
	return ""
}

// chainNames lists chains for suggestions; so many that it does not take long.
func (p *parser) chainNames() []string {
	const limit = 1000
	var names []string
	for _, c := range p.table.Chains[:min(limit, len(p.table.Chains))] {
		names = append(names, c.Name)
	}
	return names
}

// clip shortens a name for a message.
func clip(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

// didYouMean returns a sentence that suggests the nearest candidate, or "".
func didYouMean(name string, candidates []string) string {
	for _, c := range candidates {
		if strings.EqualFold(c, name) && c != name {
			return fmt.Sprintf(" Did you mean %s?", c)
		}
	}
	if near := diag.Nearest(name, candidates); near != "" && near != name {
		return fmt.Sprintf(" Did you mean %s?", near)
	}
	return ""
}
