package equivalence

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A ReasonKind is the kind of reason for which a rule never matches.
type ReasonKind string

// The reasons.
const (
	// UnusedChain: no rule of a chain that hangs at a hook leads to the chain,
	// directly or by way of others.
	UnusedChain ReasonKind = "unused chain"
	// NoArrival: rules lead to the chain, but no packet comes by them.
	NoArrival ReasonKind = "no packet comes to the chain"
	// Contradiction: no packet passes all tests of the rule.
	Contradiction ReasonKind = "tests exclude each other"
	// ImpossibleHere: no packet that can be at the hook passes them.
	ImpossibleHere ReasonKind = "impossible at the hook"
	// OtherPackets: none of those packets passes them that come to the chain.
	OtherPackets ReasonKind = "other packets come to the chain"
	// Shadowed: earlier rules of the chain take all packets that would.
	Shadowed ReasonKind = "earlier rules take all"
	// Rewritten: earlier rules take some, and write what the rule tests of the
	// others.
	Rewritten ReasonKind = "earlier rules write what it tests"
)

// A Reason says why a rule never matches a packet at a stage.
type Reason struct {
	Kind ReasonKind
	// Stage is the name of the stage, "" when it is none in particular.
	Stage string
	// Rules are the rules that are to blame, by chain and number: those
	// that take packets which the rule would match, each of them some, and
	// together, when the kind is Shadowed, all; those that write what it tests;
	// those that lead to its chain.
	Rules []*RuleFacts
	// Text is a sentence that says it all.
	Text string
}

// explain gives each rule its answers, and the reasons of those that never match.
func (a *analysing) explain(stages []*reaching, program *symbolic.Program) {
	w := &explaining{facts: map[any]*RuleFacts{}, stages: stages}
	version := 0
	if len(a.models) > 0 {
		version = a.models[len(a.models)-1].space.Version
	}
	for _, f := range a.out.Rules {
		if f.Version == version {
			w.facts[f.rule.ID] = f
		}
	}
	for _, c := range program.Chains {
		for i := range c.Rules {
			w.rule(c, i)
		}
	}
}

type explaining struct {
	facts  map[any]*RuleFacts
	stages []*reaching
}

// rule answers for a rule.
func (w *explaining) rule(c *symbolic.RuleChain, i int) {
	f := w.facts[c.Rules[i].ID]
	reached, matched, decides := true, true, true // by no packet
	for _, r := range w.stages {
		of := r.of[c]
		if of == nil {
			continue
		}
		at := &of.rules[i]
		decides = decides && f.best < packet.Decided && !at.decided.some && r.deciding(of, i).most == bdd.False
		matched = matched && f.best < packet.Matched && !at.matched.some && r.matching(of, i).most == bdd.False
		reached = reached && f.best < packet.Missed && !at.reached.some && r.reaching(of, i).most == bdd.False
	}
	answer := func(shown, never bool) Answer {
		switch {
		case shown:
			return Shown
		case never:
			return Never
		}
		return NotKnown
	}
	f.Reached = answer(f.best >= packet.Missed, reached)
	f.Matched = answer(f.best >= packet.Matched, matched)
	f.Decides = answer(f.best >= packet.Decided, decides)
	if f.Matched == Never {
		f.Why = w.reasons(c, i)
	}
	if f.Reached == NotKnown || f.Matched == NotKnown || f.Decides == NotKnown {
		f.Undecided = w.undecided(c, i)
	}
}

// undecided says why an answer is not known.
func (w *explaining) undecided(c *symbolic.RuleChain, i int) string {
	for _, r := range w.stages {
		if of := r.of[c]; of != nil && (r.straying(of, i) != bdd.False || r.dubious(of, i) != bdd.False) {
			return "what comes here is not known: " + r.mystery(c, i)
		}
	}
	return "the rules of its own stage let packets come here, but none that was tried did on its whole way through the other stages and the host"
}

// mystery names something that is not modelled on the way to a rule.
func (r *reaching) mystery(c *symbolic.RuleChain, i int) string {
	if r.stage.Unknown != "" {
		return r.stage.Unknown
	}
	if of := r.of[c]; r.dubious(of, i) != bdd.False {
		for _, l := range r.space.Leaves(r.rule(of, i)) {
			if l.Verdict == symbolic.Undecided {
				return l.Why
			}
		}
	}
	for _, of := range r.chains {
		if of.chain.Unknown != "" {
			return of.chain.Unknown
		}
		for k := range of.rules {
			if of.chain.Whole != nil || r.dubious(of, k) == bdd.False {
				continue
			}
			for _, l := range r.space.Leaves(r.rule(of, k)) {
				if l.Verdict == symbolic.Undecided {
					return l.Why
				}
			}
		}
	}
	return "rules before write too many different things"
}

// reasons says why a rule never matches: for each stage, or once.
func (w *explaining) reasons(c *symbolic.RuleChain, i int) []Reason {
	var list []Reason
	for _, r := range w.stages {
		if r.of[c] == nil {
			continue
		}
		if reason := w.reason(r, r.of[c], i); !slices.ContainsFunc(list, func(o Reason) bool { return o.Text == reason.Text }) {
			list = append(list, reason)
		}
	}
	// That no packet comes by one hook says little when others do by another.
	if some := slices.DeleteFunc(slices.Clone(list), func(o Reason) bool { return o.Kind == NoArrival }); len(some) > 0 {
		list = some
	}
	if len(list) == 0 {
		list = append(list, Reason{Kind: UnusedChain, Rules: w.leading(c), Text: "no chain at a hook leads to " + c.Name + "."})
	}
	return list
}

// leading are the rules of any chain that lead to one.
func (w *explaining) leading(c *symbolic.RuleChain) []*RuleFacts {
	var list []*RuleFacts
	for _, f := range w.facts {
		if slices.Contains(f.rule.Targets, c) {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, byPlace)
	return list
}

// byPlace is the order of rules that stand in one list.
func byPlace(x, y *RuleFacts) int {
	if x.Chain != y.Chain {
		return strings.Compare(x.Chain, y.Chain)
	}
	return x.Number - y.Number
}

// reason says why a rule matches no packet at a stage.
func (w *explaining) reason(r *reaching, c *chainReach, i int) Reason {
	s := r.space
	r.stand()
	tests := s.Map(r.matches, r.rule(c, i))
	here := s.And(tests, r.domain)
	switch {
	case tests == bdd.False:
		return Reason{Kind: Contradiction, Text: "its tests exclude each other: no packet passes all of them."}
	case here == bdd.False:
		return Reason{Kind: ImpossibleHere, Stage: r.name, Text: r.impossible(tests)}
	}
	if of := &c.rules[i]; of.shut && len(of.ways) > 0 {
		return w.shut(r, c, of.ways)
	} else if !of.shut {
		if reason, ok := w.shadow(r, c, i, tests); ok {
			return reason
		}
	}
	rules := w.named(c.sites)
	if !w.visited(c) && len(r.arrivals(c, bdd.True)) == 0 {
		return Reason{Kind: NoArrival, Stage: r.name, Rules: rules, Text: fmt.Sprintf("no packet at %s comes to chain %s: only %s there.", r.name, c.chain.Name, list(rules, "leads", "lead"))}
	}
	return Reason{Kind: OtherPackets, Stage: r.name, Rules: rules, Text: fmt.Sprintf("none of the packets that come to chain %s at %s passes its tests: only %s there.", c.chain.Name, r.name, list(rules, "leads", "lead"))}
}

// shut says which rules block all ways to a rule.
func (w *explaining) shut(r *reaching, c *chainReach, ways []*way) Reason {
	var takers []site
	for _, way := range ways {
		takers = append(takers, r.enough(way.rough, way.blocks)...)
	}
	reason := Reason{Kind: Shadowed, Stage: r.name, Rules: w.named(takers)}
	before := !slices.ContainsFunc(takers, func(at site) bool { return at.from == c })
	reason.Text = list(reason.Rules, "takes", "take together") + " all packets that it would match at " + r.name
	if before {
		reason.Text += ", before they come to its chain"
	}
	reason.Text += "."
	return reason
}

// named are the facts of some rules, each once.
func (w *explaining) named(sites []site) []*RuleFacts {
	var rules []*RuleFacts
	for _, at := range sites {
		rules = append(rules, w.facts[at.from.chain.Rules[at.rule].ID])
	}
	slices.SortFunc(rules, byPlace)
	return slices.Compact(rules)
}

// visited reports whether a packet is known to have come to a chain that only one
// stage leads to.
func (w *explaining) visited(c *chainReach) bool {
	stages := 0
	for _, r := range w.stages {
		if r.of[c.chain] != nil {
			stages++
		}
	}
	return stages == 1 && slices.ContainsFunc(c.chain.Rules, func(r symbolic.ChainRule) bool { return w.facts[r.ID].best > 0 })
}

// impossible says what of some tests no packet of a stage passes.
func (r *reaching) impossible(tests bdd.Ref) string {
	s := r.space
	var groups []symbolic.Group
	for _, l := range s.Support(tests) {
		if g, _, ok := symbolic.GroupOf(l); ok && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	for _, g := range groups {
		of := s.Exists(tests, func(l bdd.Level) bool { return !inGroup(l, g) })
		if s.And(of, r.domain) == bdd.False {
			if r.tracked && (g == symbolic.Fragment || g == symbolic.MoreFragments) {
				return "no packet at " + r.name + " is a fragment: connection tracking puts them together before the first rule."
			}
			return fmt.Sprintf("no packet at %s has such a value of: %v.", r.name, g)
		}
	}
	return "no packet at " + r.name + " can pass all its tests at once."
}

func inGroup(l bdd.Level, g symbolic.Group) bool {
	of, _, ok := symbolic.GroupOf(l)
	return ok && of == g
}

// list names rules at the end of a sentence.
func list(rules []*RuleFacts, one, many string) string {
	const few = 4
	if len(rules) == 0 {
		return "no rule " + one
	}
	var words []string
	for _, f := range rules[:min(len(rules), few)] {
		words = append(words, f.String())
	}
	verb := one
	if len(rules) > 1 {
		verb = many
	}
	text := strings.Join(words, "; ")
	if more := len(rules) - few; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text + " " + verb
}

// shadow says which earlier rules take the packets that a rule would match: of
// its chain, or, when none of them comes so far, of those that lead to it; and
// which write what it tests. ok is false when there are no such packets.
func (w *explaining) shadow(r *reaching, c *chainReach, i int, wanted bdd.Ref) (reason Reason, ok bool) {
	s := r.space
	arrivals := r.arrivals(c, wanted)
	if len(arrivals) == 0 {
		reason = Reason{Kind: Shadowed, Stage: r.name}
		for _, from := range c.sites {
			for _, before := range r.leading(from, c, []arrival{{symbolic.NoEffect, wanted}}) {
				if s.And(before.packets, r.domain) == bdd.False {
					continue
				}
				if up, found := w.shadow(r, from.from, from.rule, before.packets); found && up.Kind == Shadowed {
					reason.Rules, ok = append(reason.Rules, up.Rules...), true
				}
			}
		}
		slices.SortFunc(reason.Rules, byPlace)
		reason.Rules = slices.Compact(reason.Rules)
		reason.Text = list(reason.Rules, "takes", "take together") + " all packets that it would match at " + r.name + ", before they come to its chain."
		return reason, ok
	}
	t := &taking{reaching: r, c: c}
	if left := t.take(0, len(c.rules), i, arrivals); len(left) == 0 {
		takers := t.takers
		if !slices.ContainsFunc(arrivals, func(a arrival) bool { return a.effect != symbolic.NoEffect }) {
			takers = r.enough(r.union(arrivals), takers)
		}
		rules := w.named(takers)
		return Reason{Kind: Shadowed, Stage: r.name, Rules: rules, Text: list(rules, "takes", "take together") + " all packets that it would match at " + r.name + "."}, true
	}
	// What is left came here, behind writes, and passes the tests no more.
	var writers []site
	read := s.Support(wanted)
	came := r.union(arrivals)
	changes := s.Flag(func(l symbolic.Leaf) bool {
		return slices.ContainsFunc(s.WrittenLevels(l.Effect), func(to bdd.Level) bool { return slices.Contains(read, to) })
	})
	for n := range i {
		if s.And(came, s.Map(changes, r.block(c, n, n+1))) != bdd.False {
			writers = append(writers, site{c, n})
		}
	}
	rules := w.named(writers)
	return Reason{Kind: Rewritten, Stage: r.name, Rules: rules, Text: "none of the packets that come to it at " + r.name + " passes its tests any more: " + list(rules, "writes", "write") + " what it tests."}, true
}

// taking finds the rules of a chain that do not let packets go on.
type taking struct {
	*reaching
	c      *chainReach
	takers []site
}

// take takes packets forward through the rules [from, to) of the chain that
// stand before another, and notes which rules keep some of them.
func (t *taking) take(from, to, before int, packets []arrival) []arrival {
	if from >= before || from == to || len(packets) == 0 {
		return packets
	}
	if to <= before && to-from <= blockRules {
		next := t.pass(t.block(t.c, from, to), packets)
		switch {
		case t.union(next) == t.union(packets):
			return next
		case to-from == 1:
			t.takers = append(t.takers, site{t.c, from})
			return next
		}
	}
	half := (from + to) / 2
	return t.take(half, to, before, t.take(from, half, before, packets))
}

// pass takes packets behind a block. The effect of an arrival is what was
// written so far.
func (r *reaching) pass(f bdd.Ref, packets []arrival) []arrival {
	s := r.space
	var next []arrival
	for _, p := range packets {
		for _, on := range r.goingOn(s.Behind(p.effect, f)) {
			if where := s.And(p.packets, on.packets); where != bdd.False {
				next = r.add(next, arrival{on.effect, where})
			}
		}
	}
	return next
}
