package translate

import (
	"fmt"
	"slices"

	"nftmigrate/diag"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// A Templater is a target of table raw that gives packets a template, from which
// connection tracking makes new connections. The first that a packet gets counts.
//
// Zones are asked for before connection tracking. What else a template says (late)
// nf_tables can only give to the connection itself, behind connection tracking. So
// the rules of table raw stand there once more, as far as they decide which
// template a packet gets; see [Rule.Again].
type Templater interface {
	Template() Template
}

// A Template is what a target says in the template that it gives.
type Template struct {
	Gives  bool // a template at all
	Helper bool // of a connection that nobody expected
	Events bool // of one that another one expected, too
}

// late reports whether it says what only a connection can have.
func (t Template) late() bool { return t.Gives && (t.Helper || t.Events) }

// templatePriority is where that is: right behind connection tracking, which has
// -200.
//
// Kernel: include/uapi/linux/netfilter_ipv4.h, NF_IP_PRI_CONNTRACK.
const templatePriority = -199

// layoutTemplates adds the chains of table raw that stand there again.
func (t *translation) layoutTemplates(v4, v6 *iptables.Ruleset) {
	byName := make(map[string]*chainPlan)
	for _, rs := range []*iptables.Ruleset{v4, v6} {
		if rs == nil || rs.Table("raw") == nil {
			continue
		}
		raw := rs.Table("raw")
		a := &rawAgain{table: raw, matters: make(map[*iptables.Chain]bool), gives: make(map[*iptables.Chain]bool)}
		if !a.says(Template.late) {
			continue
		}
		t.expectedToo = t.expectedToo || a.says(func(t Template) bool { return t.Gives && t.Events })
		a.survey()
		reach := raw.Reach()
		for _, source := range raw.Chains {
			if !a.matters[source] || source.Builtin && !a.gives[source] || reach[source] == 0 {
				continue
			}
			t.addSide(byName, chainPlan{table: "raw", again: true}, side{family: rs.Family, chain: a.chain(source), hooks: reach[source]})
		}
	}
}

// rawAgain is a table raw of which some rules are to stand again.
type rawAgain struct {
	table   *iptables.Table
	gives   map[*iptables.Chain]bool // a rule in it, or below, gives a template
	matters map[*iptables.Chain]bool // or ends the way through the table
}

// says reports whether a rule gives a template of which is holds.
func (a *rawAgain) says(is func(Template) bool) bool {
	for _, c := range a.table.Chains {
		for _, r := range c.Rules {
			if t, ok := r.Action.Target.(Templater); ok {
				if is(t.Template()) {
					return true
				}
			}
		}
	}
	return false
}

// survey finds the chains that give templates, and those that matter.
func (a *rawAgain) survey() {
	for changed := true; changed; {
		changed = false
		for _, c := range a.table.Chains {
			for _, r := range c.Rules {
				gives, ends := a.gives[a.leadsTo(r)], a.matters[a.leadsTo(r)]
				if t, ok := r.Action.Target.(Templater); ok {
					gives = t.Template().Gives
				}
				ends = ends || gives || r.Action.Kind == iptables.Verdict && r.Action.Name == "ACCEPT"
				if gives && !a.gives[c] || ends && !a.matters[c] {
					a.gives[c], a.matters[c], changed = a.gives[c] || gives, true, true
				}
			}
		}
	}
}

// leadsTo returns the chain that a rule leads to, or nil.
func (a *rawAgain) leadsTo(r *iptables.Rule) *iptables.Chain {
	if r.Action.Kind == iptables.Jump || r.Action.Kind == iptables.Goto {
		return a.table.Chain(r.Action.Name)
	}
	return nil
}

// chain returns a chain with the rules that stand again: those that give
// templates, and those that lead past them. A packet that a rule drops does not
// come so far, and what is exempted from tracking has no connection.
func (a *rawAgain) chain(c *iptables.Chain) *iptables.Chain {
	again := &iptables.Chain{Name: c.Name, Builtin: c.Builtin, Range: c.Range}
	if c.Builtin {
		again.Policy = "ACCEPT"
	}
	end := 0
	for _, r := range c.Rules {
		to := a.leadsTo(r)
		giver, _ := r.Action.Target.(Templater)
		gives := a.gives[to]
		if giver != nil {
			gives = giver.Template().Gives
		}
		stays := gives || a.matters[to]
		switch {
		case r.Action.Kind == iptables.Verdict:
			stays = r.Action.Name == "ACCEPT" || r.Action.Name == "RETURN"
		case r.Action.Kind == iptables.Goto && !stays:
			// Nothing there matters, and the packet does not come back.
			back := *r
			back.Action.Kind, back.Action.Name, back.Action.Target = iptables.Verdict, "RETURN", nil
			r, stays = &back, true
		}
		if !stays {
			continue
		}
		again.Rules = append(again.Rules, r)
		if gives {
			end = len(again.Rules)
		}
	}
	if c.Builtin {
		again.Rules = again.Rules[:end] // behind it nothing is left to decide
	}
	return again
}

// guardTemplates puts in front of a base chain what leaves all packets alone but
// the first of a connection that nobody expected; where templates choose events, also
// those of one that another expected.
//
// Kernel: net/netfilter/nf_conntrack_core.c, init_conntrack.
func guardTemplates(c *nftgen.Chain, expectedToo bool) {
	c.Note = "What rules of table raw say of new connections, behind connection tracking."
	states := byte(stateNew)
	if expectedToo {
		states |= stateRelated
	}
	others := nftgen.AnyBit{Field: nftgen.CTState, Bits: nftgen.Value{0, 0, 0, states}, Not: true}
	c.Rules = append(c.Rules, &nftgen.Rule{Stmts: []nftgen.Stmt{others, nftgen.VerdictStmt{Kind: nftgen.Return}}, Origin: c.Origin})
}

// stateNew is the bit of the first packets of a connection, and of those that
// come before an answer.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, NF_CT_STATE_BIT.
const stateNew = 1 << 3

// stateRelated is the bit of those of a connection that another one expected, and of
// errors about a connection.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, NF_CT_STATE_BIT.
const stateRelated = 1 << 2

// rawEffects are what the rules of table raw change, by family.
type rawEffects map[iptables.Family][]nftgen.Stmt

// note adds what a rule changes.
func (e rawEffects) note(r *Rule) {
	for _, s := range r.statements() {
		if !nftgen.Harmless(s) {
			e[r.Context.Family] = append(e[r.Context.Family], s)
		}
	}
}

// statements are those of a rule, in its rows, too.
func (r *Rule) statements() (list []nftgen.Stmt) {
	for _, it := range r.items {
		if it.branch == nil {
			list = append(list, it.stmt)
			continue
		}
		for _, row := range it.branch.Rows {
			list = append(list, row.Stmts...)
		}
	}
	return list
}

// repeatable reports whether the tests of a rule of table raw say the same behind
// connection tracking; a diagnostic says why not.
func (t *translation) repeatable(r *Rule) bool {
	why := ""
	for _, s := range r.statements() {
		disturbs := func(effect nftgen.Stmt) bool { return nftgen.Disturbs(effect, s) }
		switch {
		case !nftgen.Pure(s):
			why = "It keeps a memory, or draws a number, and asking it twice is not asking it once."
		case nftgen.Disturbs(nftgen.Notrack{}, s):
			why = "It asks about a connection, which is there then."
		case slices.ContainsFunc(t.raw[r.Context.Family], disturbs):
			why = "It asks for what another rule of the table changes."
		}
	}
	if why == "" {
		return true
	}
	where := r.Context.Rule.Range
	t.diags.Add(diag.Diagnostic{
		Severity: diag.Error, Class: diag.Unsupported,
		Code:    "template-undecided",
		Summary: "a rule of table raw cannot be asked again behind connection tracking",
		Detail: fmt.Sprintf("CT gives helpers and events, which nftables gives to connections, at priority %d. Which template a packet gets is decided there again, by this rule, too. %s\n"+
			"Put the rules with CT in front of it, or take the match out.", templatePriority, why),
		Subject: where, Context: where,
	})
	return false
}
