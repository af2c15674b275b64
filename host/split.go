package host

import (
	"slices"
	"strings"

	"nftmigrate/iptables"
)

// Split divides a ruleset in what its operator wrote and what programs wrote that
// will write it again (see [Owners]): operator is what can be converted, kept is what
// has to stay in iptables. The rules of an owner whose action is [Convert], and of
// those named in takeOver (in any case; "all" means each), are the operator's. Kept is
// nil when there is nothing to keep. Rules are shared with rs; the tables and chains
// are new.
//
// Operator has all tables of rs, with the policies and their counters, without the
// chains of owners and without the rules that are theirs in chains of the operator.
// Kept has those chains and rules, and what is needed for the same packets to come to
// them:
//
//   - a chain of the operator that a kept rule leads to is there in full, with all
//     that it leads to;
//   - a chain of the operator that only holds rules of owners, or leads to such a
//     chain, is there with these rules alone: the operator's rule that leads there
//     is in both parts.
//
// Policies in kept are ACCEPT. Every way of jumps from a built-in chain to a rule is
// then a way in one of the parts: in kept when it passes a rule of an owner, else in
// operator. That does not make both together the same as rs: an operator's ACCEPT no
// longer spares a packet the chains of owners that stood below it, rules that are in
// both parts are asked twice, and the order of the parts is another. Whether that
// matters is to be proved.
//
// No order can be relied on: of two base chains of the same hook and priority, the
// kernel asks the one that was registered later first, whether it is a legacy table's
// or one of nf_tables.
//
// Kernel: net/netfilter/core.c, nf_hook_entries_grow.
func Split(rs *iptables.Ruleset, takeOver ...string) (operator, kept *iptables.Ruleset) {
	operator = &iptables.Ruleset{Family: rs.Family, Source: rs.Source}
	kept = &iptables.Ruleset{Family: rs.Family, Source: rs.Source}
	for _, t := range rs.Tables {
		s := newDivision(t, takeOver)
		operator.Tables = append(operator.Tables, s.operator())
		if k := s.kept(); k != nil {
			kept.Tables = append(kept.Tables, k)
		}
	}
	if len(kept.Tables) == 0 {
		kept = nil
	}
	return operator, kept
}

// A division says of each chain and rule of a table to which parts it goes.
type division struct {
	table  *iptables.Table
	owned  map[*iptables.Chain]bool // chains of owners
	rules  map[*iptables.Rule]bool  // rules of owners in chains of the operator
	copied map[*iptables.Chain]bool // chains of the operator that kept rules lead to
	ways   map[*iptables.Chain]bool // chains of the operator that lead to kept rules
}

func newDivision(t *iptables.Table, takeOver []string) *division {
	s := &division{
		table:  t,
		owned:  map[*iptables.Chain]bool{},
		rules:  map[*iptables.Rule]bool{},
		copied: map[*iptables.Chain]bool{},
		ways:   map[*iptables.Chain]bool{},
	}
	of := ownedChains(t)
	for _, c := range t.Chains {
		s.owned[c] = stays(of[c], takeOver)
	}
	for _, c := range t.Chains {
		if s.owned[c] {
			continue
		}
		for _, r := range c.Rules {
			if to := s.target(r); to != nil && s.owned[to] {
				s.rules[r] = true // whoever wrote it, the other part cannot have it
			} else {
				s.rules[r] = stays(ownerOf(r, t, of), takeOver)
			}
		}
	}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if s.owned[c] || s.rules[r] {
				s.copy(s.target(r))
			}
		}
	}
	for again := true; again; {
		again = false
		for _, c := range t.Chains {
			if !s.ways[c] && !s.owned[c] && slices.ContainsFunc(c.Rules, s.keeps) {
				s.ways[c], again = true, true
			}
		}
	}
	return s
}

// stays reports whether the rules of an owner stay in iptables.
func stays(o *Owner, takeOver []string) bool {
	return o != nil && o.Action != Convert && !slices.ContainsFunc(takeOver, func(name string) bool {
		return name == "all" || strings.EqualFold(name, o.Name)
	})
}

// target is the chain that a rule leads to, nil when it leads to none.
func (s *division) target(r *iptables.Rule) *iptables.Chain {
	if r.Action.Kind != iptables.Jump && r.Action.Kind != iptables.Goto {
		return nil
	}
	return s.table.Chain(r.Action.Name)
}

// copy takes a chain of the operator into the kept part in full.
func (s *division) copy(c *iptables.Chain) {
	if c == nil || s.owned[c] || s.copied[c] {
		return
	}
	s.copied[c] = true
	for _, r := range c.Rules {
		s.copy(s.target(r))
	}
}

// keeps reports whether a rule of a chain of the operator is in the kept part for its
// own sake, or because it leads to a rule that is.
func (s *division) keeps(r *iptables.Rule) bool {
	to := s.target(r)
	return s.rules[r] || to != nil && s.ways[to]
}

// operator makes the operator's part of the table.
func (s *division) operator() *iptables.Table {
	t := &iptables.Table{Name: s.table.Name, Range: s.table.Range}
	for _, from := range s.table.Chains {
		if s.owned[from] {
			continue
		}
		c := t.AddChain(from.Name)
		c.Policy, c.Counters, c.Range = from.Policy, from.Counters, from.Range
		for _, r := range from.Rules {
			if !s.rules[r] {
				c.Rules = append(c.Rules, r)
			}
		}
	}
	return t
}

// kept makes the part of the table that stays, nil when nothing does.
func (s *division) kept() *iptables.Table {
	t := &iptables.Table{Name: s.table.Name, Range: s.table.Range}
	something := false
	for _, from := range s.table.Chains {
		whole := s.owned[from] || s.copied[from]
		if !whole && !s.ways[from] && !from.Builtin {
			continue
		}
		something = something || s.owned[from] || s.ways[from]
		c := t.AddChain(from.Name)
		c.Range = from.Range
		for _, r := range from.Rules {
			if whole || s.keeps(r) {
				c.Rules = append(c.Rules, r)
			}
		}
	}
	if !something {
		return nil
	}
	return t
}
