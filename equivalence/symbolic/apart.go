package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
)

// An Apart says what is not known to be treated alike by two stages.
type Apart struct {
	// Packets are those of which it is not shown that both stages do the same to
	// them: outside, they do. It does not depend on what rules of either stage
	// write, so that it can be given to [Space.Within].
	Packets bdd.Ref
	// Codes are those of accepted deviations under which rules drop packets that
	// the other side may treat otherwise, and Explained are these packets, as far
	// as they were to be found.
	Codes     []string
	Explained bdd.Ref
}

// Apart finds the packets that two stages may treat unlike, without the functions
// of the stages. Chains whose rules have the same functions in the same order have
// the same function; where rules differ, only those between the rules that both
// sides have are looked at. So the work grows with the rules and with what is
// different, not with how all rules work together.
//
// That is right because both sides see the same packet before the first rule, and
// rules with the same function leave it the same for the next. A packet that
// belongs to none of the classes for which some rules differ, whatever was written
// to it before, is treated alike by all of them.
//
// domain holds for the packets that can come to the stages; of others nothing is
// said. explains says whether the deviation of a code is accepted, and find whether
// packets that it is about are to be found.
func (s *Space) Apart(a, b *Stage, domain bdd.Ref, explains func(code string) bool, find bool) Apart {
	d := &divergence{
		space: s, explains: explains, find: find, known: map[[2]int]regions{}, loose: map[int]bdd.Ref{}, written: map[bdd.Level]bool{}, moved: map[Slot]bool{},
	}
	verdict := Accept
	var start [2]int
	for i, st := range []*Stage{a, b} {
		policy := Accept
		if st == nil {
			start[i] = s.number(nil)
		} else {
			s.AtStage(st)
			start[i], policy = s.number(st.Start), st.Policy
		}
		d.changes(s.bodies[start[i]].moves)
		if st != nil && st.Unknown != "" || i > 0 && policy != verdict {
			return Apart{Packets: bdd.True}
		}
		verdict = policy
	}
	d.domain = d.anyway(domain)
	r := d.bodies(start[0], start[1])
	return Apart{Packets: r.apart, Explained: r.explained, Codes: unique(d.codes)}
}

// regions are packets as an Apart has them.
type regions struct{ apart, explained bdd.Ref }

// A divergence is one call of Apart.
type divergence struct {
	space    *Space
	explains func(code string) bool
	known    map[[2]int]regions
	loose    map[int]bdd.Ref    // packets for which a body is unsure, by number
	written  map[bdd.Level]bool // by some rule
	moved    map[Slot]bool
	codes    []string
	find     bool    // explained packets
	domain   bdd.Ref // packets that can come to some rule, whatever was written

	compare                  *bdd.Op
	chains                   []regions // of pairs of leaves that lead to chains
	apart, explained, unsure *bdd.Mapping
}

// changes notes writes.
func (d *divergence) changes(writes []uint32) {
	for _, id := range writes {
		w := &d.space.effects.writes[id]
		for _, b := range w.bits {
			d.written[b.to] = true
		}
		for _, sh := range w.shifts {
			d.moved[sh.slot] = true
		}
	}
}

// anyway is a class without what rules of the stages may change: packets that
// could come to be of it.
func (d *divergence) anyway(class bdd.Ref) bdd.Ref {
	changes := func(l bdd.Level) bool {
		if d.written[l] {
			return true
		}
		slot, ok := d.space.SlotOf(l)
		return ok && d.moved[slot]
	}
	if len(d.written)+len(d.moved) == 0 || !slices.ContainsFunc(d.space.Support(class), changes) {
		return class
	}
	return d.space.Exists(class, changes)
}

// bodies compares two bodies.
func (d *divergence) bodies(x, y int) regions {
	if x == y {
		return regions{d.unsureIn(x), bdd.False}
	}
	key := [2]int{x, y}
	if r, ok := d.known[key]; ok {
		return r
	}
	r := regions{bdd.False, bdd.False}
	a, b := d.space.bodies[x].rules, d.space.bodies[y].rules
	for _, part := range align(a, b) {
		if part.same {
			for _, f := range part.a {
				r.apart = d.space.Or(r.apart, d.anyway(d.unsureFor(f)))
			}
			continue
		}
		of := d.segment(part.a, part.b)
		r.apart = d.space.Or(r.apart, d.anyway(of.apart))
		r.explained = d.space.Or(r.explained, d.anyway(of.explained))
	}
	d.known[key] = r
	return r
}

// unsureIn holds for packets that may come to something in a body that is not
// modelled.
func (d *divergence) unsureIn(n int) bdd.Ref {
	b := d.space.bodies[n]
	if !b.unsure {
		return bdd.False
	}
	if f, ok := d.loose[n]; ok {
		return f
	}
	all := bdd.False
	for _, f := range b.rules {
		all = d.space.Or(all, d.anyway(d.unsureFor(f)))
	}
	d.loose[n] = all
	return all
}

// unsureFor is unsureIn of a rule.
func (d *divergence) unsureFor(f bdd.Ref) bdd.Ref {
	s := d.space
	if !s.traitsOf(f).unsure {
		return bdd.False
	}
	if d.unsure == nil {
		d.unsure = s.NewMapping(func(v uint32) bdd.Ref {
			switch l := s.LeafOf(v); l.Verdict {
			case Undecided:
				return bdd.True
			case Jump, Goto:
				return d.unsureIn(l.By)
			}
			return bdd.False
		})
	}
	return s.Map(d.unsure, f)
}

// maxExpanded is how many rules, with those of chains to which they lead, are put
// together to one function in order to be compared. Of more it is said that they
// differ wherever one of them does anything.
const maxExpanded = 4096

// segment compares rules that stand between the same rules on both sides.
func (d *divergence) segment(a, b []bdd.Ref) regions {
	s := d.space
	size := 0
	for _, f := range slices.Concat(a, b) {
		size++
		for _, to := range s.traitsOf(f).to {
			size += s.bodies[to].size
		}
	}
	// Rule by rule, lists of the same length may differ in what is explained
	// only.
	paired := regions{bdd.True, bdd.False}
	if len(a) == len(b) {
		paired.apart = bdd.False
		for i := range a {
			r := d.pair(a[i], b[i])
			paired.apart, paired.explained = s.Or(paired.apart, r.apart), s.Or(paired.explained, r.explained)
		}
	}
	switch {
	case paired.apart == bdd.False, len(a) == 1 && len(b) == 1 && !d.leadsAway(a[0], b[0]):
		return paired
	case size > maxExpanded && len(a) == len(b):
		return paired
	case size > maxExpanded:
		some, acts := bdd.False, s.acting()
		for _, f := range slices.Concat(a, b) {
			some = s.Or(some, s.Map(acts, f))
		}
		return regions{s.And(some, d.domain), bdd.False}
	}
	whole := func(rules []bdd.Ref) bdd.Ref {
		list := make([]bdd.Ref, len(rules))
		for i, f := range rules {
			list[i] = s.expand(f, bdd.True)
		}
		return s.List(list)
	}
	r := d.pair(whole(a), whole(b))
	if len(a) == len(b) { // what either finds alike is
		r.apart, r.explained = s.And(r.apart, d.anyway(paired.apart)), s.Or(r.explained, paired.explained)
	}
	return r
}

// leadsAway reports whether one of two rules leads to a chain where the other does
// something else: a chain may do for one side what the rule does for the other.
func (d *divergence) leadsAway(f, g bdd.Ref) bool {
	s, away := d.space, false
	s.Together(f, g, func(f, g bdd.Ref) bool {
		a, _ := s.leafAt(f)
		b, _ := s.leafAt(g)
		leads := func(l Leaf) bool { return l.Verdict == Jump || l.Verdict == Goto }
		away = f != g && (leads(a) || leads(b)) && (a.Verdict != b.Verdict || a.Effect != b.Effect)
		return !away
	})
	return away
}

// pair compares two functions leaf by leaf. Leaves that lead to chains with the
// same effect are as far apart as the chains.
func (d *divergence) pair(f, g bdd.Ref) regions {
	s := d.space
	if d.compare == nil {
		d.compare = s.NewOp("apart", d.leaves)
		d.apart = s.NewMapping(func(v uint32) bdd.Ref {
			return d.region(v, leavesUnlike, func(r regions) bdd.Ref { return r.apart })
		})
		d.explained = s.NewMapping(func(v uint32) bdd.Ref {
			return d.region(v, leavesExplained, func(r regions) bdd.Ref { return r.explained })
		})
	}
	if !d.mayBeApart(f, g) {
		return regions{bdd.False, bdd.False}
	}
	how := s.Apply(d.compare, f, g)
	r := regions{s.Map(d.apart, how), bdd.False}
	for _, side := range []bdd.Ref{f, g} {
		if s.traitsOf(side).unsure {
			r.apart = s.Or(r.apart, d.unsureFor(side))
		}
	}
	r.apart = s.And(r.apart, d.domain)
	if codes := d.named(f, g); len(codes) > 0 {
		explained := s.And(s.Map(d.explained, how), d.domain)
		if explained != bdd.False {
			d.codes = unique(append(d.codes, codes...))
		}
		if d.find {
			r.explained = explained
		}
	}
	return r
}

// mayBeApart reports whether pair may find something, other than what is explained
// and was before: that is most of what rules differ in, and needs no functions.
func (d *divergence) mayBeApart(f, g bdd.Ref) bool {
	if d.find || d.space.traitsOf(f).unsure || d.space.traitsOf(g).unsure || len(d.named(f, g)) > 0 {
		return true
	}
	may := false
	d.space.Together(f, g, func(f, g bdd.Ref) bool {
		how, _ := d.leaves(f, g)
		switch v, _ := d.space.Value(how); {
		case v >= leavesChains:
			may = d.chains[v-leavesChains].apart != bdd.False
		default:
			may = v == leavesUnlike
		}
		return !may
	})
	return may
}

// How two leaves compare, as the terminals of a function. What is greater is of
// leaves that lead to chains: the place in divergence.chains behind them.
const (
	leavesAlike uint32 = iota
	leavesUnlike
	leavesExplained
	leavesChains
)

// leaves is the operation that compares leaves.
func (d *divergence) leaves(f, g bdd.Ref) (bdd.Ref, bool) {
	if f == g {
		return d.space.Terminal(leavesAlike), true
	}
	a, okA := d.space.leafAt(f)
	b, okB := d.space.leafAt(g)
	switch {
	case !okA || !okB:
		return 0, false
	case a.Verdict == b.Verdict && a.Effect == b.Effect && (a.Verdict == Jump || a.Verdict == Goto):
		d.chains = append(d.chains, d.bodies(a.By, b.By))
		return d.space.Terminal(leavesChains + uint32(len(d.chains)-1)), true
	case d.explain(a) || d.explain(b):
		return d.space.Terminal(leavesExplained), true
	}
	return d.space.Terminal(leavesUnlike), true
}

// region is where leaves compare in one way, as a terminal says.
func (d *divergence) region(v, way uint32, of func(regions) bdd.Ref) bdd.Ref {
	switch {
	case v >= leavesChains:
		return of(d.chains[v-leavesChains])
	case v == way:
		return bdd.True
	}
	return bdd.False
}

// explain reports whether a packet is dropped under an accepted deviation, so that
// whatever else would become of it is no difference.
func (d *divergence) explain(l Leaf) bool {
	return l.Verdict == Drop && l.Why != "" && d.explains(l.Why)
}

// named lists the deviations with which explain may say so, as far as that is
// still to be found out.
func (d *divergence) named(functions ...bdd.Ref) []string {
	var list []string
	for _, f := range functions {
		for _, code := range d.space.traitsOf(f).codes {
			if d.explains(code) && (d.find || !slices.Contains(d.codes, code)) {
				list = append(list, code)
			}
		}
	}
	return list
}
