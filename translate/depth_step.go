package translate

import (
	"errors"
	"reflect"
	"slices"

	"nftmigrate/nftgen"
)

// plan returns the step that puts a chain's rules in the place of rule i, which
// leads there; or says why that would not be the same.
//
// The tests of the rule, its condition, come in front of each rule of the
// chain. So no rule of the chain may change what they find, and they may not
// change anything themselves, unless the chain has one rule only. What leaves the
// chain before its end, a "return" or "goto", has to skip what stands behind the
// place: nothing does behind the last rule; a verdict for all packets takes the
// place of the "return"; and anything else moves to a chain of its own, the
// rest, which is entered by goto from both.
func (f *flattener) plan(into *nftgen.Chain, i int, v nftgen.VerdictStmt) (s *step, why string) {
	rule, chain := into.Rules[i], f.byName[v.Chain]
	w := &writer{
		f: f, into: into, rule: rule, condition: rule.Stmts[:len(rule.Stmts)-1],
		post: into.Rules[i+1:], gone: v.Kind == nftgen.Goto, copies: f.uses[chain.Name] > 1,
	}
	s = &step{into: into, chain: chain, at: i}
	if !f.mayCopy(chain) {
		return nil, "rules that keep a state would stand in two places"
	}
	if w.gone && len(w.condition) == 0 && rule.Family == 0 {
		w.post = nil // no packet comes there
	}
	if len(w.condition) > 0 || rule.Family != 0 {
		if why := w.repeatable(chain); why != "" {
			return nil, why
		}
	}
	for j, r := range chain.Rules {
		if why := w.add(r, j == len(chain.Rules)-1); why != "" {
			return nil, why
		}
		if w.over {
			break
		}
	}
	if w.gone && len(w.post) > 0 {
		w.append(nil, w.leave(), nil)
	}
	if len(w.rules) == 0 && !allPure(w.condition) {
		w.append(nil, nftgen.VerdictStmt{Kind: nftgen.Continue}, nil)
	}
	if w.failed != nil {
		return nil, "a rule would be too large, or nft could not read it"
	}
	if w.rest != nil {
		behind := 0
		for _, r := range w.post {
			for _, s := range r.Stmts {
				for _, to := range nftgen.Leads(s) {
					behind = max(behind, 1+f.below[f.byName[to]])
				}
			}
		}
		if longest := f.above[into] + 1 + behind; longest > max(maxDepth, f.above[into]+f.below[chain]) {
			return nil, "what follows a chain with RETURN is nested as deep"
		}
	}
	s.rules, s.rest = w.rules, w.rest
	switch {
	case w.rest == nil:
		s.rules = append(s.rules, w.post...)
	default:
		w.rest.Rules = w.post
		s.rules = append(s.rules, &nftgen.Rule{Stmts: []nftgen.Stmt{w.toRest()}, Origin: rule.Origin})
	}
	return s, ""
}

// mayCopy reports whether a chain's rules may stand in one more place while
// other rules still lead to the chain.
func (f *flattener) mayCopy(c *nftgen.Chain) bool {
	if f.uses[c.Name] == 1 {
		return true
	}
	for _, r := range c.Rules {
		for _, s := range r.Stmts {
			if !nftgen.Copyable(s) {
				return false
			}
		}
	}
	return true
}

// A writer writes the rules of a step.
type writer struct {
	f         *flattener
	into      *nftgen.Chain
	rule      *nftgen.Rule // that leads to the chain
	condition []nftgen.Stmt
	gone      bool // by goto: no packet comes back
	copies    bool // the chain is still used by others
	post      []*nftgen.Rule

	rules  []*nftgen.Rule
	rest   *nftgen.Chain
	over   bool  // no packet that passed the condition comes behind the last rule
	failed error // a rule cannot be written
}

// repeatable says why the condition cannot stand in front of each rule of a
// chain, or nothing when it can.
func (w *writer) repeatable(chain *nftgen.Chain) string {
	again := chain.Rules // rules behind which the condition is asked once more
	if !w.gone || len(w.post) == 0 {
		again = again[:max(0, len(again)-1)]
	}
	if len(again) == 0 {
		return ""
	}
	if n := len(w.condition); n > 0 {
		if c, ok := w.condition[n-1].(nftgen.Counter); ok && allPure(w.condition[:n-1]) {
			// Counted once, by a rule of its own.
			w.condition = w.condition[:n-1]
			w.append([]nftgen.Stmt{c}, nil, nil)
		}
	}
	if !allPure(w.condition) {
		return "a rule that jumps to a chain of several rules has a match with a state, which may be asked only once"
	}
	for _, r := range again {
		for _, effect := range w.f.runsRule(r) {
			for _, test := range w.condition {
				if nftgen.Disturbs(effect, test) {
					return "a chain changes what the rule that jumps to it tests"
				}
			}
		}
	}
	return ""
}

// add writes a rule of the chain.
func (w *writer) add(r *nftgen.Rule, last bool) (why string) {
	v, ends := lastVerdict(r)
	ends = ends && (v.Kind == nftgen.Return || v.Kind == nftgen.Goto)
	if !ends || w.gone || len(w.post) == 0 {
		w.append(r.Stmts, nil, r)
		w.over = ends && len(r.Stmts) == 1 && r.Family == 0
		return ""
	}
	tests := r.Stmts[:len(r.Stmts)-1]
	always := len(tests) == 0 && r.Family == 0
	if v.Kind == nftgen.Return {
		switch {
		case always:
			w.over = true
		case !last:
			w.append(tests, w.leave(), r)
		case !allPure(tests) || !allPure(w.condition):
			w.append(tests, nftgen.VerdictStmt{Kind: nftgen.Continue}, r)
		}
		return ""
	}
	jump := nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: v.Chain}
	w.append(tests, jump, r)
	if always || last {
		w.over = true
		return ""
	}
	if !allPure(tests) {
		return "a goto inside a chain stands behind a match with a state"
	}
	for _, effect := range w.f.runs(w.f.byName[v.Chain]) {
		for _, test := range tests {
			if nftgen.Disturbs(effect, test) {
				return "a chain changes what the rule that goes there by goto tests"
			}
		}
	}
	w.append(tests, w.leave(), &nftgen.Rule{Family: r.Family, Origin: r.Origin})
	return ""
}

// leave returns the verdict that skips what is left of the chain and of those
// behind the place.
func (w *writer) leave() nftgen.Stmt {
	if w.gone {
		return nftgen.VerdictStmt{Kind: nftgen.Return}
	}
	first := w.post[0]
	if v, ok := lastVerdict(first); ok && len(first.Stmts) == 1 && first.Family == 0 && v.Kind != nftgen.Jump && v.Kind != nftgen.Continue {
		return v
	}
	return w.toRest()
}

func (w *writer) toRest() nftgen.VerdictStmt {
	if w.rest == nil {
		shared, owner := w.f.t.shared, w.into
		for shared.owners[owner] != nil {
			owner = shared.owners[owner]
		}
		w.rest = &nftgen.Chain{Name: shared.free("chain ", owner.Name+"_rest"), Origin: w.rule.Origin}
	}
	return nftgen.VerdictStmt{Kind: nftgen.Goto, Chain: w.rest.Name}
}

// append writes a rule: the condition, stmts, and a verdict unless it is nil. r
// is the rule that it is made of, if any.
func (w *writer) append(stmts []nftgen.Stmt, verdict nftgen.Stmt, r *nftgen.Rule) {
	rule := nftgen.Rule{Origin: w.rule.Origin, Family: w.rule.Family, Comment: w.rule.Comment, Note: w.rule.Note}
	all := slices.Clone(w.condition)
	if r != nil {
		rule = *r
		if w.copies {
			stmts = uncounted(stmts)
		}
		switch {
		case rule.Family != 0 && w.rule.Family != 0 && rule.Family != w.rule.Family:
			if allPure(w.condition) {
				return // no packet is of both families
			}
			w.failed = errors.New("a test of the family stands behind a match with a state")
			return
		case rule.Family == 0:
			rule.Family = w.rule.Family
		}
	}
	if !allPure(w.condition) {
		all = append(all, w.guard(r, stmts)...)
		rule.Family = w.rule.Family
	}
	pure := allPure(all)
	for _, s := range stmts {
		if pure && slices.ContainsFunc(all, func(before nftgen.Stmt) bool { return nftgen.Pure(s) && sameStmt(before, s) }) {
			continue
		}
		if pure && nftgen.Pure(s) && slices.ContainsFunc(all, func(before nftgen.Stmt) bool { return nftgen.Contradict(before, s) }) {
			return // no packet passes both
		}
		pure = pure && nftgen.Pure(s)
		all = append(all, s)
	}
	if verdict != nil {
		all = append(all, verdict)
	}
	rule.Stmts = all
	if err := rule.CheckIn(w.f.family); err != nil && w.failed == nil {
		w.failed = err
	}
	w.rules = append(w.rules, &rule)
}

// guard returns the test of the family that a rule of the chain needs behind a
// condition with a state. Elsewhere it stands in front of all.
func (w *writer) guard(r *nftgen.Rule, stmts []nftgen.Stmt) []nftgen.Stmt {
	if w.f.family != nftgen.Inet || w.rule.Family != 0 || r == nil {
		return nil
	}
	family := r.Family
	for _, s := range stmts {
		for _, field := range nftgen.Fields(s) {
			if family == 0 {
				family = field.Family()
			}
		}
	}
	if family == 0 {
		return nil
	}
	return []nftgen.Stmt{nftgen.Compare{Field: nftgen.MetaNFProto, Op: nftgen.Eq, Value: nftgen.Value{byte(family)}}}
}

func sameStmt(a, b nftgen.Stmt) bool { return reflect.DeepEqual(a, b) }
