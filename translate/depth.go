package translate

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/nftgen"
)

// maxDepth is how many chains may be nested below a base chain. xtables has no
// such limit.
//
// Kernel: include/net/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE;
// net/netfilter/nf_tables_api.c, nft_chain_validate. Measured on Linux 6.18.
const maxDepth = 15

// maxGrowth is how many times as many rules a table may have after its chains
// were flattened.
const maxGrowth = 10

// An Inlining says that the rules of a chain stand in another one, in place of
// the rule that leads there.
type Inlining struct {
	Chain, Into string     // names in nftables
	At          diag.Range // the rule that leads to the chain in the source
	Comment     string     // of that rule
}

// flatten puts rules of chains that are nested deeper than nf_tables allows
// into the chains that lead to them, until nothing is too deep, and reports
// the base chains for which that cannot be done.
//
// One step takes one rule that leads to a chain and puts the rules of that chain
// in its place (see [flattener.plan]), which shortens each way through the
// rule by one. Steps are chosen by what they cost in statements, so rules that
// were put together once are left alone as long as others are cheaper: of a long
// ladder, neighbours are joined, and no rule collects the tests of all.
func (t *translation) flatten() {
	f := &flattener{t: t, family: t.table.Family}
	for _, c := range t.table.Chains {
		f.rules += len(c.Rules)
	}
	f.most = maxGrowth*f.rules + 100
	for f.measure(); f.deepest > maxDepth && f.round(); f.measure() {
	}
	slices.SortStableFunc(t.inlined, func(a, b Inlining) int { return cmp.Compare(a.At.Start, b.At.Start) })
	for _, in := range t.inlined {
		in.note(f.byName[in.Into])
	}
	if f.deepest <= maxDepth {
		return
	}
	for _, c := range t.table.Chains {
		if c.Base == nil || f.below[c] <= maxDepth {
			continue
		}
		why := "nf_tables allows %d levels below a base chain, and the rules of the innermost chains cannot all stand in the chains that jump to them: "
		if f.full {
			why += "there would be too many rules."
		} else {
			why += f.reason + "."
		}
		subject := c.Origin
		if !f.where.IsZero() {
			subject = f.where
		}
		t.diags.Add(diag.Diagnostic{
			Severity: diag.Error, Class: diag.Unsupported,
			Code:    "chains-too-deep",
			Summary: fmt.Sprintf("chains below %s are nested %d deep", c.Name, f.below[c]),
			Detail:  fmt.Sprintf(why, maxDepth) + "\nNest the chains less deep, or keep the host on iptables.",
			Subject: subject, Context: subject,
		})
	}
}

// note says in the chain what else stands in it.
func (in Inlining) note(c *nftgen.Chain) {
	if c != nil {
		text := fmt.Sprintf("the rules of chain %s stand here, which is nested deeper than nf_tables allows.", in.Chain)
		if !in.At.IsZero() {
			text = placeOf(in.At) + ": " + text
		}
		if in.Comment != "" {
			text += " (" + in.Comment + ")"
		}
		c.Note = joinLines(c.Note, text)
	}
}

// placeOf names a line as the text does beside rules.
func placeOf(r diag.Range) string {
	return fmt.Sprintf("%s:%d", filepath.Base(r.Source.Name), r.Line())
}

func joinLines(lines ...string) string {
	lines = slices.DeleteFunc(lines, func(s string) bool { return s == "" })
	return strings.Join(lines, "\n")
}

// A flattener has what is known of the chains during one round.
type flattener struct {
	t      *translation
	family nftgen.Family
	byName map[string]*nftgen.Chain
	order  []*nftgen.Chain       // each before those it leads to
	above  map[*nftgen.Chain]int // chains on the longest way from a base chain; -1 when there is none
	below  map[*nftgen.Chain]int // chains on the longest way down
	uses   map[string]int        // how many rules lead to a chain
	// effects are the statements that run in a chain and below it.
	effects map[*nftgen.Chain][]nftgen.Stmt

	deepest, rules, most int
	full                 bool       // there would be too many rules
	reason               string     // why a step was refused
	where                diag.Range // and at which rule
}

// measure looks at all chains again.
func (f *flattener) measure() {
	chains := f.t.table.Chains
	f.byName = make(map[string]*nftgen.Chain, len(chains))
	f.uses = make(map[string]int)
	f.order = f.order[:0]
	f.above, f.below = make(map[*nftgen.Chain]int), make(map[*nftgen.Chain]int)
	f.effects = make(map[*nftgen.Chain][]nftgen.Stmt)
	f.deepest, f.rules = 0, 0
	for _, c := range chains {
		f.byName[c.Name] = c
		f.above[c] = -1
		f.rules += len(c.Rules)
		if c.Base != nil {
			f.above[c] = 0
		}
		f.leads(c, func(_ *nftgen.Rule, to string) { f.uses[to]++ })
	}
	seen := make(map[*nftgen.Chain]bool)
	for _, c := range chains {
		f.visit(c, seen)
	}
	slices.Reverse(f.order)
	for _, c := range f.order {
		if f.above[c] < 0 {
			continue
		}
		f.leads(c, func(_ *nftgen.Rule, to string) {
			if next := f.byName[to]; next != nil {
				f.above[next] = max(f.above[next], f.above[c]+1)
			}
		})
		f.deepest = max(f.deepest, f.above[c])
	}
}

// visit appends a chain to the order behind all it leads to. iptables has no
// loops; seen only bounds the search.
func (f *flattener) visit(c *nftgen.Chain, seen map[*nftgen.Chain]bool) {
	if c == nil || seen[c] {
		return
	}
	seen[c] = true
	f.leads(c, func(_ *nftgen.Rule, to string) {
		next := f.byName[to]
		f.visit(next, seen)
		f.below[c] = max(f.below[c], 1+f.below[next])
	})
	f.order = append(f.order, c)
}

// leads calls do for each rule of a chain with each chain that it leads to.
func (f *flattener) leads(c *nftgen.Chain, do func(r *nftgen.Rule, to string)) {
	for _, r := range c.Rules {
		for _, s := range r.Stmts {
			var few [1]string
			for _, to := range nftgen.AppendLeads(few[:0], s) {
				do(r, to)
			}
		}
	}
}

// runs returns the statements that a chain runs, with those of the chains below
// it, that can change what tests find. One stands for all of its kind.
func (f *flattener) runs(c *nftgen.Chain) []nftgen.Stmt {
	if list, ok := f.effects[c]; ok || c == nil {
		return list
	}
	f.effects[c] = nil
	var list []nftgen.Stmt
	for _, r := range c.Rules {
		list = addEffects(list, f.runsRule(r))
	}
	f.effects[c] = list
	return list
}

func (f *flattener) runsRule(r *nftgen.Rule) []nftgen.Stmt {
	var list []nftgen.Stmt
	for _, s := range r.Stmts {
		list = addEffects(list, []nftgen.Stmt{s})
		for _, to := range nftgen.Leads(s) {
			list = addEffects(list, f.runs(f.byName[to]))
		}
	}
	return list
}

// addEffects adds the statements of more that can change what tests find.
func addEffects(list, more []nftgen.Stmt) []nftgen.Stmt {
	for _, s := range more {
		if !nftgen.Harmless(s) && !slices.ContainsFunc(list, func(o nftgen.Stmt) bool { return nftgen.SameEffect(o, s) }) {
			list = append(list, s)
		}
	}
	return list
}

// A pair is a chain that leads to another one, with all the rules that do.
type pair struct {
	into, chain *nftgen.Chain
	at          []int // the rules
	cost        int   // about how many statements more there are afterwards
	more        int   // and how many rules
}

// round puts chains into chains that lead to them: the cheapest pairs that have
// no chain in common, and half as many as the depth has to shrink by. It returns
// false when nothing could be done.
func (f *flattener) round() bool {
	pairs := f.pairs()
	slices.SortStableFunc(pairs, func(a, b *pair) int { return cmp.Compare(a.cost, b.cost) })
	f.reason, f.where = "", diag.Range{}
	touched := make(map[*nftgen.Chain]bool)
	left := max(1, (f.deepest-maxDepth)/2)
	taken := false
	for _, p := range pairs {
		if left == 0 {
			break
		}
		if touched[p.into] || touched[p.chain] {
			continue
		}
		if f.rules+p.more > f.most {
			f.full = true
			continue
		}
		if f.join(p) {
			touched[p.into], touched[p.chain] = true, true
			taken = true
			left--
		}
	}
	return taken
}

// pairs returns the pairs on ways that are too long.
func (f *flattener) pairs() []*pair {
	var pairs []*pair
	for _, c := range f.order {
		if f.above[c] < 0 || f.above[c]+f.below[c] <= maxDepth {
			continue
		}
		found := make(map[string]*pair)
		for i, r := range c.Rules {
			v, ok := lastVerdict(r)
			if !ok || v.Chain == "" || f.above[c]+1+f.below[f.byName[v.Chain]] <= maxDepth {
				continue
			}
			p := found[v.Chain]
			if p == nil {
				p = &pair{into: c, chain: f.byName[v.Chain]}
				found[v.Chain] = p
				pairs = append(pairs, p)
			}
			p.at = append(p.at, i)
			p.cost += len(p.chain.Rules) * (len(r.Stmts) - 1)
		}
	}
	for _, p := range pairs {
		copies := len(p.at)
		if copies == f.uses[p.chain.Name] {
			copies--
		}
		p.more = copies * len(p.chain.Rules)
		for _, r := range p.chain.Rules {
			p.cost += copies * len(r.Stmts)
		}
	}
	return pairs
}

// join puts the rules of a pair's chain in the place of each rule that leads
// there, as far as that can be done, the last one first.
func (f *flattener) join(p *pair) bool {
	done := false
	for _, at := range slices.Backward(p.at) {
		v, _ := lastVerdict(p.into.Rules[at])
		s, why := f.plan(p.into, at, v)
		switch {
		case s != nil:
			f.take(s)
			done = true
		case f.reason == "":
			f.reason, f.where = why, p.into.Rules[at].Origin
		}
	}
	return done
}

// A step replaces a rule by the rules of the chain that it leads to.
type step struct {
	into, chain *nftgen.Chain
	at          int            // the rule's place
	rules       []*nftgen.Rule // in its place and of those behind it
	rest        *nftgen.Chain  // what stood behind, when it has to move
}

func lastVerdict(r *nftgen.Rule) (nftgen.VerdictStmt, bool) {
	if len(r.Stmts) == 0 {
		return nftgen.VerdictStmt{}, false
	}
	v, ok := r.Stmts[len(r.Stmts)-1].(nftgen.VerdictStmt)
	return v, ok
}

// take carries a step out.
func (f *flattener) take(s *step) {
	t := f.t
	leads := s.into.Rules[s.at]
	f.rules += len(s.rules) - (len(s.into.Rules) - s.at)
	s.into.Rules = append(slices.Clone(s.into.Rules[:s.at]), s.rules...)
	if s.rest != nil {
		t.shared.addHelper(s.into, s.rest)
		t.table.Chains = append(t.table.Chains, s.rest)
		f.rules += len(s.rest.Rules)
	}
	t.inlined = append(t.inlined, Inlining{Chain: s.chain.Name, Into: s.into.Name, At: leads.Origin, Comment: joinLines(leads.Comment, leads.Note)})
	if f.uses[s.chain.Name]--; f.uses[s.chain.Name] > 0 {
		return
	}
	// Nothing leads to the chain any more.
	f.rules -= len(s.chain.Rules)
	s.into.Note = joinLines(s.into.Note, s.chain.Note)
	t.table.Chains = slices.DeleteFunc(t.table.Chains, func(c *nftgen.Chain) bool { return c == s.chain })
	t.shared.adopt(s.chain, s.into)
	for i := range t.inlined {
		if t.inlined[i].Into == s.chain.Name {
			t.inlined[i].Into = s.into.Name
		}
	}
}
