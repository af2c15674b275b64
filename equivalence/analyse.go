package equivalence

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// An Analysis says of every rule of one ruleset which packets come to it, which
// of them it matches, and which it decides about.
type Analysis struct {
	// Rules are the rules of all chains, by IP version and in the order of the
	// ruleset. A rule of a chain that sees both versions comes twice.
	Rules []*RuleFacts
	// Stages are the places where chains hang, by IP version and in the order in
	// which packets meet them.
	Stages []*StageFacts
	// Incomplete says why some rules have no answer, "" when all were looked at:
	// a budget that ran out.
	Incomplete string
	// Assumptions say of which packets the analysis does not speak.
	Assumptions []string
	// Nodes is the number of nodes of all diagrams, Elapsed the time they took.
	Nodes   int
	Elapsed time.Duration
}

// An Answer is whether some packet does something.
type Answer uint8

// The answers. NotKnown, in words undecided, is all that was not shown: rules
// that are not modelled, a budget that ran out, or packets that should do it while
// none of those that were tried did. Never holds for every packet that can be, within the
// assumptions. Shown is only said with an example that the machine was run on.
const (
	NotKnown Answer = iota
	Never
	Shown
)

func (a Answer) String() string {
	if a <= Shown {
		return [...]string{"undecided", "never", "shown"}[a]
	}
	return "invalid answer"
}

// A RuleName says which rule is meant.
type RuleName struct {
	// Chain is the name of the chain as traces spell it, Number the place of the
	// rule in it, from 1; 0 is the policy of a built-in or base chain.
	Chain  string
	Number int
	// Place is the file and line where the rule was written, or "". Text is the
	// rule as its language spells it, with its comment; of nftables, as nft
	// --debug=netlink prints it.
	Place, Text string
}

func (r RuleName) String() string {
	switch {
	case r == RuleName{}:
		return "various rules"
	case r.Number == 0:
		return "policy of " + r.Chain
	case r.Place == "":
		return fmt.Sprintf("rule %d of %s: %s", r.Number, r.Chain, r.Text)
	}
	return r.Place + " " + r.Text
}

// RuleFacts is what is known of a rule, for packets of one IP version.
type RuleFacts struct {
	RuleName
	Version int
	// Reached says whether some packet comes to the rule; Matched, whether all
	// tests of it hold of one; Decides, whether it accepts or drops one.
	Reached, Matched, Decides Answer
	// Example shows the strongest of the answers that are Shown.
	Example *Example
	// Why says why the rule never matches a packet, for each stage at which its
	// chain can be met, or once.
	Why []Reason
	// Undecided says what stands in the way of an answer that is NotKnown, "" when
	// all are known.
	Undecided string
	// At are the stages at which packets can meet the rule.
	At []*RuleAt

	chain *symbolic.RuleChain
	rule  *symbolic.ChainRule
	best  packet.Look // of those that packets showed
}

// RuleAt is a rule at one stage. The classes are looked for when they are asked
// for.
type RuleAt struct {
	Stage *StageFacts

	chain *chainReach
	rule  int
}

// Reached are the packets that come to the rule.
func (r *RuleAt) Reached() Class { return r.class((*reaching).reaching) }

// Matched are the packets that come to the rule and pass all its tests.
func (r *RuleAt) Matched() Class { return r.class((*reaching).matching) }

// Decided are the packets that the rule accepts or drops.
func (r *RuleAt) Decided() Class { return r.class((*reaching).deciding) }

func (r *RuleAt) class(of func(*reaching, *chainReach, int) bounds) Class {
	return r.Stage.of.class(func() bounds { return of(r.Stage.of, r.chain, r.rule) })
}

// StageFacts is what is known of a stage: a built-in chain of a table, or a base
// chain, with all chains that lead from it, for packets of one IP version.
type StageFacts struct {
	Version  int
	Name     string
	Hook     packet.Hook
	Priority int32
	// PolicyDrops says that the policy is to drop.
	PolicyDrops bool

	of *reaching
}

// All are the packets that can be at the stage.
func (s *StageFacts) All() Class {
	return s.of.class(func() bounds { return bounds{s.of.domain, s.of.domain} })
}

// Accepted are the packets that the stage accepts.
func (s *StageFacts) Accepted() Class {
	return s.of.class(func() bounds { return s.of.outcomes().accepted })
}

// Dropped are the packets that the stage drops.
func (s *StageFacts) Dropped() Class {
	return s.of.class(func() bounds { return s.of.outcomes().dropped })
}

// Policy are the packets that come to the end of the stage, where its policy
// decides.
func (s *StageFacts) Policy() Class {
	return s.of.class(func() bounds { return s.of.outcomes().policy })
}

// class makes a class of what is looked for.
func (r *reaching) class(find func() bounds) Class {
	out := Class{at: r.scope, most: bdd.True}
	var b bounds
	if out.err = r.compile(func() { b = find() }); out.err == nil {
		out.least, out.most = b.least, b.most
	}
	return out
}

// Analyse finds the packets that come to each rule of a machine, which must
// implement [symbolic.Compiler]; else the error is [ErrNotCompilable]. Of
// the options, it takes Versions, Memory and Time.
//
// A rule that never matches has its reasons: nothing leads to its chain, its
// tests exclude each other or what can be at its hooks, or earlier rules take all
// packets that it would match. A rule is said to be reached, to match or to
// decide only with a packet that was run through the machine. Rules whose state
// a packet may meet in any form (limits, counters, lists) count as answering
// either way.
//
// The classes of an analysis can be asked for as long as it is kept. It must be
// used by one goroutine at a time.
func Analyse(ctx context.Context, m Machine, o ProofOptions) (*Analysis, error) {
	return analyse(ctx, m, o, nil)
}

// analyse is Analyse; fault, in tests, plants a mistake.
func analyse(ctx context.Context, m Machine, o ProofOptions, fault func(l symbolic.Leaf) symbolic.Leaf) (*Analysis, error) {
	if !compiles(m) {
		return nil, ErrNotCompilable
	}
	o.Strict = true
	p, err := newProver(ctx, m, m, o)
	if err != nil {
		return nil, err
	}
	p.cancel()
	a := &analysing{base: p, machine: m, out: &Analysis{}, budget: newBudget(ctx, p.o.Time), fault: fault}
	for _, v := range o.Versions {
		if err := a.version(v); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			why, ok := ranOut(err, p.o)
			if !ok {
				return nil, fmt.Errorf("analyse IPv%d: %w", v, err)
			}
			a.incomplete(why)
		}
	}
	a.conclude()
	return a.out, nil
}

// analysing is one call of Analyse.
type analysing struct {
	base    *prover
	machine Machine
	out     *Analysis
	budget  *budget
	models  []*model
	fault   func(l symbolic.Leaf) symbolic.Leaf // see reaching
}

func (a *analysing) incomplete(why string) {
	if a.out.Incomplete == "" {
		a.out.Incomplete = why
	}
}

// open makes the model of a version.
func (a *analysing) open(version int) (*model, *symbolic.Program) {
	c := a.machine.(symbolic.Compiler)
	var tests symbolic.NameTests
	instances := c.Collect(version, &tests)
	p := *a.base
	p.ordinary = map[place][]start{}
	p.space = symbolic.NewSpace(a.budget.manager(p.o), version, &tests, instances)
	p.space.Marked = true
	m := &model{prover: &p, budget: a.budget, capped: map[bdd.Ref]bool{}}
	a.models = append(a.models, m)
	return m, c.Compile(m.space, inOrder(len(instances)))
}

// version looks at the rules for one IP version.
func (a *analysing) version(version int) error {
	m, program := a.open(version)
	facts := a.ruleFacts(version, program)
	var stages []*reaching
	for i := range program.Stages {
		r := newReaching(m, &program.Stages[i])
		r.number, r.fault = i, a.fault
		if err := m.compile(func() { a.assume(r.begin()) }); err != nil {
			return err
		}
		stages = append(stages, r)
	}
	for _, r := range stages {
		a.stageFacts(r, facts)
	}
	e := newExamples(m, a.machine, facts)
	if err := m.compile(func() { e.find(stages) }); err != nil {
		return err
	}
	return m.compile(func() { a.explain(stages, program) })
}

func (a *analysing) assume(list []symbolic.Assumption) {
	a.out.Assumptions = assuming(a.out.Assumptions, list)
}

// assuming adds assumptions to those that are known.
func assuming(known []string, list []symbolic.Assumption) []string {
	for _, text := range list {
		if !slices.Contains(known, string(text)) {
			known = append(known, string(text))
		}
	}
	return known
}

// ruleFacts lists the rules of a program.
func (a *analysing) ruleFacts(version int, program *symbolic.Program) map[any]*RuleFacts {
	facts := map[any]*RuleFacts{}
	for _, c := range program.Chains {
		for i := range c.Rules {
			r := &c.Rules[i]
			f := &RuleFacts{RuleName: nameOf(c, i), Version: version, chain: c, rule: r}
			facts[r.ID] = f
			a.out.Rules = append(a.out.Rules, f)
		}
	}
	return facts
}

// nameOf names a rule of a chain.
func nameOf(c *symbolic.RuleChain, rule int) RuleName {
	if rule == len(c.Rules) {
		return RuleName{Chain: c.Name}
	}
	r := &c.Rules[rule]
	return RuleName{c.Name, rule + 1, r.Place(), r.Text()}
}

// stageFacts writes down a stage and its rules.
func (a *analysing) stageFacts(r *reaching, facts map[any]*RuleFacts) {
	st := &StageFacts{
		Version: r.space.Version, Name: r.stage.Name, Hook: r.hook, Priority: r.stage.Priority, PolicyDrops: r.stage.Policy == symbolic.Drop,
		of: r,
	}
	a.out.Stages = append(a.out.Stages, st)
	for _, c := range r.chains {
		for i := range c.rules {
			f := facts[c.chain.Rules[i].ID]
			f.At = append(f.At, &RuleAt{st, c, i})
		}
	}
}

// conclude says what is known of each rule.
func (a *analysing) conclude() {
	for _, m := range a.models {
		a.out.Nodes += m.space.Size()
		m.done = true
	}
	if !a.base.tracked {
		a.assume([]symbolic.Assumption{assumeUntracked})
	}
	slices.Sort(a.out.Assumptions)
	for _, f := range a.out.Rules {
		if f.Undecided == "" && a.out.Incomplete != "" && (f.Reached == NotKnown || f.Matched == NotKnown || f.Decides == NotKnown) {
			f.Undecided = a.out.Incomplete
		}
	}
	a.out.Elapsed = time.Since(a.base.start)
}

// assumeUntracked is said where no rule needs connection tracking.
const assumeUntracked symbolic.Assumption = "nothing else on the host makes the kernel track connections: no rule here does"
