package iptsim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// Numbers of suggestions for one state, each of which becomes a few packets.
const (
	maxRepeats = 40
	maxWalk    = 72
	// maxStates bounds all those of a table.
	maxStates = 2000
)

// A stateUse is a rule that asks a state.
type stateUse struct {
	rule     *rule
	chain    *chain
	instance predicate.Instance
}

// repeats suggests the packets that a state takes: for a private one, such as
// a bucket, so many in a row that it comes to its end; for one that several
// rules share, such as a list of addresses, all its rules in changing order,
// from one address.
func (t *table) repeats(ways map[*chain][]packet.Test, family iptables.Family) []packet.Suggestion {
	var out []packet.Suggestion
	shared := make(map[string][]stateUse)
	var names []string
	for _, c := range t.chains {
		if len(hookList(c.hooks)) == 0 {
			continue
		}
		for i := range c.rules {
			use := stateUse{rule: &c.rules[i], chain: c}
			for _, m := range use.rule.matches {
				predicate.Walk(m.meaning.Match, func(p predicate.Predicate) {
					s, ok := p.(predicate.Stateful)
					if !ok {
						return
					}
					use.instance = s.Instance
					name := s.Instance.Identity()
					if name == "" && len(out) < maxStates {
						out = append(out, use.inRow(ways, family)...)
					}
					if name == "" {
						return
					}
					if shared[name] == nil {
						names = append(names, name)
					}
					shared[name] = append(shared[name], use)
				})
			}
		}
	}
	for _, name := range names {
		if len(out) >= 2*maxStates {
			break
		}
		out = append(out, walk(shared[name], ways, family)...)
	}
	return out
}

// inRow suggests as many packets as a private state can tell apart: for a
// bucket, on a full one also those that fail a test, until it is empty, and
// then what comes back in about the time of one packet.
func (u stateUse) inRow(ways map[*chain][]packet.Test, family iptables.Family) []packet.Suggestion {
	n, average := maxRepeats, int64(0)
	switch s := u.instance.(type) {
	case predicate.Limit:
		n = min(int(s.Burst)+2, maxRepeats)
		average = int64(s.Average) * (int64(time.Second) / 10000)
	case predicate.Nth:
		n = min(2*int(s.Every), maxRepeats)
	}
	full := packet.Suggestion{
		Rule: "state of " + u.rule.source.Range.FileLine(), Hooks: hookList(u.chain.hooks),
		Tests: slices.Concat(ways[u.chain], ruleTests(u.rule, family)),
	}
	out := []packet.Suggestion{u.suggestion(ways, family, average*int64(n)), full}
	for range n {
		out = append(out, u.suggestion(ways, family, 0))
	}
	for _, percent := range []int64{45, 60, 95, 100, 105} {
		if average > 0 {
			out = append(out, u.suggestion(ways, family, average*percent/100))
		}
	}
	return out
}

// walk suggests packets for the rules of one state in an order that has most
// short sequences of them, mostly at once, and sometimes after about the times
// that the rules look back.
func walk(uses []stateUse, ways map[*chain][]packet.Test, family iptables.Family) []packet.Suggestion {
	pauses := make([]int64, 12)
	for _, u := range uses {
		if h, ok := u.instance.(predicate.Hashlimit); ok && len(pauses) < 24 {
			period, _ := h.Bucket()
			pauses = append(pauses, period*45/100, period*95/100, period, period*105/100)
		}
		if r, ok := u.instance.(predicate.Recent); ok && r.Seconds != 0 && len(pauses) < 24 {
			look := int64(r.Seconds) * int64(time.Second)
			pauses = append(pauses, look/2, look/2+tick, look-tick, look, look+tick, look*19/20)
		}
	}
	out := make([]packet.Suggestion, 0, maxWalk)
	at := uint32(1)
	for range min(maxWalk, 8*len(uses)*len(uses)) {
		at = at*1664525 + 1013904223 // Numerical Recipes' generator
		u := uses[int(at>>16)%len(uses)]
		out = append(out, u.suggestion(ways, family, pauses[int(at>>8&0xff)%len(pauses)]))
	}
	return out
}

// tick is the grid of the clock on which packets are chosen.
const tick = 20 * int64(time.Millisecond)

// sender is the address of all packets for a state that is kept by address.
var sender = map[iptables.Family]netip.Addr{
	iptables.IPv4: netip.AddrFrom4([4]byte{198, 51, 100, 77}),
	iptables.IPv6: netip.MustParseAddr("2001:db8:77::77"),
}

// suggestion is a packet that meets all tests of the rule, in only one way, a
// while after the packet before.
func (u stateUse) suggestion(ways map[*chain][]packet.Test, family iptables.Family, pause int64) packet.Suggestion {
	s := packet.Suggestion{Rule: "state of " + u.rule.source.Range.FileLine(), Hooks: hookList(u.chain.hooks)}
	pause -= pause % tick
	all := []packet.Setting{{Name: fmt.Sprintf("after %d", pause), Apply: func(s *packet.Spec) { s.Time = pause }}}
	for _, f := range u.instance.Keys() {
		if f.ID == predicate.SrcAddr {
			all = append(all, packet.Setting{Name: "the sender", Apply: func(s *packet.Spec) { s.Src, s.Version = sender[family], int(family) }})
		}
	}
	for _, tests := range [][]packet.Test{ways[u.chain], ruleTests(u.rule, family)} {
		for _, t := range tests {
			if len(t.Hold) > 0 {
				all = append(all, t.Hold[0])
			}
		}
	}
	s.Tests = []packet.Test{{Hold: []packet.Setting{combine(all)}}}
	return s
}
