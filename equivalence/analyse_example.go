package equivalence

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// An Example is a packet that shows something of a machine, from fresh state.
type Example struct {
	Packet *packet.Packet
	// Host is the one on which it ran.
	Host *packet.Host
	// Before are packets that ran first, for rules with a state.
	Before    []*packet.Packet
	untracked bool
}

// Run runs an example again, through the machine of its analysis or another, and
// tells the way of its packet. visit, when not nil, is told of each rule that
// looks at it.
func (e *Example) Run(m Machine, visit func(rule any, how packet.Look)) packet.Fate {
	m.Reset()
	w := NewWalker(m, e.Host)
	w.Untracked = e.untracked
	for _, p := range e.Before {
		w.Run(p)
	}
	w.Trace, w.Visit = true, visit
	return w.Run(e.Packet)
}

// examples looks for packets that show what rules do.
type examples struct {
	*model
	machine Machine
	facts   map[any]*RuleFacts
	stirred bool // some state was asked
	repeats map[bdd.Ref]repeat
}

// A repeat is how often packets of a class are run, and what they draw.
type repeat struct {
	times int
	draws [][]uint32
}

func newExamples(m *model, machine Machine, facts map[any]*RuleFacts) *examples {
	machine.Reset()
	return &examples{model: m, machine: machine, facts: facts, repeats: map[bdd.Ref]repeat{}}
}

// find looks for an example for each rule, from the last to the first: on its way
// to a late rule, a packet shows earlier ones.
func (e *examples) find(stages []*reaching) {
	for _, r := range stages {
		r.before = beginning(r, stages)
	}
	for _, r := range slices.Backward(stages) {
		for _, c := range slices.Backward(r.chains) {
			for i := range slices.Backward(c.rules) {
				e.rule(r, c, i)
			}
		}
	}
	e.translated(stages)
}

// translated runs packets for each rule of stages that translate addresses, when
// some rules are not shown: what is translated may come to them.
func (e *examples) translated(stages []*reaching) {
	open := false
	for _, f := range e.facts {
		open = open || f.best < packet.Matched && len(f.At) > 0
	}
	const most = 2000
	n := 0
	for _, r := range stages {
		for _, c := range r.chains {
			for i := range c.rules {
				if !open || r.stage.Kind != packet.NAT || n == most {
					continue
				}
				n++
				tests := e.space.Map(r.matches, r.rule(c, i))
				ways, _ := r.ways(c, i, tests)
				for _, w := range ways {
					w.open(r, func(p point) bool {
						e.point(p, tests, &RuleFacts{}, packet.Decided)
						return false
					})
				}
			}
		}
	}
}

// rule looks for a packet that shows the most that a rule does: on the ways to
// it, or else among all packets that come to it.
func (e *examples) rule(r *reaching, c *chainReach, i int) {
	s, f, of := e.space, e.facts[c.chain.Rules[i].ID], &c.rules[i]
	for _, aim := range []struct {
		best  packet.Look
		tests *bdd.Mapping
		found *found
	}{
		{packet.Decided, r.decides, &of.decided}, {packet.Matched, r.matches, &of.matched}, {packet.Missed, nil, &of.reached},
	} {
		if f.best >= aim.best {
			return
		}
		tests := bdd.True
		if aim.tests != nil {
			tests = s.Map(aim.tests, r.rule(c, i))
		}
		ways, all := r.ways(c, i, tests)
		shut := all
		for _, w := range ways {
			w.open(r, func(p point) bool {
				e.point(p, tests, f, aim.best)
				return f.best < aim.best
			})
			if f.best >= aim.best {
				return
			}
			shut = shut && w.shut
			aim.found.some = aim.found.some || w.clear
		}
		switch {
		case shut:
			*aim.found = found{class: bdd.False, known: true}
			if aim.best == packet.Matched {
				of.ways, of.shut = ways, true
			}
		case all:
			class := bdd.False
			for _, w := range ways {
				class = s.Or(class, w.exact(r))
			}
			e.shows(r, class, f, aim.best)
		default:
			e.shows(r, r.find(c, i, aim.found, aim.tests), f, aim.best)
		}
		if stray := r.straying(c, i); f.best < aim.best && stray != bdd.False {
			e.show(r.scope, s.And(stray, tests), f, aim.best)
		}
	}
}

// point runs the packet of a point.
func (e *examples) point(p point, class bdd.Ref, f *RuleFacts, best packet.Look) {
	if w, ok := e.witness(p); ok {
		e.runs(w, class, f, best)
	}
}

// shows runs packets of a class, and then such as the stages before let become
// so.
func (e *examples) shows(r *reaching, class bdd.Ref, f *RuleFacts, best packet.Look) {
	if e.show(r.scope, class, f, best); f.best >= best {
		return
	}
	if begun := r.before(class); begun != class {
		e.show(r.scope, begun, f, best)
	}
}

// show runs packets of a class until one shows a rule to do so much.
func (e *examples) show(at *scope, class bdd.Ref, f *RuleFacts, best packet.Look) {
	for _, p := range e.points(class, at) {
		if e.point(p, class, f, best); f.best >= best {
			return
		}
	}
}

// runs runs a packet with all that it may draw, as often as states ask for.
func (e *examples) runs(w witness, class bdd.Ref, f *RuleFacts, best packet.Look) {
	times, draws := e.times(class)
	for _, numbers := range draws {
		drawn := *w.packet
		drawn.Random, w.packet = numbers, &drawn
		if e.run(w, times, f, best); f.best >= best {
			return
		}
	}
}

// times is how often a packet has to come until the states that a class asks
// have given all their answers, and the random numbers that it may bring.
func (e *examples) times(class bdd.Ref) (times int, draws [][]uint32) {
	if r, ok := e.repeats[class]; ok {
		return r.times, r.draws
	}
	defer func() { e.repeats[class] = repeat{times, draws} }()
	times, draws = 1, [][]uint32{nil}
	seen := map[symbolic.Slot]bool{}
	for _, l := range e.space.Support(class) {
		switch slot, ok := e.space.SlotOf(l); {
		case !ok || seen[slot]:
		case e.space.InstanceOf(slot).Silent:
			const low, middle, high = 1 << 20, 1 << 31, 1<<32 - 1<<20
			draws = [][]uint32{{low}, {high}, {middle}, {low, high}, {high, low}}
			seen[slot] = true
		default:
			// One after the other: the packets that a bucket lets pass do not
			// come to a counter behind it.
			times = min(times+e.turns(slot), maxTurnsShown)
			seen[slot] = true
		}
	}
	return times, draws
}

// run runs a packet some times from fresh state, and notes what the rules on its
// way did.
func (e *examples) run(w witness, times int, f *RuleFacts, best packet.Look) {
	if e.tracked && packet.IsFragment(w.packet.Data) {
		return
	}
	if e.stirred {
		e.machine.Reset()
		e.stirred = false
	}
	walker := NewWalker(e.machine, w.host)
	walker.Untracked = !e.tracked
	n := 0
	var example *Example
	walker.Visit = func(rule any, how packet.Look) {
		f := e.facts[rule]
		if f == nil || f.best >= how {
			return
		}
		if example == nil {
			example = &Example{Packet: w.packet, Host: w.host, Before: slices.Repeat([]*packet.Packet{w.packet}, n), untracked: !e.tracked}
		}
		f.best, f.Example = how, example
	}
	for ; n < times && f.best < best; n++ {
		example = nil
		e.stirred = walker.Run(w.packet).Volatile || e.stirred
	}
}
