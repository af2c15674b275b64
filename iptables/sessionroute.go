package iptables

import "fmt"

// routes are the ways on which packets come to the chains of a table, so that a
// command need not look at all rules to know what the kernel would say.
type routes struct {
	exits map[*Chain]*exits
	reach map[*Chain]HookSet // nil when rules went away since
}

// exits are the chains to which the rules of a chain go.
type exits struct {
	list []*Chain
	has  map[*Chain]bool
}

func (e *exits) add(c *Chain) {
	if c != nil && !e.has[c] {
		e.has[c] = true
		e.list = append(e.list, c)
	}
}

// goesTo reports whether the rule goes to a chain.
func (r *Rule) goesTo() bool { return r.Action.Kind == Jump || r.Action.Kind == Goto }

// forget notes that a rule goes away.
func (s *Session) forget(c *Chain, rule *Rule) {
	if w := s.routes[s.p.table]; w != nil && rule.goesTo() {
		delete(w.exits, c)
		w.reach = nil
	}
}

// exitsOf returns where the rules of a chain go.
func (s *Session) exitsOf(c *Chain) *exits {
	p, w := s.p, s.routes[s.p.table]
	e := w.exits[c]
	if e == nil {
		e = &exits{has: make(map[*Chain]bool)}
		w.exits[c] = e
		for _, list := range [2][]*Rule{c.Rules, p.front[c]} {
			p.searched += len(list)
			for _, rule := range list {
				if rule.goesTo() {
					e.add(p.table.Chain(rule.Action.Name))
				}
			}
		}
	}
	return e
}

// ways returns the routes of the current table.
func (s *Session) ways() *routes {
	w := s.routes[s.p.table]
	if w == nil {
		w = &routes{exits: make(map[*Chain]*exits)}
		s.routes[s.p.table] = w
	}
	if w.reach != nil {
		return w
	}
	w.reach = make(map[*Chain]HookSet)
	for _, c := range s.p.table.Chains {
		if !c.Builtin {
			continue
		}
		hook := Hook(c.Name)
		w.reach[c] |= hook
		for open := []*Chain{c}; len(open) > 0; {
			from := open[len(open)-1]
			open = open[:len(open)-1]
			for _, to := range s.exitsOf(from).list {
				s.p.searched++
				if w.reach[to]&hook == 0 {
					w.reach[to] |= hook
					open = append(open, to)
				}
			}
		}
	}
	return w
}

// admit reports whether the kernel takes rules into a chain, and if not, why. It
// refuses a loop on the way of packets, and matches and targets that may not
// stand where packets come to them; with a jump these are also the rules
// behind it.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, translate_table.
func (s *Session) admit(c *Chain, rules []*Rule) bool {
	p := s.p
	if len(rules) == 0 || !p.rule.affordable() {
		return false
	}
	w := s.ways()
	for _, rule := range rules {
		s.validate(c, rule, w.reach[c])
	}
	if p.diags.HasErrors() {
		return false
	}
	// The rules of one line differ only by their addresses.
	var to *Chain
	if rules[0].goesTo() {
		to = p.table.Chain(rules[0].Action.Name)
	}
	if to == nil {
		return true
	}
	hooks := w.reach[c]
	behind, ok := s.behind(c, to)
	if hooks != 0 && !ok {
		p.report(finding{Code: "chain-loop", Summary: "the chains form a loop",
			Detail:  fmt.Sprintf("A packet would come from chain %s to it again by way of %s, and the kernel refuses that. Remove one of the jumps.", c.Name, to.Name),
			Subject: rules[0].Action.Range})
		return false
	}
	for _, b := range behind {
		if hooks&^w.reach[b] == 0 {
			continue
		}
		p.settle(b)
		p.searched += len(b.Rules)
		for _, rule := range b.Rules {
			known := len(p.diags)
			s.validate(b, rule, w.reach[b]|hooks)
			for i := known; i < len(p.diags); i++ {
				d := &p.diags[i]
				d.Detail += fmt.Sprintf("\nThis is about the rule of line %d, to which packets come by this jump.", rule.Range.Line())
				d.Subject, d.Context = rules[0].Action.Range, p.line
			}
		}
	}
	if p.diags.HasErrors() {
		return false
	}
	for _, b := range behind {
		w.reach[b] |= hooks
	}
	s.exitsOf(c).add(to)
	return true
}

// behind returns the chains to which packets come through a jump from one chain
// to another, and whether they do so without a loop.
func (s *Session) behind(from, to *Chain) (list []*Chain, ok bool) {
	const (
		open = 1
		done = 2
	)
	type step struct {
		chain *Chain
		next  int
	}
	state := map[*Chain]uint8{from: open, to: open}
	if from == to {
		return nil, false
	}
	for path := []step{{chain: to}}; len(path) > 0; {
		top := &path[len(path)-1]
		next := s.exitsOf(top.chain).list
		if top.next == len(next) {
			state[top.chain] = done
			list = append(list, top.chain)
			path = path[:len(path)-1]
			continue
		}
		c := next[top.next]
		top.next++
		s.p.searched++
		switch state[c] {
		case open:
			return list, false
		case done:
		default:
			state[c] = open
			path = append(path, step{chain: c})
		}
	}
	return list, true
}

// validate asks the matches and the target of a rule whether it may stand in a
// chain to which packets come from hooks.
func (s *Session) validate(c *Chain, rule *Rule, hooks HookSet) {
	p := s.p
	context := Context{Family: p.family, Table: p.table.Name, Chain: c.Name, Hooks: hooks, Rule: rule}
	p.validateRule(context)
}
