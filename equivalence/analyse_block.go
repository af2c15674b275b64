package equivalence

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// reduced is an effect as far as it matters here.
func (r *reaching) reduced(e symbolic.Effect) symbolic.Effect {
	if len(r.kept) == 0 {
		return symbolic.NoEffect
	}
	return r.space.Reduced(e, func(l bdd.Level) bool { return r.kept[l] })
}

// mappings makes the questions that are asked of functions.
func (r *reaching) mappings() {
	s := r.space
	leads := func(l symbolic.Leaf) bool { return l.Verdict == symbolic.Jump || l.Verdict == symbolic.Goto }
	verdict := func(v symbolic.Verdict) *bdd.Mapping {
		return s.Flag(func(l symbolic.Leaf) bool { return l.Verdict == v })
	}
	r.matches = s.Flag(func(l symbolic.Leaf) bool { return l.By == symbolic.ByMatch || leads(l) })
	r.decides = s.Flag(func(l symbolic.Leaf) bool {
		return l.By == symbolic.ByMatch && (l.Verdict == symbolic.Accept || l.Verdict == symbolic.Drop)
	})
	r.unsure = verdict(symbolic.Undecided)
	r.touches = s.Flag(func(l symbolic.Leaf) bool { return l.Verdict != symbolic.Continue })
	r.continues, r.returns = verdict(symbolic.Continue), verdict(symbolic.Return)
	r.accepts, r.drops, r.loses = verdict(symbolic.Accept), verdict(symbolic.Drop), verdict(symbolic.Undecided)
	r.shared = s.NewMapping(func(v uint32) bdd.Ref { return r.blockLeaf(s.LeafOf(v), nil) })
}

// blockLeaf is what a leaf of a rule is in the function of a block: how the
// packet goes on, and the writes that matter.
func (r *reaching) blockLeaf(l symbolic.Leaf, targets []*symbolic.RuleChain) bdd.Ref {
	s := r.space
	if r.fault != nil {
		l = r.fault(l)
	}
	switch l.Verdict {
	case symbolic.Continue, symbolic.Return:
		return s.Leaf(symbolic.Leaf{Verdict: l.Verdict, Effect: r.reduced(l.Effect)})
	case symbolic.Jump:
		return s.Jump(bdd.True, r.reduced(l.Effect), r.whole(r.of[targets[l.By-1]]))
	case symbolic.Goto:
		return s.Goto(bdd.True, r.reduced(l.Effect), r.whole(r.of[targets[l.By-1]]))
	}
	end := symbolic.Leaf{Verdict: l.Verdict}
	if r.carry && l.Verdict == symbolic.Accept {
		end.Effect = r.reduced(l.Effect)
	}
	return s.Leaf(end)
}

// A blockKey names the function of rules [from, to) of a chain.
type blockKey struct {
	chain    *symbolic.RuleChain
	kept     string
	from, to int
}

// whole is the function of a chain.
func (r *reaching) whole(c *chainReach) bdd.Ref {
	s := r.space
	switch {
	case c.chain.Unknown != "":
		return s.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided})
	case c.chain.Whole != nil:
		return s.Map(r.shared, c.chain.Whole())
	case len(c.chain.Rules) == 0:
		return s.Next()
	}
	return r.block(c, 0, len(c.chain.Rules))
}

// block is the function of some rules of a chain: how packets go on behind
// them.
func (r *reaching) block(c *chainReach, from, to int) bdd.Ref {
	f := r.space.Memo(blockKey{c.chain, r.key, from, to}, func() bdd.Ref {
		before := r.capped
		r.capped = false
		f := r.makeBlock(c, from, to)
		if r.capped {
			r.model.capped[f] = true
		}
		r.capped = r.capped || before
		return f
	})
	r.capped = r.capped || r.model.capped[f]
	return f
}

func (r *reaching) makeBlock(c *chainReach, from, to int) bdd.Ref {
	s := r.space
	if to-from > 1 {
		half := (from + to) / 2
		return r.few(s.Sequence(r.block(c, from, half), r.block(c, half, to)))
	}
	targets := c.chain.Rules[from].Targets
	if len(targets) == 0 {
		return s.Map(r.shared, r.rule(c, from))
	}
	return r.few(s.Map(s.NewMapping(func(v uint32) bdd.Ref { return r.blockLeaf(s.LeafOf(v), targets) }), r.rule(c, from)))
}

// few loses the packets of a function behind all but so many different writes.
func (r *reaching) few(f bdd.Ref) bdd.Ref {
	if len(r.kept) == 0 {
		return f
	}
	s := r.space
	known := map[symbolic.Effect]bool{}
	for _, l := range s.Leaves(f) {
		known[l.Effect] = true
	}
	if len(known) <= maxArrivals {
		return f
	}
	r.capped = true
	clear(known)
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if known[l.Effect] = true; len(known) > maxArrivals {
			l = symbolic.Leaf{Verdict: symbolic.Undecided}
		}
		return s.Leaf(l)
	}), f)
}

// behind is a condition for packets that already had an effect.
func (r *reaching) behind(e symbolic.Effect, f bdd.Ref) bdd.Ref {
	if e == symbolic.NoEffect {
		return f
	}
	return r.space.After(e, symbolic.Word{f})[0]
}

// goingOn lists where a block lets packets go on, by what was written.
func (r *reaching) goingOn(f bdd.Ref) []arrival {
	s := r.space
	if list, ok := r.known[f]; ok {
		return list
	}
	var effects []symbolic.Effect
	for _, l := range s.Leaves(f) {
		if l.Verdict == symbolic.Continue && !slices.Contains(effects, l.Effect) {
			effects = append(effects, l.Effect)
		}
	}
	var list []arrival
	for _, e := range effects {
		where := r.continues
		if len(effects) > 1 {
			where = s.Flag(func(l symbolic.Leaf) bool { return l.Verdict == symbolic.Continue && l.Effect == e })
		}
		list = append(list, arrival{e, s.Map(where, f)})
	}
	r.known[f] = list
	return list
}
