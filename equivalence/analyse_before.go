package equivalence

import (
	"maps"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// ways are the hooks that a packet passes before a hook.
var ways = map[packet.Hook][][]packet.Hook{
	packet.Input:       {{packet.Prerouting}},
	packet.Forward:     {{packet.Prerouting}},
	packet.Postrouting: {{packet.Prerouting, packet.Forward}, {packet.Output}},
}

// beginning makes the function that turns a class of packets at a stage into the
// class of those that become so on their way to it, as far as the stages before
// tell: what routing, translation and tracking do between them is left out. It
// serves to choose examples, which are run.
func beginning(of *reaching, all []*reaching) func(class bdd.Ref) bdd.Ref {
	before := func(hook packet.Hook, class bdd.Ref) bdd.Ref {
		for _, r := range slices.Backward(all) {
			if r.hook == hook && r != of && (hook != of.hook || ordered(r, of) < 0) {
				class = r.becoming(class)
			}
		}
		return class
	}
	return func(class bdd.Ref) bdd.Ref {
		s := of.space
		class = before(of.hook, class)
		list := ways[of.hook]
		if len(list) == 0 {
			return class
		}
		sum := bdd.False
		for _, way := range list {
			part := class
			if len(list) > 1 {
				arrives := s.HasDevice(symbolic.InName)
				if way[0] == packet.Output {
					arrives = s.Not(arrives)
				}
				part = s.And(part, arrives)
			}
			for _, hook := range slices.Backward(way) {
				part = before(hook, part)
			}
			sum = s.Or(sum, part)
		}
		return sum
	}
}

// ordered compares stages of one hook by the order in which packets meet them.
func ordered(a, b *reaching) int {
	if a.stage.Priority != b.stage.Priority {
		return int(a.stage.Priority) - int(b.stage.Priority)
	}
	return a.number - b.number
}

// becoming are the packets that are of a class behind the stage.
func (r *reaching) becoming(class bdd.Ref) bdd.Ref {
	s := r.space
	switch {
	case r.stage.Unknown != "":
		return class
	case r.stage.Kind == packet.NAT:
		// Others than those of its domain do not come there.
		return s.Diff(class, s.At(r.at, r.outcomes().dropped.most))
	}
	read := map[bdd.Level]bool{}
	if len(r.writes) > 1 {
		for _, l := range s.Support(class) {
			read[l] = true
		}
	}
	if kept := r.writtenFor(read); len(kept) > 0 {
		return r.written(class, kept)
	}
	if r.passing == bdd.False {
		whole := r.whole(r.chains[0])
		r.passing = s.Map(r.accepts, whole)
		if r.stage.Policy == symbolic.Accept {
			r.passing = s.Or(r.passing, s.Or(s.Map(r.continues, whole), s.Map(r.returns, whole)))
		}
		r.passing = s.At(r.at, r.passing)
	}
	return s.And(class, r.passing)
}

// written is becoming for a class that depends on what the stage writes.
func (r *reaching) written(class bdd.Ref, kept map[bdd.Level]bool) bdd.Ref {
	s := r.space
	r.stand()
	maps.Copy(kept, r.kept)
	v := *r
	v.kept, v.carry, v.known = kept, true, map[bdd.Ref][]arrival{}
	v.key = "carry" + keyOf(kept)
	v.mappings()
	f := s.Accepted(s.At(r.at, s.Base(v.whole(v.chains[0]), r.stage.Policy, 0)))
	sum := bdd.False
	for _, on := range v.goingOn(f) {
		sum = s.Or(sum, s.And(on.packets, r.behind(on.effect, class)))
	}
	return sum
}
