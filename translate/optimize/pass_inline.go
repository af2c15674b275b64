package optimize

import (
	"slices"

	"nftmigrate/nftgen"
)

const (
	// inlineFrom is how many chains of a kind make it worth while.
	inlineFrom = 8
	// inlineRules is how many rules a chain may have that is put elsewhere.
	inlineRules = 64
)

// inline puts the rules of small chains in the place of the jumps to them, where many
// jumps of one shape stand in a chain.
func (o *optimizer) inline() {
	o.look()
	uses := o.uses()
	for _, c := range o.table.Chains {
		candidates := make(map[string]int) // by shape
		items := make([]*item, len(c.Rules))
		for i, r := range c.Rules {
			if !jumpsToUnshared(r, uses) {
				continue
			}
			if it := o.stock.analyse(r); it.simple {
				items[i] = it
				candidates[it.shape]++
			}
		}
		shapes := make(map[string]int)
		for i, it := range items {
			switch {
			case it == nil:
			case candidates[it.shape] >= inlineFrom && o.inlinable(it):
				shapes[it.shape]++
			default:
				items[i] = nil
			}
		}
		if len(shapes) == 0 {
			continue
		}
		var rules []*nftgen.Rule
		var names []string
		for i, r := range c.Rules {
			it := items[i]
			if it == nil || shapes[it.shape] < inlineFrom {
				rules = append(rules, r)
				continue
			}
			names = append(names, it.verdict.Chain)
			for _, inner := range o.chains[it.verdict.Chain].Rules {
				rules = append(rules, o.both(it, inner))
			}
		}
		c.Rules = rules
		if names != nil {
			c.Note = joinLines(c.Note, "The rules of these chains stand here: "+listed(names)+".")
		}
	}
}

// jumpsToUnshared reports whether a rule jumps to a chain that no other one leads to.
func jumpsToUnshared(r *nftgen.Rule, uses map[string]int) bool {
	if len(r.Stmts) == 0 {
		return false
	}
	v, ok := r.Stmts[len(r.Stmts)-1].(nftgen.VerdictStmt)
	return ok && v.Kind == nftgen.Jump && uses[v.Chain] == 1
}

// inlinable reports whether the rules of the chain that an item jumps to decide by
// simple tests, so that they mean the same behind the tests of the item.
func (o *optimizer) inlinable(it *item) bool {
	c := o.chains[it.verdict.Chain]
	if c == nil || c.Base != nil || len(c.Rules) == 0 || len(c.Rules) > inlineRules || len(it.rest) > 0 || it.counter != nil {
		return false
	}
	for _, r := range c.Rules {
		inner := o.stock.analyse(r)
		if r.Comment != "" && it.rule.Comment != "" {
			return false // one rule keeps one comment
		}
		if !inner.simple || r.Family != 0 && it.family != 0 && r.Family != it.family || !inner.final() {
			return false
		}
		both := o.both(it, r)
		if both.CheckIn(o.table.Family) != nil || !o.stock.analyse(both).simple {
			return false
		}
	}
	return true
}

// both is a rule of a chain with the tests of the rule that jumps there.
func (o *optimizer) both(outer *item, inner *nftgen.Rule) *nftgen.Rule {
	r := *inner
	r.Stmts = append(slices.Clone(outer.rule.Stmts[:len(outer.rule.Stmts)-1]), inner.Stmts...)
	if r.Family == 0 {
		r.Family = outer.rule.Family
	}
	if r.Comment == "" {
		r.Comment = outer.rule.Comment
	}
	return &r
}
