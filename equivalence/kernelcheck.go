package equivalence

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nftmigrate/packet"
)

// A Kernel runs packets through the real kernel.
type Kernel interface {
	// Run returns the fate of one packet. An error for which the pair's Skips
	// returns true is about the packet alone; the fate has a verdict when the
	// packet met rules all the same.
	Run(p *packet.Packet) (packet.Fate, error)
}

// A KernelPair opens the kernel's own machines for both sides.
type KernelPair struct {
	// Open makes both machines on a host. tracked says whether connections are
	// tracked. done takes them down.
	Open func(host *packet.Host, tracked bool) (source, target Kernel, done func() error, err error)
	// Skips reports whether an error of Run is about the packet alone.
	Skips func(error) bool
	// Wait is how long [Confirm] waits for packets of one difference that come one
	// after the other. Differences that take longer are skipped.
	Wait time.Duration
}

// A KernelReport is what a run through the kernel showed.
type KernelReport struct {
	Word Word
	// Packets is how many ran through both kernels and both simulators.
	Packets int
	Skipped map[string]int // packets that cannot be run, by reason
	// Volatile counts packets whose fates differ where a rule asks for a random
	// number, or the clock or earlier packets at a moment that is too near to
	// the one when the answer changes: the kernel's cannot be set. So it counts
	// those where a rule asks what packets left behind such a difference.
	Volatile  int
	Explained map[string]int
	// Differences are between the two rulesets in the kernel, Source and
	// Target between the kernel and the simulator of each side.
	Differences    []Difference
	Source, Target []Difference
}

// KernelCheck runs the packets of a check through the kernel: the source rules
// by the engine they were written for, the target by nf_tables, and both
// simulators in the circumstances that the kernel reports.
func KernelCheck(ctx context.Context, a, b Machine, k KernelPair, o Options) (*KernelReport, error) {
	if len(o.Versions) == 0 {
		return nil, ErrNoVersions
	}
	if o.Packets == 0 {
		o.Packets = DefaultPackets
	}
	suggestions := append(append([]packet.Suggestion(nil), a.Suggestions()...), b.Suggestions()...)
	c := &check{a: a, b: b, o: o, host: Scene(suggestions), report: &Report{Explained: make(map[string]int), Unknown: make(map[string]int)}}
	c.walkA, c.walkB = NewWalker(a, c.host), NewWalker(b, c.host)
	tracked := false
	for _, v := range o.Versions {
		tracked = tracked || a.NeedsConntrack(v) || b.NeedsConntrack(v)
	}
	c.walkA.Untracked, c.walkB.Untracked = !tracked, !tracked
	c.walkA.Unheard, c.walkB.Unheard = true, true
	source, target, done, err := k.Open(c.host, tracked)
	if err != nil {
		return nil, err
	}
	r := &KernelReport{Skipped: make(map[string]int), Explained: c.report.Explained}
	run := &kernelRun{check: c, pair: k, source: source, target: target, report: r, tracked: tracked, start: time.Now()}
	sample := o.Sample
	if sample == nil {
		for _, chosen := range newChooser(c.host, suggestions, o.Versions, o.Seed).all(o.Packets) {
			sample = append(sample, chosen.packet)
		}
	}
	err = run.all(ctx, sample)
	if closing := done(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, err
	}
	r.Word = NoDifference
	if len(r.Differences)+len(r.Source)+len(r.Target) > 0 {
		r.Word = Different
	}
	return r, nil
}

// A kernelRun is one call of KernelCheck.
type kernelRun struct {
	*check
	pair           KernelPair
	source, target Kernel
	report         *KernelReport
	tracked        bool
	start          time.Time
	// apart is the deviation behind which the two rulesets remember different
	// things, or "".
	apart string
	// strayed says of each side that its kernel decided once what its model could
	// not, so that they may remember different things since.
	strayed struct{ source, target bool }
	// doubted is the deviation of an earlier packet of which no model says whether its
	// kernel went on to the states of rules behind it, or "".
	doubted string
	// asked is how often packets were run alone, and forgets says that the models run
	// one without a memory.
	asked   int
	forgets bool
}

func (r *kernelRun) all(ctx context.Context, sample []*packet.Packet) error {
	r.a.Reset()
	r.b.Reset()
	for i, p := range sample {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.o.Progress != nil && i%1024 == 0 {
			r.o.Progress(i, len(sample))
		}
		if err := r.one(p); err != nil {
			return fmt.Errorf("packet %d (%v): %w", i, p, err)
		}
	}
	return nil
}

// maxRead is the length of the longest packet that the kernel's reports hold
// whole.
const maxRead = 65000

// one runs one packet through all four machines.
func (r *kernelRun) one(p *packet.Packet) error {
	if !r.tracked {
		q := *p
		q.Tracking = packet.Tracking{}
		p = &q
	}
	if p.Path == packet.Leaving && p.Socket == nil {
		// Packets without a socket cannot be made at will.
		q := *p
		q.Socket = &packet.Socket{}
		p = &q
	}
	if len(p.Data) > maxRead {
		r.report.Skipped["packets that are too long to be read back"]++
		return nil
	}
	if r.tracked && packet.IsFragment(p.Data) {
		r.report.Skipped["fragments, which connection tracking reassembles"]++
		return nil
	}
	inSource, errSource := r.source.Run(p)
	inTarget, errTarget := r.target.Run(p)
	// A model goes along with its kernel, so that it remembers the same.
	now := int64(time.Since(r.start))
	var simSource, simTarget packet.Fate
	if errSource == nil || inSource.Verdict != 0 {
		simSource = r.walkA.Run(observed(p, inSource, now))
		r.strayed.source = r.strayed.source || errSource != nil && parted(inSource, simSource)
	}
	if errTarget == nil || inTarget.Verdict != 0 {
		simTarget = r.walkB.Run(observed(p, inTarget, now))
		r.strayed.target = r.strayed.target || errTarget != nil && parted(inTarget, simTarget)
	}
	for _, err := range []error{errSource, errTarget} {
		switch {
		case err == nil:
		case r.pair.Skips(err):
			r.report.Skipped[err.Error()]++
			return nil
		default:
			return err
		}
	}
	return r.compare(p, inSource, inTarget, simSource, simTarget)
}

// parted reports whether the model took a packet that was refused at last further than
// the kernel, or not as far, so that it remembers another one.
func parted(kernel, sim packet.Fate) bool { return sim.Volatile && kernel.Last != sim.Last }

func (r *kernelRun) compare(p *packet.Packet, inSource, inTarget, simSource, simTarget packet.Fate) error {
	r.report.Packets++
	if untold(simSource) || untold(simTarget) {
		for _, f := range []*packet.Fate{&inSource, &inTarget, &simSource, &simTarget} {
			*f = withoutHelper(*f)
		}
	}
	volatile := simSource.Unsure || simTarget.Unsure ||
		r.strayed.source && simSource.Volatile || r.strayed.target && simTarget.Volatile
	// A model that is undecided stops at a rule, and its kernel goes on to states of
	// rules behind it. Other events alone change nothing that later rules meet.
	unlike := func(kernel, sim packet.Fate) bool {
		return sim.Verdict == packet.Undecided || sim.Unsure && slices.ContainsFunc(Differ(seen(kernel), seen(sim)), func(a Aspect) bool { return a != AspectEvents })
	}
	r.strayed.source = r.strayed.source || unlike(inSource, simSource)
	r.strayed.target = r.strayed.target || unlike(inTarget, simTarget)
	outOfStep := ""
	differ := func(list *[]Difference, w *Walker, a, b packet.Fate) {
		aspects := visible(Differ(seen(a), seen(b)), simSource, simTarget)
		switch {
		case len(aspects) == 0:
		case volatile || w != nil && ranges(b) && r.lands(w, p, a):
			r.report.Volatile++
		case r.doubted != "" && (simSource.Volatile || simTarget.Volatile):
			outOfStep = r.doubted
		default:
			file(list, Difference{Packet: p, Host: r.host, Aspects: aspects, A: a, B: b, Count: 1}, r.o.MaxDifferences)
		}
	}
	defer func() {
		if outOfStep != "" {
			r.report.Explained[outOfStep]++
		}
		r.doubted = cmp.Or(r.doubts(simSource), r.doubted)
	}()
	if simSource.Verdict != packet.Undecided {
		differ(&r.report.Source, r.walkA, inSource, simSource)
	}
	if simTarget.Verdict != packet.Undecided {
		differ(&r.report.Target, r.walkB, inTarget, simTarget)
	}
	aspects := visible(Differ(seen(inSource), seen(inTarget)), simSource, simTarget)
	if len(aspects) == 0 {
		// What a deviation changed in the memory shows later.
		r.apart = cmp.Or(r.silently(simSource, simTarget), r.apart)
	}
	if len(aspects) > 0 {
		if why := r.explained(p, seen(simSource), seen(simTarget), aspects); why != "" {
			r.report.Explained[why]++
			if simSource.Volatile || simTarget.Volatile {
				r.apart = why
			}
			return nil
		}
		// Both models go on as their kernels do.
		follows := len(Differ(seen(inSource), seen(simSource))) == 0 && len(Differ(seen(inTarget), seen(simTarget))) == 0
		if undecided := simSource.Verdict == packet.Undecided || simTarget.Verdict == packet.Undecided; undecided || ranges(simSource) || ranges(simTarget) {
			if why, ok := r.supposing(p, inSource, inTarget, aspects); ok && why != "" {
				r.report.Explained[why]++
				return nil
			} else if ok {
				r.report.Volatile++
				return nil
			}
		}
		if simSource.Verdict == packet.Undecided || simTarget.Verdict == packet.Undecided {
			// Nobody says whether a memory was asked, nor that the engines remember
			// the same behind such a packet.
			there, why, err := r.alone(p, simSource, simTarget)
			switch {
			case err != nil || !there:
				r.report.Volatile++
				return err
			case why != "":
				r.report.Explained[why]++
				return nil
			}
		}
		if r.apart != "" && follows && (simSource.Volatile || simTarget.Volatile) {
			r.report.Explained[r.apart]++
			return nil
		}
	}
	differ(&r.report.Differences, nil, inSource, inTarget)
	return nil
}

// doubts names the deviation for which neither model says what its kernel makes of
// the packet, and so which states it comes to, or is "": a connection is counted, or
// is not, by what the kernel knows of others.
func (r *kernelRun) doubts(source packet.Fate) string {
	const established = "connlimit-established"
	if !r.o.Strict && r.declared(established) && slices.Contains(source.Declared, established) {
		return established
	}
	return ""
}

// alone reports whether the kernel treats a packet unlike that is the first one, and
// the deviation why that explains it. Beyond some packets it does not ask.
func (r *kernelRun) alone(p *packet.Packet, simSource, simTarget packet.Fate) (differs bool, why string, err error) {
	const most = 20
	if r.asked++; r.asked > most {
		return false, "", nil
	}
	source, target, done, err := r.pair.Open(r.host, r.tracked)
	if err != nil {
		return false, "", err
	}
	a, err := source.Run(p)
	if err == nil {
		var b packet.Fate
		if b, err = target.Run(p); err == nil {
			if aspects := visible(Differ(seen(a), seen(b)), simSource, simTarget); len(aspects) > 0 {
				r.forgets = true
				known := false
				why, known = r.supposing(p, a, b, aspects)
				differs, r.forgets = !known || why != "", false
			}
		}
	}
	if err != nil && r.pair.Skips(err) {
		err = nil
	}
	return differs, why, errors.Join(err, done())
}

// silently names the deviation for which the two sides remember different things
// of a packet with one fate, or is "": one that the translation declared; or the
// packet was dropped inside a test of the one, and came to a state of the other.
func (r *kernelRun) silently(source, target packet.Fate) string {
	if source.Volatile {
		if i := slices.IndexFunc(source.Declared, r.declared); i >= 0 {
			return source.Declared[i]
		}
	}
	if source.Hotdrop && target.Volatile && !r.o.Strict {
		return "hotdrop"
	}
	return ""
}

// observed is the packet at the time when it ran, with the tracking that the
// kernel found.
func observed(p *packet.Packet, f packet.Fate, now int64) *packet.Packet {
	q := *p
	q.Time = now
	if f.Observed.State != 0 {
		q.Tracking = f.Observed
	}
	return &q
}

// untold reports whether nobody may be told that the connection began, since rules
// chose other events of it. Then its helper does not show.
func untold(f packet.Fate) bool {
	const began = 1 << 0
	return slices.ContainsFunc(f.Events, func(e packet.Event) bool {
		m, ok := e.(packet.EventMaskEvent)
		return ok && m.Events&began == 0
	})
}

// withoutHelper leaves out that a connection got a helper.
func withoutHelper(f packet.Fate) packet.Fate {
	f.Events = slices.DeleteFunc(slices.Clone(f.Events), func(e packet.Event) bool {
		_, ok := e.(packet.HelperEvent)
		return ok
	})
	return f
}

// seen keeps of a fate what the kernel shows: of the events the log messages, the
// answers, and last the helper of a connection that began; a translation shows in the
// bytes.
func seen(f packet.Fate) packet.Fate {
	events := slices.Clone(f.Events)
	var helper []packet.Event
	for i, e := range events {
		if log, ok := e.(packet.LogEvent); ok && log.Group >= 0 {
			log.SnapLen, log.Threshold = -1, 0 // the messages are read whole and at once
			events[i] = log
		}
	}
	f.Events = slices.DeleteFunc(events, func(e packet.Event) bool {
		switch e.(type) {
		case packet.LogEvent:
			return false
		case packet.RejectEvent:
			return f.Silent
		case packet.HelperEvent:
			helper = append(helper, e)
		}
		return true
	})
	if f.Verdict == packet.Accept {
		f.Events = append(f.Events, helper...)
	}
	f.Data = bytes.Clone(f.Data)
	packet.FixChecksums(f.Data)
	if f.Verdict != packet.Accept {
		f.Tracked = false // the connection of a dropped packet is never seen
	}
	return f
}

// visible leaves out what the kernel decides by chance: where in a range a
// translation lands.
func visible(aspects []Aspect, sims ...packet.Fate) []Aspect {
	for _, f := range sims {
		for _, e := range f.Events {
			n, ok := e.(packet.NATEvent)
			if ok && n.Ranges() {
				aspects = slices.DeleteFunc(slices.Clone(aspects), func(a Aspect) bool { return a == AspectData })
			}
		}
	}
	return aspects
}

// file adds a difference to a list, or counts it under one with the same
// fates.
func file(list *[]Difference, d Difference, most int) {
	key := kindKey(d.A, d.B, d.Aspects)
	for i := range *list {
		have := &(*list)[i]
		if kindKey(have.A, have.B, have.Aspects) == key {
			have.Count++
			return
		}
	}
	if most == 0 {
		most = 20
	}
	if len(*list) < most {
		*list = append(*list, d)
	}
}
