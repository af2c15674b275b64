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
	c.collecting = &collection{seen: map[instanceID]bool{}, sole: map[instanceID]bool{}}
	for _, r := range rules {
		if c.stateful(r) {
			c.compileRule(r)
		}
	}
	if m.asked == nil {
		m.asked = map[int][]instanceID{}
	}
	c.collecting.unite()
	m.asked[version] = c.collecting.ids
	return c.collecting.instances
}

// collection is what Collect has found.
type collection struct {
	ids       []instanceID
	seen      map[instanceID]bool
	sole      map[instanceID]bool // see noteSole
	instances []symbolic.Instance
	variables bdd.Level // given out for answers
}

// visit calls for each rule of tables that see a version once, in the order in
// which packets meet rules; then for those that no packet meets. What a rule
// leads to by goto comes behind the chain it stands in: a packet meets the one or
// the other.
func (m *Machine) visit(version int, each func(r *Rule)) {
	walked, met := map[*Chain]bool{}, map[*Rule]bool{}
	meet := func(r *Rule) {
		if !met[r] && canSee(r, version) {
			met[r] = true
			each(r)
		}
	}
	var walk func(c *Chain)
	walk = func(c *Chain) {
		if walked[c] || !sees(c.Table.Family, version) {
			return
		}
		walked[c] = true
		var later []*Chain
		for _, r := range c.Rules {
			if !canSee(r, version) {
				continue
			}
			meet(r)
			if r.leaves() {
				later = append(later, r.next()...)
			} else {
				for _, to := range r.next() {
					walk(to)
				}
			}
			if r.always() {
				break
			}
		}
		for _, c := range later {
			walk(c)
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
	for _, t := range m.Tables {
		for _, c := range t.Chains {
			if sees(c.Table.Family, version) {
				for _, r := range c.Rules {
					meet(r)
				}
			}
		}
	}
}

// leaves reports whether the rule leads to another chain by goto.
func (r *Rule) leaves() bool {
	for _, v := range ownVerdicts(r) {
		if v.Code == VerdictGoto {
			return true
		}
	}
	return false
}

// always reports whether no packet comes to the rules behind this one.
func (r *Rule) always() bool {
	if len(r.Instructions) != 1 {
		return false
	}
	for _, v := range ownVerdicts(r) {
		return v.Code != VerdictJump && v.Code != VerdictContinue
	}
	return false
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

// A compiler makes functions of the rules of a machine.
type compiler struct {
	machine    *Machine
	space      *symbolic.Space
	slots      map[instanceID]symbolic.Slot
	collecting *collection // nil when functions are made
	changing   map[*Set]*changing
	rings      *rings
	routes     bool // some rule asks the routing tables for an address
	selections map[selectionKey]*selection
	generation int // of the space's manager, when the selections were begun
	chains     map[*Chain]*symbolic.RuleChain
	number     func(*symbolic.RuleChain) int // of the rule at hand
	idle       []*symbolicRun                // to be used again
}

func (m *Machine) compiler(s *symbolic.Space) *compiler {
	if m.rings == nil {
		m.rings = m.findRings()
	}
	c := &compiler{
		machine: m, space: s, slots: map[instanceID]symbolic.Slot{}, chains: map[*Chain]*symbolic.RuleChain{}, rings: m.rings,
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

// compileRule is the function of a rule.
func (c *compiler) compileRule(r *Rule) bdd.Ref {
	x := c.newRun()
	x.rule = r
	for _, i := range r.Instructions {
		x.rest = append(x.rest, stepOf(i))
	}
	return x.finish()
}

// place says where a rule stands.
func (c *compiler) place(r *Rule) string {
	words := "table " + familyNames[r.Chain.Table.Family] + " " + r.Chain.Table.Name + " chain " + r.Chain.Name
	if r.Comment != "" {
		return r.Comment + ", " + words
	}
	return words
}
