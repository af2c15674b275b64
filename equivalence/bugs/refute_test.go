package bugs_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"nftmigrate/equivalence"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/packet"
)

// The choice of mutants with which the lists of this package go.
const (
	mutantsOfEach = 2
	firstSeed     = 1
)

var (
	most       = flag.Int("mutants", mutantsOfEach, "mutants of each kind that are made of a ruleset; -1 makes all")
	mutantSeed = flag.Uint64("mutant-seed", firstSeed, "choice of the mutants")
	onlyKind   = flag.String("kind", "", "a part of the names of the kinds of which mutants are looked at; empty looks at all")
)

// TestProofRefutes makes mutants of right translations. A proof must refute each
// by a packet, or the mutant does the same and a run of many packets finds no
// difference either.
func TestProofRefutes(t *testing.T) {
	var all tally
	var mu sync.Mutex
	list := subjects(t)
	ran := 0
	t.Run("of", func(t *testing.T) {
		for _, s := range list {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				p := provenOf(t, s)
				mu.Lock()
				ran++
				mu.Unlock()
				if p.proof.Word != equivalence.Equivalent {
					t.Errorf("the right translation is %s", shownBy(p.proof))
				}
				count := map[equivalence.Word]int{}
				for i, m := range p.mutants {
					word := p.right.refute(t, s, m, p.proofs[i], &mu)
					count[word]++
					mu.Lock()
					all.add(m.kind, word)
					mu.Unlock()
				}
				t.Logf("mutants: %v", count)
			})
		}
	})
	all.log(t)
	if ran < len(list) || *most != mutantsOfEach || *mutantSeed != firstSeed || *onlyKind != "" {
		return // without tools, or with another choice
	}
	const enough = 200
	if all.sum(equivalence.Different) < enough {
		t.Errorf("%d mutants were refuted, want %d", all.sum(equivalence.Different), enough)
	}
	for _, g := range gaps {
		if !g.met {
			t.Errorf("no mutant is undecided any more because %s (%s %s): take it off the list", g.because, g.subject, g.kind)
		}
	}
	for _, kind := range mutations {
		if kind.kind != orderKept && all.counts[kind.kind][equivalence.Different]+all.counts[kind.kind][equivalence.Undecided] == 0 {
			t.Errorf("no mutant of kind %q is more than the right batch", kind.kind)
		}
	}
}

// A provenSubject is a subject with its mutants and what proofs say of them. Its
// machines serve one test at a time.
type provenSubject struct {
	right   *translation
	batch   []netlink.Message
	proof   *equivalence.Proof // of the right batch
	mutants []mutant
	proofs  []*equivalence.Proof
}

// proven are the subjects that were proven, by name: two tests want them.
var proven sync.Map

// provenOf proves a subject's mutants, the first time that a test wants them.
func provenOf(t *testing.T, s subject) *provenSubject {
	t.Helper()
	if p, ok := proven.Load(s.name); ok {
		return p.(*provenSubject)
	}
	p := &provenSubject{}
	p.right, p.batch = s.right(t)
	p.proof = p.right.prove(t, p.batch)
	for _, m := range mutants(s.name, p.batch, *most, *mutantSeed) {
		if strings.Contains(m.kind, *onlyKind) {
			p.mutants = append(p.mutants, m)
			p.proofs = append(p.proofs, p.right.prove(t, m.batch))
		}
	}
	proven.Store(s.name, p)
	return p
}

// proofTime bounds a proof, most of which take milliseconds, and shownMost the
// differences that it shows.
const (
	proofTime = 30 * time.Second
	shownMost = 4
)

// prove compares the source with a batch.
func (r *translation) prove(t *testing.T, batch []netlink.Message) *equivalence.Proof {
	t.Helper()
	target := decoded(t, batch)
	proof, err := equivalence.Prove(context.Background(), r.source, target, equivalence.ProofOptions{Versions: r.versions, Deviations: r.deviations, Time: proofTime, MaxDifferences: shownMost})
	if err != nil {
		t.Fatalf("prove: %v", err)
	}
	return proof
}

// decoded returns a machine with a batch.
func decoded(t *testing.T, batch []netlink.Message) *nftsim.Machine {
	t.Helper()
	m, err := nftsim.Decode(batch)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return m
}

// refute looks at whether the answer of the proof of a mutant holds. mu guards the
// gaps.
func (r *translation) refute(t *testing.T, s subject, m mutant, proof *equivalence.Proof, mu *sync.Mutex) equivalence.Word {
	t.Helper()
	switch proof.Word {
	case equivalence.Different:
		if len(proof.Differences) == 0 {
			t.Errorf("%v: different, without a packet", m)
		}
		for _, d := range proof.Differences {
			if !r.differs(t, m.batch, d) {
				t.Errorf("%v: the packet comes out alike: %v, %s", m, d.Packet, equivalence.Describe(d.A))
			}
		}
	case equivalence.Equivalent:
		report := r.sample(t, m.batch)
		switch {
		case slices.ContainsFunc(report.Differences, possible):
			t.Errorf("%v: equivalent, but a packet shows a difference: %s", m, first(report))
		case m.without != nil && r.prove(t, m.without).Word == equivalence.Equivalent:
			t.Logf("%v: equivalent: so is the batch without the rule", m)
		case m.alike == "":
			t.Errorf("%v: equivalent, which a mutant of the kind cannot be", m)
		default:
			t.Logf("%v: equivalent: %s", m, m.alike)
		}
	default:
		if g := gapOf(s, m, shownBy(proof)); g != nil {
			mu.Lock()
			g.met = true
			mu.Unlock()
			t.Logf("%v: undecided: %s: %s", m, g.because, shownBy(proof))
			break
		}
		report := r.sample(t, m.batch)
		t.Errorf("%v: %s, by sampling %s: %s", m, shownBy(proof), report.Word, first(report))
	}
	return proof.Word
}

// possible says whether there can be such a packet: status bits of connections
// that the kernel does not have are run as well.
func possible(d equivalence.Difference) bool {
	const bits = 16 // enum ip_conntrack_status, __IPS_MAX_BIT
	return d.Packet.Tracking.Entry == nil || d.Packet.Tracking.Entry.Status>>bits == 0
}

// sample runs many packets through both sides.
func (r *translation) sample(t *testing.T, batch []netlink.Message) *equivalence.Report {
	t.Helper()
	target := decoded(t, batch)
	const enough = 5000
	report, err := equivalence.Check(r.source, target, equivalence.Options{Seed: 1, Packets: enough, Versions: r.versions, Deviations: r.deviations})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return report
}

// differs runs the packets of a difference through fresh machines and says
// whether the last one comes out unlike, in the same aspects.
func (r *translation) differs(t *testing.T, batch []netlink.Message, d equivalence.Difference) bool {
	t.Helper()
	again := r.run(t, batch, d.Host, d.Before, d.Packet)
	return len(again.Aspects) > 0 && slices.Equal(again.Aspects, d.Aspects)
}

// run runs packets through fresh machines, and returns what becomes of the last
// one. Where one is undecided, nothing differs.
func (r *translation) run(t *testing.T, batch []netlink.Message, host *packet.Host, before []*packet.Packet, last *packet.Packet) equivalence.Difference {
	t.Helper()
	all := append(slices.Clone(before), last)
	return r.both(t, batch, host, all, all)
}

// both runs packets through the source, and others through a batch.
func (r *translation) both(t *testing.T, batch []netlink.Message, host *packet.Host, inA, inB []*packet.Packet) equivalence.Difference {
	t.Helper()
	r.source.Reset()
	a, b := equivalence.NewWalker(r.source, host), equivalence.NewWalker(decoded(t, batch), host)
	untracked := !r.tracks(t, batch)
	a.Untracked, b.Untracked = untracked, untracked
	d := equivalence.Difference{Host: host}
	for i := range inA {
		d.Packet = inA[i]
		d.A, d.B = a.Run(inA[i]), b.Run(inB[i])
	}
	d.Before = inA[:len(inA)-1]
	if d.A.Verdict != packet.Undecided && d.B.Verdict != packet.Undecided {
		d.Aspects = equivalence.Differ(d.A, d.B)
	}
	return d
}

// tracks says whether either side makes the kernel track connections.
func (r *translation) tracks(t *testing.T, batch []netlink.Message) bool {
	t.Helper()
	target := decoded(t, batch)
	return slices.ContainsFunc(r.versions, func(v int) bool { return r.source.NeedsConntrack(v) || target.NeedsConntrack(v) })
}

// shownBy says in words what a proof says.
func shownBy(p *equivalence.Proof) string {
	s := string(p.Word)
	if p.Incomplete != "" {
		s += ": " + p.Incomplete
	}
	for _, why := range slices.Sorted(keys(p.Unknown)) {
		s += "; not modelled: " + why
	}
	for _, d := range p.Differences[:min(1, len(p.Differences))] {
		s += fmt.Sprintf("; %d before, %s: %s; %s", len(d.Before), d.Packet, equivalence.Describe(d.A), equivalence.Describe(d.B))
	}
	return s
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A tally counts answers by kind of mutant.
type tally struct {
	counts map[string]map[equivalence.Word]int
}

func (l *tally) add(kind string, word equivalence.Word) {
	if l.counts == nil {
		l.counts = map[string]map[equivalence.Word]int{}
	}
	if l.counts[kind] == nil {
		l.counts[kind] = map[equivalence.Word]int{}
	}
	l.counts[kind][word]++
}

func (l *tally) sum(word equivalence.Word) int {
	n := 0
	for _, c := range l.counts {
		n += c[word]
	}
	return n
}

var words = []equivalence.Word{equivalence.Different, equivalence.Equivalent, equivalence.Undecided}

func (l *tally) log(t *testing.T) {
	t.Helper()
	var b strings.Builder
	row := func(name string, count func(equivalence.Word) int) {
		fmt.Fprintf(&b, "\n%-36s", name)
		for _, w := range words {
			fmt.Fprintf(&b, " %11d", count(w))
		}
	}
	fmt.Fprintf(&b, "\n%-36s %11s %11s %11s", "kind", words[0], words[1], words[2])
	for _, kind := range mutations {
		row(kind.kind, func(w equivalence.Word) int { return l.counts[kind.kind][w] })
	}
	row("all", l.sum)
	t.Log(b.String())
}
