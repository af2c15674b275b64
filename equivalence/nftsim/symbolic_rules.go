package nftsim

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// Compile returns the chains of tables that see packets of the space's version,
// with a function of each rule. Rules that test for the other version are left
// out.
//
// A function is what [packet.Stage].Run does, with these assumptions: a set that
// packets change is never full; a register that is not written by the rule
// itself is not read, as kernels since Linux 6.1 demand; the checksums of a
// packet are right.
func (m *Machine) Compile(s *symbolic.Space, slots []symbolic.Slot) *symbolic.Program {
	if _, ok := m.asked[s.Version]; !ok {
		m.Collect(s.Version, s.NameTests())
	}
	c := m.compiler(s)
	for i, id := range m.asked[s.Version] {
		c.slots[id] = slots[i]
	}
	p := &symbolic.Program{}
	var list []*Chain
	for _, t := range m.Tables {
		if !sees(t.Family, s.Version) {
			continue
		}
		for _, of := range t.Chains {
			name := "table " + familyNames[t.Family] + " " + t.Name + " chain " + of.Name
			c.chains[of] = &symbolic.RuleChain{Name: name, Unknown: of.Unknown}
			p.Chains = append(p.Chains, c.chains[of])
			list = append(list, of)
		}
	}
	for i, of := range list {
		chain := p.Chains[i]
		for _, r := range of.Rules {
			if canSee(r, s.Version) {
				chain.Rules = append(chain.Rules, c.byItself(r))
			}
		}
		if use, ok := c.rings.chains[of]; ok {
			chain.Whole = func() bdd.Ref { return c.ringChain(use) }
			for n := range chain.Rules {
				chain.Rules[n].Function = func(func(*symbolic.RuleChain) int) bdd.Ref {
					return s.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: "which set of a ring is the next for an address"})
				}
			}
		}
	}
	written := make(map[*Table]bool)
	for _, of := range list {
		for _, r := range of.Rules {
			if reckons(r, s.Version) && canSee(r, s.Version) {
				written[of.Table] = true
			}
		}
	}
	for _, b := range m.bases() {
		modelled := b.chain.Table.Family != familyNetdev && b.chain.Base.Hook <= uint32(packet.Postrouting)
		if modelled && !sees(b.chain.Table.Family, s.Version) {
			continue
		}
		stage := symbolic.Stage{
			Name: b.stage.Name, Hook: b.stage.Hook, Priority: b.stage.Priority, Kind: b.stage.Kind,
			Start: c.chains[b.chain], Policy: symbolic.Accept, Place: b.stage.Name + ", policy", Unknown: b.chain.Table.Unknown,
		}
		if b.chain.Base.Drop {
			stage.Policy = symbolic.Drop
		}
		if stage.Unknown == "" && written[b.chain.Table] {
			stage.Unknown = b.stage.Name + ": arithmetic by maps of bytes"
		}
		if !modelled {
			stage.Unknown = b.stage.Name + ": the hook is not modelled"
		}
		p.Stages = append(p.Stages, stage)
	}
	return p
}

// reckons reports whether a rule reckons with a part of an IPv6 address, by a map of bytes. Words
// that such a rule writes follow from others in a way that is not modelled, and rules
// behind it test them, so nothing is said of the whole stage.
func reckons(r *Rule, version int) bool {
	return version == 6 && slices.ContainsFunc(r.Instructions, func(i Instruction) bool {
		l, ok := i.(*Lookup)
		return ok && l.arithmetic()
	})
}

// byItself is a rule by itself.
func (c *compiler) byItself(r *Rule) symbolic.ChainRule {
	return symbolic.ChainRule{
		ID: r, Place: func() string { return "" }, Text: r.text, Words: func() string { return c.place(r) }, Targets: c.targets(r),
		Function: func(number func(*symbolic.RuleChain) int) bdd.Ref {
			c.number = number
			return c.compileRule(r)
		},
	}
}

// text is the instructions of a rule.
func (r *Rule) text() string {
	text := make([]string, len(r.Instructions))
	for i, instruction := range r.Instructions {
		text[i] = instruction.String()
	}
	if r.Comment != "" {
		text = append(text, fmt.Sprintf("comment %q", r.Comment))
	}
	return strings.Join(text, "; ")
}

// targets are the chains that a rule can go on to, each once.
func (c *compiler) targets(r *Rule) []*symbolic.RuleChain {
	var list []*symbolic.RuleChain
	for _, to := range r.next() {
		if chain := c.chains[to]; !slices.Contains(list, chain) {
			list = append(list, chain)
		}
	}
	return list
}

// leads is the end of a rule by itself that goes on to a chain.
func (x *symbolicRun) leads(v Verdict) bdd.Ref {
	verdict := symbolic.Goto
	if v.Code == VerdictJump {
		verdict = symbolic.Jump
	}
	return x.space.Leaf(symbolic.Leaf{Verdict: verdict, Effect: x.effect, By: x.number(x.chains[v.to])})
}

// done is the end of a rule all of whose instructions ran.
func (x *symbolicRun) done() bdd.Ref {
	if !x.space.Marked {
		return x.next()
	}
	return x.space.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: x.effect, By: symbolic.ByMatch})
}
