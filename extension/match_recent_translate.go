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
// sets per hit, and the expressions that ask for one hit take up to 112 of the
// 4095 bytes that a rule can have.
//
// Kernel: include/net/netfilter/nf_tables.h, struct nft_rule, dlen.
const recentRingMax = 24

// recentDropMax is how many deletions one rule holds.
const recentDropMax = 12

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
		ever := list.ring(everRing)
		forget := list.forget(field)
		switch {
		case len(forget) <= recentDropMax && m.Remove.Negated:
			r.Branch(translate.Branch{
				Rows:      []translate.Row{{Stmts: append(list.in(ever, field), forget...), Then: translate.Fail}},
				Otherwise: translate.Match,
			})
		case len(forget) <= recentDropMax:
			r.Add(append(list.in(ever, field), forget...)...)
		case m.Remove.Negated:
			return &translate.Untranslatable{
				Code:    "untranslatable-option",
				Summary: "! --remove of a list with many hits is not translated",
				Detail:  fmt.Sprintf("List %s takes %d sets, and one rule can delete from %d. Write --remove without !, or lower --hitcount.", m.List.Value, len(forget), recentDropMax),
				Range:   m.Remove.Range,
			}
		default:
			r.Add(list.in(ever, field)...)
			r.Branch(translate.Branch{
				Rows:      []translate.Row{{Stmts: []nftgen.Stmt{list.outChain(r.Shared, side, field, forget)}, Then: translate.Next}},
				Otherwise: translate.Match,
			})
		}
		return nil
	}
	ring := list.ring(recentRing{seconds: m.Seconds.Value, hits: max(m.HitCount.Value, 1)})
	seen := list.in(ring, field)
	switch {
	case m.Check.Present && m.Check.Negated && ring.hits == 1:
		unseen := seen[0].(nftgen.InSet)
		unseen.Not = true
		r.Add(unseen)
	case m.Check.Present && m.Check.Negated:
		r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: seen, Then: translate.Fail}}, Otherwise: translate.Match})
	case m.Check.Present:
		r.Add(seen...)
	case m.Update.Negated:
		// What is not seen often enough is remembered, when it is in the list.
		ever := list.ring(everRing)
		r.Branch(translate.Branch{Rows: []translate.Row{
			{Stmts: seen, Then: translate.Fail},
			{Stmts: append(list.in(ever, field), list.stampChain(r.Shared, side, field)), Then: translate.Next},
		}, Otherwise: translate.Match})
	default:
		r.Add(seen...)
		remember(translate.Match)
	}
	return nil
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

func (l *recentList) lookup(set *nftgen.Set, field nftgen.Field) nftgen.Stmt {
	return nftgen.InSet{Fields: []nftgen.Field{field}, Masks: l.masks(), Set: set}
}

// in returns the tests that an address is in all slots of a ring.
func (l *recentList) in(ring *recentRing, field nftgen.Field) []nftgen.Stmt {
	tests := make([]nftgen.Stmt, len(ring.slots))
	for i, slot := range ring.slots {
		tests[i] = l.lookup(slot, field)
	}
	return tests
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
func (l *recentList) outChain(s *translate.Shared, side int, field nftgen.Field, forget []nftgen.Stmt) nftgen.Stmt {
	if l.out[side] == nil {
		name := l.name() + "_forget"
		if side == 1 {
			name += "_dest"
		}
		l.out[side] = s.AddChain(&nftgen.Chain{Name: name, Note: fmt.Sprintf("recent list %s: forget an address", l.key.name)})
		for some := range slices.Chunk(forget, recentDropMax) {
			l.out[side].Rules = append(l.out[side].Rules, &nftgen.Rule{Stmts: some})
		}
	}
	return nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: l.out[side].Name}
}

// stampChain returns the jump to the chain that remembers the present time in
// all rings.
func (l *recentList) stampChain(s *translate.Shared, side int, field nftgen.Field) nftgen.Stmt {
	if l.stamp[side] == nil {
		name := l.name() + "_seen"
		if side == 1 {
			name += "_dest"
		}
		l.stamp[side] = s.AddChain(&nftgen.Chain{Name: name, Note: fmt.Sprintf("recent list %s: remember that an address was seen", l.key.name)})
		for _, ring := range l.rings {
			rules := l.stampRing(ring, field)
			if len(ring.slots) > 1 && len(l.rings) > 1 {
				inner := s.AddChain(&nftgen.Chain{Name: fmt.Sprintf("%s_%ds_%d", name, ring.seconds, ring.hits), Rules: rules})
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
