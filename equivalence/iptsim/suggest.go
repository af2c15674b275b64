package iptsim

import (
	"fmt"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// Suggestions returns for each rule that can be reached the tests on one way of
// jumps to it, then its own, each with the settings at its boundaries.
func (m *Machine) Suggestions() []packet.Suggestion {
	var out []packet.Suggestion
	total, at := 0, 0
	m.eachRule(func(*rule) { total++ })
	for _, t := range m.tables {
		ways := t.ways(m.family)
		for _, c := range t.chains {
			hooks := hookList(c.hooks)
			if len(hooks) == 0 {
				continue
			}
			for i := range c.rules {
				r := &c.rules[i]
				if at++; !packet.Suggested(at-1, total) {
					continue
				}
				tests := append([]packet.Test(nil), ways[c]...)
				out = append(out, packet.Suggestion{
					Rule:  r.source.Range.FileLine() + " " + iptables.PrintRule(r.source, c.source.Name),
					Hooks: hooks,
					Tests: append(tests, ruleTests(r, m.family)...),
				})
			}
			for _, h := range hooks {
				if c.source.Builtin {
					out = append(out, packet.Suggestion{Rule: "policy of " + c.table + " " + c.source.Name, Hooks: []packet.Hook{h}})
				}
			}
		}
		out = append(out, t.repeats(ways, m.family)...)
	}
	return out
}

// ways returns for each chain the tests on the shortest way of jumps to it.
func (t *table) ways(family iptables.Family) map[*chain][]packet.Test {
	ways := make(map[*chain][]packet.Test)
	var queue []*chain
	for _, c := range t.chains {
		if c.source.Builtin {
			ways[c] = nil
			queue = append(queue, c)
		}
	}
	seen := make(map[*chain]bool)
	for _, c := range queue {
		seen[c] = true
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		for i := range c.rules {
			r := &c.rules[i]
			if r.target == nil || seen[r.target] {
				continue
			}
			seen[r.target] = true
			ways[r.target] = append(append([]packet.Test(nil), ways[c]...), ruleTests(r, family)...)
			queue = append(queue, r.target)
		}
	}
	return ways
}

func hookList(set iptables.HookSet) []packet.Hook {
	var hooks []packet.Hook
	for h := packet.Prerouting; h <= packet.Postrouting; h++ {
		if set&(1<<h) != 0 {
			hooks = append(hooks, h)
		}
	}
	return hooks
}

// maxLookups is of how many values of a set packets are suggested.
const maxLookups = 64

// ruleTests lists the tests of a rule: its base options, then its matches.
func ruleTests(r *rule, family iptables.Family) []packet.Test {
	w := wishes{family: family}
	b := &r.base
	w.masked(predicate.SrcAddr, b.src)
	w.masked(predicate.DstAddr, b.dst)
	w.masked(predicate.InInterface, b.in)
	w.masked(predicate.OutInterface, b.out)
	if b.proto != 0 {
		p := predicate.Equal(predicate.Field{ID: predicate.Protocol}, predicate.Number(uint64(b.proto)))
		w.test(p, b.notProto)
	}
	if b.fragment {
		first := predicate.Equal(predicate.Field{ID: predicate.FragmentOffset}, predicate.Bits{})
		w.test(first, !b.notFrag)
	}
	for _, m := range r.matches {
		if m.meaning.Match != nil {
			w.flatten(m.meaning.Match)
		}
	}
	for _, e := range r.effects {
		if set, ok := e.(predicate.Assign); ok && set.Unset {
			for _, f := range []predicate.Field{set.Field, set.From} {
				w.flatten(predicate.Equal(f, predicate.Bits{}))
			}
		}
		if lookup, ok := e.(predicate.SetMap); ok {
			any := predicate.Any{}
			for _, c := range lookup.Cases[:min(len(lookup.Cases), maxLookups)] {
				any = append(any, c.When)
			}
			w.flatten(any)
		}
		strip, ok := e.(predicate.StripOptions)
		for i := 0; ok && i < len(strip.Kinds); i++ {
			option := predicate.Field{ID: predicate.TCPOption, Arg: uint32(strip.Kinds[i])}
			w.flatten(predicate.Equal(option, predicate.Number(1)))
		}
	}
	return w.tests
}

// wishes collects the tests of one rule.
type wishes struct {
	family iptables.Family
	tests  []packet.Test
}

func (w *wishes) masked(id predicate.FieldID, m masked) {
	if !m.mask.IsZero() {
		w.test(predicate.Masked{Field: predicate.Field{ID: id}, Mask: m.mask, Value: m.value}, m.not)
	}
}

func (w *wishes) test(p predicate.Predicate, not bool) {
	hold, fail := w.settings(p)
	if not {
		hold, fail = fail, hold
	}
	if len(hold)+len(fail) > 0 {
		w.tests = append(w.tests, packet.Test{Hold: hold, Fail: fail})
	}
}

// flatten makes a test of each part of a conjunction.
func (w *wishes) flatten(p predicate.Predicate) {
	if all, ok := p.(predicate.All); ok {
		for _, part := range all {
			w.flatten(part)
		}
		return
	}
	w.test(p, false)
}

// settings returns settings under which a predicate holds and fails.
func (w *wishes) settings(p predicate.Predicate) (hold, fail []packet.Setting) {
	switch p := p.(type) {
	case predicate.Not:
		fail, hold = w.settings(p.P)
	case predicate.All:
		// Any part alone makes it fail; all first settings together hold.
		var together []packet.Setting
		for _, part := range p {
			h, f := w.settings(part)
			if len(h) > 0 {
				together = append(together, h[0])
			}
			fail = append(fail, f...)
		}
		if len(together) > 0 {
			hold = []packet.Setting{combine(together)}
		}
	case predicate.Any:
		hold, fail = w.anySettings(p)
	case predicate.Between:
		if p.Field.ID == predicate.CTState {
			return w.states(p.Field, p.Low)
		}
		hold = w.values(p.Field, p.Low, p.High)
		if !p.Low.IsZero() {
			fail = append(fail, w.values(p.Field, p.Low.Dec())...)
		}
		if p.High.Less(predicate.Ones(properties[p.Field.ID].bits)) {
			fail = append(fail, w.values(p.Field, p.High.Inc())...)
		}
	case predicate.In:
		const most = 24
		for i, s := range p.Spans {
			if i == most {
				break
			}
			hold = append(hold, w.values(p.Field, s.Low, s.High)...)
			fail = append(fail, w.values(p.Field, s.Low.Dec(), s.High.Inc())...)
		}
	case predicate.Masked:
		hold, fail = w.maskedSettings(p)
	case predicate.Member:
		w.memberSettings(p, p.Spans, nil, 1, &hold, &fail)
	}
	return hold, fail
}

// memberSettings goes through some of the spans, at both ends of each, and makes
// a setting of the values on the way to each answer.
func (w *wishes) memberSettings(p predicate.Member, at *predicate.Spans, way []packet.Setting, depth int, hold, fail *[]packet.Setting) {
	const most = 12
	f := p.Fields[depth-1]
	n := len(at.First)
	if n == 0 {
		if len(way) == 0 {
			return
		}
		if at.Holds {
			*hold = append(*hold, combine(way))
		} else {
			*fail = append(*fail, combine(way))
		}
		return
	}
	step := max(1, n/(most/depth))
	for i := 0; i < n; i += step {
		last := predicate.Ones(properties[f.ID].bits)
		if i+1 < n {
			last = at.First[i+1].Dec()
		}
		for _, set := range w.values(f, at.First[i], last) {
			next := append(way[:len(way):len(way)], set)
			if depth == len(p.Fields) {
				w.memberSettings(p, &predicate.Spans{Holds: at.Next[i].Holds}, next, depth, hold, fail)
			} else {
				w.memberSettings(p, at.Next[i], next, depth+1, hold, fail)
			}
		}
	}
}

// anySettings makes each part hold alone, behind failures of the others.
func (w *wishes) anySettings(parts predicate.Any) (hold, fail []packet.Setting) {
	holds := make([][]packet.Setting, len(parts))
	fails := make([]packet.Setting, len(parts))
	known := make([]bool, len(parts))
	for i, part := range parts {
		h, f := w.settings(part)
		if holds[i] = h; len(f) > 0 {
			fails[i], known[i] = f[0], true
		}
	}
	except := func(skip int) []packet.Setting {
		var list []packet.Setting
		for i := range parts {
			if known[i] && i != skip {
				list = append(list, fails[i])
			}
		}
		return list
	}
	for i, h := range holds {
		others := except(i)
		for _, set := range h {
			hold = append(hold, combine(append(others[:len(others):len(others)], set)))
		}
	}
	if all := except(-1); len(all) > 0 {
		fail = []packet.Setting{combine(all)}
	}
	return hold, fail
}

// states makes a setting of each state, so that one holds.
func (w *wishes) states(f predicate.Field, wanted predicate.Bits) (hold, fail []packet.Setting) {
	for _, s := range wishStates {
		set := w.values(f, predicate.Number(s.bit))
		if wanted == predicate.Number(s.bit) {
			hold = append(hold, set...)
		} else {
			fail = append(fail, set...)
		}
	}
	return hold, fail
}

// maskedSettings fails a masked test in each bit of the mask, or for wide masks
// in those at its edges.
func (w *wishes) maskedSettings(p predicate.Masked) (hold, fail []packet.Setting) {
	if p.Field.ID == predicate.InInterface || p.Field.ID == predicate.OutInterface {
		return w.names(p)
	}
	bits := properties[p.Field.ID].bits
	open := predicate.Ones(bits).And(p.Mask.Not())
	hold = w.values(p.Field, p.Value, p.Value.Or(open), p.Value.Or(open.And(predicate.Number(1))))
	var in []int
	for i := 0; i < bits; i++ {
		if !p.Mask.And(predicate.Number(1).Shift(i)).IsZero() {
			in = append(in, i)
		}
	}
	const most = 10
	for at, i := range in {
		if len(in) > most && at >= 2 && at < len(in)-2 && at%8 != 0 {
			continue
		}
		fail = append(fail, w.values(p.Field, p.Value.Xor(predicate.Number(1).Shift(i)))...)
	}
	return hold, fail
}

// names are device names for a test of the beginning, or of the whole, of one.
func (w *wishes) names(p predicate.Masked) (hold, fail []packet.Setting) {
	raw := p.Value.Bytes()
	name := string(raw[:])
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	if name == "" {
		return nil, nil
	}
	next := p.Mask.Shift(8 * len(name)) // is the byte behind the name compared?
	holding, failing := []string{name}, []string{name + "1", "x" + name[1:]}
	if next.IsZero() {
		holding, failing = []string{name + "0", name, name + "7"}, []string{"x" + name, name[:len(name)-1] + "_"}
	}
	for _, n := range holding {
		hold = append(hold, w.values(p.Field, predicate.Name(n))...)
	}
	for _, n := range failing {
		if len(n) < 16 {
			fail = append(fail, w.values(p.Field, predicate.Name(n))...)
		}
	}
	return hold, fail
}

// values makes settings of a field, where packets have a property for it.
func (w *wishes) values(f predicate.Field, values ...predicate.Bits) []packet.Setting {
	p, ok := properties[f.ID]
	if !ok {
		return nil
	}
	var out []packet.Setting
	seen := make(map[predicate.Bits]bool)
	for _, v := range values {
		if seen[v] || predicate.Ones(p.bits).Less(v) && p.bits < 128 {
			continue
		}
		seen[v] = true
		family := w.family
		out = append(out, packet.Setting{
			Name:  fmt.Sprintf("%v %v v%d", f, v, family),
			Apply: func(s *packet.Spec) { p.set(s, f, v, family) },
		})
	}
	return out
}

func combine(list []packet.Setting) packet.Setting {
	if len(list) == 1 {
		return list[0]
	}
	name := list[0].Name
	for _, s := range list[1:] {
		name += ", " + s.Name
	}
	return packet.Setting{Name: name, Apply: func(s *packet.Spec) {
		for _, set := range list {
			set.Apply(s)
		}
	}}
}
