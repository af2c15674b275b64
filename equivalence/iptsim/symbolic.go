package iptsim

import (
	"fmt"
	"slices"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

var _ symbolic.Compiler = (*Machine)(nil)

// Collect notes the device names that rules test and lists the states that they
// consult, as a packet meets them: by hook and priority, each chain where it is
// first jumped to.
func (m *Machine) Collect(version int, tests *symbolic.NameTests) []symbolic.Instance {
	if version != int(m.family) {
		return nil
	}
	var list []symbolic.Instance
	recents, met := m.recentLists(), map[string]bool{}
	m.visit(func(r *rule) {
		asked := 0
		for _, t := range []masked{r.base.in, r.base.out} {
			noteName(t, tests)
		}
		r.eachPredicate(func(p predicate.Predicate, place string) {
			for _, f := range predicate.FieldsOf(p) {
				if f.ID == predicate.InInterface || f.ID == predicate.OutInterface {
					noteNames(p, tests)
				}
			}
			for _, i := range namedOf(p, version) {
				if name := i.Identity.(string); !met[name] {
					met[name] = true
					i.Place = place
					list = append(list, i)
				}
			}
			if recent, ok := recentOf(p); ok {
				if !met[recent.List] {
					met[recent.List] = true
					list = append(list, recents[recent.List].instances()...)
				}
				return
			}
			for _, state := range statesOf(p) {
				i := state.instance
				if state.shared != "" && met[state.shared] {
					asked++
					continue
				}
				i.Place = place
				switch {
				case state.shared != "":
					met[state.shared] = true
					i.Identity = state.shared
				case !i.Silent:
					i.Identity = scoped{r, asked}
				}
				asked++
				list = append(list, i)
			}
		})
	})
	return list
}

// visit calls for each rule once, in the order in which packets meet rules;
// then for those that no packet meets. What a rule leads to by goto comes behind
// the chain it stands in: a packet meets the one or the other.
func (m *Machine) visit(each func(r *rule)) {
	walked, met := map[*chain]bool{}, map[*rule]bool{}
	meet := func(r *rule) {
		if !met[r] {
			met[r] = true
			each(r)
		}
	}
	var walk func(c *chain)
	walk = func(c *chain) {
		if walked[c] {
			return
		}
		walked[c] = true
		var later []*chain
		for i := range c.rules {
			r := &c.rules[i]
			meet(r)
			switch {
			case r.target != nil && r.jump:
				walk(r.target)
			case r.target != nil:
				later = append(later, r.target)
			}
			if r.always() {
				break
			}
		}
		for _, c := range later {
			walk(c)
		}
	}
	for _, p := range placings {
		if t := m.table(p.table); t != nil {
			if c := t.chain(p.chain); c != nil {
				walk(c)
			}
		}
	}
	for _, t := range m.tables {
		for _, c := range t.chains {
			walk(c)
		}
	}
	for _, t := range m.tables {
		for _, c := range t.chains {
			for i := range c.rules {
				meet(&c.rules[i])
			}
		}
	}
}

// always reports whether no packet comes to the rules behind this one.
func (r *rule) always() bool {
	s := r.source
	if len(r.matches) > 0 || s == nil || s.In.Present || s.Out.Present || s.Source.Present || s.Destination.Present || s.Fragment.Present || s.Protocol.Present {
		return false
	}
	return r.target != nil && !r.jump || r.target == nil && r.unknown == "" && r.then > predicate.Continue
}

// eachPredicate visits the predicates of a rule, and what its target asks, in the
// order in which they are evaluated.
func (r *rule) eachPredicate(visit func(p predicate.Predicate, place string)) {
	for _, m := range r.matches {
		place := r.describe(m.use.Match.Name())
		for _, p := range []predicate.Predicate{m.meaning.Hotdrop, m.meaning.Match} {
			predicate.Walk(p, func(p predicate.Predicate) { visit(p, place) })
		}
	}
	for _, e := range r.effects {
		if offer, ok := e.(predicate.Offer); ok {
			visit(predicate.Stateful{Instance: offer.Socket}, r.describe(r.source.Action.Target.Name()))
		}
		if lookup, ok := e.(predicate.SetMap); ok {
			for _, c := range lookup.Cases {
				predicate.Walk(c.When, func(p predicate.Predicate) { visit(p, r.describe("SET")) })
			}
		}
	}
}

func noteName(t masked, tests *symbolic.NameTests) {
	if t.mask.IsZero() {
		return
	}
	mask, value := t.mask.Bytes(), t.value.Bytes()
	size := 0
	for size < len(mask) && mask[size] == 0xff {
		size++
	}
	for i, b := range value[:size] {
		if b == 0 {
			tests.Exact(string(value[:i]))
			return
		}
	}
	if size == len(mask) {
		tests.Exact(string(value[:]))
		return
	}
	tests.Prefix(string(value[:size]))
}

// noteNames notes the names of a predicate about a device.
func noteNames(p predicate.Predicate, tests *symbolic.NameTests) {
	all := predicate.Ones(128)
	switch p := p.(type) {
	case predicate.Masked:
		noteName(masked{mask: p.Mask, value: p.Value}, tests)
	case predicate.Between:
		noteName(masked{mask: all, value: p.Low}, tests)
	case predicate.In:
		for _, span := range p.Spans {
			noteName(masked{mask: all, value: span.Low}, tests)
		}
	case predicate.Member:
		for _, name := range p.Devices {
			tests.Exact(name)
		}
		for _, name := range p.Prefixes {
			tests.Prefix(name)
		}
	}
}

// policy is what becomes of packets at the end of a built-in chain.
func (c *chain) policy() symbolic.Verdict {
	if c.source.Policy == "DROP" {
		return symbolic.Drop
	}
	return symbolic.Accept
}

// compiler makes a compiler. slots are those of the instances that Collect
// listed.
func (m *Machine) compiler(s *symbolic.Space, slots []symbolic.Slot) *compiler {
	c := &compiler{
		space: s, fields: map[predicate.Field]symbolicField{}, recents: m.recentLists(), chains: map[*chain]*symbolic.RuleChain{},
	}
	at, met := 0, map[string]bool{}
	c.slots, c.named = make(map[scoped]symbolic.Slot, len(slots)), map[string]symbolic.Slot{}
	shared := map[string]symbolic.Slot{}
	if len(slots) == 0 {
		return c
	}
	m.visit(func(r *rule) {
		n := 0
		r.eachPredicate(func(p predicate.Predicate, _ string) {
			for _, i := range namedOf(p, s.Version) {
				if _, again := c.named[i.Identity.(string)]; !again {
					c.named[i.Identity.(string)] = slots[at]
					at++
				}
			}
			if recent, ok := recentOf(p); ok {
				if l := c.recents[recent.List]; !met[recent.List] && l.problem == "" {
					for i := range l.questions {
						l.questions[i].slot = slots[at]
						at++
					}
				}
				met[recent.List] = true
				return
			}
			for _, state := range statesOf(p) {
				slot, again := shared[state.shared]
				if state.shared == "" || !again {
					slot = slots[at]
					at++
					shared[state.shared] = slot
				}
				c.slots[scoped{r, n}] = slot
				n++
			}
		})
	})
	return c
}

// A compiler makes functions of the rules of one machine.
type compiler struct {
	space *symbolic.Space
	slots map[scoped]symbolic.Slot
	// named are the slots of what is the same for all who ask, by identity: see
	// namedOf.
	named    map[string]symbolic.Slot
	fields   map[predicate.Field]symbolicField
	standing symbolic.Standing // of fields
	members  map[memberKey]bdd.Ref
	recents  map[string]*recentList
	asked    int // of the rule at hand
	rule     *rule
	number   func(*symbolic.RuleChain) int // of the rule at hand
	chains   map[*chain]*symbolic.RuleChain
}

// scoped is the n-th instance that a rule asks.
type scoped struct {
	rule *rule
	n    int
}

// compileRule is the function of a rule.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, ipt_do_table;
// net/ipv6/netfilter/ip6_tables.c, ip6t_do_table.
func (c *compiler) compileRule(r *rule) bdd.Ref {
	s := c.space
	c.rule, c.asked = r, 0
	where, ends := c.base(&r.base)
	// Tests without state are conditions that all must hold; a state splits the
	// rule into steps.
	var steps []bdd.Ref
	doomed := bdd.False
	flush := func() {
		if len(where) > 0 || ends != nil {
			steps = append(steps, c.step(where, ends))
			where, ends = nil, nil
		}
	}
	for i := range r.matches {
		m := &r.matches[i]
		unproven := []predicate.Predicate{m.meaning.Unproven, m.meaning.Doom}
		if odd, ok := c.doom(m.meaning.Doom); ok && steps == nil {
			doomed = s.Or(doomed, s.All(append(slices.Clone(where), odd)...))
			unproven = unproven[:1]
		}
		for _, unproven := range unproven {
			if unproven == nil || m.unknown != "" {
				continue
			}
			if odd, ok := c.pure(unproven); !ok {
				flush()
				steps = append(steps, c.unsure(m.use.Match.Name()))
			} else if odd != bdd.False {
				why := symbolic.Leaf{Verdict: symbolic.Undecided, Why: r.describe(m.use.Match.Name())}
				ends = append(ends, end{s.All(append(slices.Clone(where), odd)...), why})
				where = append(where, s.Not(odd))
			}
		}
		switch {
		case m.unknown != "":
			flush()
			steps = append(steps, s.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: r.describe(m.unknown)}))
			continue
		case m.meaning.Hotdrop != nil:
			drop, ok := c.pure(m.meaning.Hotdrop)
			if !ok {
				flush()
				steps = append(steps, c.unsure(m.use.Match.Name()))
				continue
			}
			if drop != bdd.False {
				ends = append(ends, end{s.All(append(slices.Clone(where), drop)...), symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode}})
				where = append(where, s.Not(drop))
			}
		}
		if m.meaning.Match == nil {
			continue
		}
		if f, ok := c.pure(m.meaning.Match); ok {
			where = append(where, f)
		} else {
			flush()
			steps = append(steps, c.predicate(m.meaning.Match, m.use.Match.Name()))
		}
		for _, e := range m.meaning.Effects {
			flush()
			steps = append(steps, c.effect(e))
		}
	}
	then := c.acted(c.action(r))
	if len(steps) == 0 {
		return c.lost(doomed, c.ended(s.IfAll(where, then, s.Next()), ends))
	}
	flush()
	return c.lost(doomed, c.matched(s.Sequence(s.List(steps), then)))
}

// doom is where a match has the kernel drop a packet behind its rule; ok is false
// where that is not told.
func (c *compiler) doom(p predicate.Predicate) (f bdd.Ref, ok bool) {
	if p == nil {
		return bdd.False, true
	}
	return c.pure(p)
}

// lost is the function of a rule behind which a class of packets is dropped, whatever
// the rest of the rule does.
func (c *compiler) lost(where, f bdd.Ref) bdd.Ref {
	s := c.space
	if where == bdd.False {
		return f
	}
	return s.ITE(where, s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict != symbolic.Undecided {
			l = symbolic.Leaf{Verdict: symbolic.Drop, Effect: l.Effect, Why: hotdropCode}
		}
		return s.Leaf(l)
	}), f), f)
}

// ended is a function with classes of packets that end before.
func (c *compiler) ended(f bdd.Ref, ends []end) bdd.Ref {
	for _, e := range ends {
		f = c.space.ITE(e.where, c.space.Leaf(e.leaf), f)
	}
	return f
}

// hotdropCode is the declared deviation of packets that xtables drops inside a
// match.
const hotdropCode = "hotdrop"

// An end is a class of packets that a rule decides inside a test.
type end struct {
	where bdd.Ref
	leaf  symbolic.Leaf
}

// skip is the leaf of packets that a rule does not match.
func (c *compiler) skip(e symbolic.Effect) bdd.Ref {
	return c.space.Leaf(symbolic.Leaf{Verdict: symbolic.Accept, Effect: e, By: skipped})
}

// skipped marks leaves of a rule that does not match; they do not leave it.
const skipped = -1

// matched turns packets that were skipped into ones that continue.
func (c *compiler) matched(f bdd.Ref) bdd.Ref {
	s := c.space
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.By == skipped {
			l.Verdict, l.By = symbolic.Continue, 0
		}
		return s.Leaf(l)
	}), f)
}

// step continues where conditions hold, and ends some classes before.
func (c *compiler) step(where []bdd.Ref, ends []end) bdd.Ref {
	s := c.space
	return c.ended(s.IfAll(where, s.Next(), c.skip(symbolic.NoEffect)), ends)
}

func (c *compiler) unsure(what string) bdd.Ref {
	return c.space.Leaf(symbolic.Leaf{Verdict: symbolic.Undecided, Why: c.rule.describe(what)})
}

// base are the conditions of the options that every rule has, and where the
// kernel drops a packet at "-p".
//
// Kernel: ip_packet_match and ip6_packet_match.
func (c *compiler) base(b *base) (where []bdd.Ref, ends []end) {
	s := c.space
	for _, t := range []struct {
		test  *masked
		field predicate.FieldID
	}{{&b.src, predicate.SrcAddr}, {&b.dst, predicate.DstAddr}, {&b.in, predicate.InInterface}, {&b.out, predicate.OutInterface}} {
		if t.test.mask.IsZero() && !t.test.not {
			continue
		}
		f := c.masked(c.field(predicate.Field{ID: t.field}).word, t.test.mask, t.test.value)
		if t.test.not {
			f = s.Not(f)
		}
		where = append(where, f)
	}
	if b.proto != 0 {
		found := c.found()
		if lost := s.All(append(slices.Clone(where), s.Not(found))...); lost != bdd.False {
			ends = append(ends, end{lost, symbolic.Leaf{Verdict: symbolic.Drop, Why: hotdropCode}})
			where = append(where, found)
		}
		f := s.Number(s.Bits(symbolic.Protocol), uint64(b.proto))
		if b.notProto {
			f = s.Not(f)
		}
		where = append(where, f)
	}
	if b.fragment {
		f := s.Number(s.Bits(symbolic.Fragment), 0)
		if !b.notFrag {
			f = s.Not(f)
		}
		where = append(where, f)
	}
	return where, ends
}

// found holds when the transport protocol was found, as in IPv4 it always is.
func (c *compiler) found() bdd.Ref {
	if c.space.Version == 4 {
		return bdd.True
	}
	return c.space.Bit(symbolic.TransportFound)
}

// action is the function of what a rule does when it matches.
func (c *compiler) action(r *rule) bdd.Ref {
	s := c.space
	if r.unknown != "" {
		return c.unsure(r.unknown)
	}
	if r.target != nil {
		return c.leads(r)
	}
	steps := make([]bdd.Ref, 0, len(r.effects)+1)
	for _, e := range r.effects {
		steps = append(steps, c.effect(e))
	}
	return s.List(append(steps, s.Leaf(symbolic.Leaf{Verdict: outcomes[r.then]})))
}

var outcomes = map[predicate.Outcome]symbolic.Verdict{
	predicate.Continue: symbolic.Continue, predicate.Accept: symbolic.Accept,
	predicate.Drop: symbolic.Drop, predicate.Return: symbolic.Return,
}

// instanceOf describes the state that a predicate itself consults.
func instanceOf(p predicate.Predicate) (symbolic.Instance, bool) {
	_, options := optionsOf(p)
	if _, tells := chunksOf(p); tells || options {
		return symbolic.Instance{}, false
	}
	if s, ok := p.(predicate.Stateful); ok {
		return describeState(s.Instance), !constant(s.Instance)
	}
	for _, f := range predicate.FieldsOf(p) {
		if f.ID == predicate.Random {
			return symbolic.Instance{Kind: "random", Parameters: "number of 32 bits", Width: 32, Silent: true}, true
		}
	}
	return symbolic.Instance{}, false
}

// sharedBy names a state that several rules ask, "" for one that belongs to its
// rule. Lists of recent addresses are apart.
func sharedBy(p predicate.Predicate) string {
	s, ok := p.(predicate.Stateful)
	if !ok {
		return ""
	}
	return s.Instance.Identity()
}

// constant reports whether a state answers yes to every packet: a bucket that
// never empties, a counter of one.
func constant(i predicate.Instance) bool {
	switch i := i.(type) {
	case predicate.Limit:
		period, _ := i.Bucket()
		return period == 0
	case predicate.Hashlimit:
		return i.Average == 0
	case predicate.Nth:
		return i.Every <= 1
	}
	return false
}

// describeState puts a state in the words of the proof.
func describeState(i predicate.Instance) symbolic.Instance {
	switch i := i.(type) {
	case predicate.Limit:
		period, burst := i.Bucket()
		return symbolic.Instance{
			Kind: "limit", Parameters: fmt.Sprintf("one per %dns burst %d", period, burst), Width: 1, Firm: true, Loose: "limit-resolution", Turns: int(burst), Lasts: time.Duration(period),
		}
	case predicate.Hashlimit:
		return describeHashlimit(i, hashCase{key: i.Key})
	case predicate.Quota:
		return symbolic.Instance{Kind: "quota", Parameters: fmt.Sprintf("bytes %d consumed 0", i.Bytes), Width: 1}
	case predicate.Connlimit:
		return symbolic.Instance{
			Kind: "connlimit", Parameters: fmt.Sprintf("more than %d", i.Most), Key: keyOf(i.Key, i.IPv6), Width: 1,
			Needs: []string{"connlimit-established", "connlimit-table-size"}[:1+min(len(i.Key), 1)],
		}
	case predicate.Content:
		return symbolic.Instance{Kind: "content", Parameters: i.Describe(), Width: 1, Silent: true}
	case predicate.Nth:
		return symbolic.Instance{Kind: "nth", Parameters: fmt.Sprintf("counter of %d", i.Every), Width: 32, Below: uint64(i.Every), Turns: int(i.Every)}
	}
	return symbolic.Instance{Kind: i.Identity(), Parameters: i.Describe(), Width: 1}
}
