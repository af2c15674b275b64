package equivalence

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"nftmigrate/packet"
)

// Options are the choices of a check. Zero values are defaults.
type Options struct {
	// Packets is the least number of packets; 0 means DefaultPackets.
	Packets int
	// Sample, when not nil, are the packets instead of those that are chosen.
	// KernelCheck alone looks at it.
	Sample []*packet.Packet
	// Seed makes another choice of the random packets.
	Seed uint64
	// Versions are the IP versions that both rulesets are about. It must not
	// be empty.
	Versions []int
	// Strict counts declared deviations as differences.
	Strict bool
	// Deviations are the deviations that the translation declared, by code.
	Deviations []string
	// MaxDifferences bounds how many differences are shrunk and reported; 0
	// means 20.
	MaxDifferences int
	// Progress, when not nil, is told how many of how many packets have run.
	Progress func(done, total int)
}

// DefaultPackets is how many packets a check runs at least.
const DefaultPackets = 20000

// A Word is the strongest thing that may be said of a check.
type Word string

// The words. Equivalent is for proofs over all packets; a run of packets never
// earns it.
const (
	Equivalent   Word = "equivalent"
	NoDifference Word = "no difference found"
	Different    Word = "different"
	Undecided    Word = "undecided"
)

// A Report is what a check showed.
type Report struct {
	Word Word
	// Packets is how many were compared, Reassembled how many fragments were
	// left out because tracking reassembles them before the first rule.
	Packets     int
	Reassembled int
	Seed        uint64
	Differences []Difference
	// Explained counts differences that a declared deviation explains.
	Explained map[string]int
	// Unknown counts packets whose fate a machine could not decide, by reason.
	Unknown map[string]int
	// Assumptions say what was not varied.
	Assumptions []string
}

// A Difference is one pair of rules that disagree, with the smallest packet
// that shows it.
type Difference struct {
	Packet *packet.Packet
	// Host is the one on which the packets ran.
	Host *packet.Host
	// Before are packets that have to run first, for rules with a state.
	Before  []*packet.Packet
	Aspects []Aspect
	A, B    packet.Fate // with traces
	Count   int         // packets of the run that showed it
	// InKernel is what the kernel made of it, nil when it was not asked.
	InKernel *Confirmation
}

// Assumptions of every sampled check.
var assumptions = []string{
	"routing, addresses and devices are those of one synthetic host",
	"one packet at a time; rules see no concurrent changes",
	"a translation out of a range is compared as the range",
	"time goes in steps of 20 ms",
}

// ErrNoVersions is returned when no IP version was named.
var ErrNoVersions = errors.New("check needs at least one IP version")

// Check runs packets through two machines and compares their fates. a is the
// source, b its translation.
func Check(a, b Machine, o Options) (*Report, error) {
	if len(o.Versions) == 0 {
		return nil, ErrNoVersions
	}
	if o.Packets == 0 {
		o.Packets = DefaultPackets
	}
	if o.MaxDifferences == 0 {
		o.MaxDifferences = 20
	}
	suggestions := append(append([]packet.Suggestion(nil), a.Suggestions()...), b.Suggestions()...)
	c := &check{a: a, b: b, o: o, host: Scene(suggestions)}
	c.walkA, c.walkB = NewWalker(a, c.host), NewWalker(b, c.host)
	c.report = &Report{
		Seed:      o.Seed,
		Explained: make(map[string]int), Unknown: make(map[string]int),
		Assumptions: assumptions,
	}
	for _, m := range []Machine{a, b} {
		if len(m.Suggestions()) > packet.MaxSuggestions {
			c.report.Assumptions = append(slices.Clone(c.report.Assumptions),
				fmt.Sprintf("packets are made for about %d rules of a large ruleset, taken at even distances", packet.MaxSuggestions))
			break
		}
	}
	candidates := newChooser(c.host, suggestions, o.Versions, o.Seed).all(o.Packets)
	c.conntrack()
	c.run(candidates)
	c.conclude()
	return c.report, nil
}

// A check is one call of Check.
type check struct {
	a, b         Machine
	o            Options
	host         *packet.Host
	walkA, walkB *Walker
	tracked      [7]bool // by IP version: connections are tracked
	report       *Report
	// keep, when not "", are the rules that have to decide about a packet for
	// its difference to count.
	keep string
}

// conntrack compares whether the rulesets turn connection tracking on, which
// decides what becomes of fragments.
func (c *check) conntrack() {
	any := false
	defer func() { c.walkA.Untracked, c.walkB.Untracked = !any, !any }()
	for _, v := range c.o.Versions {
		inA, inB := c.a.NeedsConntrack(v), c.b.NeedsConntrack(v)
		c.tracked[v] = inA || inB
		any = any || c.tracked[v]
		if inA == inB || inB && !c.o.Strict && c.declared("inet-tracks-both") {
			continue
		}
		on, off := "source", "translation"
		if inB {
			on, off = off, on
		}
		c.report.Unknown[fmt.Sprintf("the %s tracks IPv%d connections, and so reassembles fragments, the %s does not", on, v, off)]++
	}
}

// run compares the candidates in order, on machines that keep their state, and
// afterwards shrinks one packet of each kind of difference.
func (c *check) run(candidates []candidate) {
	c.a.Reset()
	c.b.Reset()
	var kinds []kind
	known := make(map[string]int)
	for i, cand := range candidates {
		if c.o.Progress != nil && i%1024 == 0 {
			c.o.Progress(i, len(candidates))
		}
		if c.tracked[cand.packet.Version()] && packet.IsFragment(cand.packet.Data) {
			c.report.Reassembled++
			continue
		}
		fateA, fateB, aspects, why := c.step(cand.packet)
		c.report.Packets++
		if c.undecided(fateA, fateB) || len(aspects) == 0 {
			continue
		}
		if why != "" {
			c.report.Explained[why]++
			continue
		}
		key := kindKey(fateA, fateB, aspects)
		if at, ok := known[key]; ok {
			kinds[at].count++
		} else if len(kinds) < maxKinds {
			known[key] = len(kinds)
			kinds = append(kinds, kind{last: i, count: 1})
		}
	}
	groups := make(map[string]int)
	for _, k := range kinds {
		if len(c.report.Differences) == c.o.MaxDifferences {
			break
		}
		d := c.shrink(candidates[:k.last+1])
		d.Count = k.count
		key := lastPlace(d.A) + "|" + lastPlace(d.B) + "|" + fmt.Sprint(d.Aspects)
		if at, ok := groups[key]; ok {
			c.report.Differences[at].Count += k.count
			continue
		}
		groups[key] = len(c.report.Differences)
		c.report.Differences = append(c.report.Differences, d)
	}
}

// step runs one packet through both machines. why is the declared deviation that
// explains the difference, or "". Behind a packet that differs, or that the
// engines treat unlike with the same end, the two sides may have unlike states (a
// bucket that only one of them was asked for), so both start anew, and no later
// packet differs only for that.
func (c *check) step(p *packet.Packet) (a, b packet.Fate, aspects []Aspect, why string) {
	a, b = c.walkA.Run(p), c.walkB.Run(p)
	if a.Verdict == packet.Undecided || b.Verdict == packet.Undecided {
		c.a.Reset()
		c.b.Reset()
		return a, b, nil, ""
	}
	aspects = Differ(a, b)
	if len(aspects) > 0 {
		why = c.explained(p, a, b, aspects)
	}
	if len(aspects) > 0 || c.engines(p, a, b) {
		c.a.Reset()
		c.b.Reset()
	}
	return a, b, aspects, why
}

// A kind is a set of differences with the same fates, by the first packet that
// showed it.
type kind struct {
	last  int // index of the candidate
	count int
}

const maxKinds = 100

// kindKey is equal for packets that met the same fates but for values that the
// packet itself brings.
func kindKey(a, b packet.Fate, aspects []Aspect) string {
	return fmt.Sprint(a.Verdict, a.Last, a.Events, "|", b.Verdict, b.Last, b.Events, "|", aspects)
}

// undecided counts a packet that a machine could not decide.
func (c *check) undecided(a, b packet.Fate) bool {
	unknown := append(append([]string(nil), a.Unknown...), b.Unknown...)
	for _, why := range unknown {
		c.report.Unknown[why]++
	}
	return a.Verdict == packet.Undecided || b.Verdict == packet.Undecided
}

// lastPlace names the rule that decided.
func lastPlace(f packet.Fate) string {
	if len(f.Trace) == 0 {
		return ""
	}
	s := f.Trace[len(f.Trace)-1]
	return s.Stage + s.Place + s.Text
}

// replay brings the machines into the state behind a run.
func (c *check) replay(run []candidate) {
	c.a.Reset()
	c.b.Reset()
	for _, cand := range run {
		if c.tracked[cand.packet.Version()] && packet.IsFragment(cand.packet.Data) {
			continue
		}
		c.step(cand.packet)
	}
}

func (c *check) conclude() {
	r := c.report
	switch {
	case len(r.Differences) > 0:
		r.Word = Different
	case len(r.Unknown) > 0:
		r.Word = Undecided
	default:
		r.Word = NoDifference
	}
}

// ByCount lists the keys of a count, the largest first.
func ByCount(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if m[keys[i]] != m[keys[j]] {
			return m[keys[i]] > m[keys[j]]
		}
		return keys[i] < keys[j]
	})
	return keys
}
