package iptsim

import (
	"cmp"
	"fmt"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// A recentList is what the rules of a list of recent addresses ask it, each
// question as a list of its own.
type recentList struct {
	name      string
	mask      predicate.Bits
	questions []recentQuestion // by seconds and hits
	// problem says why the list is not modelled.
	problem string
	place   string // of the first rule
	needs   []string
}

type recentQuestion struct {
	symbolic.RecentList
	slot symbolic.Slot
}

const (
	// recentMostHits is the largest count that is modelled.
	recentMostHits = 256
	// recentMostSeconds is the longest time whose ticks fit into the 32 bits in
	// which the kernel multiplies, with HZ 1000.
	recentMostSeconds = 4294967
)

// question returns the index of a question, which is added when it is new.
func (l *recentList) question(version int, seconds, hits uint32) int {
	i, found := slices.BinarySearchFunc(l.questions, [2]uint32{seconds, hits}, func(q recentQuestion, want [2]uint32) int {
		return cmp.Or(cmp.Compare(q.Seconds, want[0]), cmp.Compare(q.Hits, int(want[1])))
	})
	if !found {
		q := recentQuestion{RecentList: symbolic.RecentList{Version: version, Seconds: seconds, Hits: int(hits)}}
		mask := l.mask.Bytes()
		q.Mask = mask[:]
		if version == 4 {
			q.Mask = mask[len(mask)-4:]
		}
		l.questions = slices.Insert(l.questions, i, q)
	}
	return i
}

// asked returns what a test of a list asks.
func (l *recentList) asked(m predicate.Recent) *recentQuestion {
	return &l.questions[l.question(0, m.Seconds, max(m.HitCount, 1))]
}

// listed returns the question whether an address is in the list.
func (l *recentList) listed() *recentQuestion { return &l.questions[l.question(0, 0, 1)] }

// recentOf returns the test of a list that a predicate itself is.
func recentOf(p predicate.Predicate) (predicate.Recent, bool) {
	s, ok := p.(predicate.Stateful)
	if !ok {
		return predicate.Recent{}, false
	}
	m, ok := s.Instance.(predicate.Recent)
	return m, ok
}

// recentLists reads the lists from the rules. What rules do to a list that none
// of them asks anything has no consequence; it has no questions.
//
// The sets of a translation hold more addresses than the kernel's list does; with
// --rttl and --reap the kernel looks at more than times. These are declared
// deviations, without which the model does not hold. --reap has no consequence
// when no rule asks for more time than it does.
func (m *Machine) recentLists() map[string]*recentList {
	lists := map[string]*recentList{}
	reaps := map[string]uint32{}
	m.visit(func(r *rule) {
		r.eachPredicate(func(p predicate.Predicate, place string) {
			recent, ok := recentOf(p)
			if !ok {
				return
			}
			l := lists[recent.List]
			if l == nil {
				l = &recentList{name: recent.List, mask: recent.Mask, place: place, needs: []string{"recent-list-size"}}
				lists[recent.List] = l
			}
			l.read(recent, int(m.family))
			if recent.CheckTTL && !slices.Contains(l.needs, "recent-ttl") {
				l.needs = append(l.needs, "recent-ttl")
			}
			if least := reaps[recent.List]; recent.Reap && (least == 0 || recent.Seconds < least) {
				reaps[recent.List] = recent.Seconds
			}
		})
	})
	for name, reap := range reaps {
		l := lists[name]
		if slices.ContainsFunc(l.questions, func(q recentQuestion) bool { return q.Seconds == 0 || q.Seconds > reap }) {
			l.needs = append(l.needs, "recent-reap")
		}
	}
	return lists
}

// read notes what one test asks.
func (l *recentList) read(m predicate.Recent, version int) {
	switch {
	case m.Mask != l.mask:
		// The kernel takes the mask of the rule that it loads first.
		l.problem = "a list with several masks"
	case m.HitCount > recentMostHits:
		l.problem = fmt.Sprintf("more than %d hits", recentMostHits)
	case m.Seconds > recentMostSeconds:
		l.problem = fmt.Sprintf("more than %d seconds", recentMostSeconds)
	case m.Op == predicate.RecentCheck:
		l.question(version, m.Seconds, max(m.HitCount, 1))
	case m.Op == predicate.RecentUpdate:
		l.question(version, m.Seconds, max(m.HitCount, 1))
		if m.Negate {
			l.question(version, 0, 1)
		}
	case m.Op == predicate.RecentRemove:
		l.question(version, 0, 1)
	}
}

// instances describes the list as states.
func (l *recentList) instances() []symbolic.Instance {
	if l.problem != "" {
		return nil
	}
	var list []symbolic.Instance
	for i := range l.questions {
		in := l.questions[i].Instance()
		in.Name, in.Place, in.Needs = "recent "+l.name, l.place, l.needs
		list = append(list, in)
	}
	return list
}

// recent is the function of a test of a list.
//
// An address that the list does not hold was not seen at any time, so that the
// kernel's early end for it is the same as an answer of no.
//
// Kernel: net/netfilter/xt_recent.c, recent_mt.
func (c *compiler) recent(m predicate.Recent) bdd.Ref {
	s, l := c.space, c.recents[m.List]
	if l.problem != "" {
		return c.unsure("recent " + l.name + ": " + l.problem)
	}
	// is is the outcome of a test before it is turned around.
	is := func(holds bool, change symbolic.Effect) bdd.Ref {
		if holds != m.Negate {
			return s.Leaf(symbolic.Leaf{Verdict: symbolic.Continue, Effect: change})
		}
		return c.skip(change)
	}
	all := func(change func(slot symbolic.Slot, l *symbolic.RecentList, destination bool) symbolic.Effect) symbolic.Effect {
		e := symbolic.NoEffect
		for i := range l.questions {
			q := &l.questions[i]
			e = s.Then(e, change(q.slot, &q.RecentList, m.Destination))
		}
		return e
	}
	seen := func(q *recentQuestion) bdd.Ref { return s.Seen(q.slot, &q.RecentList, m.Destination) }
	no := is(false, symbolic.NoEffect)
	switch m.Op {
	case predicate.RecentSet:
		return is(true, all(s.Remember))
	case predicate.RecentCheck:
		return s.ITE(seen(l.asked(m)), is(true, symbolic.NoEffect), no)
	case predicate.RecentUpdate:
		if m.Negate {
			return s.ITE(seen(l.asked(m)), is(true, symbolic.NoEffect), s.ITE(seen(l.listed()), is(false, all(s.Remember)), no))
		}
		return s.ITE(seen(l.asked(m)), is(true, all(s.Remember)), no)
	case predicate.RecentRemove:
		return s.ITE(seen(l.listed()), is(true, all(s.Forget)), no)
	}
	return c.unsure(m.Describe())
}
