package symbolic

import (
	"encoding/binary"
	"fmt"
	"slices"

	"nftmigrate/equivalence/bdd"
)

// programs is what a space knows of the chains of machines.
type programs struct {
	bodies     []*body // by number; 0 is none
	bodyOf     map[string]int
	linked     map[linkKey]bdd.Ref
	traits     map[bdd.Ref]traits
	reads      [][]bdd.Level // lists of variables
	readsOf    map[string]uint32
	plain      *bdd.Mapping
	generation int // of the manager, when they were begun
}

// A body is what the rules of a chain do. Chains with equal rules, of whichever
// machine, have one body, unless leaves say which rule decided.
type body struct {
	rules []bdd.Ref    // those that do something; targets are numbers of bodies
	of    []*ChainRule // where each comes from, nil for none
	// size is how many rules there are, those of chains to which the rules lead
	// each time anew; no more than maxSize.
	size int
	traits
}

const maxSize = 1 << 20

// traits is what can be said of a rule or body as a whole, with all chains to
// which it leads.
type traits struct {
	unsure bool     // something is not modelled
	codes  []string // of deviations that leaves name
	reads  []uint32 // variables, of programs.reads
	moves  []uint32 // writes, of effects.writes
	to     []int    // bodies to which a rule leads
}

type linkKey struct {
	body    int
	packets bdd.Ref
}

// Function is the function of a stage: from the variables as the packet enters
// it to leaves with the verdicts Accept, Drop and Undecided. Nil lets all packets
// pass.
func (s *Space) Function(st *Stage) bdd.Ref { return s.Within(st, bdd.True) }

// Within is the function of a stage for some packets, which takes less work when
// they are few; of others it says nothing. Whether it holds for a packet must not
// depend on what rules of the stage write, or on answers that they move on.
func (s *Space) Within(st *Stage, packets bdd.Ref) bdd.Ref {
	if st == nil {
		return s.Leaf(Leaf{Verdict: Accept})
	}
	s.AtStage(st)
	if st.Unknown != "" {
		return s.Leaf(Leaf{Verdict: Undecided, Why: st.Unknown})
	}
	by := 0
	if s.Provenance {
		by = s.NamePlace(st.Place)
	}
	return s.Unrefused(s.Base(s.link(s.number(st.Start), packets), st.Policy, by))
}

// rule is the function of a rule by itself.
func (s *Space) rule(r *ChainRule) bdd.Ref {
	f := r.Function(s.number)
	if !s.Marked {
		return f
	}
	if s.plain == nil {
		s.plain = s.NewMapping(func(v uint32) bdd.Ref {
			l := s.LeafOf(v)
			if l.Verdict != Jump && l.Verdict != Goto {
				l.By = 0
			}
			return s.Leaf(l)
		})
	}
	return s.Map(s.plain, f)
}

type bodyKey struct{ chain *RuleChain }

// number is that of the body of a chain.
func (s *Space) number(c *RuleChain) int {
	return int(s.Memo(bodyKey{c}, func() bdd.Ref { return bdd.Ref(s.makeBody(c)) }))
}

// forget drops what names functions that are gone.
func (s *Space) forget() {
	if g := s.Generation(); g != s.programs.generation || s.bodies == nil {
		s.programs = programs{
			bodies: []*body{nil}, bodyOf: map[string]int{}, linked: map[linkKey]bdd.Ref{}, traits: map[bdd.Ref]traits{}, readsOf: map[string]uint32{},
			generation: g,
		}
		clear(s.memo)
		clear(s.nameWords)
		clear(s.jumped)
		clear(s.movingWrites)
	}
}

func (s *Space) makeBody(c *RuleChain) int {
	b := &body{}
	switch {
	case c == nil:
	case c.Unknown != "":
		b.add(s, s.Leaf(Leaf{Verdict: Undecided, Why: c.Unknown}), nil)
	case c.Whole != nil:
		b.add(s, c.Whole(), nil)
	default:
		for i := range c.Rules {
			b.add(s, s.rule(&c.Rules[i]), &c.Rules[i])
		}
	}
	key := make([]byte, 0, 4*len(b.rules))
	for _, f := range b.rules {
		key = binary.NativeEndian.AppendUint32(key, uint32(f))
	}
	if s.Provenance {
		key = fmt.Appendf(key, "%p", c)
	}
	if n, ok := s.bodyOf[string(key)]; ok {
		return n
	}
	b.reads, b.moves, b.codes = unique(b.reads), unique(b.moves), unique(b.codes)
	n := len(s.bodies)
	s.bodies = append(s.bodies, b)
	s.bodyOf[string(key)] = n
	return n
}

// add adds a rule.
func (b *body) add(s *Space, f bdd.Ref, of *ChainRule) {
	if f == s.next {
		return
	}
	b.rules, b.of = append(b.rules, f), append(b.of, of)
	t := s.traitsOf(f)
	b.unsure = b.unsure || t.unsure
	b.codes, b.moves, b.reads = append(b.codes, t.codes...), append(b.moves, t.moves...), append(b.reads, t.reads...)
	b.size++
	for _, to := range t.to {
		b.size += s.bodies[to].size
	}
	b.size = min(b.size, maxSize)
}

// traitsOf are those of a rule.
func (s *Space) traitsOf(f bdd.Ref) traits {
	if t, ok := s.traits[f]; ok {
		return t
	}
	levels, values := s.Reach(f)
	t := traits{reads: []uint32{s.internReads(levels)}}
	for _, v := range values {
		l := s.LeafOf(v)
		switch l.Verdict {
		case Undecided:
			t.unsure = true
		case Jump, Goto:
			to := s.bodies[l.By]
			t.unsure = t.unsure || to.unsure
			t.moves, t.codes, t.reads = append(t.moves, to.moves...), append(t.codes, to.codes...), append(t.reads, to.reads...)
			t.to = append(t.to, l.By)
		}
		if l.Why != "" && l.Verdict != Undecided {
			t.codes = append(t.codes, l.Why)
		}
		if s.writes(l.Effect) {
			t.moves = append(t.moves, s.effects.all[l.Effect].writes)
		}
	}
	t.moves, t.codes, t.to, t.reads = unique(t.moves), unique(t.codes), unique(t.to), unique(t.reads)
	s.traits[f] = t
	return t
}

func (s *Space) internReads(levels []bdd.Level) uint32 {
	key := make([]byte, 0, 4*len(levels))
	for _, l := range levels {
		key = binary.NativeEndian.AppendUint32(key, l)
	}
	id, ok := s.readsOf[string(key)]
	if !ok {
		id = uint32(len(s.reads))
		s.reads = append(s.reads, levels)
		s.readsOf[string(key)] = id
	}
	return id
}

// link is the function of a body for some packets.
func (s *Space) link(n int, packets bdd.Ref) bdd.Ref {
	key := linkKey{n, packets}
	if f, ok := s.linked[key]; ok {
		return f
	}
	b := s.bodies[n]
	rules := make([]bdd.Ref, 0, len(b.rules))
	for i, f := range b.rules {
		if f = s.ITE(packets, f, s.next); f != s.next {
			rules = append(rules, s.expand(s.attribute(f, b.of[i]), packets))
		}
	}
	f := s.List(rules)
	s.linked[key] = f
	return f
}

// attribute says in the leaves of a rule that it decided.
func (s *Space) attribute(f bdd.Ref, r *ChainRule) bdd.Ref {
	if !s.Provenance || r == nil {
		return f
	}
	by := 0
	return s.Map(s.NewMapping(func(v uint32) bdd.Ref {
		l := s.LeafOf(v)
		if l.Verdict == Accept || l.Verdict == Drop || l.Verdict == Undecided {
			if by == 0 {
				by = s.NamePlace(r.Words())
			}
			l.By = by
		}
		return s.Leaf(l)
	}), f)
}

// A part is a function for some packets.
type part struct{ where, value bdd.Ref }

// expand puts the functions of chains in the place of the leaves that lead
// there.
func (s *Space) expand(f, packets bdd.Ref) bdd.Ref {
	var parts []part
	for _, v := range s.Terminals(f) {
		l := s.LeafOf(v)
		if l.Verdict != Jump && l.Verdict != Goto {
			continue
		}
		to := s.link(l.By, packets)
		if l.Verdict == Jump {
			to = s.backFrom(to)
		} else {
			to = s.Map(s.gone, to)
		}
		parts = append(parts, part{s.Where(f, v), s.Behind(l.Effect, to)})
	}
	if len(parts) == 0 {
		return f
	}
	all := s.join(parts)
	return s.ITE(all.where, all.value, f)
}

// join puts functions for packets that are unlike together.
func (s *Space) join(parts []part) part {
	if len(parts) == 1 {
		return parts[0]
	}
	half := len(parts) / 2
	a, b := s.join(parts[:half]), s.join(parts[half:])
	return part{s.Or(a.where, b.where), s.ITE(a.where, a.value, b.value)}
}

// Survey lists the variables that rules of stages read and those that they
// write, ascending.
func (s *Space) Survey(stages ...*Stage) (reads, writes []bdd.Level) {
	for _, st := range stages {
		if st == nil || st.Unknown != "" {
			continue
		}
		s.AtStage(st)
		b := s.bodies[s.number(st.Start)]
		for _, id := range b.reads {
			reads = append(reads, s.reads[id]...)
		}
		for _, id := range b.moves {
			for _, w := range s.effects.writes[id].bits {
				writes = append(writes, w.to)
			}
		}
	}
	return unique(reads), unique(writes)
}

// Matched lists, for each rule that packets of stages can come to, the packets to
// which it does anything, as it meets them. Rules that do the same come once.
func (s *Space) Matched(stages ...*Stage) []bdd.Ref {
	var list []bdd.Ref
	acts := s.acting()
	seen, met := map[int]bool{}, map[bdd.Ref]bool{}
	var visit func(n int)
	visit = func(n int) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, f := range s.bodies[n].rules {
			if met[f] {
				continue
			}
			met[f] = true
			list = append(list, s.Map(acts, f))
			for _, to := range s.traitsOf(f).to {
				visit(to)
			}
		}
	}
	for _, st := range stages {
		if st != nil && st.Unknown == "" {
			s.AtStage(st)
			visit(s.number(st.Start))
		}
	}
	return list
}

// acting maps leaves to whether anything was done to the packets.
func (s *Space) acting() *bdd.Mapping {
	return s.Flag(func(l Leaf) bool { return l != Leaf{Verdict: Continue} })
}

// Few reports whether stages have no more than so many rules, those of a chain
// counted once for each rule that leads to it.
func (s *Space) Few(most int, stages ...*Stage) bool {
	n := 0
	for _, st := range stages {
		if st != nil && st.Unknown == "" {
			s.AtStage(st)
			n += s.bodies[s.number(st.Start)].size
		}
	}
	return n <= most
}

func unique[T interface{ ~string | ~int | ~uint32 }](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
