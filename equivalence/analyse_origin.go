package equivalence

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// through takes what is wanted behind a block back to before it.
func (r *reaching) through(f bdd.Ref, wanted []arrival) []arrival {
	s := r.space
	var before []arrival
	for _, w := range wanted {
		for _, on := range r.goingOn(f) {
			if where := s.And(r.behind(on.effect, w.packets), on.packets); where != bdd.False {
				before = r.add(before, arrival{s.Then(on.effect, w.effect), where})
			}
		}
	}
	return before
}

// add puts packets to those to which the same is written.
func (r *reaching) add(list []arrival, a arrival) []arrival {
	for i := range list {
		if list[i].effect == a.effect {
			list[i].packets = r.space.Or(list[i].packets, a.packets)
			return list
		}
	}
	return append(list, a)
}

// throughRules takes what is wanted behind rules [from, to) back to before them.
func (r *reaching) throughRules(c *chainReach, from, to int, wanted []arrival) []arrival {
	// Whole blocks of the tree, from the last to the first.
	var walk func(low, high int)
	walk = func(low, high int) {
		switch {
		case len(wanted) == 0 || to <= low || high <= from:
		case from <= low && high <= to && high-low <= blockRules:
			wanted = r.through(r.block(c, low, high), wanted)
		default:
			half := (low + high) / 2
			walk(half, high)
			walk(low, half)
		}
	}
	if from < to {
		walk(0, len(c.rules))
	}
	return wanted
}

// origin takes what is wanted of packets as they meet a rule back to packets as
// they enter the stage.
func (r *reaching) origin(c *chainReach, rule int, wanted bdd.Ref) []arrival {
	r.stand()
	if wanted == bdd.False || c.chain.Unknown != "" {
		return nil
	}
	// What is wanted in each chain, by the rule before which it is.
	type want struct {
		rule    int
		packets []arrival
	}
	wants := make([][]want, c.place+1)
	wants[c.place] = []want{{rule, []arrival{{symbolic.NoEffect, wanted}}}}
	for place := c.place; place >= 0; place-- {
		c := r.chains[place]
		list := wants[place]
		if len(list) == 0 || c.chain.Unknown != "" {
			continue
		}
		slices.SortStableFunc(list, func(x, y want) int { return y.rule - x.rule })
		at, now := list[0].rule, []arrival(nil)
		for _, w := range list {
			now = r.throughRules(c, w.rule, at, now)
			at = w.rule
			for _, a := range w.packets {
				now = r.add(now, a)
			}
		}
		now = r.throughRules(c, 0, at, now)
		if place == 0 {
			return r.enter(now)
		}
		for _, from := range c.sites {
			if before := r.leading(from, c, now); len(before) > 0 {
				wants[from.from.place] = append(wants[from.from.place], want{from.rule, before})
			}
		}
	}
	return nil
}

// enter keeps the packets that can enter the stage.
func (r *reaching) enter(list []arrival) []arrival {
	if r.stage.Unknown != "" {
		return nil
	}
	var in []arrival
	for _, a := range list {
		if a.packets = r.space.And(a.packets, r.domain); a.packets != bdd.False {
			in = append(in, a)
		}
	}
	return in
}

// leading takes what is wanted at the beginning of a chain back to before a rule
// that leads there.
func (r *reaching) leading(from site, to *chainReach, wanted []arrival) []arrival {
	s := r.space
	f := r.rule(from.from, from.rule)
	var before []arrival
	for _, l := range s.Leaves(f) {
		if l.Verdict != symbolic.Jump && l.Verdict != symbolic.Goto || r.of[from.from.chain.Rules[from.rule].Targets[l.By-1]] != to {
			continue
		}
		e := r.reduced(l.Effect)
		where := s.Map(s.Flag(func(o symbolic.Leaf) bool { return o == l }), f)
		for _, w := range wanted {
			if where := s.And(r.behind(e, w.packets), where); where != bdd.False {
				before = r.add(before, arrival{s.Then(e, w.effect), where})
			}
		}
	}
	return before
}

// union is all packets of a list.
func (r *reaching) union(list []arrival) bdd.Ref {
	all := bdd.False
	for _, a := range list {
		all = r.space.Or(all, a.packets)
	}
	return all
}
