package iptables

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"nftmigrate/diag"
)

// closeTable ends the current table: it puts the chains into the order in which
// iptables-save prints them, and checks what only the whole table can show.
func (p *parser) closeTable() {
	t := p.table
	p.table, p.lost = nil, false
	if t == nil {
		return
	}
	for _, c := range t.Chains {
		p.settle(c)
	}
	p.front = nil
	t.sortChains()
	p.findLoops(t)
	p.validate(t)
	p.ghosts = nil
}

// sortChains puts the chains into the order of iptables-save: the built-in ones,
// then the others by name.
func (t *Table) sortChains() {
	user := t.Chains[len(BuiltinChains(t.Name)):]
	sort.Slice(user, func(i, j int) bool { return user[i].Name < user[j].Name })
}

// findLoops reports each rule by which a chain that packets can come to leads
// back to itself, which the kernel refuses. Chains that no packet comes to may
// form a loop.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, mark_source_chains.
func (p *parser) findLoops(t *Table) {
	const (
		open = 1 // on the way from a built-in chain
		done = 2
	)
	type step struct {
		chain *Chain
		next  int // rule
	}
	state := make(map[*Chain]uint8, len(t.Chains))
	for _, c := range t.Chains {
		if !c.Builtin {
			continue
		}
		path := []step{{chain: c}}
		state[c] = open
		for len(path) > 0 {
			s := &path[len(path)-1]
			if s.next == len(s.chain.Rules) {
				state[s.chain] = done
				path = path[:len(path)-1]
				continue
			}
			rule := s.chain.Rules[s.next]
			s.next++
			if rule.Action.Kind != Jump && rule.Action.Kind != Goto {
				continue
			}
			to := t.Chain(rule.Action.Name)
			switch {
			case to == nil || state[to] == done:
			case state[to] == open:
				first := len(path) - 1
				for path[first].chain != to {
					first--
				}
				names := make([]string, 0, 8)
				for _, on := range path[first:] {
					if len(names) == 7 {
						names = append(names, "…")
						break
					}
					names = append(names, on.chain.Name)
				}
				p.report(finding{Code: "chain-loop", Summary: "the chains form a loop",
					Detail:  fmt.Sprintf("A packet would go %s and %s again, and the kernel refuses that. Remove one of the jumps.", strings.Join(names, ", "), to.Name),
					Subject: rule.Action.Range, Context: rule.Range})
			default:
				state[to] = open
				path = append(path, step{chain: to})
			}
		}
	}
}

// validate asks every match and target of a table whether it may stand where it
// stands. A rule that has an error already is left alone: what is wrong with its
// combination may follow from that.
func (p *parser) validate(t *Table) {
	reach := t.Reach()
	broken := p.errorStarts()
	for _, c := range t.Chains {
		for _, rule := range c.Rules {
			if at, _ := slices.BinarySearch(broken, rule.Range.Start); at < len(broken) && broken[at] < rule.Range.End {
				continue
			}
			p.validateRule(Context{Family: p.family, Table: t.Name, Chain: c.Name, Hooks: reach[c], Rule: rule})
		}
	}
}

// validateRule asks the matches and the target of a rule.
func (p *parser) validateRule(context Context) {
	rule := context.Rule
	for _, use := range rule.Matches {
		if v, ok := use.Match.(Validator); ok {
			p.problems(v.Validate(context), use.Range, rule.Range)
		}
	}
	if v, ok := rule.Action.Target.(Validator); ok {
		p.problems(v.Validate(context), rule.Action.Range, rule.Range)
	}
}

// errorStarts returns where the errors so far begin, sorted.
func (p *parser) errorStarts() []int32 {
	var starts []int32
	for _, d := range p.diags {
		if d.Severity == diag.Error {
			starts = append(starts, d.Subject.Start)
		}
	}
	slices.Sort(starts)
	return starts
}

func (p *parser) problems(list []Problem, name, line diag.Range) {
	for _, problem := range list {
		d := finding{Code: problem.Code, Summary: problem.Summary, Detail: problem.Detail, Subject: problem.Range, Context: line}
		if d.Code == "" {
			d.Code = "invalid-combination"
		}
		if d.Subject.IsZero() {
			d.Subject = name
		}
		p.report(d)
	}
}
