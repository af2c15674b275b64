package equivalence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// ProofOptions are the choices of a proof. Zero values are defaults.
type ProofOptions struct {
	// Versions are the IP versions that both rulesets are about. It must not be
	// empty.
	Versions []int
	// Strict counts declared deviations as differences.
	Strict bool
	// Deviations are the deviations that the translation declared, by code.
	Deviations []string
	// Memory bounds the diagrams, in bytes; 0 means DefaultMemory.
	Memory uint64
	// Time bounds the proof; 0 means DefaultTime.
	Time time.Duration
	// MaxDifferences bounds how many differences are shown; 0 means 20.
	MaxDifferences int
}

// The budget of a proof.
const (
	DefaultMemory = 2 << 30
	DefaultTime   = 2 * time.Minute
)

// A Proof is what a proof showed. Word is Equivalent, Different or Undecided.
type Proof struct {
	Word Word
	// Stages are the pairs of stages that were compared.
	Stages []StageProof
	// Differences are shown by packets that both machines were run on.
	Differences []Difference
	// Classes are classes of packets that come out unlike, one per pair of rules
	// that disagree; those of Differences come first, in their order.
	Classes []PacketClass
	// Explained are the classes whose difference a declared deviation explains,
	// by code, and Unknown those with something that is not modelled, by what it
	// is.
	Explained, Unknown map[string]PacketClass
	// Incomplete says why there is no answer for all packets, "" when there is:
	// a budget that ran out, or a difference that no packet could be found for.
	Incomplete string
	// Assumptions say of which packets the proof does not speak.
	Assumptions []string
	// Nodes is the number of nodes of all diagrams, Elapsed the time they took.
	Nodes   int
	Elapsed time.Duration
}

// A StageProof is one pair of stages.
type StageProof struct {
	Version  int
	Hook     packet.Hook
	Priority int32
	A, B     string // names, "" for none
	Equal    bool   // for every packet, by itself
}

// A PacketClass is a class of packets.
type PacketClass struct {
	Version int
	Hook    packet.Hook
	// A and B are the rules that decide on either side, "" when it is not one
	// rule.
	A, B string
	// Packets is how many packets the class holds, of All: packets count as
	// different when their addresses, protocols or ports differ, or anything
	// else that the rules of the stage look at. Both are nil when they were not
	// counted.
	Packets, All *big.Int
}

// ErrNotCompilable is returned for a machine that cannot be compiled.
var ErrNotCompilable = errors.New("the machine cannot be compiled for a proof")

// Prove compares two machines for every packet: a is the source, b its
// translation. Both must implement [symbolic.Compiler].
//
// The functions of the stages are compared one by one; where two are unlike,
// whole paths through the host are, so that rules may move between stages. What
// is unlike is shown by packets that both machines are run on: without such a
// packet the word is Undecided, never Different.
func Prove(ctx context.Context, a, b Machine, o ProofOptions) (*Proof, error) {
	p, err := newProver(ctx, a, b, o)
	if err != nil {
		return nil, err
	}
	defer p.cancel()
	for _, v := range o.Versions {
		if err := p.version(v); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !p.ranOut(err) {
				return nil, fmt.Errorf("prove IPv%d: %w", v, err)
			}
		}
	}
	if err := p.showSharing(); err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	p.conclude()
	return p.proof, nil
}

// nodeBytes is what a node costs with its share of the tables.
const nodeBytes = 28

// A prover is one call of Prove.
type prover struct {
	ctx     context.Context
	cancel  context.CancelFunc
	a, b    Machine
	o       ProofOptions
	start   time.Time
	tracked bool
	proof   *Proof
	// of the version at hand
	headers   symbolic.Headers
	collected map[int]*collected
	spare     *bdd.Manager // to be used for the next space
	space     *symbolic.Space
	pairing   *symbolic.Pairing
	pairs     []comparedPair
	ordinary  map[place][]start
	apart     []bdd.Ref    // of each pair of stages the packets that may come out unlike
	compared  *bdd.Manager // of apart
	// translations are the hooks of the turns at which addresses are translated.
	translations map[int]packet.Hook
	walked       int         // random sequences that were tried
	sharing      string      // a state that serves both versions, where the other side has one for each
	owners       map[any]any // instances of one side that both versions share, by those of the other
}

// ranOut notes a budget that ran out.
func (p *prover) ranOut(err error) bool {
	switch {
	case errors.Is(err, bdd.ErrNodes):
		p.incomplete(fmt.Sprintf("the budget of memory ran out (%d MB)", p.o.Memory>>20))
	case errors.Is(err, context.DeadlineExceeded):
		p.incomplete(fmt.Sprintf("the budget of time ran out (%v)", p.o.Time))
	case errors.Is(err, symbolic.ErrTurns):
		p.incomplete(err.Error())
	default:
		return false
	}
	return true
}

func (p *prover) incomplete(why string) {
	if p.proof.Incomplete == "" {
		p.proof.Incomplete = why
	}
}

// accepts says whether a deviation is no difference.
func (p *prover) accepts(code string) bool {
	if p.o.Strict {
		return false
	}
	if slices.Contains(p.o.Deviations, code) {
		return true
	}
	return slices.ContainsFunc(deviations, func(d deviation) bool { return d.engine && d.code == code })
}

// collected is what both sides collect for an IP version.
type collected struct {
	tests symbolic.NameTests
	a, b  []symbolic.Instance
}

func (p *prover) collect(version int) *collected {
	in := p.collected[version]
	if in == nil {
		in = &collected{}
		in.a = p.a.(symbolic.Compiler).Collect(version, &in.tests)
		in.b = p.b.(symbolic.Compiler).Collect(version, &in.tests)
		p.collected[version] = in
	}
	return in
}

// open makes a space for a version, with both sides' instances paired.
func (p *prover) open(version int, provenance bool) (a, b []symbolic.Stage) {
	in := p.collect(version)
	p.pairing = symbolic.Pair(in.a, in.b, p.accepts)
	m := p.spare
	if p.spare = nil; m == nil {
		m = bdd.New(bdd.Options{MaxNodes: int(p.o.Memory / nodeBytes), Stop: p.ctx.Err})
	}
	p.space = symbolic.NewSpace(m, version, &in.tests, p.pairing.All)
	p.ordinary = map[place][]start{}
	p.space.Provenance, p.space.Headers, p.space.Unfragmented = provenance, p.headers, p.tracked
	p.space.Unauthenticated = version == 4 || p.accepts("ipv6-ah")
	p.space.Firm, p.space.Parts = true, true
	a = p.a.(symbolic.Compiler).Compile(p.space, p.pairing.A).Stages
	b = p.b.(symbolic.Compiler).Compile(p.space, p.pairing.B).Stages
	return a, b
}

// How much is done to say how many packets an accepted deviation is about: nodes
// of diagrams, and rules of a pair of stages. Of more it is only said that there
// are some.
const (
	countedNodes = 300_000
	countedRules = 2_000
)

// fewRules is up to how many rules of a pair of stages differences are looked for
// among all packets, and not only among those that may come out unlike: others
// tell what packets do to states.
const fewRules = 1_000

// version compares both sides for one IP version: packets with whole transport
// headers, then those that end before, of which xtables drops most.
func (p *prover) version(version int) error {
	p.headers = symbolic.WholeHeaders
	equal, err := p.compare(version)
	if err != nil || !equal {
		return err
	}
	p.spare = p.space.Manager
	p.spare.Reset()
	p.headers = symbolic.CutHeaders
	_, err = p.compare(version)
	return err
}

// compare compares the stages of both sides, and what is unlike along whole
// routes.
func (p *prover) compare(version int) (equal bool, err error) {
	a, b := p.open(version, false)
	p.shared()
	space := p.space
	defer func() { p.proof.Nodes += space.Size() }()
	var unlike []packet.Hook
	var ended error
	var explained []explainedStage
	p.apart = p.apart[:0]
	err = p.space.Try(func() {
		for _, pair := range pairStages(a, b) {
			if ended = p.ctx.Err(); ended != nil {
				return
			}
			equal, more := p.stage(pair)
			explained = append(explained, more...)
			p.proof.Stages = addStage(p.proof.Stages, pair.proof(version, equal))
			if !equal && !slices.Contains(unlike, pair.hook) {
				unlike = append(unlike, pair.hook)
			}
		}
	})
	if err = cmp.Or(err, ended); err != nil {
		return false, err
	}
	p.explain(explained)
	if len(unlike) == 0 {
		return true, nil
	}
	p.compared = space.Manager
	shown := len(p.proof.Differences)
	err = p.differ(version, unlike)
	return len(p.proof.Differences) == shown && p.proof.Incomplete == "", err
}

// addStage keeps one entry for each pair of stages.
func addStage(list []StageProof, s StageProof) []StageProof {
	for i := range list {
		if o := &list[i]; o.Version == s.Version && o.Hook == s.Hook && o.Priority == s.Priority && o.A == s.A && o.B == s.B {
			o.Equal = o.Equal && s.Equal
			return list
		}
	}
	return append(list, s)
}

// A stagePair is what both sides have at one place.
type stagePair struct {
	hook     packet.Hook
	priority int32
	kind     packet.StageKind
	a, b     *symbolic.Stage
}

func (q stagePair) proof(version int, equal bool) StageProof {
	sp := StageProof{Version: version, Hook: q.hook, Priority: q.priority, Equal: equal}
	if q.a != nil {
		sp.A = q.a.Name
	}
	if q.b != nil {
		sp.B = q.b.Name
	}
	return sp
}

// pairStages pairs stages of the same hook, priority and kind, in the order in
// which a packet can meet them. Of several at one place on one side, the n-th is
// paired with the n-th of the other.
func pairStages(a, b []symbolic.Stage) []stagePair {
	var pairs []stagePair
	put := func(s *symbolic.Stage, place func(*stagePair) **symbolic.Stage) {
		for i := range pairs {
			q := &pairs[i]
			if q.hook == s.Hook && q.priority == s.Priority && q.kind == s.Kind && *place(q) == nil {
				*place(q) = s
				return
			}
		}
		q := stagePair{hook: s.Hook, priority: s.Priority, kind: s.Kind}
		*place(&q) = s
		pairs = append(pairs, q)
	}
	for i := range a {
		put(&a[i], func(q *stagePair) **symbolic.Stage { return &q.a })
	}
	for i := range b {
		put(&b[i], func(q *stagePair) **symbolic.Stage { return &q.b })
	}
	slices.SortStableFunc(pairs, func(x, y stagePair) int {
		if x.hook != y.hook {
			return int(x.hook) - int(y.hook)
		}
		return int(x.priority) - int(y.priority)
	})
	return pairs
}

// situation is where a stage stands.
func (p *prover) situation(hook packet.Hook, priority int32, kind packet.StageKind) symbolic.Situation {
	return symbolic.Situation{
		Hook: hook, Early: symbolic.BeforeTracking(hook, priority), Tracked: p.tracked,
		NAT: kind == packet.NAT, Accepts: p.accepts,
	}
}

// stage compares a pair of stages by themselves. It notes what is not modelled,
// and reports whether nothing differs but what deviations explain.
func (p *prover) stage(q stagePair) (equal bool, explained []explainedStage) {
	s := p.space
	reads, writes := s.Survey(q.a, q.b)
	domain, assumed := p.domainOf(p.situation(q.hook, q.priority, q.kind), reads)
	p.assume(assumed)
	p.segments(q.hook, reads, writes)
	apart := s.Apart(q.a, q.b, domain, p.accepts, s.Few(countedRules, q.a, q.b))
	p.apart = append(p.apart, apart.Packets)
	equal = true
	if packets := s.And(domain, apart.Packets); packets != bdd.False {
		of := p.worth(apart.Packets)
		f, g := s.Within(q.a, of), s.Within(q.b, of)
		for _, c := range s.Compare(f, g, packets, p.accepts) {
			switch c.Relation {
			case symbolic.Explained:
				p.note(p.proof.Explained, c, q.hook, f, g)
			case symbolic.Unknown:
				p.note(p.proof.Unknown, c, q.hook, f, g)
			default:
				equal = false
			}
		}
	}
	if len(apart.Codes) > 0 {
		explained = []explainedStage{{q, apart, domain}}
	}
	return equal, explained
}

// worth is packets to which functions are restricted, or all when they are told
// from others by too much.
func (p *prover) worth(packets bdd.Ref) bdd.Ref {
	const many = 5_000
	if p.space.Count(packets) > many {
		return bdd.True
	}
	return packets
}

// domainOf restricts packets to those that can be in a situation, for rules that
// depend on some variables.
func (p *prover) domainOf(at symbolic.Situation, levels []bdd.Level) (bdd.Ref, []symbolic.Assumption) {
	literals := make([]bdd.Literal, len(levels))
	for i, l := range levels {
		literals[i].Level = l
	}
	return p.space.Domain(at, p.space.Cube(literals))
}

// An explainedStage is a pair of stages with packets that an accepted deviation
// may treat unlike.
type explainedStage struct {
	stagePair
	apart  symbolic.Apart
	domain bdd.Ref
}

// explain notes deviations that explain differences, with how many packets there
// are where that can be found out soon.
func (p *prover) explain(list []explainedStage) {
	s := p.space
	var uncounted []explainedStage
	gone := false // what was compiled within a budget that ran out
	for _, e := range list {
		if gone || e.apart.Explained == bdd.False {
			uncounted = append(uncounted, e)
			continue
		}
		err := s.TryWithin(countedNodes, func() {
			of := p.worth(e.apart.Explained)
			f, g := s.Within(e.a, of), s.Within(e.b, of)
			for _, c := range s.Compare(f, g, s.And(e.domain, e.apart.Explained), p.accepts) {
				if c.Relation == symbolic.Explained {
					p.note(p.proof.Explained, c, e.hook, f, g)
				}
			}
		})
		if gone = err != nil; gone {
			uncounted = append(uncounted, e)
		}
	}
	for _, e := range uncounted {
		for _, code := range e.apart.Codes {
			if _, ok := p.proof.Explained[code]; !ok {
				p.proof.Explained[code] = PacketClass{Version: s.Version, Hook: e.hook}
			}
		}
	}
}

// segments notes stages that change TCP options and read the bytes of options, of
// which a change does not know.
func (p *prover) segments(hook packet.Hook, read, written []bdd.Level) {
	const why = "the bytes of TCP options are read where an option is changed"
	const header = 20
	reads := slices.ContainsFunc(read, func(l bdd.Level) bool {
		g, bit, ok := symbolic.GroupOf(l)
		return ok && g == symbolic.Transport && bit >= 8*header
	})
	if !reads {
		return
	}
	for _, l := range written {
		if g, _, _ := symbolic.GroupOf(l); g == symbolic.MSS || g == symbolic.TCPOption {
			p.proof.Unknown[why] = PacketClass{Version: p.space.Version, Hook: hook}
		}
	}
}

func (p *prover) assume(list []symbolic.Assumption) {
	for _, a := range list {
		if !slices.Contains(p.proof.Assumptions, string(a)) {
			p.proof.Assumptions = append(p.proof.Assumptions, string(a))
		}
	}
}

// note keeps the first class of each reason.
func (p *prover) note(in map[string]PacketClass, c symbolic.Class, hook packet.Hook, f, g bdd.Ref) {
	if _, ok := in[c.Why]; ok {
		return
	}
	in[c.Why] = p.packetClass(c, hook, f, g)
}

// packetClass counts the packets of a class: by addresses, protocol and ports,
// and by all else that the functions depend on.
func (p *prover) packetClass(c symbolic.Class, hook packet.Hook, functions ...bdd.Ref) PacketClass {
	var levels []bdd.Level
	for _, g := range []symbolic.Group{symbolic.Protocol, symbolic.Source, symbolic.Destination} {
		levels = append(levels, p.space.Levels(g)...)
	}
	for bit := range 32 {
		levels = append(levels, symbolic.Transport.Level(bit))
	}
	for _, f := range append(functions, c.Where) {
		levels = append(levels, p.space.Support(f)...)
	}
	slices.Sort(levels)
	levels = slices.Compact(levels)
	class := PacketClass{
		Version: p.space.Version, Hook: hook, A: p.space.Place(c.ByA), B: p.space.Place(c.ByB),
		All: new(big.Int).Lsh(big.NewInt(1), uint(len(levels))),
	}
	if !c.Part {
		class.Packets = p.space.SatCount(c.Where, levels)
	}
	return class
}

// shared notes an instance of one side that serves both IP versions where the
// other side has one for each.
func (p *prover) shared() {
	if p.owners == nil {
		p.owners = map[any]any{}
	}
	one := map[symbolic.Slot]any{}
	in := p.collect(p.space.Version)
	for i, slot := range p.pairing.A {
		one[slot] = in.a[i].Identity
	}
	for i, slot := range p.pairing.B {
		a, ok := one[slot]
		b := in.b[i].Identity
		if !ok || a == nil || b == nil {
			continue
		}
		if before, ok := p.owners[b]; ok && before != a {
			p.sharing = fmt.Sprintf("%s serves IPv4 and IPv6, which have one each on the other side", in.b[i].Place)
		}
		p.owners[b] = a
	}
}

// showSharing looks for packets that show that a state serves both IP versions:
// those of one version move on what the other asks.
func (p *prover) showSharing() error {
	if p.sharing == "" || len(p.proof.Differences) > 0 {
		return nil
	}
	p.incomplete(p.sharing)
	r, err := Check(p.a, p.b, Options{
		Packets: 2000, Versions: p.o.Versions, Strict: p.o.Strict, Deviations: p.o.Deviations, MaxDifferences: p.o.MaxDifferences,
	})
	if err != nil || r.Word != Different {
		return err
	}
	for _, d := range r.Differences {
		p.proof.Differences = append(p.proof.Differences, d)
		p.proof.Classes = append(p.proof.Classes, PacketClass{
			Version: d.Packet.Version(), Hook: d.A.Last, A: decidedBy(d.A), B: decidedBy(d.B),
		})
	}
	return nil
}

func (p *prover) conclude() {
	r := p.proof
	r.Elapsed = time.Since(p.start)
	slices.Sort(r.Assumptions)
	switch {
	case len(r.Differences) > 0:
		r.Word = Different
	case len(r.Unknown) > 0, r.Incomplete != "":
		r.Word = Undecided
	default:
		r.Word = Equivalent
	}
}
