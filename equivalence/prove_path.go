package equivalence

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// routes are the ways through a host, by the hooks on them.
var routes = [][]packet.Hook{
	{packet.Prerouting, packet.Input},
	{packet.Prerouting, packet.Forward, packet.Postrouting},
	{packet.Output, packet.Postrouting},
}

// differ explains why stages at some hooks are unlike: by packets that show it,
// or else by whole routes, along which the difference may have no consequence.
func (p *prover) differ(version int, unlike []packet.Hook) error {
	unlike, err := p.unlikeHooks(version, unlike)
	if err != nil || len(unlike) == 0 {
		return err
	}
	shown, unshown, err := p.unlikeStages(version)
	if err != nil || shown > 0 {
		return err
	}
	alike, shown, err := p.unlikeRoutes(version, unlike)
	if err == nil && !alike && shown == 0 {
		p.incomplete("a difference was computed for packets at " + unshown + ", but no packet was found that shows it")
	}
	return err
}

// unlikeHooks returns those of some hooks at which the stages are unlike also
// when they are put together, with what tracking does between them: a stage of
// one side may do what a later one does on the other. It is asked of the first hooks of routes,
// where both sides know the same of packets.
func (p *prover) unlikeHooks(version int, unlike []packet.Hook) (left []packet.Hook, err error) {
	a, b := p.open(version, false)
	defer func() { p.proof.Nodes += p.space.Size() }()
	err = p.space.Try(func() {
		for _, hook := range unlike {
			if !tracks(hook) || !p.tracked || !p.alikeAt(hook, a, b) {
				left = append(left, hook)
			}
		}
	})
	return left, err
}

// alikeAt reports whether the stages at a hook do the same together.
func (p *prover) alikeAt(hook packet.Hook, a, b []symbolic.Stage) bool {
	s := p.space
	natRules := slices.ContainsFunc(append(slices.Clone(a), b...), func(st symbolic.Stage) bool { return st.Kind == packet.NAT })
	side := func(stages []symbolic.Stage) bdd.Ref {
		whole := s.Next()
		parts, _ := p.hookParts(stages, hook, natRules, 0)
		for _, part := range parts {
			whole = s.Sequence(whole, part)
		}
		return whole
	}
	f, g := side(a), side(b)
	at := p.situation(hook, 0, packet.Filter)
	at.Start = true
	domain, assumed := s.Domain(at, f, g)
	p.assume(assumed)
	p.segments(hook, s.Support(f, g), p.written(f, g))
	for _, c := range s.Compare(f, g, domain, p.accepts) {
		switch c.Relation {
		case symbolic.Explained:
			p.note(p.proof.Explained, c, hook, f, g)
		case symbolic.Unknown:
			p.note(p.proof.Unknown, c, hook, f, g)
		default:
			return false
		}
	}
	return true
}

// maxTries is how many classes in a row may be without a packet that shows them
// before the others are left alone.
const maxTries = 60

// unlikeStages looks for packets that show differences of single stages. It
// returns how many it found, and words for a class without one.
func (p *prover) unlikeStages(version int) (shown int, unshown string, err error) {
	a, b := p.open(version, true)
	defer func() { p.proof.Nodes += p.space.Size() }()
	err = p.space.Try(func() {
		p.pairs = p.pairs[:0]
		for i, q := range pairStages(a, b) {
			of := bdd.True
			if !p.space.Few(fewRules, q.a, q.b) {
				of = p.worth(p.space.Copy(p.compared, p.apart[i]))
			}
			p.pairs = append(p.pairs, comparedPair{q, of, [2]bdd.Ref{p.space.Within(q.a, of), p.space.Within(q.b, of)}})
		}
		for _, q := range p.pairs {
			tries := 0
			at := p.situation(q.hook, q.priority, q.kind)
			domain, _ := p.space.Domain(at, q.functions[0], q.functions[1])
			for _, c := range p.space.Compare(q.functions[0], q.functions[1], p.space.And(domain, q.packets), p.accepts) {
				if c.Relation != symbolic.Unlike || tries == maxTries || len(p.proof.Differences) >= p.o.MaxDifferences {
					continue
				}
				f := finding{
					class: c, hook: q.hook, early: at.Early, sides: q.functions,
					shown: p.packetClass(c, q.hook, q.functions[0], q.functions[1]),
				}
				if p.show(f) {
					shown++
					tries = 0
					continue
				}
				if (q.a == nil || q.b == nil) && p.showTracked(f) {
					shown++
					tries = 0
					continue
				}
				tries++
				if unshown == "" {
					unshown = q.hook.String() + " (" + f.shown.A + " against " + f.shown.B + ")" + p.example(f)
				}
			}
		}
	})
	return shown, unshown, err
}

// showTracked is show with packets of each state of connection tracking: a stage
// that has no counterpart in its place may have one that sees only some of them.
func (p *prover) showTracked(f finding) bool {
	if !p.tracked || f.early {
		return false
	}
	s, where := p.space, f.class.Where
	for _, state := range []packet.State{packet.Established, packet.Invalid, packet.Untracked} {
		f.class.Where = s.And(where, s.Number(s.Variables(symbolic.Tracking), uint64(state)))
		if f.class.Where != bdd.False && p.show(f) {
			return true
		}
	}
	return false
}

// example says which packet a class holds, in words.
func (p *prover) example(f finding) string {
	for _, w := range p.witnesses(f.class.Where, f.hook, f.early) {
		return " such as " + w.packet.String()
	}
	return ""
}

// A comparedPair is a pair of stages with their functions.
type comparedPair struct {
	stagePair
	packets   bdd.Ref // of which the functions speak
	functions [2]bdd.Ref
}

// unlikeRoutes compares the routes that lead through some hooks. alike says
// that nothing differs along them but what was shown or noted.
func (p *prover) unlikeRoutes(version int, unlike []packet.Hook) (alike bool, shown int, err error) {
	a, b := p.open(version, false)
	defer func() { p.proof.Nodes += p.space.Size() }()
	alike = true
	err = p.space.Try(func() {
		p.pairs = p.pairs[:0]
		for _, route := range routes {
			if !slices.ContainsFunc(route, func(h packet.Hook) bool { return slices.Contains(unlike, h) }) {
				continue
			}
			f, g := p.path(a, b, route)
			domain, assumed := p.pathDomain(route, f, g)
			p.assume(assumed)
			p.segments(route[len(route)-1], p.space.Support(f, g), p.written(f, g))
			for _, c := range p.space.Compare(f, g, domain, p.accepts) {
				switch c.Relation {
				case symbolic.Explained:
					p.note(p.proof.Explained, c, route[len(route)-1], f, g)
				case symbolic.Unknown:
					p.note(p.proof.Unknown, c, route[len(route)-1], f, g)
				default:
					of := finding{
						class: c, hook: route[0], sides: [2]bdd.Ref{f, g},
						shown: p.packetClass(c, route[len(route)-1], f, g),
					}
					if p.show(of) || p.showTracked(of) {
						shown++
					} else if c.Why = p.unpaired(of); c.Why != "" {
						p.note(p.proof.Unknown, c, route[len(route)-1], f, g)
					} else {
						alike = false
					}
				}
			}
		}
	})
	return alike, shown, err
}

// written lists the variables that the leaves of functions write.
func (p *prover) written(functions ...bdd.Ref) []bdd.Level {
	var list []bdd.Level
	for _, v := range p.space.Terminals(functions...) {
		list = append(list, p.space.WrittenLevels(p.space.LeafOf(v).Effect)...)
	}
	return list
}

// path is the function of both sides for a route.
func (p *prover) path(a, b []symbolic.Stage, route []packet.Hook) (f, g bdd.Ref) {
	s := p.space
	natRules := slices.ContainsFunc(append(slices.Clone(a), b...), func(st symbolic.Stage) bool { return st.Kind == packet.NAT })
	side := func(stages []symbolic.Stage) bdd.Ref {
		whole, turn := s.Next(), 0
		for i, hook := range route {
			if i > 0 {
				turn++
				whole = s.Sequence(whole, s.Turn(turn, routedBy, p.changedOn(hook)))
				if hook == packet.Input && s.Version == 4 && !p.tracked {
					whole = s.Sequence(whole, s.Reassembled(turn, p.readAt(hook, a, b)))
				}
			}
			var parts []bdd.Ref
			parts, turn = p.hookParts(stages, hook, natRules, turn)
			for _, part := range parts {
				whole = s.Sequence(whole, part)
			}
		}
		return s.Finished(whole)
	}
	return side(a), side(b)
}

// readAt are the variables on which stages at a hook depend.
func (p *prover) readAt(hook packet.Hook, sides ...[]symbolic.Stage) []bdd.Level {
	var list []bdd.Level
	for _, side := range sides {
		for _, st := range side {
			if st.Hook == hook {
				list = append(list, p.space.Support(p.space.Function(&st))...)
			}
		}
	}
	return list
}

// routedBy are the groups by which the stack decides where a packet goes.
var routedBy = []symbolic.Group{symbolic.Mark, symbolic.Source, symbolic.Destination, symbolic.TOS, symbolic.TTL, symbolic.Priority}

// changedOn are the groups that the stack sets before a hook.
func (p *prover) changedOn(hook packet.Hook) []symbolic.Group {
	if hook == packet.Forward {
		return []symbolic.Group{symbolic.TTL, symbolic.Priority, symbolic.PathMSS}
	}
	return []symbolic.Group{symbolic.PathMSS}
}

// natObserved are the groups by which the core of NAT decides, and natChanged
// those that it sets, by whether it translates destinations.
var (
	natObserved = []symbolic.Group{symbolic.Source, symbolic.Destination, symbolic.CTStatus}
	natChanged  = map[bool][]symbolic.Group{
		true: {
			symbolic.Destination, symbolic.CTStatus, symbolic.CTReplSrc, symbolic.CTReplSrcPort, symbolic.DestinationType, symbolic.DestinationTypeIn,
			symbolic.DestinationTypeOut, symbolic.Taker, symbolic.TakerWhole, symbolic.TakerTransparent, symbolic.TakerWildcard, symbolic.TakerMark,
		},
		false: {
			symbolic.Source, symbolic.CTStatus, symbolic.CTReplDst, symbolic.CTReplDstPort, symbolic.PathMSS,
			symbolic.SourceType, symbolic.SourceTypeIn, symbolic.SourceTypeOut,
		},
	}
)

// translation is what the core of NAT does at a hook. The identifier of ICMP is in
// the place of a port.
func (p *prover) translation(hook packet.Hook, turn int) bdd.Ref {
	s, destination := p.space, tracks(hook)
	if p.translations == nil {
		p.translations = map[int]packet.Hook{}
	}
	p.translations[turn] = hook
	bytes := func(list ...int) (levels []bdd.Level) {
		for _, at := range list {
			for bit := range 8 {
				levels = append(levels, symbolic.Transport.Level(8*at+bit))
			}
		}
		return levels
	}
	with := func(more []bdd.Level) bdd.Ref { return s.Turn(turn, natObserved, natChanged[destination], more...) }
	ports := with(bytes(0, 1, 6, 7, 16, 17)) // with checksums
	if destination {
		ports = with(bytes(2, 3, 6, 7, 16, 17))
	}
	query := with(bytes(2, 3, 4, 5))
	protocol := s.Bits(symbolic.Protocol)
	icmp := s.Or(s.Number(protocol, packet.ICMP), s.Number(protocol, packet.ICMPv6))
	return s.ITE(icmp, query, ports)
}

// hookParts are the functions of what hangs at a hook, in order, as
// [Walker.hook] goes through it.
func (p *prover) hookParts(stages []symbolic.Stage, hook packet.Hook, natRules bool, turn int) ([]bdd.Ref, int) {
	s := p.space
	var here []symbolic.Stage
	for _, st := range stages {
		if st.Hook == hook {
			here = append(here, st)
		}
	}
	slices.SortStableFunc(here, func(x, y symbolic.Stage) int { return int(x.Priority) - int(y.Priority) })
	var parts, nat []bdd.Ref
	for _, st := range here {
		if st.Kind == packet.NAT {
			nat = append(nat, s.At(p.situation(hook, st.Priority, st.Kind), p.space.Function(&st)))
		}
	}
	tracked, translated := !tracks(hook), hook == packet.Forward
	natPriority := int32(priorityNATSrc)
	if tracks(hook) {
		natPriority = priorityNATDst
	}
	track := func() {
		if !tracked && p.tracked {
			parts = append(parts, s.Tracked())
		}
		tracked = true
	}
	translate := func() {
		if !translated && p.tracked {
			parts = append(parts, s.NATAsked(nat))
			if natRules {
				turn++
				parts = append(parts, p.translation(hook, turn))
			}
		}
		translated = true
	}
	for _, st := range here {
		if st.Kind == packet.NAT {
			continue
		}
		at := p.situation(hook, st.Priority, st.Kind)
		if !at.Early {
			track()
		}
		if st.Priority > natPriority {
			translate()
		}
		f := s.At(at, p.space.Function(&st))
		if st.Kind == packet.Reroute {
			f = s.Rerouted(f)
		}
		parts = append(parts, s.Accepted(f))
	}
	track()
	translate()
	return parts, turn
}

// pathDomain is the class of packets that can begin a route.
func (p *prover) pathDomain(route []packet.Hook, functions ...bdd.Ref) (bdd.Ref, []symbolic.Assumption) {
	// Connection tracking comes to its finding behind the first stages; the
	// variables stand for it from the start.
	first := p.situation(route[0], 0, packet.Filter)
	first.Start = true
	first.Path = len(route) > 1 && route[len(route)-1] != packet.Input
	return p.space.Domain(first, functions...)
}
