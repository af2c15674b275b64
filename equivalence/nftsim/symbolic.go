package nftsim

import (
	"cmp"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

var _ symbolic.Compiler = (*Machine)(nil)

// Collect notes the device names that rules test and lists the states that they
// consult, in the order in which a packet meets the rules: by hook and priority,
// each chain where it is first jumped to.
func (m *Machine) Collect(version int, tests *symbolic.NameTests) []symbolic.Instance {
	var rules []*Rule
	m.visit(version, func(r *Rule) {
		rules = append(rules, r)
		noteNames(r, tests)
	})
	// A rule shows which states it asks, and for which keys, by being run on
	// variables. The functions are thrown away.
	space := symbolic.NewSpace(bdd.New(bdd.Options{}), version, tests, nil)
	c := m.compiler(space)
	c.collecting = &collection{seen: map[instanceID]bool{}}
	for _, r := range rules {
		if c.stateful(r) {
			c.compileRule(r)
		}
	}
	if m.asked == nil {
		m.asked = map[int][]instanceID{}
	}
	m.asked[version] = c.collecting.ids
	return c.collecting.instances
}

// collection is what Collect has found.
type collection struct {
	ids       []instanceID
	seen      map[instanceID]bool
	instances []symbolic.Instance
	variables bdd.Level // given out for answers
}

// visit calls for each rule of tables that see a version once, in the order in
// which packets meet rules; then for those that no packet meets.
func (m *Machine) visit(version int, each func(r *Rule)) {
	seen := map[*Chain]bool{}
	var walk func(c *Chain)
	walk = func(c *Chain) {
		if seen[c] || !sees(c.Table.Family, version) {
			return
		}
		seen[c] = true
		for _, r := range c.Rules {
			if canSee(r, version) {
				each(r)
				for _, to := range r.next() {
					walk(to)
				}
			}
		}
	}
	for _, b := range m.bases() {
		walk(b.chain)
	}
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			walk(c)
		}
	}
}

// A hooked chain is a base chain with its stage.
type hooked struct {
	stage packet.Stage
	chain *Chain
}

// bases returns the base chains in the order of [Machine.Stages].
func (m *Machine) bases() []hooked {
	var list []hooked
	for _, t := range m.Tables {
		if t.Dormant || t.Family == familyARP || t.Family == familyBridge {
			continue
		}
		for _, c := range t.Chains {
			if c.Base != nil {
				list = append(list, hooked{m.stage(c), c})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b hooked) int {
		return cmp.Or(cmp.Compare(a.stage.Hook, b.stage.Hook), cmp.Compare(a.stage.Priority, b.stage.Priority))
	})
	return list
}

// Compile returns the base chains that see packets of the space's version, with
// their functions.
//
// A function is what [packet.Stage].Run does, with these assumptions: a set that
// packets change is never full; a register that is not written by the rule
// itself is not read, as kernels since Linux 6.1 demand; the checksums of a
// packet are right.
func (m *Machine) Compile(s *symbolic.Space, slots []symbolic.Slot) []symbolic.Stage {
	if _, ok := m.asked[s.Version]; !ok {
		m.Collect(s.Version, s.NameTests())
	}
	c := m.compiler(s)
	for i, id := range m.asked[s.Version] {
		c.slots[id] = slots[i]
	}
	var stages []symbolic.Stage
	for _, b := range m.bases() {
		modelled := b.chain.Table.Family != familyNetdev && b.chain.Base.Hook <= uint32(packet.Postrouting)
		if modelled && !sees(b.chain.Table.Family, s.Version) {
			continue
		}
		stage := symbolic.Stage{Name: b.stage.Name, Hook: b.stage.Hook, Priority: b.stage.Priority, Kind: b.stage.Kind}
		stage.Function = func() bdd.Ref { return c.base(b.chain, b.stage.Name) }
		if !modelled {
			stage.Function = func() bdd.Ref {
				return s.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: b.stage.Name + ": the hook is not modelled"})
			}
		}
		stages = append(stages, stage)
	}
	return stages
}

// A compiler makes functions of the rules of a machine.
type compiler struct {
	machine    *Machine
	space      *symbolic.Space
	slots      map[instanceID]symbolic.Slot
	collecting *collection // nil when functions are made
	changing   map[*Set]*changing
	rings      *rings
	routes     bool // some rule asks the routing tables for an address
	places     map[*Rule]int
	selections map[selectionKey]*selection
	generation int                            // of the space's manager, when the selections were begun
	single     map[*Chain]*symbolic.RuleChain // not nil: rules are compiled each by itself
}

func (m *Machine) compiler(s *symbolic.Space) *compiler {
	if m.rings == nil {
		m.rings = m.findRings()
	}
	c := &compiler{
		machine: m, space: s, slots: map[instanceID]symbolic.Slot{}, places: map[*Rule]int{}, rings: m.rings,
		changing: m.changingSets(), selections: map[selectionKey]*selection{}, generation: s.Generation(),
	}
	for _, r := range m.Rules() {
		for _, i := range r.Instructions {
			switch i.(type) {
			case *Fib, *Rt:
				c.routes = true
			}
		}
	}
	return c
}

// base is the function of a base chain.
func (c *compiler) base(of *Chain, stage string) bdd.Ref {
	if why := of.Table.Unknown; why != "" {
		return c.space.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: why})
	}
	policy, by := symbolic.Accept, 0
	if of.Base.Drop {
		policy = symbolic.Drop
	}
	if c.space.Provenance {
		by = c.space.NamePlace(stage + ", policy")
	}
	return c.space.Base(c.chain(of), policy, by)
}

// chain is the function of a chain.
func (c *compiler) chain(of *Chain) bdd.Ref {
	if of.Unknown != "" {
		return c.space.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: of.Unknown})
	}
	if use, ok := c.rings.chains[of]; ok {
		return c.ringChain(use)
	}
	return c.space.Memo(of, func() bdd.Ref {
		rules := make([]bdd.Ref, 0, len(of.Rules))
		for _, r := range of.Rules {
			if !canSee(r, c.space.Version) {
				continue
			}
			if f := c.compileRule(r); f != c.space.Next() {
				rules = append(rules, f)
			}
		}
		return c.space.Chain(rules)
	})
}

// compileRule is the function of a rule.
func (c *compiler) compileRule(r *Rule) bdd.Ref {
	x := &symbolicRun{compiler: c, rule: r, path: bdd.True}
	for _, i := range r.Instructions {
		x.rest = append(x.rest, stepOf(i))
	}
	return x.run()
}

// by numbers a rule for leaves of its own.
func (c *compiler) by(r *Rule) int {
	if !c.space.Provenance {
		return 0
	}
	n, ok := c.places[r]
	if !ok {
		n = c.space.NamePlace(c.place(r))
		c.places[r] = n
	}
	return n
}

// place says where a rule stands.
func (c *compiler) place(r *Rule) string {
	words := "table " + familyNames[r.Chain.Table.Family] + " " + r.Chain.Table.Name + " chain " + r.Chain.Name
	if r.Comment != "" {
		return r.Comment + ", " + words
	}
	return words
}
