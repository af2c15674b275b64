package iptsim

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
)

// A chain is a chain, compiled.
type chain struct {
	source *iptables.Chain
	table  string
	rules  []rule
	hooks  iptables.HookSet
}

// A rule is a rule, compiled.
type rule struct {
	base    base
	matches []match
	// effects and then are what the action does besides jumping.
	effects []predicate.Effect
	then    predicate.Outcome
	target  *chain // of a jump or goto
	jump    bool   // target returns to the next rule
	unknown string // what of the action is not modelled

	source *iptables.Rule
	chain  *chain
}

// A match is one match of a rule.
type match struct {
	use     iptables.MatchUse
	meaning predicate.Meaning
	scope   string // of its private states
	unknown string
}

// base is the part of a rule that is compared without extensions.
//
// Kernel: struct ipt_ip and struct ip6t_ip6.
type base struct {
	src, dst masked
	in, out  masked
	proto    uint8 // 0 is any
	notProto bool
	fragment bool // -f was given
	notFrag  bool
}

// masked is a comparison under a mask; the zero value always holds.
type masked struct {
	mask, value predicate.Bits
	not         bool
}

func (m *masked) holds(v predicate.Bits) bool {
	return (v.And(m.mask) == m.value) != m.not
}

func compileTable(family iptables.Family, source *iptables.Table, sets *setTests) *table {
	t := &table{name: source.Name}
	chains := make(map[string]*chain, len(source.Chains))
	reach := source.Reach()
	for _, c := range source.Chains {
		compiled := &chain{source: c, table: source.Name, hooks: reach[c]}
		chains[c.Name] = compiled
		t.chains = append(t.chains, compiled)
	}
	for _, c := range t.chains {
		c.rules = make([]rule, len(c.source.Rules))
		for i, r := range c.source.Rules {
			ctx := iptables.Context{Family: family, Table: t.name, Chain: c.source.Name, Hooks: c.hooks, Rule: r}
			c.rules[i] = compileRule(ctx, c, i, chains, sets)
		}
	}
	breakLoops(t)
	return t
}

func compileRule(ctx iptables.Context, c *chain, index int, chains map[string]*chain, sets *setTests) rule {
	r := rule{source: ctx.Rule, chain: c, base: compileBase(ctx.Rule), then: predicate.Continue}
	for i, use := range ctx.Rule.Matches {
		m := match{use: use, scope: fmt.Sprintf("%s %s %d %d", c.table, c.source.Name, index, i)}
		if meaning, ok := use.Match.(Meaning); ok {
			m.meaning = meaning.Meaning(ctx)
			if m.meaning.Unproven != nil {
				m.meaning.Unproven = predicate.Simplify(m.meaning.Unproven)
			}
			if m.meaning.Hotdrop != nil {
				m.meaning.Hotdrop = predicate.Simplify(m.meaning.Hotdrop)
			}
			if m.meaning.Doom != nil {
				m.meaning.Doom = predicate.Simplify(m.meaning.Doom)
			}
			if m.meaning.Match != nil {
				m.meaning.Match = predicate.Simplify(sets.resolve(m.meaning.Match, ctx.Family))
			}
		} else {
			m.unknown = "match " + use.Match.Name()
		}
		r.matches = append(r.matches, m)
	}
	switch a := ctx.Rule.Action; a.Kind {
	case iptables.NoAction:
	case iptables.Verdict:
		outcome, ok := verdicts[a.Name]
		if !ok {
			r.unknown = "verdict " + a.Name
		}
		r.then = outcome
		if a.Name == "QUEUE" {
			r.effects = []predicate.Effect{predicate.Queue{}}
		}
	case iptables.Jump, iptables.Goto:
		r.target, r.jump = chains[a.Name], a.Kind == iptables.Jump
		if r.target == nil {
			r.unknown = "chain " + a.Name + ", which does not exist"
		}
	case iptables.Extend:
		doing, ok := a.Target.(Doing)
		if !ok {
			r.unknown = "target " + a.Name
			break
		}
		action := doing.Action(ctx)
		r.effects, r.then = action.Effects, action.Then
		for i, e := range r.effects {
			if change, ok := e.(predicate.SetChange); ok {
				r.effects[i] = sets.bind(change, ctx)
			}
			if lookup, ok := e.(predicate.SetMap); ok {
				r.effects[i] = sets.bindMap(lookup, ctx.Family)
			}
		}
		if r.then < predicate.Continue || r.then > predicate.Return {
			r.unknown = "target " + a.Name
		}
	}
	return r
}

var verdicts = map[string]predicate.Outcome{
	"ACCEPT": predicate.Accept, "DROP": predicate.Drop, "RETURN": predicate.Return,
	// Of QUEUE it is what becomes of a packet that the listener lets pass.
	"QUEUE": predicate.Accept,
}

func compileBase(r *iptables.Rule) base {
	return base{
		src: addressTest(r.Source), dst: addressTest(r.Destination),
		in: interfaceTest(r.In), out: interfaceTest(r.Out),
		proto:    uint8(r.Protocol.Value),
		notProto: r.Protocol.Negated,
		fragment: r.Fragment.Present,
		notFrag:  r.Fragment.Negated,
	}
}

func addressTest(o iptables.Opt[iptables.Address]) masked {
	if !o.Present {
		return masked{}
	}
	mask := predicate.Addr(o.Value.Mask)
	return masked{mask: mask, value: predicate.Addr(o.Value.Addr).And(mask), not: o.Negated}
}

// interfaceTest compares a name with its terminating zero byte, or, with a
// trailing "+", only what stands before the plus.
//
// Kernel: ifname_compare_aligned; iptables: xtables_parse_interface.
func interfaceTest(o iptables.Opt[iptables.Interface]) masked {
	if !o.Present {
		return masked{}
	}
	name, wildcard := strings.CutSuffix(string(o.Value), "+")
	size := len(name) + 1
	if wildcard {
		size--
	}
	all := predicate.Ones(128)
	mask := all.Xor(predicate.Ones(128 - 8*min(size, 16)))
	return masked{mask: mask, value: predicate.Name(name).And(mask), not: o.Negated}
}

// breakLoops makes the jumps undecided that lead back to a chain they come
// from. The kernel loads no such table.
func breakLoops(t *table) {
	const (
		open = iota + 1
		done
	)
	state := make(map[*chain]int)
	var visit func(c *chain)
	visit = func(c *chain) {
		state[c] = open
		for i := range c.rules {
			r := &c.rules[i]
			switch {
			case r.target == nil:
			case state[r.target] == open:
				r.unknown = "a loop of jumps through " + r.target.source.Name
			case state[r.target] == 0:
				visit(r.target)
			}
		}
		state[c] = done
	}
	for _, c := range t.chains {
		if state[c] == 0 {
			visit(c)
		}
	}
}
