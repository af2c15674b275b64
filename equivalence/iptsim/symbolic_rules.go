package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/iptables"
)

var _ symbolic.RuleCompiler = (*Machine)(nil)

// CompileRules returns the chains of the tables with a function of each rule.
func (m *Machine) CompileRules(s *symbolic.Space, slots []symbolic.Slot) *symbolic.Program {
	p := &symbolic.Program{}
	if s.Version != int(m.family) {
		return p
	}
	c := m.compiler(s, slots)
	c.single = true
	chains := map[*chain]*symbolic.RuleChain{}
	for _, t := range m.tables {
		for _, of := range t.chains {
			chains[of] = &symbolic.RuleChain{Name: of.table + " " + of.source.Name}
			p.Chains = append(p.Chains, chains[of])
		}
	}
	m.eachRule(func(r *rule) {
		of := chains[r.chain]
		of.Rules = append(of.Rules, c.byItself(r, chains))
	})
	for _, at := range placings {
		t := m.table(at.table)
		if t == nil || t.chain(at.chain) == nil {
			continue
		}
		start := t.chain(at.chain)
		p.Stages = append(p.Stages, symbolic.RuleStage{Stage: at.stage(), Start: chains[start], Policy: start.policy()})
	}
	return p
}

// byItself is a rule by itself.
func (c *compiler) byItself(r *rule, chains map[*chain]*symbolic.RuleChain) symbolic.ChainRule {
	out := symbolic.ChainRule{
		ID: r, Place: r.source.Range.FileLine(), Text: iptables.PrintRule(r.source, r.chain.source.Name),
		Function: func() bdd.Ref { return c.compileRule(r) },
	}
	if r.target != nil && r.unknown == "" {
		out.Targets = []*symbolic.RuleChain{chains[r.target]}
	}
	return out
}

// leads is what a rule by itself does that leads to a chain.
func (c *compiler) leads(r *rule) bdd.Ref {
	verdict := symbolic.Goto
	if r.jump {
		verdict = symbolic.Jump
	}
	return c.space.Leaf(symbolic.Leaf{Verdict: verdict, By: 1})
}

// acted marks what the action of a rule by itself does: packets that come to it
// have passed all tests.
func (c *compiler) acted(action bdd.Ref) bdd.Ref {
	if !c.single {
		return action
	}
	s := c.space
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict != symbolic.Undecided && l.Verdict != symbolic.Jump && l.Verdict != symbolic.Goto {
			l.By = symbolic.ByMatch
		}
		return s.Leaf(l)
	}), action)
}
