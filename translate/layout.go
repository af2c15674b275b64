package translate

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate/optimize"
)

// tableOrder is the order of the tables in the text: that in which a packet
// meets them.
var tableOrder = []string{"raw", "mangle", "nat", "filter", "security"}

// priorities are those of the xtables hooks.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities.
var priorities = map[string]int32{"raw": -300, "mangle": -150, "filter": 0, "security": 50}

const (
	dstnat = -100
	srcnat = 100
)

// A chainPlan is one chain of one table, of either or both families.
type chainPlan struct {
	table string
	chain string
	name  string // in nftables
	apart bool   // the IPv6 one of two chains of the name
	again bool   // of table raw, behind connection tracking: see [Templater]
	sides []side // one per family that has the chain
	body  *body
}

// A side is what one family has under a chain's name.
type side struct {
	family iptables.Family
	chain  *iptables.Chain
	hooks  iptables.HookSet
}

func (s side) rules() []*iptables.Rule { return s.chain.Rules }

func (s side) context(plan *chainPlan, rule *iptables.Rule) iptables.Context {
	return iptables.Context{Family: s.family, Table: plan.table, Chain: plan.chain, Hooks: s.hooks, Rule: rule}
}

// layout decides which chains there will be and how they are called.
func (t *translation) layout(v4, v6 *iptables.Ruleset) {
	for _, table := range tableOrder {
		byName := make(map[string]*chainPlan)
		for _, rs := range []*iptables.Ruleset{v4, v6} {
			if rs == nil || rs.Table(table) == nil {
				continue
			}
			source := rs.Table(table)
			reach := source.Reach()
			for _, c := range source.Chains {
				t.addSide(byName, chainPlan{table: table}, side{family: rs.Family, chain: c, hooks: reach[c]})
			}
		}
		if table == "raw" {
			t.layoutTemplates(v4, v6)
		}
	}
	t.dropIdle()
	t.nameChains()
}

// addSide adds what one family has under a chain's name: to the plan of that name, or to
// a new one like fresh.
//
// A chain that the families reach from unlike hooks is one chain for each: nf_tables
// checks every rule for each hook that leads to it.
func (t *translation) addSide(byName map[string]*chainPlan, fresh chainPlan, s side) {
	plan := byName[s.chain.Name]
	fresh.apart = plan != nil && !s.chain.Builtin && plan.sides[0].hooks != s.hooks
	if plan == nil || fresh.apart {
		plan = &fresh
		plan.chain = s.chain.Name
		byName[plan.chain] = plan
		t.chains = append(t.chains, plan)
	}
	plan.sides = append(plan.sides, s)
}

// dropIdle leaves out built-in chains without rules and with policy ACCEPT,
// unless counters are kept. They decide nothing, and in nf_tables each would cost
// every packet.
func (t *translation) dropIdle() {
	kept := t.chains[:0]
	for _, plan := range t.chains {
		idle := true
		for _, s := range plan.sides {
			if !s.chain.Builtin || len(s.chain.Rules) > 0 || s.chain.Policy == "DROP" || t.options.Counters {
				idle = false
			}
		}
		if !idle {
			kept = append(kept, plan)
		}
	}
	t.chains = kept
}

// nameChains names the chains, see [chainName]. The chains of the filter table,
// and user chains that only one table has, keep their names where nft allows
// them; the others are prefixed by their table.
func (t *translation) nameChains() {
	tables := make(map[string]int)
	for _, plan := range t.chains {
		if !plan.apart && !plan.again {
			tables[plan.chain]++
		}
	}
	for _, plan := range t.chains {
		table := plan.table
		if table == "filter" || !plan.sides[0].chain.Builtin && tables[plan.chain] == 1 {
			table = ""
		}
		name := chainName(table, plan.chain, plan.apart)
		if plan.again {
			name += "_new"
		}
		plan.name = t.shared.unique("chain ", name)
	}
	t.names = make(map[chainKey]string, len(t.chains))
	for _, plan := range t.chains {
		for _, s := range plan.sides {
			t.names[chainKey{s.family, plan.table, plan.chain, plan.again}] = plan.name
		}
		if plan.name != plan.chain && !plan.again {
			t.renamed = append(t.renamed, Renaming{plan.table, plan.chain, plan.name})
		}
	}
}

// A chainKey names a chain of the source.
type chainKey struct {
	family       iptables.Family
	table, chain string
	again        bool
}

// name returns the nft name of a chain that a rule jumps to.
func (t *translation) name(r *Rule, chain string) string {
	return t.names[chainKey{r.Context.Family, r.Context.Table, chain, r.Again}]
}

// base returns where a built-in chain hangs.
func base(table, chain string, drop bool) *nftgen.Base {
	b := &nftgen.Base{Type: "filter", Priority: priorities[table], Drop: drop}
	switch iptables.Hook(chain) {
	case iptables.Prerouting:
		b.Hook = 0
	case iptables.Input:
		b.Hook = 1
	case iptables.Forward:
		b.Hook = 2
	case iptables.Output:
		b.Hook = 3
	case iptables.Postrouting:
		b.Hook = 4
	}
	switch table {
	case "nat":
		b.Type, b.Priority = "nat", srcnat
		if chain == "PREROUTING" || chain == "OUTPUT" {
			b.Priority = dstnat
		}
	case "mangle":
		if chain == "OUTPUT" {
			b.Type = "route"
		}
	}
	return b
}

// fill translates the rules of a chain.
func (t *translation) fill(plan *chainPlan) {
	chain := &nftgen.Chain{Name: plan.name, Origin: plan.sides[0].chain.Range}
	t.table.Chains = append(t.table.Chains, chain)
	plan.body = &body{shared: t.shared, chain: chain, tail: chain}
	if strings.Contains(plan.name, "/") {
		chain.Note = fmt.Sprintf("The chain %q of %s.", plan.chain, plan.sides[0].family)
	}
	if plan.sides[0].chain.Builtin {
		t.hang(plan, chain)
	}
	if plan.again && t.diags.HasErrors() {
		return // which are about the same rules
	}
	if t.table.Family != nftgen.Inet {
		t.fillAlone(plan, plan.sides[0])
	} else {
		t.fillMerged(plan)
	}
	if plan.body.chain == chain {
		plan.body.tail.Rules = append(plan.body.tail.Rules, t.policyCounters(plan)...)
	}
}

// fillAlone translates the rules of a chain in a table of one family, where
// nothing has to be known of one to translate another.
func (t *translation) fillAlone(plan *chainPlan, s side) {
	plan.body.chain.Rules = slices.Grow(plan.body.chain.Rules, len(s.rules()))
	r := new(Rule) // the same for all
	for _, rule := range s.rules() {
		if t.rule(r, s.context(plan, rule), plan.again) {
			plan.body.lower(r)
		}
	}
}

// fillMerged translates the rules of a chain of both families.
func (t *translation) fillMerged(plan *chainPlan) {
	lists := make(map[iptables.Family][]*Rule)
	for _, s := range plan.sides {
		rules := make([]Rule, len(s.rules()))
		list := make([]*Rule, 0, len(rules))
		for i, rule := range s.rules() {
			r := &rules[i]
			r.items = t.itemRoom(len(rule.Matches))
			if t.rule(r, s.context(plan, rule), plan.again) {
				list = append(list, r)
			}
		}
		lists[s.family] = list
	}
	for _, r := range t.merge(lists[iptables.IPv4], lists[iptables.IPv6]) {
		plan.body.lower(r)
	}
}

// itemRoom returns an empty list with room for the items of a rule with so many matches,
// as most have them.
func (t *translation) itemRoom(matches int) []item {
	n := matches + 4 // the tests of addresses and protocol, and what the target adds
	if n > len(t.items) {
		t.items = make([]item, max(n, 4*chunk))
	}
	list := t.items[:0:n]
	t.items = t.items[n:]
	return list
}

// hang makes the chain a base chain. Where the two families have unlike
// policies, no base chain can hold both: the rules then stand in a regular
// chain, and the base chain drops what comes back from it for one family. So do
// they where the policy's packets are counted and some leave the rules early.
func (t *translation) hang(plan *chainPlan, chain *nftgen.Chain) {
	if plan.again {
		chain.Base = base(plan.table, plan.chain, false)
		chain.Base.Priority = templatePriority
		guardTemplates(chain, t.expectedToo)
		return
	}
	drops := make(map[iptables.Family]bool)
	for _, s := range plan.sides {
		drops[s.family] = s.chain.Policy == "DROP"
	}
	differ := t.table.Family == nftgen.Inet && drops[iptables.IPv4] != drops[iptables.IPv6]
	around := t.options.Counters && leavesPolicy(plan)
	if !differ {
		chain.Base = base(plan.table, plan.chain, drops[plan.sides[0].family])
		if !around {
			return
		}
	}
	rules := t.shared.addHelper(chain, &nftgen.Chain{Name: plan.name + "_rules", Origin: chain.Origin})
	plan.body.chain, plan.body.tail = rules, rules
	chain.Rules = append([]*nftgen.Rule{
		{Stmts: []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: rules.Name}}},
	}, t.policyCounters(plan)...)
	if !differ {
		return
	}
	family, word := nftgen.IP, "IPv4"
	if drops[iptables.IPv6] {
		family, word = nftgen.IP6, "IPv6"
	}
	chain.Base = base(plan.table, plan.chain, false)
	chain.Note = fmt.Sprintf("The policies differ: only %s has policy drop.", word)
	chain.Rules = append(chain.Rules, &nftgen.Rule{Family: family, Stmts: []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Drop}}})
}

// finish adds the helper chains and sets, and makes of it what the kernel takes.
func (t *translation) finish() {
	t.table.Chains = append(t.table.Chains, t.shared.chains...)
	t.table.Objects, t.table.Sets = t.shared.objects, t.shared.sets
	t.flatten()
	if !t.diags.HasErrors() {
		t.costs = optimize.Run(t.table, optimize.Options{
			Level: t.options.Optimize, Off: t.options.PassesOff, Lines: t.options.ElementLines, Explain: t.options.ExplainCost, NoRanges: t.options.Target.lacks(concatRanges) != "",
		})
	}
	t.fit()
	t.sortChains()
}

// sortChains puts base chains first, in the order of the tables, then the
// chains they use, each followed by its helper chains, so that a reader meets
// each hook before its details. A helper of a chain that the optimisation left out
// is one of that chain's owner, if there is one: others may use it now.
func (t *translation) sortChains() {
	there := make(map[*nftgen.Chain]bool, len(t.table.Chains))
	for _, c := range t.table.Chains {
		there[c] = true
	}
	helpers := make(map[*nftgen.Chain][]*nftgen.Chain)
	var bases, others []*nftgen.Chain
	for _, c := range t.table.Chains {
		owner := t.shared.owners[c]
		for owner != nil && !there[owner] {
			owner = t.shared.owners[owner]
		}
		switch {
		case owner != nil:
			helpers[owner] = append(helpers[owner], c)
		case c.Base != nil:
			bases = append(bases, c)
		default:
			others = append(others, c)
		}
	}
	t.table.Chains = t.table.Chains[:0:0]
	var place func(c *nftgen.Chain)
	place = func(c *nftgen.Chain) {
		t.table.Chains = append(t.table.Chains, c)
		for _, h := range helpers[c] {
			place(h)
		}
	}
	for _, c := range append(bases, others...) {
		place(c)
	}
}
