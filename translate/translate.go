package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate/optimize"
)

// Options are the choices of a translation. The zero value is the default.
type Options struct {
	// Table is the name of the table; "" means "firewall".
	Table string
	// Sets are the ipsets that rules name, or nil when none were given.
	Sets *ipset.Sets
	// Strict refuses declared deviations instead of warning of them.
	Strict bool
	// Allow lists the codes of declared deviations that Strict lets pass;
	// [AllowAll] stands for all of them.
	Allow []string
	// KeepXt keeps matches and targets without native form as extensions of
	// xtables, which only a batch can hold, instead of refusing their rules.
	KeepXt bool
	// Counters keeps the counters of rules and policies, as far as the source
	// has them. Rules of both families that are alike are then not shared.
	Counters bool
	// Target is the oldest kernel and nft that the translation is for.
	Target Target
	// Optimize is how much is done to make the rules faster: see Level in optimize.Options.
	Optimize int
	// ElementLines gives each element of a set that the optimisation makes its line in the
	// source, as a comment.
	ElementLines bool
	// ExplainCost asks for Result.Costs.
	ExplainCost bool
	// PassesOff names passes of the optimisation that are left out.
	PassesOff []string
}

// AllowAll allows every declared deviation.
const AllowAll = "deviation"

func (o *Options) allows(code string) bool { return !o.Strict || Allows(o.Allow, code) }

// Allows reports whether a list as [Options.Allow] has one accepts a code.
func Allows(list []string, code string) bool {
	return slices.Contains(list, AllowAll) || slices.Contains(list, code)
}

// A Result is a translation.
type Result struct {
	Ruleset *nftgen.Ruleset
	// Deviations lists the declared deviations by code, each once.
	Deviations []Deviation
	// Renamed maps chains whose name nft does not allow, or that another
	// table has too: "nat PREROUTING" to the new name.
	Renamed []Renaming
	// Inlined lists the chains that nf_tables does not allow to be nested as
	// deep as they are, and where their rules stand.
	Inlined []Inlining
	// Costs are those of the chains before and after the optimisation, with
	// Options.ExplainCost.
	Costs []optimize.ChainCost
}

// A Renaming is a chain that is called otherwise in nftables.
type Renaming struct{ Table, Chain, Name string }

// Translate translates the rulesets of one or both families; one of them may be
// nil. Both together become one inet table. The diagnostics name everything
// that has no exact counterpart; when one of them is an error, the result is
// nil.
//
// Where extensions of xtables are kept, or packets are copied, each family has a
// table of its own, because the kernel does that in tables of one family only; so
// it has for a target whose tables of both translate no addresses.
func Translate(v4, v6 *iptables.Ruleset, o Options) (*Result, diag.List) {
	if v4 == nil || v6 == nil || !o.apartFor(v4, v6) {
		result, list := translateTogether(v4, v6, o)
		if result == nil || v4 == nil || v6 == nil || !result.Ruleset.Table.OneFamily() {
			return result, list
		}
	}
	first, list := translateTogether(v4, nil, o)
	second, more := translateTogether(nil, v6, o)
	list = append(list, more...)
	if first == nil || second == nil {
		return nil, list
	}
	first.Ruleset.Head = append(first.Ruleset.Head, second.Ruleset.Head...)
	first.Ruleset.Other = second.Ruleset.Table
	first.Renamed = append(first.Renamed, second.Renamed...)
	first.Inlined = append(first.Inlined, second.Inlined...)
	first.Costs = append(first.Costs, second.Costs...)
	for _, d := range second.Deviations {
		if !slices.Contains(first.Deviations, d) {
			first.Deviations = append(first.Deviations, d)
		}
	}
	return first, list
}

func translateTogether(v4, v6 *iptables.Ruleset, o Options) (*Result, diag.List) {
	t := begin(v4, v6, o)
	t.run(!t.seemsToTrack())
	if t.firstFragments && t.fragments == t.tracks() {
		fragments := !t.fragments
		t = begin(v4, v6, o)
		t.run(fragments)
	}
	if t.diags.HasErrors() {
		return nil, t.diags
	}
	return &Result{
		Ruleset:    &nftgen.Ruleset{Head: t.head(v4, v6), Table: t.table},
		Deviations: t.deviations,
		Renamed:    t.renamed,
		Inlined:    t.inlined,
		Costs:      t.costs,
	}, t.diags
}

// run makes the translation. fragments says that rules see fragments.
func (t *translation) run(fragments bool) {
	t.fragments = fragments
	t.collect()
	for _, c := range t.chains {
		t.fill(c)
	}
	t.declareTracking()
	t.finish()
}

// begin makes a translation up to its chains, which are empty.
func begin(v4, v6 *iptables.Ruleset, o Options) *translation {
	t := &translation{options: o, shared: newShared(), seen: make(map[string]bool), tracking: make(map[iptables.Family]iptables.Context), raw: make(rawEffects)}
	if o.Table == "" {
		t.options.Table = "firewall"
	}
	t.table = &nftgen.Table{Name: t.options.Table, Family: nftgen.Inet}
	switch {
	case v6 == nil:
		t.table.Family = nftgen.IP
	case v4 == nil:
		t.table.Family = nftgen.IP6
	}
	t.shared.ipsets = o.Sets
	t.layout(v4, v6)
	return t
}

// A translation is one call of Translate.
type translation struct {
	options    Options
	shared     *Shared
	table      *nftgen.Table
	chains     []*chainPlan
	names      map[chainKey]string // of chains in nftables
	deviations []Deviation
	seen       map[string]bool // deviation codes
	renamed    []Renaming
	kept       []keptRule
	inlined    []Inlining
	costs      []optimize.ChainCost
	diags      diag.List
	items      []item // of rules to come

	fragments      bool // rules see fragments
	firstFragments bool // what a rule is depends on fragments
	raw            rawEffects
	expectedToo    bool // templates choose events, also of expected connections
	// tracking is the first rule of each family that makes the kernel track
	// connections.
	tracking map[iptables.Family]iptables.Context
}

// contexts calls f for each rule of both families, in order, and once.
func (t *translation) contexts(f func(c iptables.Context)) {
	for _, plan := range t.chains {
		if plan.again {
			continue
		}
		for _, side := range plan.sides {
			for _, rule := range side.rules() {
				f(side.context(plan, rule))
			}
		}
	}
}

// collect shows every rule's matches and targets to those that share objects.
func (t *translation) collect() {
	t.contexts(t.collectRule)
}

func (t *translation) collectRule(c iptables.Context) {
	for _, use := range c.Rule.Matches {
		t.collectFrom(c, part{use.Match, use.Range, false, use.Match.Name()})
	}
	t.collectFrom(c, part{c.Rule.Action.Target, c.Rule.Action.Range, true, c.Rule.Action.Name})
}

func (t *translation) collectFrom(c iptables.Context, p part) {
	collector, ok := p.thing.(Collector)
	if !ok {
		return
	}
	err := collector.Collect(t.shared, c)
	if _, keeps := p.thing.(Keeper); keeps && AsUntranslatable(err) != nil {
		return // [translation.part] asks again
	}
	t.report(err, c, p.where, p.kind(), p.name)
}

// rule makes of r one rule up to its lowering, where it stands first or again: see
// [Rule.Again]. ok is false when a diagnostic says why there is none.
func (t *translation) rule(r *Rule, c iptables.Context, again bool) (ok bool) {
	*r = Rule{Context: c, Shared: t.shared, Again: again, fragments: t.fragments, items: r.items[:0], comments: r.comments[:0]}
	ok = true
	translateBase(r)
	for _, use := range c.Rule.Matches {
		ok = t.part(r, part{use.Match, use.Range, false, use.Match.Name()}) && ok
	}
	if r.Again {
		r.comments, r.deviations = nil, nil // said already
		return t.repeatable(r) && t.action(r) && ok
	}
	ok = t.action(r) && ok
	if c.Table == "raw" {
		t.raw.note(r)
	}
	t.firstFragments = t.firstFragments || r.firstFragment || r.asksFragments
	for _, d := range r.deviations {
		t.deviate(d, c)
	}
	if _, known := t.tracking[c.Family]; !known && r.tracks() {
		t.tracking[c.Family] = c
	}
	t.comment(r)
	return ok
}

// action adds the statements of -j and -g.
func (t *translation) action(r *Rule) bool {
	a := r.Context.Rule.Action
	verdict := func(kind nftgen.VerdictKind, chain string) bool {
		r.Add(nftgen.VerdictStmt{Kind: kind, Chain: chain})
		return true
	}
	counted := t.count(r)
	switch a.Kind {
	case iptables.NoAction:
		if !counted {
			r.Add(nftgen.Counter{})
		}
		return true
	case iptables.Jump:
		return verdict(nftgen.Jump, t.name(r, a.Name))
	case iptables.Goto:
		return verdict(nftgen.Goto, t.name(r, a.Name))
	case iptables.Verdict:
		if s, ok := verdicts[a.Name]; ok {
			r.Add(s)
			return true
		}
		if a.Name == "QUEUE" {
			Enqueue(r, nftgen.Queue{})
			return true
		}
	case iptables.Extend:
		if a.Target != nil {
			return t.part(r, part{a.Target, a.Range, true, a.Name})
		}
	}
	t.unsupported(r.Context, a.Range, "target", a.Name)
	return false
}

// verdicts are the statements of the verdicts that nftables has, too.
var verdicts = map[string]nftgen.Stmt{
	"ACCEPT": nftgen.VerdictStmt{Kind: nftgen.Accept},
	"DROP":   nftgen.VerdictStmt{Kind: nftgen.Drop},
	"RETURN": nftgen.VerdictStmt{Kind: nftgen.Return},
}

// unsupported says that an extension has no translation.
func (t *translation) unsupported(c iptables.Context, where diag.Range, kind, name string) {
	t.diags.Add(diag.Diagnostic{
		Severity: diag.Error, Class: diag.Unsupported,
		Code:    "untranslatable-" + kind,
		Summary: fmt.Sprintf("%s %q has no translation", kind, name),
		Detail:  "The rule cannot be moved to nftables by this version. Take it out of the file, or keep the host on iptables.",
		Subject: where, Context: c.Rule.Range,
	})
}

// report turns what Translate returned into a diagnostic; it returns true when
// there was no error.
func (t *translation) report(err error, c iptables.Context, where diag.Range, kind, name string) bool {
	if err == nil {
		return true
	}
	d := diag.Diagnostic{
		Severity: diag.Error, Class: diag.Unsupported,
		Code:    "untranslatable-option",
		Summary: err.Error(),
		Subject: where, Context: c.Rule.Range,
	}
	if u := AsUntranslatable(err); u != nil {
		if u.Code != "" {
			d.Code = u.Code
		}
		d.Detail = u.Detail
		if !u.Range.IsZero() {
			d.Subject = u.Range
		}
	} else {
		d.Detail = fmt.Sprintf("The %s %q could not be translated.", kind, name)
	}
	t.diags.Add(d)
	return false
}

// deviate reports a declared deviation at a rule.
func (t *translation) deviate(dev Deviation, c iptables.Context) {
	severity, detail := diag.Warning, dev.Detail
	if !t.options.allows(dev.Code) {
		severity = diag.Error
		detail += "\nWhere that is acceptable, --allow " + dev.Code + " accepts it, and --allow " + AllowAll + " all that are declared."
	}
	t.diags.Add(diag.Diagnostic{
		Severity: severity, Class: diag.Unsupported,
		Code:    dev.Code,
		Summary: "the translation differs in a declared way",
		Detail:  detail,
		Subject: c.Rule.Range, Context: c.Rule.Range,
	})
	if !t.seen[dev.Code] {
		t.seen[dev.Code] = true
		t.deviations = append(t.deviations, dev)
	}
}

// head is the comment at the top of the text.
func (t *translation) head(v4, v6 *iptables.Ruleset) []string {
	var names []string
	for _, r := range []*iptables.Ruleset{v4, v6} {
		if r != nil && r.Source != nil && !slices.Contains(names, r.Source.Name) {
			names = append(names, r.Source.Name)
		}
	}
	lines := []string{"Translated from " + strings.Join(names, " and ") + " by migrate."}
	for _, d := range t.deviations {
		lines = append(lines, "Declared deviation "+d.Code+": "+d.Detail)
	}
	lines = append(lines, t.keptHead()...)
	for _, r := range t.renamed {
		lines = append(lines, fmt.Sprintf("Chain %s of table %s is called %s here.", readable(r.Chain), r.Table, r.Name))
	}
	return lines
}

// readable puts a name in quotes where it would be misread without.
func readable(name string) string {
	if nftgen.EscapeBytes(name) == name {
		return name
	}
	return strconv.Quote(name)
}
