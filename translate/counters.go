package translate

import (
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// count adds the counter of a source rule, where counters are kept: behind the
// matches and in front of what the rule does, which is where xtables counts.
// Lowering keeps it at the one place where the whole rule has matched, because a
// counter is an effect.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, ipt_do_table, ADD_COUNTER.
func (t *translation) count(r *Rule) bool {
	c := r.Context.Rule.Counters
	if !t.options.Counters || c == nil || r.Again {
		return false
	}
	r.counted = true
	r.Add(nftgen.Counter{Packets: c.Packets, Bytes: c.Bytes})
	return true
}

// leavesPolicy reports whether packets leave a built-in chain before its end and
// meet the policy all the same: they count there, and so would not be seen by a
// rule at the end.
func leavesPolicy(plan *chainPlan) bool {
	for _, s := range plan.sides {
		for _, r := range s.rules() {
			if r.Action.Kind == iptables.Goto || r.Action.Kind == iptables.Verdict && r.Action.Name == "RETURN" {
				return true
			}
		}
	}
	return false
}

// policyCounters returns the rules at the end of a base chain that count what
// meets the policy, one for each family: policies of nf_tables have no counters.
func (t *translation) policyCounters(plan *chainPlan) []*nftgen.Rule {
	if !t.options.Counters || !plan.sides[0].chain.Builtin || plan.again {
		return nil
	}
	var rules []*nftgen.Rule
	for _, s := range plan.sides {
		r := &nftgen.Rule{
			Stmts:  []nftgen.Stmt{nftgen.Counter{Packets: s.chain.Counters.Packets, Bytes: s.chain.Counters.Bytes}},
			Origin: s.chain.Range, Comment: "policy",
		}
		if t.table.Family == nftgen.Inet {
			r.Family = nftgen.IP
			if s.family == iptables.IPv6 {
				r.Family = nftgen.IP6
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// uncounted returns statements of which none has counted: those of a copy, whose
// original keeps the count.
func uncounted(stmts []nftgen.Stmt) []nftgen.Stmt {
	list := make([]nftgen.Stmt, len(stmts))
	for i, s := range stmts {
		if _, ok := s.(nftgen.Counter); ok {
			s = nftgen.Counter{}
		}
		list[i] = s
	}
	return list
}
