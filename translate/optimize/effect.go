package optimize

import (
	"slices"

	"nftmigrate/nftgen"
)

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
		var few [1]string
		for _, name := range nftgen.AppendLeads(few[:0], s) {
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
				var few [1]string
				for _, next := range nftgen.AppendLeads(few[:0], s) {
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
