package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// sessionCommands carry out a command on the current table. They report an error,
// or change the table; never both.
var sessionCommands map[byte]func(s *Session, r *lineReader)

func init() {
	sessionCommands = map[byte]func(s *Session, r *lineReader){
		'A': (*Session).appendRules,
		'I': (*Session).insertRules,
		'R': (*Session).replaceRule,
		'D': (*Session).deleteRules,
		'N': func(_ *Session, r *lineReader) { r.newChain() },
		'X': (*Session).deleteChains,
		'F': (*Session).flush,
		'Z': (*Session).zero,
		'P': func(_ *Session, r *lineReader) { r.policy() },
		'E': func(_ *Session, r *lineReader) { r.rename() },
		'L': (*Session).list,
		'S': (*Session).list,
		'V': func(*Session, *lineReader) {},
		'h': func(*Session, *lineReader) {},
	}
}

// carryOut does what a command says.
func (s *Session) carryOut(r *lineReader) Outcome {
	p := s.p
	if r.command == 'C' {
		return Outcome{Failed: !s.exists(r), Diags: p.diags, ByState: true, Removal: true}
	}
	sessionCommands[r.command](s, r)
	if p.diags.HasErrors() {
		return s.failed(r)
	}
	if strings.IndexByte("LSVh", r.command) < 0 && p.ruleset.Table(p.table.Name) == nil {
		p.ruleset.Tables = append(p.ruleset.Tables, p.table)
	}
	return Outcome{Diags: p.diags}
}

// chain returns the chain that a command names, or reports that there is none.
func (s *Session) chain(r *lineReader) *Chain {
	c := s.p.table.Chain(r.chain.text)
	if c == nil {
		s.p.undefinedChain(r.chain)
	}
	return c
}

func (s *Session) appendRules(r *lineReader) {
	c := s.chain(r)
	if c == nil {
		return
	}
	rules := r.newRules()
	if !s.admit(c, rules) {
		return
	}
	if c.Range.IsZero() {
		c.Range = s.p.of(r.chain)
	}
	c.Rules = append(c.Rules, rules...)
}

func (s *Session) insertRules(r *lineReader) {
	p := s.p
	c := s.chain(r)
	if c == nil {
		return
	}
	at := 0
	if r.operand.end != 0 && r.operand.text != "1" {
		p.settle(c)
		var ok bool
		if at, ok = r.position(c, len(c.Rules)+1); !ok {
			return
		}
	}
	rules := r.newRules()
	if !s.admit(c, rules) {
		return
	}
	if at == 0 {
		if p.front == nil {
			p.front = make(map[*Chain][]*Rule)
		}
		p.front[c] = append(p.front[c], rules...)
		return
	}
	slices.Reverse(rules)
	c.Rules = slices.Insert(c.Rules, at, rules...)
}

func (s *Session) replaceRule(r *lineReader) {
	p := s.p
	c := s.chain(r)
	if c == nil {
		return
	}
	p.settle(c)
	switch {
	case len(r.sources) > 1 || len(r.destinations) > 1:
		p.report(finding{Code: "invalid-argument", Summary: "a rule is replaced by one rule",
			Detail: "A list of addresses makes several. Give one address.", Subject: p.line})
		return
	case r.operand.end == 0:
		r.missingArgument(token{text: "-R", start: r.where.Start, end: r.where.End})
		return
	}
	at, ok := r.position(c, len(c.Rules))
	if !ok {
		return
	}
	if rules := r.newRules(); s.admit(c, rules) {
		s.forget(c, c.Rules[at])
		c.Rules[at] = rules[0]
	}
}

// deleteRules carries out -D. Of several rules that the line names, all are
// deleted or none.
func (s *Session) deleteRules(r *lineReader) {
	p := s.p
	c := s.chain(r)
	if c == nil {
		return
	}
	p.settle(c)
	if r.operand.end != 0 {
		if at, ok := r.position(c, len(c.Rules)); ok {
			s.forget(c, c.Rules[at])
			c.Rules = slices.Delete(c.Rules, at, at+1)
		}
		return
	}
	rules := r.newRules()
	saved := c.Rules
	if len(rules) > 1 {
		saved = slices.Clone(c.Rules)
	}
	for _, rule := range rules {
		if !r.affordable() {
			c.Rules = saved
			return
		}
		if !p.remove(c, rule) {
			c.Rules = saved
			p.report(finding{Code: "no-such-rule", Summary: fmt.Sprintf("chain %s has no such rule", clip(c.Name)),
				Detail: "-D deletes the first rule that is equal. Correct the line, or remove it.", Subject: p.line})
			return
		}
		s.forget(c, rule)
	}
}

// exists carries out -C.
func (s *Session) exists(r *lineReader) bool {
	p := s.p
	c := p.table.Chain(r.chain.text)
	if c == nil {
		return false
	}
	p.settle(c)
	for _, rule := range r.newRules() {
		if !r.affordable() || p.find(c, rule) < 0 {
			return false
		}
	}
	return true
}

// deleteChains carries out -X, which without a name deletes all chains or none.
func (s *Session) deleteChains(r *lineReader) {
	p := s.p
	chains := p.table.Chains[len(BuiltinChains(p.table.Name)):]
	where := r.where
	if r.chain.text != "" {
		c := s.chain(r)
		if c == nil {
			return
		}
		chains, where = []*Chain{c}, p.of(r.chain)
	}
	if len(chains) == 0 || !r.affordable() {
		return
	}
	used := s.used()
	for _, c := range chains {
		why := ""
		switch {
		case c.Builtin:
			why = "it is built in"
		case len(c.Rules)+len(p.front[c]) > 0:
			why = "it has rules"
		case used[c.Name]:
			why = "a rule jumps to it"
		}
		if why != "" {
			p.report(finding{Code: "chain-in-use", Summary: fmt.Sprintf("chain %s cannot be deleted", c.Name),
				Detail: fmt.Sprintf("The kernel refuses it, because %s. Empty it and remove the rules that use it first.", why), Subject: where})
			return
		}
	}
	for _, c := range slices.Clone(chains) {
		delete(p.table.byName, c.Name)
		i := slices.Index(p.table.Chains, c)
		p.table.Chains = slices.Delete(p.table.Chains, i, i+1)
	}
	delete(s.routes, p.table)
}

// used returns the names of the chains to which rules of the table go.
func (s *Session) used() map[string]bool {
	p := s.p
	used := make(map[string]bool)
	for _, c := range p.table.Chains {
		for _, list := range [2][]*Rule{c.Rules, p.front[c]} {
			p.searched += 1 + len(list)
			for _, rule := range list {
				if rule.goesTo() {
					used[rule.Action.Name] = true
				}
			}
		}
	}
	return used
}

func (s *Session) flush(r *lineReader) {
	if r.chain.text != "" && s.chain(r) == nil {
		return
	}
	r.flush()
	delete(s.routes, s.p.table)
}

// zero carries out -Z.
func (s *Session) zero(r *lineReader) {
	p := s.p
	chains := p.table.Chains
	if r.chain.text != "" {
		c := s.chain(r)
		if c == nil {
			return
		}
		chains = []*Chain{c}
		if r.operand.end != 0 {
			p.settle(c)
			if at, ok := r.position(c, len(c.Rules)); ok {
				c.Rules[at].Counters = nil
			}
			return
		}
	}
	if !r.affordable() {
		return
	}
	for _, c := range chains {
		p.settle(c)
		c.Counters = Counters{}
		p.searched += 1 + len(c.Rules)
		for _, rule := range c.Rules {
			rule.Counters = nil
		}
	}
}

// list carries out -L and -S, which only fail when the chain does not exist.
func (s *Session) list(r *lineReader) {
	if r.chain.text != "" {
		s.chain(r)
	}
}
