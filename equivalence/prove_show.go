package equivalence

import (
	"reflect"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A finding is a class of packets that come out unlike at a stage, or on a whole
// route.
type finding struct {
	class symbolic.Class
	shown PacketClass
	hook  packet.Hook
	early bool
	sides [2]bdd.Ref // the functions that differ
}

// show runs packets of a class through both machines until one comes out unlike
// on them, shrinks it, and reports whether there was one.
func (p *prover) show(where finding) bool {
	var also *consulted
	for i, w := range p.witnesses(where.class.Where, where.hook, where.early) {
		c := p.replayer(w.host)
		d, ok := c.shown(w, nil)
		if !ok {
			if also == nil {
				also = p.statesOf(where)
			}
			d, ok = c.shown(w, also.companions)
		}
		if !ok && i == 0 {
			d, ok = p.timed(c, w, also)
		}
		if ok && p.known(d) {
			return true
		}
		if ok {
			d.Count = 1
			p.proof.Differences = append(p.proof.Differences, d)
			class := where.shown
			if class.A == "" {
				class.A = decidedBy(d.A)
			}
			if class.B == "" {
				class.B = decidedBy(d.B)
			}
			p.proof.Classes = append(p.proof.Classes, class)
			return true
		}
	}
	return false
}

// known reports whether a difference was shown for another class: a run of
// packets may come upon one that is not that of the class at hand.
func (p *prover) known(d Difference) bool {
	same := func(p, q *packet.Packet) bool { return p.String() == q.String() }
	return len(d.Before) > 0 && slices.ContainsFunc(p.proof.Differences, func(o Difference) bool {
		return same(d.Packet, o.Packet) && slices.EqualFunc(d.Before, o.Before, same)
	})
}

// decidedBy names the last rule on the way of a packet.
func decidedBy(f packet.Fate) string {
	if len(f.Trace) == 0 {
		return ""
	}
	s := f.Trace[len(f.Trace)-1]
	if s.Place == "" {
		return s.Stage + " " + s.Text
	}
	return s.Place + " " + s.Stage
}

// replayer is a check on a host of its own.
func (p *prover) replayer(host *packet.Host) *check {
	c := &check{
		a: p.a, b: p.b, host: host,
		o:      Options{Versions: p.o.Versions, Strict: p.o.Strict, Deviations: p.o.Deviations, MaxDifferences: p.o.MaxDifferences},
		report: &Report{Explained: map[string]int{}, Unknown: map[string]int{}},
	}
	c.walkA, c.walkB = NewWalker(p.a, host), NewWalker(p.b, host)
	c.walkA.Untracked, c.walkB.Untracked = !p.tracked, !p.tracked
	for _, v := range p.o.Versions {
		c.tracked[v] = p.tracked
	}
	return c
}

// shown runs a packet alone, then in runs with others that move states on, and
// shrinks the first difference.
func (c *check) shown(w witness, companions []companion) (Difference, bool) {
	if c.differs(nil, w.candidate) {
		return c.smallest([]candidate{w.candidate}), true
	}
	for _, run := range runs(w, companions) {
		if i := c.firstUnlike(run); i >= 0 {
			return c.smallest(run[:i+1]), true
		}
	}
	return Difference{}, false
}

// smallest shrinks a difference as long as the same rules decide.
func (c *check) smallest(run []candidate) Difference {
	d := c.explain(run[:len(run)-1], run[len(run)-1])
	c.keep = deciders(d.A, d.B)
	defer func() { c.keep = "" }()
	return c.shrink(run)
}

// firstUnlike runs packets from fresh state until one comes out unlike.
func (c *check) firstUnlike(run []candidate) int {
	c.a.Reset()
	c.b.Reset()
	for i, cand := range run {
		if c.tracked[cand.packet.Version()] && packet.IsFragment(cand.packet.Data) {
			continue
		}
		if _, _, aspects, why := c.step(cand.packet); len(aspects) > 0 && why == "" {
			return i
		}
	}
	return -1
}

// A companion is a packet that asks a state which a class has to do with, and
// how many of them move it on.
type companion struct {
	candidate
	times int
}

// runs are sequences of packets in which a difference of states can show.
func runs(w witness, companions []companion) [][]candidate {
	var list [][]candidate
	most := 2
	for _, c := range companions {
		most = max(most, c.times)
	}
	list = append(list, slices.Repeat([]candidate{w.candidate}, most))
	for _, c := range companions {
		many := slices.Repeat([]candidate{c.candidate}, c.times)
		own := slices.Repeat([]candidate{w.candidate}, c.times)
		list = append(list,
			append(slices.Clone(many), own...),
			append(slices.Clone(own), many...))
		var turns []candidate
		for range c.times {
			turns = append(turns, w.candidate, c.candidate)
		}
		list = append(list, turns)
	}
	return list
}

// maxCompanions bounds the packets that are tried together with a witness.
const maxCompanions = 12

// consulted are the instances that a class has to do with.
type consulted struct {
	slots      []symbolic.Slot
	companions []companion
}

// statesOf finds the instances that the leaves of a class ask or change, or on
// which it depends, and packets that do so at any stage of either side. Where one
// of them has no counterpart, all that have none belong to it.
func (p *prover) statesOf(of finding) *consulted {
	list := p.slotsIn(of)
	if slices.ContainsFunc(list, p.alone) {
		list = append(append(list, p.pairing.AloneA...), p.pairing.AloneB...)
		slices.Sort(list)
		list = slices.Compact(list)
	}
	return &consulted{list, p.companions(list)}
}

// slotsIn lists the instances of a class, in order.
func (p *prover) slotsIn(of finding) []symbolic.Slot {
	var list []symbolic.Slot
	for _, f := range of.sides {
		f = p.space.ITE(of.class.Where, f, p.space.Next())
		for _, v := range p.space.Terminals(f) {
			list = append(list, p.space.AskedSlots(p.space.LeafOf(v).Effect)...)
		}
		for _, l := range p.space.Support(f) {
			if slot, ok := p.space.SlotOf(l); ok {
				list = append(list, slot)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// alone reports whether an instance has no counterpart.
func (p *prover) alone(slot symbolic.Slot) bool {
	return slices.Contains(p.pairing.AloneA, slot) || slices.Contains(p.pairing.AloneB, slot)
}

// companions are packets with the events of instances, and some to which it
// matters what an instance answers.
func (p *prover) companions(slots []symbolic.Slot) []companion {
	var list []companion
	add := func(q comparedPair, where bdd.Ref, slot symbolic.Slot) {
		if where == bdd.False || len(list) == maxCompanions {
			return
		}
		at := p.situation(q.hook, q.priority, q.kind)
		domain, _ := p.space.Domain(at, where)
		for _, w := range p.witnesses(p.space.And(where, domain), q.hook, at.Early) {
			known := slices.IndexFunc(list, func(c companion) bool { return reflect.DeepEqual(c.spec, w.spec) })
			if known < 0 {
				list = append(list, companion{w.candidate, p.turns(slot)})
			} else {
				list[known].times = max(list[known].times, p.turns(slot))
			}
			break
		}
	}
	for _, q := range p.pairs {
		for _, f := range q.functions {
			for _, slot := range slots {
				for _, kind := range p.space.EventKinds(f, slot) {
					add(q, p.space.WhereEvent(f, slot, kind), slot)
				}
			}
		}
	}
	for _, q := range p.pairs {
		for _, f := range q.functions {
			for _, slot := range slots {
				if p.space.InstanceOf(slot).Reads != nil {
					add(q, p.space.WhereRead(f, slot), slot)
				}
			}
		}
	}
	return list
}

// maxTurnsShown bounds how often a packet is repeated to move a state on.
const maxTurnsShown = 300

// turns is how many packets take an instance once around: a bucket to its end.
func (p *prover) turns(slot symbolic.Slot) int {
	const unknown = 10
	n := p.space.InstanceOf(slot).Turns
	if n == 0 {
		n = unknown
	}
	return min(n+2, maxTurnsShown)
}
