package optimize

import (
	"slices"
	"strconv"
	"strings"

	"nftmigrate/nftgen"
)

// Options are the choices of an optimisation.
type Options struct {
	// Level is how much is done: 0 is nothing, 1 keeps the order of the rules, 2
	// moves rules that have nothing in common.
	Level int
}

// Run makes the rules of a ruleset faster, in place.
func Run(rs *nftgen.Ruleset, o Options) {
	if o.Level == 0 {
		return
	}
	for _, t := range rs.Tables() {
		run(t, o)
	}
}

type optimizer struct {
	options Options
	table   *nftgen.Table
	chains  map[string]*nftgen.Chain
	names   map[string]bool
	effects map[string][]nftgen.Stmt // of chains and those they lead to
	current *nftgen.Chain
}

func run(t *nftgen.Table, options Options) {
	o := &optimizer{options: options, table: t, chains: make(map[string]*nftgen.Chain, len(t.Chains)), names: make(map[string]bool), effects: make(map[string][]nftgen.Stmt)}
	for _, c := range t.Chains {
		o.chains[c.Name], o.names[c.Name] = c, true
	}
	for _, s := range t.Sets {
		o.names[s.Name] = true
	}
	for _, s := range t.Objects {
		o.names[s.Name] = true
	}
	for _, c := range t.Chains {
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
	for _, r := range c.Rules {
		it := analyse(r)
		if it.simple && o.changesKey(it) {
			it.simple = false
		}
		if it.simple {
			if at, there := latest[it.shape]; there && o.reaches(groups, at, it) && groups[at].add(it) {
				continue
			}
			latest[it.shape] = len(groups)
		}
		g := newGroup(it)
		g.add(it)
		groups = append(groups, g)
	}
	rules := make([]*nftgen.Rule, 0, len(groups))
	for _, g := range groups {
		rules = append(rules, o.emit(g)...)
	}
	c.Rules = rules
}

// changesKey reports whether the chain that an item jumps to can change what the
// item's kin test, which are asked when packets come back.
func (o *optimizer) changesKey(it *item) bool {
	return it.verdict.Kind == nftgen.Jump && slices.ContainsFunc(it.facts, func(f fact) bool { return o.disturbs(it, f.field) })
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

// emit returns the rules of a group.
func (o *optimizer) emit(g *group) []*nftgen.Rule {
	if g.items[0].simple && len(g.items) > 1 {
		p := g.plan()
		if len(p.keys) == 0 {
			return []*nftgen.Rule{g.items[0].rule} // it takes all that the others ask for
		}
		if p.cost() < linearCost(g.items) {
			r, set := o.rule(p)
			if r.CheckIn(o.table.Family) == nil {
				if set != nil {
					o.table.Sets = append(o.table.Sets, set)
				}
				return []*nftgen.Rule{r}
			}
		}
	}
	rules := make([]*nftgen.Rule, len(g.items))
	for i, it := range g.items {
		rules[i] = it.rule
	}
	return rules
}

// disturbs reports whether what an item does can change a field.
func (o *optimizer) disturbs(it *item, f nftgen.Field) bool {
	test := nftgen.Compare{Field: f}
	for _, s := range it.rule.Stmts {
		if nftgen.Pure(s) {
			continue
		}
		if nftgen.Disturbs(s, test) {
			return true
		}
		for _, name := range nftgen.Leads(s) {
			if slices.ContainsFunc(o.effectsOf(name), func(e nftgen.Stmt) bool { return nftgen.Disturbs(e, test) }) {
				return true
			}
		}
	}
	return false
}

// effectsOf returns what a chain and those behind it do to packets.
func (o *optimizer) effectsOf(name string) []nftgen.Stmt {
	if list, ok := o.effects[name]; ok {
		return list
	}
	o.effects[name] = nil
	var list []nftgen.Stmt
	note := func(s nftgen.Stmt) {
		if !nftgen.Harmless(s) && !slices.ContainsFunc(list, func(t nftgen.Stmt) bool { return nftgen.SameEffect(s, t) }) {
			list = append(list, s)
		}
	}
	if c := o.chains[name]; c != nil {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				note(s)
				for _, next := range nftgen.Leads(s) {
					for _, e := range o.effectsOf(next) {
						note(e)
					}
				}
			}
		}
	}
	o.effects[name] = list
	return list
}

// name returns a free name for a set.
func (o *optimizer) name(p *plan, fields []nftgen.Field) string {
	words := []string{o.current.Name}
	for _, f := range fields {
		words = append(words, f.Text[strings.LastIndexByte(f.Text, ' ')+1:])
	}
	if p.group.uniform {
		words = append(words, map[nftgen.VerdictKind]string{nftgen.Accept: "accept", nftgen.Drop: "drop", nftgen.Return: "return", nftgen.Goto: "to_" + p.group.items[0].verdict.Chain, nftgen.Jump: "to_" + p.group.items[0].verdict.Chain}[p.group.items[0].verdict.Kind])
	} else {
		words = append(words, "map")
	}
	base := nftgen.CleanName(strings.Join(words, "_"))
	name := base
	for n := 2; o.names[name]; n++ {
		suffix := "_" + strconv.Itoa(n)
		name = base[:min(len(base), 120-len(suffix))] + suffix
	}
	o.names[name] = true
	return name
}
