package equivalence

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

// reach is the class of packets that come to a rule.
func (r *reaching) reach(c *chainReach, i int) bdd.Ref {
	return r.find(c, i, &c.rules[i].reached, nil)
}

// find looks for the packets that come to a rule and pass tests of it.
func (r *reaching) find(c *chainReach, i int, f *found, tests *bdd.Mapping) bdd.Ref {
	if !f.known {
		wanted := bdd.True
		if tests != nil {
			wanted = r.space.Map(tests, r.rule(c, i))
		}
		*f = found{class: r.union(r.origin(c, i, wanted)), known: true}
	}
	return f.class
}

func (r *reaching) matched(c *chainReach, i int) bdd.Ref {
	return r.find(c, i, &c.rules[i].matched, r.matches)
}

func (r *reaching) decided(c *chainReach, i int) bdd.Ref {
	return r.find(c, i, &c.rules[i].decided, r.decides)
}

// dubious are the packets that come to a rule that may match them.
func (r *reaching) dubious(c *chainReach, i int) bdd.Ref {
	return r.find(c, i, &c.rules[i].unsure, r.unsure)
}

// astray notes, from the first rule of each chain to the last, which packets may
// come there from something that is not modelled, after which anything can
// become of them.
func (r *reaching) astray() {
	s := r.space
	if r.stage.Unknown != "" {
		r.chains[0].lost[0] = r.domain
	}
	// What is lost in a chain and those that it leads to comes back to its caller.
	inside := map[*chainReach]bdd.Ref{}
	for _, c := range slices.Backward(r.chains) {
		if c.chain.Unknown != "" {
			c.lost[0] = r.union(r.arrivals(c, bdd.True))
		}
		now := c.lost[0]
		for i := range c.chain.Rules {
			if s.Map(r.unsure, r.rule(c, i)) != bdd.False {
				now = s.Or(now, r.dubious(c, i))
			}
			for _, to := range c.chain.Rules[i].Targets {
				now = s.Or(now, inside[r.of[to]])
			}
			c.lost[i+1] = now
		}
		if inside[c] = now; c.chain.Whole != nil {
			inside[c] = c.lost[0]
		}
	}
	for _, c := range r.chains {
		for i := range c.lost {
			if i > 0 {
				c.lost[i] = s.Or(c.lost[i], c.lost[i-1])
			}
			if i == len(c.rules) || c.lost[i] == bdd.False {
				continue
			}
			for _, to := range c.chain.Rules[i].Targets {
				t := r.of[to]
				t.lost[0] = s.Or(t.lost[0], c.lost[i])
			}
		}
	}
}

// arrivals are packets that come to the beginning of a chain and are wanted there.
func (r *reaching) arrivals(c *chainReach, wanted bdd.Ref) []arrival {
	if c.place == 0 {
		return r.enter([]arrival{{symbolic.NoEffect, wanted}})
	}
	all := []arrival(nil)
	for _, from := range c.sites {
		for _, before := range r.leading(from, c, []arrival{{symbolic.NoEffect, wanted}}) {
			for _, a := range r.origin(from.from, from.rule, before.packets) {
				all = r.add(all, arrival{r.space.Then(a.effect, before.effect), a.packets})
			}
		}
	}
	return all
}

// straying are the packets that may come to a rule on ways that are not followed.
func (r *reaching) straying(c *chainReach, i int) bdd.Ref {
	if r.capped {
		return r.domain
	}
	return c.lost[i]
}

// bounds are the packets that belong to a class, and those that may.
type bounds struct{ least, most bdd.Ref }

// reaching, matching and deciding are the packets that come to a rule, those of
// them that it matches, and those that it decides about.
func (r *reaching) reaching(c *chainReach, i int) bounds {
	f := r.reach(c, i)
	return bounds{f, r.space.Or(f, r.straying(c, i))}
}

func (r *reaching) matching(c *chainReach, i int) bounds {
	return r.bound(c, i, r.matched(c, i), r.matches)
}

func (r *reaching) deciding(c *chainReach, i int) bounds {
	return r.bound(c, i, r.decided(c, i), r.decides)
}

// bound adds to packets of a rule those that may come to it otherwise: of them it
// is not known what they look like by then.
func (r *reaching) bound(c *chainReach, i int, known bdd.Ref, tests *bdd.Mapping) bounds {
	s, f := r.space, r.rule(c, i)
	unsure := s.Map(r.unsure, f)
	most := s.Or(known, r.dubious(c, i))
	if unsure != bdd.False || s.Map(tests, f) != bdd.False {
		most = s.Or(most, r.straying(c, i))
	}
	return bounds{known, most}
}

// outcomes are what becomes of packets at a stage.
type outcomes struct{ accepted, dropped, policy bounds }

func (r *reaching) outcomes() outcomes {
	if r.ends == nil {
		ends := r.findOutcomes()
		r.ends = &ends
	}
	return *r.ends
}

func (r *reaching) findOutcomes() outcomes {
	s := r.space
	r.stand()
	start := r.chains[0]
	unsure := r.straying(start, len(start.rules))
	accepted, dropped, policy := bdd.False, bdd.False, bdd.False
	if r.stage.Unknown == "" {
		f := r.whole(start)
		unsure = s.Or(unsure, s.And(r.domain, s.Map(r.loses, f)))
		accepted, dropped = s.And(r.domain, s.Map(r.accepts, f)), s.And(r.domain, s.Map(r.drops, f))
		policy = s.And(r.domain, s.Or(s.Map(r.continues, f), s.Map(r.returns, f)))
		if r.stage.Policy == symbolic.Drop {
			dropped = s.Or(dropped, policy)
		} else {
			accepted = s.Or(accepted, policy)
		}
	}
	may := func(f bdd.Ref) bounds { return bounds{f, s.Or(f, unsure)} }
	return outcomes{may(accepted), may(dropped), may(policy)}
}
