package iptables

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/diag"
)

// newChain carries out -N.
func (r *lineReader) newChain() {
	p := r.p
	name := r.chain
	switch {
	case p.table.Chain(name.text) != nil:
		p.report(finding{Code: "duplicate-chain", Summary: fmt.Sprintf("chain %q exists already", name.text),
			Detail: "Remove the line.", Subject: p.of(name)})
	case startsOption(name):
		p.report(finding{Code: "invalid-chain-name", Summary: fmt.Sprintf("a chain cannot be called %q", clip(name.text)),
			Detail: "The name of a chain does not start with a dash or an exclamation mark. Choose another name.", Subject: p.of(name)})
	case p.reg.NewTarget(p.family, name.text) != nil, name.text == strings.ToUpper(name.text) && p.reg.Exists(name.text):
		p.report(finding{Code: "invalid-chain-name", Summary: fmt.Sprintf("a chain cannot be called %q", clip(name.text)),
			Detail: "It is the name of a target. Choose another name.", Subject: p.of(name)})
	case p.validChainName(name):
		p.table.AddChain(strings.Clone(name.text)).Range = p.of(name)
	}
}

// forChains calls do for the chain that the line names, or for all of them.
func (r *lineReader) forChains(do func(c *Chain)) {
	if r.chain.text != "" {
		do(r.p.findChain(r.chain))
		return
	}
	if !r.affordable() {
		return
	}
	r.p.searched += len(r.p.table.Chains)
	for _, c := range slices.Clone(r.p.table.Chains) {
		do(c)
	}
}

// flush carries out -F.
func (r *lineReader) flush() {
	r.forChains(func(c *Chain) {
		c.Rules = nil
		delete(r.p.front, c)
	})
}

// zero carries out -Z, which has no effect on the counters that the same text
// sets, and all others are zero.
func (r *lineReader) zero() {
	if r.chain.text != "" {
		r.p.findChain(r.chain)
	}
}

// policy carries out -P.
func (r *lineReader) policy() {
	p := r.p
	c := p.findChain(r.chain)
	switch {
	case r.operand.end == 0:
		r.missingArgument(token{text: "-P", start: r.where.Start, end: r.where.End})
	case p.ghosts[c.Name] == c:
	case !c.Builtin:
		p.report(finding{Code: "invalid-policy", Summary: fmt.Sprintf("chain %q cannot have a policy", clip(c.Name)),
			Detail: "Only built-in chains have one. Write a last rule instead.", Subject: p.of(r.chain)})
	case r.operand.text == "DROP" && p.table.Name == "nat":
		r.natDrop(r.operand)
	default:
		p.setPolicy(c, r.operand)
		if r.counters != nil {
			c.Counters = *r.counters
		}
	}
}

// deleteChains carries out -X.
func (r *lineReader) deleteChains() {
	if r.chain.text == "" {
		r.forChains(func(c *Chain) {
			if !c.Builtin {
				r.deleteChain(c, r.where)
			}
		})
		return
	}
	if c := r.p.findChain(r.chain); r.p.ghosts[c.Name] != c {
		r.deleteChain(c, r.p.of(r.chain))
	}
}

func (r *lineReader) deleteChain(c *Chain, where diag.Range) {
	if !r.affordable() {
		return
	}
	t := r.p.table
	r.p.settle(c)
	why := ""
	switch {
	case c.Builtin:
		why = "it is built in"
	case len(c.Rules) > 0:
		why = "it has rules"
	case r.p.isUsed(c.Name):
		why = "a rule jumps to it"
	}
	if why != "" {
		r.p.report(finding{Code: "chain-in-use", Summary: fmt.Sprintf("chain %s cannot be deleted", c.Name),
			Detail: fmt.Sprintf("The kernel refuses it, because %s. Empty it and remove the rules that use it first.", why), Subject: where})
		return
	}
	delete(t.byName, c.Name)
	i := slices.Index(t.Chains, c)
	t.Chains = slices.Delete(t.Chains, i, i+1)
}

// isUsed reports whether a rule of the table goes to a chain.
func (p *parser) isUsed(chain string) bool {
	for _, c := range p.table.Chains {
		p.settle(c)
		p.searched += 1 + len(c.Rules)
		for _, rule := range c.Rules {
			if (rule.Action.Kind == Jump || rule.Action.Kind == Goto) && rule.Action.Name == chain {
				return true
			}
		}
	}
	return false
}

// rename carries out -E.
func (r *lineReader) rename() {
	p := r.p
	c := p.findChain(r.chain)
	name := r.operand
	switch {
	case name.end == 0:
		r.missingArgument(token{text: "-E", start: r.where.Start, end: r.where.End})
		return
	case p.ghosts[c.Name] == c:
		p.ghost(strings.Clone(name.text))
		return
	case c.Builtin:
		p.report(finding{Code: "chain-in-use", Summary: fmt.Sprintf("chain %s cannot be renamed", c.Name),
			Detail: "It is built in.", Subject: p.of(r.chain)})
		return
	case p.table.Chain(name.text) != nil:
		p.report(finding{Code: "duplicate-chain", Summary: fmt.Sprintf("chain %q exists already", clip(name.text)),
			Detail: "Choose another name.", Subject: p.of(name)})
		return
	case !p.validChainName(name) || !r.affordable():
		return
	}
	old := c.Name
	delete(p.table.byName, old)
	c.Name = strings.Clone(name.text)
	p.table.byName[c.Name] = c
	for _, other := range p.table.Chains {
		p.settle(other)
		p.searched += 1 + len(other.Rules)
		for _, rule := range other.Rules {
			if (rule.Action.Kind == Jump || rule.Action.Kind == Goto) && rule.Action.Name == old {
				rule.Action.Name = c.Name
			}
		}
	}
}
