package equivalence

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A Comparison is what changes between two rulesets of one language.
type Comparison struct {
	// Word is Equivalent when no packet changes its fate, Different when some do,
	// and Undecided when it is not known.
	Word Word
	// Changes are classes of packets that come out unlike, each with a packet that
	// was run through both rulesets, by stage: those with another verdict first,
	// then the largest.
	Changes []Change
	// Unshown are classes for which no packet was found that comes out unlike on
	// its whole way: what one stage does no more, another may do instead.
	Unshown []Change
	// Unknown says what is not modelled and may differ.
	Unknown []string
	// Incomplete says why classes may be missing, "" when none is: a budget that
	// ran out.
	Incomplete string
	// Assumptions say of which packets nothing is said.
	Assumptions []string
	// Nodes is the number of nodes of all diagrams, Elapsed the time they took.
	Nodes   int
	Elapsed time.Duration
}

// A Change is a class of packets that the stages of two rulesets treat unlike.
type Change struct {
	Version int
	// Stage is the name of the stage in the ruleset that has it.
	Stage         string
	Hook          packet.Hook
	Before, After Outcome
	// Packets are those of the class, as they enter the stage. It is the zero value
	// of a change that only shows on the whole way of a packet; such have no Stage,
	// Before and After either, but an Example.
	Packets Class
	// Cut says that all of them have a transport header that is cut off: such
	// packets are one class, whichever rules decide about them, and come last.
	Cut bool
	// Example is a packet of the class with its fates and traces, A before and B
	// after; nil of classes that are not shown.
	Example *Difference
}

// Changes finds the packets whose fate differs between two rulesets of the same
// language, before and after a change. Both machines must implement
// [symbolic.Compiler]; else the error is [ErrNotCompilable]. Of the options,
// it takes Versions, Memory and Time.
//
// The stages at the same hook, with the same priority, are compared. Where they
// are unlike, the packets fall into classes by what becomes of them before and
// after, and by the rules that decide; a class is a change when a packet of it
// comes out unlike on its whole way through both rulesets. Unlike [Prove], it
// takes no difference for explained. States of both sides are the same when
// they are equal in kind and parameters, those of rules with the same text first:
// a bucket is taken to be as full after the change as before.
func Changes(ctx context.Context, before, after Machine, o ProofOptions) (*Comparison, error) {
	if !compiles(before) || !compiles(after) {
		return nil, ErrNotCompilable
	}
	o.Strict = true
	p, err := newProver(ctx, before, after, o)
	if err != nil {
		return nil, err
	}
	p.cancel()
	c := &changing{base: p, out: &Comparison{}, budget: newBudget(ctx, p.o.Time)}
	for _, v := range o.Versions {
		if err := c.version(v); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			why, ok := ranOut(err, p.o)
			if !ok {
				return nil, fmt.Errorf("compare IPv%d: %w", v, err)
			}
			c.out.Incomplete = why
		}
	}
	return c.out, c.conclude(ctx)
}

// changing is one call of Changes.
type changing struct {
	base   *prover
	out    *Comparison
	budget *budget
	models []*model
	unlike bool // some stages
}

// version compares the stages of one IP version.
func (c *changing) version(version int) error {
	p := *c.base
	a, b := p.a.(symbolic.Compiler), p.b.(symbolic.Compiler)
	var tests symbolic.NameTests
	inA, inB := a.Collect(version, &tests), b.Collect(version, &tests)
	if err := c.pair(&p, version, inA, inB); err != nil {
		return err
	}
	p.ordinary = map[place][]start{}
	p.space = symbolic.NewSpace(c.budget.manager(p.o), version, &tests, p.pairing.All)
	p.space.Marked = true
	p.space.Unfragmented = p.tracked
	m := &model{prover: &p, budget: c.budget, capped: map[bdd.Ref]bool{}}
	c.models = append(c.models, m)
	programs := [2]*symbolic.Program{a.Compile(p.space, p.pairing.A), b.Compile(p.space, p.pairing.B)}
	return m.compile(func() {
		for _, pair := range pairStages(programs[0].Stages, programs[1].Stages) {
			c.stage(m, pair, programs)
		}
	})
}

// pair pairs the states of both sides. A state of a rule that both sides have is
// that of the rule on the other side.
func (c *changing) pair(p *prover, version int, inA, inB []symbolic.Instance) error {
	tagged := func(m Machine, list []symbolic.Instance) ([]symbolic.Instance, error) {
		out := slices.Clone(list)
		seen := map[string]int{}
		texts, err := c.askers(m.(symbolic.Compiler), version, len(list))
		if err != nil {
			return nil, err
		}
		for i, text := range texts {
			name := fmt.Sprintf("%q%q%q%q", list[i].Kind, list[i].Parameters, list[i].Key, text)
			out[i].Key += fmt.Sprintf("\x00%s\x00%d", text, seen[name])
			out[i].Needs = nil // both sides are of one language, which says what it is
			seen[name]++
		}
		return out, nil
	}
	tagA, err := tagged(p.a, inA)
	if err != nil {
		return err
	}
	tagB, err := tagged(p.b, inB)
	if err != nil {
		return err
	}
	// A tag that the other side does not have is taken away.
	untag := func(list, raw, others []symbolic.Instance) {
		for i := range list {
			if !slices.ContainsFunc(others, func(o symbolic.Instance) bool {
				return o.Kind == list[i].Kind && o.Parameters == list[i].Parameters && o.Key == list[i].Key
			}) {
				list[i].Key = raw[i].Key
			}
		}
	}
	oldA := slices.Clone(tagA)
	untag(tagA, inA, tagB)
	untag(tagB, inB, oldA)
	p.pairing = symbolic.Pair(tagA, tagB, func(string) bool { return false })
	for i := range p.pairing.All {
		p.pairing.All[i].Key, _, _ = strings.Cut(p.pairing.All[i].Key, "\x00")
	}
	return nil
}

// askers are the texts of the first rules that ask each of n instances.
func (c *changing) askers(m symbolic.Compiler, version, n int) ([]string, error) {
	texts := make([]string, n)
	if n == 0 {
		return texts, nil
	}
	var tests symbolic.NameTests
	s := symbolic.NewSpace(c.budget.manager(c.base.o), version, &tests, m.Collect(version, &tests))
	err := s.Try(func() {
		for _, chain := range m.Compile(s, inOrder(n)).Chains {
			for i := range chain.Rules {
				for _, l := range s.Support(chain.Rules[i].Function(chain.Rules[i].Target)) {
					if slot, ok := s.SlotOf(l); ok && texts[slot] == "" {
						texts[slot] = chain.Name + " " + chain.Rules[i].Text()
					}
				}
			}
		}
	})
	return texts, err
}

// inOrder are the slots of n instances that are not paired.
func inOrder(n int) []symbolic.Slot {
	slots := make([]symbolic.Slot, n)
	for i := range slots {
		slots[i] = symbolic.Slot(i)
	}
	return slots
}

// stage compares a pair of stages.
func (c *changing) stage(m *model, q stagePair, programs [2]*symbolic.Program) {
	s := m.space
	f, g := m.space.Function(q.a), m.space.Function(q.b)
	at := m.situation(q.hook, q.priority, q.kind)
	domain, assumed := s.Domain(at, f, g)
	c.out.Assumptions = assuming(c.out.Assumptions, assumed)
	sc := &scope{model: m, hook: q.hook, early: at.Early, domain: domain, levels: merged(s.Support(f), s.Support(g), s.Support(domain))}
	st := &comparedStage{scope: sc, stagePair: q, programs: programs, name: q.proof(s.Version, false).B}
	if q.b == nil {
		st.name = q.a.Name
	}
	for _, class := range s.Compare(f, g, domain, at.Accepts) {
		if class.Relation == symbolic.Unknown {
			c.unknown(class.Why)
			continue
		}
		c.unlike = true
		for _, part := range outcomePairs(s, class.Where, f, g) {
			c.rules(st, part)
		}
	}
}

// A comparedStage is a pair of stages that are unlike.
type comparedStage struct {
	*scope
	stagePair
	name     string
	programs [2]*symbolic.Program
	sides    [2]*reaching
	prepared bool
}

// change makes a change of a class, with the rules that decide where they are
// told.
func (st *comparedStage) change(part outcomePair, deciders [2]site, cut bool) Change {
	s := st.space
	ch := Change{
		Version: s.Version, Stage: st.name, Hook: st.stagePair.hook, Packets: Class{at: st.scope, least: part.where, most: part.where}, Cut: cut,
		Before: outcomeOf(s, part.a), After: outcomeOf(s, part.b),
	}
	for i, o := range []*Outcome{&ch.Before, &ch.After} {
		if at := deciders[i]; at.from != nil {
			o.Rule = nameOf(at.from.chain, at.rule)
			if at.rule < len(at.from.rules) {
				o.id = at.from.chain.Rules[at.rule].ID
			}
		}
	}
	return ch
}

func (c *changing) unknown(why string) {
	if !slices.Contains(c.out.Unknown, why) {
		c.out.Unknown = append(c.out.Unknown, why)
	}
}

// maxClasses is how many classes of one outcome are told apart by their rules.
const maxClasses = 500

// rules splits a class by the rules that decide on either side.
func (c *changing) rules(st *comparedStage, part outcomePair) {
	s := st.space
	if !st.prepared {
		st.sides = [2]*reaching{side(st.model, st.programs[0], st.a), side(st.model, st.programs[1], st.b)}
		st.prepared = true
	}
	whole := st.whole()
	for n := 0; n < maxClasses; n++ {
		points := st.points(s.And(part.where, whole), st.scope)
		if len(points) == 0 {
			break
		}
		where, deciders := part.where, [2]site{}
		for i, r := range st.sides {
			if r != nil {
				deciders[i] = r.decider(points[0].value())
				where = s.And(where, r.decidedBy(deciders[i], where))
			}
		}
		if s.And(where, whole) == bdd.False {
			break // by no rules that could be told
		}
		c.add(st.change(outcomePair{where, part.a, part.b}, deciders, false))
		part.where = s.Diff(part.where, where)
	}
	if part.where != bdd.False {
		c.add(st.change(part, [2]site{}, s.And(part.where, whole) == bdd.False))
	}
}

// add adds packets to the class that the same rules decide about alike, but for
// events.
func (c *changing) add(ch Change) {
	for i := range c.out.Changes {
		o := &c.out.Changes[i]
		if o.Packets.at == ch.Packets.at && o.Cut == ch.Cut && o.Before.join(ch.Before, false) && o.After.join(ch.After, false) {
			o.Before.join(ch.Before, true)
			o.After.join(ch.After, true)
			where := o.Packets.at.space.Or(o.Packets.most, ch.Packets.most)
			o.Packets.least, o.Packets.most = where, where
			return
		}
	}
	c.out.Changes = append(c.out.Changes, ch)
}

// side prepares the rules of one side of a stage.
func side(m *model, program *symbolic.Program, st *symbolic.Stage) *reaching {
	if st == nil {
		return nil
	}
	for i := range program.Stages {
		if of := &program.Stages[i]; of.Name == st.Name && of.Hook == st.Hook && of.Priority == st.Priority && of.Unknown == "" {
			r := newReaching(m, of)
			r.begin()
			return r
		}
	}
	return nil
}

// decidedBy are the packets of a class that a rule, or the policy, decides about.
func (r *reaching) decidedBy(at site, class bdd.Ref) bdd.Ref {
	s := r.space
	start := r.chains[0]
	switch {
	case at.from == start && at.rule == len(start.rules):
		f := r.whole(start)
		return s.Or(s.Map(r.continues, f), s.Map(r.returns, f))
	case len(r.kept) > 0:
		// All leaves of the rule that end the stage.
		return r.union(r.origin(at.from, at.rule, r.ending(at)))
	}
	return r.union(r.origin(at.from, at.rule, s.And(class, r.ending(at))))
}

// ending is where a rule accepts or drops by itself, also inside of a test.
func (r *reaching) ending(at site) bdd.Ref {
	return r.space.Map(r.space.Flag(func(l symbolic.Leaf) bool {
		return l.Verdict == symbolic.Accept || l.Verdict == symbolic.Drop || l.Verdict == symbolic.Undecided
	}), r.rule(at.from, at.rule))
}

// conclude looks for examples, and says the word.
func (c *changing) conclude(ctx context.Context) error {
	r := c.out
	c.sort()
	var shown []Change
	for i := range r.Changes {
		ch := &r.Changes[i]
		if err := ch.Packets.at.try(func() { ch.Example = ch.example() }); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if why, ok := ranOut(err, c.base.o); ok && r.Incomplete == "" {
				r.Incomplete = why
			}
		}
		if ch.Example != nil {
			shown = append(shown, *ch)
		} else {
			r.Unshown = append(r.Unshown, *ch)
		}
	}
	r.Changes = shown
	for _, m := range c.models {
		r.Nodes += m.space.Size()
		m.done = true
	}
	slices.Sort(r.Assumptions)
	switch {
	case len(r.Changes) > 0:
		r.Word = Different
	case len(r.Unknown) > 0 || r.Incomplete != "":
		r.Word = Undecided
	case c.unlike:
		// The rules may have moved from stage to stage.
		o := c.base.o
		o.Time = max(time.Until(c.budget.until), time.Nanosecond)
		p, err := Prove(ctx, c.base.a, c.base.b, o)
		if err != nil {
			return err
		}
		r.Word, r.Incomplete = p.Word, p.Incomplete
		for why := range maps.Keys(p.Unknown) {
			c.unknown(why)
		}
		slices.Sort(r.Unknown)
		for i := range p.Differences {
			d := &p.Differences[i]
			r.Changes = append(r.Changes, Change{Version: d.Packet.Version(), Hook: d.A.Last, Example: d})
		}
	default:
		r.Word = Equivalent
	}
	r.Elapsed = time.Since(c.base.start)
	return nil
}

// sort puts classes in the order of stages: those first that have another
// verdict, then the largest.
func (c *changing) sort() {
	type key struct {
		stages, alike int
		size          *big.Int
	}
	keys := map[*scope]int{}
	sizes := make([]key, len(c.out.Changes))
	order := make([]int, len(c.out.Changes))
	for i, ch := range c.out.Changes {
		at := ch.Packets.at
		if _, ok := keys[at]; !ok {
			keys[at] = len(keys)
		}
		alike := 0
		switch {
		case ch.Cut:
			alike = 2
		case ch.Before.Verdict == ch.After.Verdict:
			alike = 1
		}
		sizes[i] = key{keys[at], alike, at.count(ch.Packets.most, merged(at.levels, at.space.Support(ch.Packets.most)))}
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		x, y := sizes[i], sizes[j]
		return cmp.Or(x.stages-y.stages, x.alike-y.alike, y.size.Cmp(x.size))
	})
	sorted := make([]Change, len(order))
	for n, i := range order {
		sorted[n] = c.out.Changes[i]
	}
	c.out.Changes = sorted
}

// example finds a packet of a change that comes out unlike: alone, or behind some
// others like it. The rules that decide about the class must have decided.
func (ch *Change) example() *Difference {
	at := ch.Packets.at
	for _, p := range at.points(ch.Packets.most, at) {
		w, ok := at.witness(p)
		if !ok || at.tracked && packet.IsFragment(w.packet.Data) {
			continue
		}
		if d := ch.shows(w); d != nil {
			return d
		}
	}
	return nil
}

// shows runs a packet through both rulesets, as often as the states ask for that
// the class depends on.
func (ch *Change) shows(w witness) *Difference {
	at := ch.Packets.at
	times := 1
	for _, l := range at.space.Support(ch.Packets.most) {
		if slot, ok := at.space.SlotOf(l); ok {
			times = max(times, at.turns(slot))
		}
	}
	c := at.replayer(w.host)
	at.a.Reset()
	at.b.Reset()
	var decided [2]bool
	for i, side := range []struct {
		walker *Walker
		id     any
	}{{c.walkA, ch.Before.id}, {c.walkB, ch.After.id}} {
		side.walker.Trace = true
		side.walker.Visit = func(rule any, how packet.Look) { decided[i] = decided[i] || rule == side.id }
	}
	for n := range times {
		decided = [2]bool{ch.Before.id == nil, ch.After.id == nil}
		a, b := c.walkA.Run(w.packet), c.walkB.Run(w.packet)
		if aspects := Differ(a, b); len(aspects) > 0 && decided[0] && decided[1] && a.Verdict != packet.Undecided && b.Verdict != packet.Undecided {
			return &Difference{
				Packet: w.packet, Host: w.host, Before: slices.Repeat([]*packet.Packet{w.packet}, n), Aspects: aspects, A: a, B: b, Count: 1,
			}
		}
	}
	return nil
}
