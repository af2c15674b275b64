package extension

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A list of recent becomes rings of sets that forget.
//
// The question "was the address seen at least H times within S seconds?" needs
// the last H times. A ring holds them: H sets, the slots, whose elements live
// for S seconds. Each time the address is seen, it is written into the slot
// that was written the longest time ago; an address is in all H slots exactly
// when it was seen H times within S seconds. Which slot is the next is kept per
// address in further sets, one for each slot but the first: an address that is
// in none of them has the first slot next. They are written together with the
// slots and live as long, so that an address starts anew when all is forgotten.
//
// There is one ring for each pair of S and H that rules of the list ask for. S 0
// is a ring that never forgets. The ring (0, 1) is also the answer to "is the
// address in the list?", which --remove and "! --update" ask.

// recentTick is added to the life of elements: xtables counts in ticks, and a
// time that is S seconds old to the tick still counts, where an element of an
// nft set is gone. It is a tick of a kernel with HZ 250.
//
// Kernel: net/netfilter/xt_recent.c, recent_mt, time_after;
// include/net/netfilter/nf_tables.h, __nft_set_elem_expired.
const recentTick = 4 * time.Millisecond

// recentSetSize is the size of each set.
const recentSetSize = 65535

// recentRingMax is the largest hit count that is translated: a ring has two
// sets per hit.
const recentRingMax = 255

// recentRuleMax is how many sets one rule tests, or takes an address out of:
// with masks, the expressions of several such matches still fit into a rule.
const recentRuleMax = 12

// recentSecondsMax is the longest time whose ticks fit into 32 bits, on a kernel
// with HZ 1000.
const recentSecondsMax = 4294967

type recentKey struct {
	family iptables.Family
	name   recentName
}

// A recentList is what the rules of a list and a family share.
type recentList struct {
	key   recentKey
	mask  recentMask
	rings []*recentRing // by seconds and hits
	reap  recentSeconds // the shortest age of --reap, 0 for none
	stamp [2]*nftgen.Chain
	out   [2]*nftgen.Chain // takes an address out of more sets than a rule can
	// single says that a time is one element of one set.
	single         bool
	made, declared bool
}

// A recentRing remembers the last hits times of each address for seconds.
type recentRing struct {
	seconds recentSeconds
	hits    recentHits
	slots   []*nftgen.Set
	next    []*nftgen.Set // next[i]: slot i+1 is written next
}

// everRing is the ring that holds each address of the list.
var everRing = recentRing{seconds: 0, hits: 1}

// Collect notes what the rule asks of its list.
func (m *recentMatch) Collect(s *translate.Shared, c iptables.Context) error {
	key := recentKey{c.Family, m.List.Value}
	list := translate.Value(s, key, func() *recentList { return &recentList{key: key, mask: m.Mask.Value} })
	if (m.Check.Present || m.Update.Present) && m.HitCount.Value <= recentRingMax {
		list.need(recentRing{seconds: m.Seconds.Value, hits: max(m.HitCount.Value, 1)})
	}
	if m.Remove.Present || m.Update.Present && m.Update.Negated {
		list.need(everRing)
	}
	if m.Reap.Present && (list.reap == 0 || m.Seconds.Value < list.reap) {
		list.reap = m.Seconds.Value
	}
	return nil
}

// need adds a ring unless the list has it.
func (l *recentList) need(want recentRing) {
	i, found := l.position(want)
	if !found {
		l.rings = slices.Insert(l.rings, i, &want)
	}
}

// ring returns a ring that was needed.
func (l *recentList) ring(want recentRing) *recentRing {
	i, _ := l.position(want)
	return l.rings[i]
}

func (l *recentList) position(want recentRing) (int, bool) {
	return slices.BinarySearchFunc(l.rings, want, func(r *recentRing, want recentRing) int {
		return cmp.Or(cmp.Compare(r.seconds, want.seconds), cmp.Compare(r.hits, want.hits))
	})
}

// Translate adds the tests of the rings, and what is written into them.
func (m *recentMatch) Translate(r *translate.Rule) error {
	key := recentKey{r.Family, m.List.Value}
	list := translate.Value(r.Shared, key, func() *recentList { return nil })
	if m.Seconds.Value > recentSecondsMax {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: fmt.Sprintf("--seconds above %d is not translated", recentSecondsMax),
			Detail:  "Beyond that, the kernel's count of ticks wraps around and stands for a shorter time. Write fewer seconds, or leave the option out.",
			Range:   m.Seconds.Range,
		}
	}
	if list.mask != m.Mask.Value {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "a list of recent with several masks is not translated",
			Detail: fmt.Sprintf("The kernel uses one mask for all of list %s, that of the rule which it loads first. "+
				"Write the same --mask in all of its rules.", m.List.Value),
			Range: m.Mask.Range,
		}
	}
	if m.HitCount.Value > recentRingMax {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: fmt.Sprintf("--hitcount above %d is not translated", recentRingMax),
			Detail:  "Each hit takes a set of its own. Write a lower count, with fewer seconds.",
			Range:   m.HitCount.Range,
		}
	}
	list.make(r.Shared)
	m.declare(r, list)

	field := recentField(r.Family, m.Dest.Present)
	side := 0
	if m.Dest.Present {
		side = 1
	}
	// remember is what makes the present time a time at which the address was
	// seen.
	remember := func(then translate.Outcome) {
		var write nftgen.Stmt
		switch {
		case len(list.rings) == 0:
			// No rule asks.
			r.Branch(translate.Branch{Otherwise: then})
			return
		case list.single:
			write = list.put(list.rings[0].slots[0], field)
			if then == translate.Match {
				r.Add(write)
				return
			}
		default:
			write = list.stampChain(r.Shared, side, field)
		}
		r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: []nftgen.Stmt{write}, Then: translate.Next}}, Otherwise: then})
	}
	if m.Set.Present {
		if m.Set.Negated {
			remember(translate.Fail)
		} else {
			remember(translate.Match)
		}
		return nil
	}
	if m.Remove.Present {
		m.remove(r, list, side, field)
		return nil
	}
	ring := list.ring(recentRing{seconds: m.Seconds.Value, hits: max(m.HitCount.Value, 1)})
	switch {
	case m.Check.Present && m.Check.Negated:
		list.testUnseen(r, ring, field)
	case m.Check.Present:
		list.testSeen(r, ring, field)
	case m.Update.Negated && len(ring.slots) > recentRuleMax:
		list.testUnseen(r, ring, field)
		r.Branch(translate.Branch{Rows: []translate.Row{list.stampListed(r.Shared, side, field)}, Otherwise: translate.Match})
	case m.Update.Negated:
		r.Branch(translate.Branch{Rows: []translate.Row{
			{Stmts: list.in(ring.slots, field), Then: translate.Fail},
			list.stampListed(r.Shared, side, field),
		}, Otherwise: translate.Match})
	default:
		list.testSeen(r, ring, field)
		remember(translate.Match)
	}
	return nil
}

// remove adds the test that the address is in the list, and takes it out of all
// sets.
func (m *recentMatch) remove(r *translate.Rule, list *recentList, side int, field nftgen.Field) {
	listed := list.lookup(list.ring(everRing).slots[0], field)
	drops := list.forget(field)
	if len(drops) <= recentRuleMax {
		found := append([]nftgen.Stmt{listed}, drops...)
		if m.Remove.Negated {
			r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: found, Then: translate.Fail}}, Otherwise: translate.Match})
		} else {
			r.Add(found...)
		}
		return
	}
	forget := translate.Row{Stmts: []nftgen.Stmt{list.outChain(r.Shared, side, drops)}, Then: translate.Next}
	if m.Remove.Negated {
		// Once it is forgotten, nothing tells that the address was listed.
		listed.Not = true
		unlisted := translate.Row{Stmts: []nftgen.Stmt{listed}, Then: translate.Match}
		r.Branch(translate.Branch{Rows: []translate.Row{unlisted, forget}, Otherwise: translate.Fail})
		return
	}
	r.Add(listed)
	r.Branch(translate.Branch{Rows: []translate.Row{forget}, Otherwise: translate.Match})
}

// declare states where the sets differ from the kernel's list, at the first rule
// of the list.
func (m *recentMatch) declare(r *translate.Rule, list *recentList) {
	if m.TTL.Present {
		r.Declare(translate.Deviation{
			Code: "recent-ttl",
			Detail: "With --rttl, xtables looks an address up only when the packet has the TTL of the last one that was remembered. " +
				"The sets do not hold the TTL; packets with another TTL count too.",
		})
	}
	if list.declared {
		return
	}
	list.declared = true
	r.Declare(translate.Deviation{
		Code: "recent-list-size",
		Detail: fmt.Sprintf("xtables keeps 100 addresses in list %s (module parameter ip_list_tot), of both families together, and forgets the one "+
			"unseen for longest when another comes. The sets hold %d, and do not take more until some expire; "+
			"those without --seconds never do. /proc/net/xt_recent, and what is written there, is gone.", list.key.name, recentSetSize),
	})
	outlives := func(ring *recentRing) bool { return ring.seconds == 0 || ring.seconds > list.reap }
	if list.reap != 0 && slices.ContainsFunc(list.rings, outlives) {
		r.Declare(translate.Deviation{
			Code: "recent-reap",
			Detail: fmt.Sprintf("--reap makes xtables forget an address of list %s that was unseen for %d seconds, also for rules that ask for longer times. "+
				"The sets forget by the time of each rule.", list.key.name, list.reap),
		})
	}
}

func recentField(f iptables.Family, destination bool) nftgen.Field {
	switch {
	case f == iptables.IPv6 && destination:
		return nftgen.IP6Daddr
	case f == iptables.IPv6:
		return nftgen.IP6Saddr
	case destination:
		return nftgen.IPDaddr
	}
	return nftgen.IPSaddr
}

// make makes the sets of all rings.
func (l *recentList) make(s *translate.Shared) {
	if l.made {
		return
	}
	l.made = true
	l.single = len(l.rings) == 1 && l.rings[0].hits == 1
	for _, ring := range l.rings {
		name, what := l.name(), "seen"
		if ring.seconds != 0 {
			name += fmt.Sprintf("_%ds", ring.seconds)
			what = fmt.Sprintf("seen within %d s", ring.seconds)
		}
		if ring.hits == 1 {
			ring.slots = []*nftgen.Set{l.newSet(s, ring, name, fmt.Sprintf("recent list %s: %s", l.key.name, what))}
			continue
		}
		for i := range int(ring.hits) {
			ring.slots = append(ring.slots, l.newSet(s, ring, fmt.Sprintf("%s_hit%dof%d", name, i+1, ring.hits),
				fmt.Sprintf("recent list %s: %s, %d of the last %d times", l.key.name, what, i+1, ring.hits)))
		}
		for i := 1; i < int(ring.hits); i++ {
			ring.next = append(ring.next, l.newSet(s, ring, fmt.Sprintf("%s_next%dof%d", name, i+1, ring.hits),
				fmt.Sprintf("recent list %s: the next time goes to %d of %d", l.key.name, i+1, ring.hits)))
		}
	}
}

func (l *recentList) name() string {
	if l.key.family == iptables.IPv6 {
		return "recent6_" + string(l.key.name)
	}
	return "recent_" + string(l.key.name)
}

func (l *recentList) newSet(s *translate.Shared, ring *recentRing, name, note string) *nftgen.Set {
	set := &nftgen.Set{
		Name:    name,
		Key:     []*nftgen.Datatype{recentField(l.key.family, false).Type},
		Dynamic: true,
		Size:    recentSetSize,
		Note:    note,
	}
	if ring.seconds != 0 {
		set.HasTimeout = true
		set.Timeout = time.Duration(ring.seconds)*time.Second + recentTick
	}
	return s.AddSet(set)
}

// masks returns the masks of a lookup or an update, nil for a full mask.
func (l *recentList) masks() []nftgen.Value {
	mask := nftgen.Value(l.mask.AsSlice())
	for _, b := range mask {
		if b != 0xff {
			return []nftgen.Value{mask}
		}
	}
	return nil
}

// put writes an address into a set; its life starts anew.
func (l *recentList) put(set *nftgen.Set, field nftgen.Field) nftgen.Stmt {
	op := nftgen.OpUpdate
	if !set.HasTimeout {
		op = nftgen.OpAdd
	}
	return nftgen.Update{Op: op, Set: set, Fields: []nftgen.Field{field}, Masks: l.masks()}
}

// drop takes an address out of a set.
func (l *recentList) drop(set *nftgen.Set, field nftgen.Field) nftgen.Stmt {
	return nftgen.Update{Op: nftgen.OpDelete, Set: set, Fields: []nftgen.Field{field}, Masks: l.masks()}
}

func (l *recentList) lookup(set *nftgen.Set, field nftgen.Field) nftgen.InSet {
	return nftgen.InSet{Fields: []nftgen.Field{field}, Masks: l.masks(), Set: set}
}

// in returns the tests that an address is in all of some sets.
func (l *recentList) in(sets []*nftgen.Set, field nftgen.Field) []nftgen.Stmt {
	tests := make([]nftgen.Stmt, len(sets))
	for i, set := range sets {
		tests[i] = l.lookup(set, field)
	}
	return tests
}

// missing returns rows that have an outcome when an address is not in one of
// some sets.
func (l *recentList) missing(sets []*nftgen.Set, field nftgen.Field, then translate.Outcome) []translate.Row {
	rows := make([]translate.Row, len(sets))
	for i, set := range sets {
		test := l.lookup(set, field)
		test.Not = true
		rows[i] = translate.Row{Stmts: []nftgen.Stmt{test}, Then: then}
	}
	return rows
}

// testSeen adds the test that an address is in all slots of a ring. The slots
// that one rule has no room for are tested in a branch.
func (l *recentList) testSeen(r *translate.Rule, ring *recentRing, field nftgen.Field) {
	here := min(len(ring.slots), recentRuleMax)
	r.Add(l.in(ring.slots[:here], field)...)
	if here < len(ring.slots) {
		r.Branch(translate.Branch{Rows: l.missing(ring.slots[here:], field, translate.Fail), Otherwise: translate.Match})
	}
}

// testUnseen adds the test that an address is not in all slots of a ring.
func (l *recentList) testUnseen(r *translate.Rule, ring *recentRing, field nftgen.Field) {
	missing := l.missing(ring.slots, field, translate.Match)
	switch n := len(ring.slots); {
	case n == 1:
		r.Add(missing[0].Stmts...)
	case n <= recentRuleMax:
		seen := translate.Row{Stmts: l.in(ring.slots, field), Then: translate.Fail}
		r.Branch(translate.Branch{Rows: []translate.Row{seen}, Otherwise: translate.Match})
	default:
		r.Branch(translate.Branch{Rows: missing, Otherwise: translate.Fail})
	}
}

// forget returns the statements that take an address out of all sets.
func (l *recentList) forget(field nftgen.Field) []nftgen.Stmt {
	var stmts []nftgen.Stmt
	for _, ring := range l.rings {
		for _, set := range append(slices.Clone(ring.slots), ring.next...) {
			stmts = append(stmts, l.drop(set, field))
		}
	}
	return stmts
}

// outChain returns the jump to the chain that takes an address out of all sets.
func (l *recentList) outChain(s *translate.Shared, side int, forget []nftgen.Stmt) nftgen.Stmt {
	if l.out[side] == nil {
		l.out[side] = l.sideChain(s, side, "forget", "forget an address")
		for some := range slices.Chunk(forget, recentRuleMax) {
			l.out[side].Rules = append(l.out[side].Rules, &nftgen.Rule{Stmts: some})
		}
	}
	return nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: l.out[side].Name}
}

// sideChain makes a chain of the list for one side of packets.
func (l *recentList) sideChain(s *translate.Shared, side int, suffix, what string) *nftgen.Chain {
	name := l.name() + "_" + suffix
	if side == 1 {
		name += "_dest"
	}
	return s.AddChain(&nftgen.Chain{Name: name, Note: fmt.Sprintf("recent list %s: %s", l.key.name, what)})
}

// stampListed returns the row that remembers the present time of an address
// that is in the list.
func (l *recentList) stampListed(s *translate.Shared, side int, field nftgen.Field) translate.Row {
	listed := l.lookup(l.ring(everRing).slots[0], field)
	return translate.Row{Stmts: []nftgen.Stmt{listed, l.stampChain(s, side, field)}, Then: translate.Next}
}

// stampChain returns the jump to the chain that remembers the present time in
// all rings.
func (l *recentList) stampChain(s *translate.Shared, side int, field nftgen.Field) nftgen.Stmt {
	if l.stamp[side] == nil {
		l.stamp[side] = l.sideChain(s, side, "seen", "remember that an address was seen")
		for _, ring := range l.rings {
			rules := l.stampRing(ring, field)
			if len(ring.slots) > 1 && len(l.rings) > 1 {
				inner := s.AddChain(&nftgen.Chain{Name: fmt.Sprintf("%s_%ds_%d", l.stamp[side].Name, ring.seconds, ring.hits), Rules: rules})
				rules = []*nftgen.Rule{{Stmts: []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: inner.Name}}}}
			}
			l.stamp[side].Rules = append(l.stamp[side].Rules, rules...)
		}
	}
	return nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: l.stamp[side].Name}
}

// stampRing returns the rules that write an address into the next slot of a
// ring and move on by one.
func (l *recentList) stampRing(ring *recentRing, field nftgen.Field) []*nftgen.Rule {
	if len(ring.slots) == 1 {
		return []*nftgen.Rule{{Stmts: []nftgen.Stmt{l.put(ring.slots[0], field)}}}
	}
	var rules []*nftgen.Rule
	for i, here := range ring.next {
		stmts := []nftgen.Stmt{
			l.lookup(here, field),
			l.put(ring.slots[i+1], field),
			l.drop(here, field),
		}
		if i+1 < len(ring.next) {
			stmts = append(stmts, l.put(ring.next[i+1], field))
		}
		rules = append(rules, &nftgen.Rule{Stmts: append(stmts, nftgen.VerdictStmt{Kind: nftgen.Return})})
	}
	return append(rules, &nftgen.Rule{Stmts: []nftgen.Stmt{
		l.put(ring.slots[0], field),
		l.put(ring.next[0], field),
	}})
}
