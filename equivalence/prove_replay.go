package equivalence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A Replay is what the packets of a proof did.
type Replay struct {
	// Packets is how many ran through both machines.
	Packets int
	// Complete says that there was one for every outcome of every pair of rules
	// that decide, and for both sides of every decision of the diagrams.
	Complete bool
	// Differences came out unlike although the proof says equal; Mismatches are
	// stages that did not do what their function says. Neither should happen.
	Differences []Difference
	Mismatches  []string
}

// ReplayProof runs packets of every class that a proof tells apart through both
// machines, at most as many as most: one for each outcome of each deciding rule
// of either side, then one for both sides of each decision. Each stage is held
// against its function.
func ReplayProof(ctx context.Context, a, b Machine, o ProofOptions, most int) (*Replay, error) {
	p, err := newProver(ctx, a, b, o)
	if err != nil {
		return nil, err
	}
	defer p.cancel()
	r := &replaying{prover: p, report: &Replay{Complete: true}, most: most}
	for _, v := range o.Versions {
		if err := r.version(v); err != nil && !p.ranOut(err) {
			return nil, fmt.Errorf("replay IPv%d: %w", v, err)
		}
	}
	if p.proof.Incomplete != "" {
		r.report.Complete = false
	}
	return r.report, ctx.Err()
}

// Combine is the word for a proof and the replay of its packets: where a packet
// contradicts the proof, the packet is right. replay may be nil.
func Combine(p *Proof, replay *Replay) Word {
	switch {
	case replay == nil || p.Word == Different:
		return p.Word
	case len(replay.Differences) > 0:
		return Different
	case len(replay.Mismatches) > 0:
		return Undecided
	}
	return p.Word
}

type replaying struct {
	*prover
	report *Replay
	most   int
}

// version runs the packets of one IP version.
func (r *replaying) version(version int) error {
	inA, inB := r.open(version, true)
	var ended error
	err := r.space.Try(func() {
		sideA := &audited{Machine: r.a, space: r.space, report: r.mismatch}
		sideB := &audited{Machine: r.b, space: r.space, report: r.mismatch}
		r.pairs = nil
		pairs := pairStages(inA, inB)
		var large []stagePair
		for i := range pairs {
			q := &pairs[i]
			var f, g bdd.Ref
			put := symbolic.ErrTurns // more than can be put together
			if r.space.Few(wholeRules, q.a, q.b) {
				put = r.space.Try(func() { f, g = r.space.Function(q.a), r.space.Function(q.b) })
			}
			if errors.Is(put, symbolic.ErrTurns) {
				large = append(large, *q)
				continue
			}
			if ended = put; ended != nil {
				return
			}
			r.pairs = append(r.pairs, comparedPair{*q, bdd.True, [2]bdd.Ref{f, g}})
			for _, side := range []struct {
				of    *audited
				stage *symbolic.Stage
				f     bdd.Ref
			}{{sideA, q.a, f}, {sideB, q.b, g}} {
				if side.stage != nil {
					side.of.functions = append(side.of.functions, auditedStage{side.stage.Name, q.hook, q.priority, side.f})
				}
			}
		}
		for i, q := range r.pairs {
			share := (r.most - r.report.Packets) / (len(r.pairs) + len(large) - i)
			r.stage(q, sideA, sideB, share)
		}
		for i, q := range large {
			r.rules(q, sideA, sideB, (r.most-r.report.Packets)/(len(large)-i))
		}
	})
	return cmp.Or(err, ended)
}

// wholeRules is up to how many rules a pair of stages is held against its whole
// functions. Of a larger one packets are made for its rules.
const wholeRules = 2_000

// rules runs a packet for each rule of a large pair of stages, or, when there are
// more rules than packets, for some all over it.
func (r *replaying) rules(q stagePair, a, b *audited, most int) {
	r.report.Complete = false
	reads, _ := r.space.Survey(q.a, q.b)
	at := r.situation(q.hook, q.priority, q.kind)
	domain, _ := r.domainOf(at, reads)
	list := r.space.Matched(q.a, q.b)
	most = min(most, len(list))
	for n := range most {
		where := r.space.And(domain, list[n*len(list)/most])
		for _, w := range r.witnesses(where, q.hook, at.Early) {
			r.one(w, a, b)
			break
		}
	}
}

func (r *replaying) mismatch(what string) {
	const enough = 20
	if len(r.report.Mismatches) < enough {
		r.report.Mismatches = append(r.report.Mismatches, what)
	}
}

// stage runs packets for the classes of one pair of stages.
func (r *replaying) stage(q comparedPair, a, b *audited, most int) {
	s := r.space
	at := r.situation(q.hook, q.priority, q.kind)
	domain, _ := s.Domain(at, q.functions[0], q.functions[1])
	outside := s.Leaf(symbolic.Leaf{Why: "outside"})
	seen := map[string]bool{}
	count := 0
	for _, f := range q.functions {
		paths := cover(s.Manager, s.ITE(domain, f, outside), outside, most)
		for _, path := range paths {
			if count >= most {
				r.report.Complete = false
				return
			}
			w, ok := r.onPath(path, q.hook, at.Early)
			if !ok {
				continue
			}
			key := fmt.Sprintf("%v", w.spec)
			if seen[key] {
				continue
			}
			seen[key] = true
			r.one(w, a, b)
			count++
		}
		if len(paths) >= most {
			r.report.Complete = false
		}
	}
}

// onPath makes the packet of one path, from the start that is nearest to it.
func (r *replaying) onPath(path map[bdd.Level]bool, hook packet.Hook, early bool) (witness, bool) {
	var best *builder
	fewest := 0
	for _, st := range r.starts(hook, early) {
		unusual := 0
		for l, v := range path {
			if v != st.usual(l) {
				unusual++
			}
		}
		if best == nil || unusual < fewest {
			best, fewest = &builder{space: r.space, start: st, path: path, usual: st.usual}, unusual
		}
	}
	if best == nil {
		return witness{}, false
	}
	return best.build(best.start.out)
}

// one runs a packet through both machines, from fresh state.
func (r *replaying) one(w witness, a, b *audited) {
	if r.tracked && packet.IsFragment(w.packet.Data) {
		return
	}
	c := r.replayer(w.host)
	c.walkA, c.walkB = NewWalker(a, w.host), NewWalker(b, w.host)
	c.walkA.Untracked, c.walkB.Untracked = !r.tracked, !r.tracked
	r.a.Reset()
	r.b.Reset()
	r.report.Packets++
	const enough = 20
	if _, _, aspects, why := c.step(w.packet); len(aspects) > 0 && why == "" && len(r.report.Differences) < enough {
		r.report.Differences = append(r.report.Differences, c.explain(nil, w.candidate))
	}
}

// newProver checks the options and makes a prover with a clock.
func newProver(ctx context.Context, a, b Machine, o ProofOptions) (*prover, error) {
	if len(o.Versions) == 0 {
		return nil, ErrNoVersions
	}
	for _, m := range []Machine{a, b} {
		if _, ok := m.(symbolic.Compiler); !ok {
			return nil, ErrNotCompilable
		}
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Time == 0 {
		o.Time = DefaultTime
	}
	if o.MaxDifferences == 0 {
		o.MaxDifferences = 20
	}
	p := &prover{
		a: a, b: b, o: o, collected: map[int]*collected{}, start: time.Now(),
		proof: &Proof{Explained: map[string]PacketClass{}, Unknown: map[string]PacketClass{}},
	}
	p.ctx, p.cancel = context.WithDeadline(ctx, p.start.Add(o.Time))
	for _, v := range o.Versions {
		p.tracked = p.tracked || a.NeedsConntrack(v) || b.NeedsConntrack(v)
	}
	return p, nil
}
