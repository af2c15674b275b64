package equivalence

import (
	"math/big"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// A way leads from the beginning of a stage to a rule: by the rules that lead
// from chain to chain, to the rule itself.
type way struct {
	steps []site
	// rough are the packets that go this way and pass some tests of the rule,
	// whatever the other rules before do.
	rough bdd.Ref
	// blocks are rules before, none of which lets all of rough go on, and rest
	// what all of them do. The way is shut when that is nothing, and clear when a
	// packet of rest was found that no other rule takes.
	blocks      []site
	rest        bdd.Ref
	shut, clear bool
}

const (
	// maxWays is how many ways to a rule are looked at one by one.
	maxWays = 24
	// maxBlocks is how many rules are found out that block a way.
	maxBlocks = 100
)

// ways lists the ways to a rule, for packets that pass some tests of it. complete
// says that there are no others. They can be told only where no rule writes what
// later ones read.
func (r *reaching) ways(c *chainReach, i int, tests bdd.Ref) (list []*way, complete bool) {
	if len(r.kept) > 0 || r.stage.Unknown != "" {
		return nil, false
	}
	complete = true
	var back func(c *chainReach, rule int, wanted bdd.Ref, steps []site)
	back = func(c *chainReach, rule int, wanted bdd.Ref, steps []site) {
		steps = append(steps, site{c, rule})
		switch {
		case len(list) == maxWays:
			complete = false
			return
		case c.chain.Unknown != "":
			return // nothing is known of packets on this way
		case c.place == 0:
			if rough := r.space.And(wanted, r.domain); rough != bdd.False {
				w := &way{steps: slices.Clone(steps), rough: rough}
				slices.Reverse(w.steps)
				list = append(list, w)
			}
			return
		}
		for _, from := range c.sites {
			if before := r.union(r.leading(from, c, []arrival{{symbolic.NoEffect, wanted}})); before != bdd.False {
				back(from.from, from.rule, before, steps)
			}
		}
	}
	back(c, i, tests, nil)
	return list, complete
}

// letsOn are the packets that a rule lets go on to the next rule.
func (r *reaching) letsOn(at site) bdd.Ref {
	return r.space.Map(r.continues, r.block(at.from, at.rule, at.rule+1))
}

// block finds the first rule on a way that does not let a packet go on; ok is
// false when the packet comes to the end.
func (w *way) block(r *reaching, value func(l bdd.Level) bool) (at site, ok bool) {
	run := &tracing{reaching: r, value: value}
	for _, step := range w.steps {
		if n, v := run.rules(step.from, step.rule); v != symbolic.Continue {
			return site{step.from, n}, true
		}
	}
	return site{}, false
}

// A tracing takes a packet, given by its variables, through the functions of
// rules.
type tracing struct {
	*reaching
	value func(l bdd.Level) bool
	last  site // the rule that decided
}

// rules takes the packet through the first rules of a chain. It returns the rule
// that did not let it go on to the next, and what became of it there.
func (t *tracing) rules(c *chainReach, most int) (int, symbolic.Verdict) {
	s := t.space
	for n := range most {
		l := s.LeafOf(s.Eval(t.rule(c, n), t.value))
		if t.fault != nil {
			l = t.fault(l)
		}
		t.write(t.reduced(l.Effect))
		switch l.Verdict {
		case symbolic.Continue:
		case symbolic.Jump, symbolic.Goto:
			to := t.of[c.chain.Rules[n].Targets[l.By-1]]
			v := symbolic.Undecided
			switch {
			case to.chain.Unknown != "":
			case to.chain.Whole != nil:
				l := s.LeafOf(s.Eval(t.whole(to), t.value))
				t.write(l.Effect)
				v = l.Verdict
			default:
				_, v = t.rules(to, len(to.rules))
			}
			switch back := v == symbolic.Continue || v == symbolic.Return; {
			case back && l.Verdict == symbolic.Goto:
				return n, symbolic.Return
			case !back:
				return n, v
			}
		default:
			t.last = site{c, n}
			return n, l.Verdict
		}
	}
	return most, symbolic.Continue
}

// write changes the packet.
func (t *tracing) write(e symbolic.Effect) {
	if e == symbolic.NoEffect {
		return
	}
	s, before := t.space, t.value
	set := map[bdd.Level]bool{}
	for _, to := range s.WrittenLevels(e) {
		c, _ := s.Written(e, to)
		set[to] = s.Eval(s.CellFunction(c), before) == 1
	}
	moved := map[symbolic.Slot]bdd.Level{}
	for _, slot := range s.MovedSlots(e) {
		moved[slot] += bdd.Level(max(s.InstanceOf(slot).Width, 1))
	}
	t.value = func(l bdd.Level) bool {
		if v, ok := set[l]; ok {
			return v
		}
		if slot, ok := s.SlotOf(l); ok {
			l += moved[slot]
		}
		return before(l)
	}
}

// decides finds the rule of the stage that decides about a packet; the one behind
// the last of the first chain stands for the policy.
func (r *reaching) decider(value func(l bdd.Level) bool) site {
	t := &tracing{reaching: r, value: value}
	start := r.chains[0]
	if _, v := t.rules(start, len(start.rules)); v == symbolic.Continue || v == symbolic.Return {
		return site{start, len(start.rules)}
	}
	return t.last
}

// open finds packets that come by a way to its rule: it leaves out what the rules
// before are found to take, until nothing is left, or a packet that none takes.
// That one is called with; more says to go on.
func (w *way) open(r *reaching, with func(p point) (more bool)) {
	w.rest = w.rough
	for len(w.blocks) < maxBlocks {
		list := r.points(w.rest, r.scope)
		w.shut = len(list) == 0
		blocked := false
		for _, p := range list {
			at, ok := w.block(r, p.value())
			if ok {
				w.blocks = append(w.blocks, at)
				w.rest = r.space.And(w.rest, r.letsOn(at))
				blocked = true
				break
			}
			if w.clear = true; !with(p) {
				return
			}
		}
		if !blocked {
			return
		}
	}
}

// exact are the packets that come by the way to its rule.
func (w *way) exact(r *reaching) bdd.Ref {
	s := r.space
	for _, step := range w.steps {
		for n := range step.rule {
			if w.rest == bdd.False {
				return w.rest
			}
			if s.And(w.rest, s.Map(r.touches, r.rule(step.from, n))) != bdd.False {
				w.rest = s.And(w.rest, r.letsOn(site{step.from, n}))
			}
		}
	}
	return w.rest
}

// enough are few of some rules, such that each packet is one that they do not let
// go on unless another rule took it before: the last that does for all, or else
// those that do for most of what is left each time. They are all the rules when
// that is not enough, or there are too many to choose.
func (r *reaching) enough(packets bdd.Ref, rules []site) []site {
	s, rest := r.space, packets
	for _, at := range slices.Backward(rules) {
		if s.And(rest, r.letsOn(at)) == bdd.False {
			return []site{at}
		}
	}
	if len(rules) > maxBlocks {
		return rules
	}
	levels := merged(r.levels, s.Support(rest))
	var chosen []site
	for rest != bdd.False {
		var best site
		left, fewest := rest, (*big.Int)(nil)
		for _, at := range slices.Backward(rules) {
			still := s.And(rest, r.letsOn(at))
			if count := s.SatCount(still, levels); still != rest && (fewest == nil || count.Cmp(fewest) < 0) {
				best, left, fewest = at, still, count
			}
		}
		if fewest == nil {
			return rules // some write what others test
		}
		chosen, rest = append(chosen, best), left
	}
	return chosen
}
