package iptsim

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// A frame is where a jump returns to.
type frame struct {
	chain *chain
	next  int
}

// A ruleResult is how a rule went for a packet.
type ruleResult uint8

const (
	passed    ruleResult = iota // some test did not hold
	matched                     // all tests held
	hotdrop                     // the packet is dropped inside a test
	undecided                   // something is not modelled
)

// run sends a packet through a built-in chain.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, ipt_do_table;
// net/ipv6/netfilter/ip6_tables.c, ip6t_do_table.
func (m *Machine) run(start *chain, f *packet.Flight) packet.Verdict {
	verdict := m.traverse(start, f)
	if m.view.doomed && verdict != packet.Undecided {
		return doom(f)
	}
	return verdict
}

// doom drops a packet behind the rule inside of which that was decided. It is not
// handed over to a queue.
func doom(f *packet.Flight) packet.Verdict {
	f.Hotdrop = true
	if f.Queued {
		f.Queued, f.Events = false, f.Events[:len(f.Events)-1]
	}
	return packet.Drop
}

// traverse goes from rule to rule, until one decides or dooms the packet.
func (m *Machine) traverse(start *chain, f *packet.Flight) packet.Verdict {
	v := &m.view
	v.reset(f, &m.states)
	if v.version != int(m.family) {
		return packet.Accept
	}
	m.stack = m.stack[:0]
	c, i := start, 0
	for !v.doomed {
		if i >= len(c.rules) {
			if len(m.stack) == 0 {
				return m.policy(start, f)
			}
			c, i = m.pop()
			continue
		}
		r := &c.rules[i]
		i++
		result, where := r.test(v)
		switch result {
		case passed:
			trace(f, r, packet.Missed, where, "no match at")
			continue
		case hotdrop:
			f.Hotdrop = true
			trace(f, r, packet.Missed, where, "dropped inside")
			return packet.Drop
		case undecided:
			f.Unknown, f.Unanswered = append(f.Unknown, r.describe(where)), r.unanswered(where)
			trace(f, r, packet.Missed, where, "undecided at")
			return packet.Undecided
		}
		if r.unknown != "" {
			f.Unknown = append(f.Unknown, r.describe(r.unknown))
			trace(f, r, packet.Matched, r.unknown, "match, undecided at")
			return packet.Undecided
		}
		if r.target != nil {
			trace(f, r, packet.Matched, r.target.source.Name, r.verb())
			if r.jump {
				m.stack = append(m.stack, frame{c, i})
			}
			c, i = r.target, 0
			continue
		}
		outcome, unknown := apply(r.effects, v)
		if unknown != "" {
			f.Unknown = append(f.Unknown, r.describe(unknown))
			trace(f, r, packet.Matched, unknown, "match, undecided at")
			return packet.Undecided
		}
		if outcome == 0 {
			outcome = r.then
		}
		trace(f, r, looks[outcome], outcomeWords[outcome], "match,")
		switch outcome {
		case predicate.Accept:
			return packet.Accept
		case predicate.Drop:
			return packet.Drop
		case predicate.Return:
			if len(m.stack) == 0 {
				return m.policy(start, f)
			}
			c, i = m.pop()
		}
	}
	return packet.Drop
}

func (m *Machine) pop() (c *chain, next int) {
	top := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return top.chain, top.next
}

func (m *Machine) policy(c *chain, f *packet.Flight) packet.Verdict {
	verdict := packet.Accept
	if c.source.Policy == "DROP" {
		verdict = packet.Drop
	}
	if f.Traced {
		f.Step(packet.Step{
			Stage: c.table + " " + c.source.Name, Place: c.source.Range.FileLine(),
			Text: "policy " + c.source.Policy, Result: verdict.String(),
		})
	}
	return verdict
}

// looks are how a rule went, by its outcome.
var looks = [...]packet.Look{
	predicate.Continue: packet.Matched, predicate.Return: packet.Matched,
	predicate.Accept: packet.Decided, predicate.Drop: packet.Decided,
}

// test compares a rule with a packet; where names the test that decided.
func (r *rule) test(v *view) (result ruleResult, where string) {
	if result, where = r.base.test(v); result != matched {
		return result, where
	}
	for i := range r.matches {
		m := &r.matches[i]
		if m.unknown != "" {
			return undecided, m.unknown
		}
		if m.meaning.Hotdrop != nil {
			switch predicate.Eval(m.meaning.Hotdrop, v, m.scope) {
			case predicate.Yes:
				return hotdrop, m.use.Match.Name()
			case predicate.Unknown:
				return undecided, m.use.Match.Name()
			}
		}
		if m.meaning.Doom != nil {
			switch predicate.Eval(m.meaning.Doom, v, m.scope) {
			case predicate.Yes:
				v.doomed = true
			case predicate.Unknown:
				return undecided, m.use.Match.Name()
			}
		}
		if m.meaning.Match == nil {
			continue
		}
		switch predicate.Eval(m.meaning.Match, v, m.scope) {
		case predicate.No:
			return passed, m.use.Match.Name()
		case predicate.Unknown:
			yes, supposed := v.f.Answer()
			switch {
			case !supposed:
				return undecided, m.use.Match.Name()
			case !yes:
				return passed, m.use.Match.Name()
			}
		}
		if len(m.meaning.Effects) > 0 {
			if _, unknown := apply(m.meaning.Effects, v); unknown != "" {
				return undecided, unknown
			}
		}
	}
	return matched, ""
}

// unanswered reports whether the test that was undecided is of content, which the
// proof knows as a question.
func (r *rule) unanswered(where string) bool {
	for i := range r.matches {
		if m := &r.matches[i]; m.unknown == "" && m.use.Match.Name() == where {
			return asksContent(m.meaning.Match)
		}
	}
	return false
}

// asksContent reports whether content is all that the test can be undecided of.
func asksContent(p predicate.Predicate) bool {
	switch p := p.(type) {
	case predicate.Stateful:
		_, ok := p.Instance.(predicate.Content)
		return ok
	case predicate.Not:
		return asksContent(p.P)
	}
	return false
}

// test compares in the kernel's order: addresses, devices, protocol, fragment.
//
// Kernel: ip_packet_match and ip6_packet_match.
func (b *base) test(v *view) (result ruleResult, where string) {
	switch {
	case !b.src.holds(v.src):
		return passed, "-s"
	case !b.dst.holds(v.dst):
		return passed, "-d"
	case !b.in.holds(v.in):
		return passed, "-i"
	case !b.out.holds(v.out):
		return passed, "-o"
	}
	if b.proto != 0 {
		if !v.transport {
			// Only IPv6: the search for the protocol ran off the packet.
			return hotdrop, "-p"
		}
		if (v.proto == b.proto) == b.notProto {
			return passed, "-p"
		}
	}
	if b.fragment && (v.offset != 0) == b.notFrag {
		return passed, "-f"
	}
	return matched, ""
}
