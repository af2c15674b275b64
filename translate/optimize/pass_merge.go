package optimize

import (
	"slices"

	"nftmigrate/nftgen"
)

// merge makes lookups of rules that differ in values.
func (o *optimizer) merge() {
	o.look()
	for _, c := range o.table.Chains {
		o.chain(c)
	}
}

// groupsMost is how many groups a rule is moved over.
const groupsMost = 32

// chain rewrites the rules of a chain.
func (o *optimizer) chain(c *nftgen.Chain) {
	o.current = c
	var groups []*group
	latest := make(map[string]int)
	for _, it := range o.analyseAll(c.Rules) {
		if it.simple && o.changesKey(it) {
			it.simple = false
		}
		if it.simple {
			if at, there := latest[it.shape]; there && o.reaches(groups, at, it) && o.add(groups[at], it) {
				continue
			}
			latest[it.shape] = len(groups)
		}
		groups = append(groups, o.group(it))
	}
	rules := make([]*nftgen.Rule, 0, len(groups))
	for _, g := range groups {
		rules = o.emit(rules, g)
	}
	c.Rules = rules
}

// changesKey reports whether an item, or the chain that it jumps to, can change what the
// item's kin test, which packets meet that go on, or come back.
func (o *optimizer) changesKey(it *item) bool {
	return !it.terminal() && slices.ContainsFunc(it.facts, func(f fact) bool { return o.disturbs(it, f.field) })
}

// reaches reports whether an item may stand in an earlier group.
func (o *optimizer) reaches(groups []*group, at int, it *item) bool {
	between := groups[at+1:]
	if len(between) > 0 && o.options.Level < 2 || len(between) > groupsMost {
		return false
	}
	for _, g := range between {
		if g.conflicts(it, o.disturbs) {
			return false
		}
	}
	return true
}

// emit appends the rules of a group.
func (o *optimizer) emit(rules []*nftgen.Rule, g *group) []*nftgen.Rule {
	if g.items[0].simple && len(g.items) > 1 {
		p := g.plan(o.options.NoRanges)
		if p != nil && len(p.keys) == 0 {
			first := *g.items[0].rule // it takes all that the others ask for
			first.Note = "Leaves nothing for others of " + places(g.rules()) + "."
			return append(rules, &first)
		}
		if p != nil && costMore(g.items, p.cost()) {
			r, set := o.rule(p)
			if r.CheckIn(o.table.Family) == nil {
				if set != nil {
					o.table.Sets = append(o.table.Sets, set)
					o.made[set] = true
				}
				return append(rules, r)
			}
		}
	}
	for _, it := range g.items {
		rules = append(rules, it.rule)
	}
	return rules
}
