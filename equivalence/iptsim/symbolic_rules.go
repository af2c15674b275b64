package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/iptables"
)

// Compile returns the chains of the tables with a function of each rule.
func (m *Machine) Compile(s *symbolic.Space, slots []symbolic.Slot) *symbolic.Program {
	p := &symbolic.Program{}
	if s.Version != int(m.family) {
		return p
	}
	c := m.compiler(s, slots)
	for _, t := range m.tables {
		for _, of := range t.chains {
			c.chains[of] = &symbolic.RuleChain{Name: of.table + " " + of.source.Name}
			p.Chains = append(p.Chains, c.chains[of])
		}
	}
	m.eachRule(func(r *rule) {
		of := c.chains[r.chain]
		of.Rules = append(of.Rules, c.byItself(r))
	})
	for _, at := range placings {
		t := m.table(at.table)
		if t == nil || t.chain(at.chain) == nil {
			continue
		}
		start := t.chain(at.chain)
		p.Stages = append(p.Stages, symbolic.Stage{
			Name: at.table + " " + at.chain, Hook: at.hook, Priority: at.priority, Kind: at.kind, Start: c.chains[start], Policy: start.policy(),
			Place: start.source.Range.FileLine() + " policy of " + start.table + " " + start.source.Name,
		})
	}
	return p
}

// byItself is a rule by itself.
func (c *compiler) byItself(r *rule) symbolic.ChainRule {
	text := func() string { return iptables.PrintRule(r.source, r.chain.source.Name) }
	out := symbolic.ChainRule{
		ID: r, Place: r.source.Range.FileLine, Text: text,
		Words: func() string { return r.source.Range.FileLine() + " " + text() },
		Function: func(number func(*symbolic.RuleChain) int) bdd.Ref {
			c.number = number
			return c.compileRule(r)
		},
	}
	if r.target != nil && r.unknown == "" {
		out.Targets = []*symbolic.RuleChain{c.chains[r.target]}
	}
	return out
}

// leads is what a rule by itself does that leads to a chain.
func (c *compiler) leads(r *rule) bdd.Ref {
	verdict := symbolic.Goto
	if r.jump {
		verdict = symbolic.Jump
	}
	return c.space.Leaf(symbolic.Leaf{Verdict: verdict, By: c.number(c.chains[r.target])})
}

// acted marks what the action of a rule by itself does: packets that come to it
// have passed all tests.
func (c *compiler) acted(action bdd.Ref) bdd.Ref {
	s := c.space
	if !s.Marked {
		return action
	}
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict != symbolic.Undecided && l.Verdict != symbolic.Jump && l.Verdict != symbolic.Goto {
			l.By = symbolic.ByMatch
		}
		return s.Leaf(l)
	}), action)
}
