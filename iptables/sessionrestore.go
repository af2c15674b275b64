package iptables

import (
	"slices"
	"strings"

	"nftmigrate/diag"
)

// Restore carries out what iptables-restore does with a part of the source.
// Without flush, tables keep what they have. iptables-restore takes over each
// table at its COMMIT, and ends with the first error; what is wrong behind it is
// reported, too.
func (s *Session) Restore(where diag.Range, flush, counters bool) Outcome {
	p := s.p
	for _, t := range p.ruleset.Tables {
		for _, c := range t.Chains {
			p.settle(c)
		}
	}
	p.line, p.diags, p.ghosts, p.counts, p.hidden = where, nil, nil, nil, nil
	p.session, p.noflush, p.table, p.lost = false, !flush, nil, false
	committed := s.snapshot()
	at := int(where.Start)
	for line := range strings.Lines(p.text[where.Start:where.End]) {
		p.readLine(strings.TrimRight(line, "\r\n"), at)
		at += len(line)
		if strings.TrimSpace(line) == "COMMIT" && !p.diags.HasErrors() && p.searched <= searchMax {
			committed = s.snapshot()
		}
	}
	p.endText()
	if p.diags.HasErrors() {
		p.ruleset.Tables = committed
	}
	p.session, p.noflush, p.table = true, false, nil
	clear(s.routes)
	if !counters {
		s.dropCounters(where)
	}
	return Outcome{Failed: p.diags.HasErrors(), Diags: p.diags}
}

// snapshot returns the tables as they are, apart from what happens to them
// later.
func (s *Session) snapshot() []*Table {
	var list []*Table
	for _, t := range s.p.ruleset.Tables {
		kept := &Table{Name: t.Name, Range: t.Range, byName: make(map[string]*Chain, len(t.Chains))}
		for _, c := range t.Chains {
			chain := *c
			chain.Rules = slices.Clone(c.Rules)
			s.p.searched += 1 + len(c.Rules)
			kept.Chains = append(kept.Chains, &chain)
			kept.byName[chain.Name] = &chain
		}
		list = append(list, kept)
	}
	return list
}

// dropCounters takes the counters away that a part of the source gives, as
// iptables-restore does without -c.
func (s *Session) dropCounters(where diag.Range) {
	for _, t := range s.p.ruleset.Tables {
		for _, c := range t.Chains {
			if within(c.Range, where) {
				c.Counters = Counters{}
			}
			for _, rule := range c.Rules {
				if within(rule.Range, where) {
					rule.Counters = nil
				}
			}
		}
	}
}

func within(r, where diag.Range) bool { return r.Start >= where.Start && r.End <= where.End }
