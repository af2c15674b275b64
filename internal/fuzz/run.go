package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"github.com/mdlayher/netlink"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/report"
	"nftmigrate/translate"
)

// fuzz is one run.
type fuzz struct {
	each int
	seed uint64
	out  io.Writer
	show bool // print rulesets and bytes
	only bool // proofs, without the kernel
	// optimize is the level of the translation.
	optimize int
	// proofTime is the budget of a proof; 0 makes none.
	proofTime time.Duration
	// given, when not nil, is what is run instead of what a generator writes, and
	// sample the packets of it.
	given  func() (sources, diag.List)
	sample []*packet.Packet
	// alter, when not nil, plants a bug: it returns what is loaded and what is
	// modelled instead of the batch.
	alter func(batch []netlink.Message) (loaded, modelled []netlink.Message)

	rulesets, rules, packets, volatile, different int
	counts                                        map[string]int // explained and skipped packets, refused rulesets
}

// An outcome is what one ruleset gave.
type outcome struct {
	text   bytes.Buffer // what is to be told
	rules  int
	report *equivalence.KernelReport // nil when it was not run
	proven bool                      // without the kernel
	failed bool
	counts map[string]int
}

// add counts an outcome and tells what it has to say.
func (f *fuzz) add(o outcome) {
	_, _ = o.text.WriteTo(f.out)
	for k, n := range o.counts {
		f.counts[k] += n
	}
	if o.failed {
		f.different++
	}
	r := o.report
	if r != nil || o.proven {
		f.rulesets++
		f.rules += o.rules
	}
	if r == nil {
		return
	}
	f.packets += r.Packets
	f.volatile += r.Volatile
	for code, k := range r.Explained {
		f.counts["declared deviation "+code] += k
	}
	for why, k := range r.Skipped {
		f.counts["not run: "+why] += k
	}
}

// sources are the rulesets of both families, as far as there are.
type sources struct {
	text   [2][]byte
	parsed [2]*iptables.Ruleset
	sets   []byte // as ipset restores them, nil for none
	known  *ipset.Sets
}

var families = [2]iptables.Family{iptables.IPv4, iptables.IPv6}

// sources makes the n-th ruleset: of IPv4, of IPv6 or, every fourth, of both.
func (f *fuzz) sources(n int) (s sources, list diag.List) {
	if f.given != nil {
		return f.given()
	}
	g := &generator{Rand: rand.New(rand.NewPCG(f.seed, uint64(n))), stateless: n%5 == 4, queues: f.only}
	for i, family := range families {
		if both := n%4 == 3; !both && (n%3 == 2) != (i == 1) {
			continue
		}
		g.v6 = i == 1
		if n%2 == 1 {
			s.sets = append(s.sets, g.makeSets()...)
		}
		list = append(list, s.parse(i, fmt.Sprintf("ruleset-%d.%v", n, family), g.ruleset())...)
	}
	if s.sets != nil {
		var more diag.List
		s.known, more = ipset.Parse(diag.NewSource(fmt.Sprintf("ruleset-%d.ipset", n), s.sets))
		list = append(list, more...)
	}
	return s, list
}

// parse reads the rules of one of the families.
func (s *sources) parse(i int, name, text string) (list diag.List) {
	s.text[i] = []byte(text)
	s.parsed[i], list = iptables.Parse(diag.NewSource(name, s.text[i]), families[i], extension.Registry)
	return list
}

func (s sources) machine() equivalence.Machine {
	var machines []equivalence.Machine
	for _, r := range s.parsed {
		if r != nil {
			machines = append(machines, iptsim.NewWithSets(r, s.known))
		}
	}
	return equivalence.Join(machines...)
}

func (s sources) versions() (list []int) {
	for i, r := range s.parsed {
		if r != nil {
			list = append(list, int(families[i]))
		}
	}
	return list
}

func (s sources) rules() (n int) {
	for _, r := range s.parsed {
		if r == nil {
			continue
		}
		for _, t := range r.Tables {
			for _, c := range t.Chains {
				n += len(c.Rules)
			}
		}
	}
	return n
}

// ruleset makes and runs the n-th ruleset of the seed.
func (f *fuzz) ruleset(ctx context.Context, n int) (o outcome) {
	o.counts = make(map[string]int)
	fail := func(err error) outcome {
		fmt.Fprintf(&o.text, "\nruleset %d of seed %d (again: -seed %d -only %d): %v\n", n, f.seed, f.seed, n, err)
		o.failed = true
		return o
	}
	s, list := f.sources(n)
	if f.show {
		fmt.Fprintf(&o.text, "%s%s%s\n", s.sets, s.text[0], s.text[1])
	}
	var codes []string
	var batch *nftgen.Batch
	if !list.HasErrors() {
		result, more := translate.Translate(s.parsed[0], s.parsed[1], translate.Options{Sets: s.known, KeepXt: true, Optimize: f.optimize})
		list = append(list, more...)
		if result != nil {
			var err error
			if batch, err = nftgen.Encode(result.Ruleset); err != nil {
				return fail(err)
			}
			for _, d := range result.Deviations {
				codes = append(codes, d.Code)
			}
		}
	}
	if batch == nil {
		return f.refused(o, s, list, fail)
	}
	loaded, modelled := batch.Messages, batch.Messages
	if f.alter != nil {
		loaded, modelled = f.alter(batch.Messages)
	}
	target, err := nftsim.Decode(modelled)
	if err != nil {
		return fail(err)
	}
	if f.only {
		o.rules = s.rules()
		o.proven = true
		if err := f.prove(ctx, s.machine(), target, s.versions(), codes, &o); err != nil {
			return fail(err)
		}
		return f.tell(o, n)
	}
	open := func(host *packet.Host, tracked bool) (equivalence.Kernel, equivalence.Kernel, func() error, error) {
		return openPair(host, s, loaded, kernel.Options{Untracked: !tracked})
	}
	o.report, err = equivalence.KernelCheck(ctx, s.machine(), target, equivalence.KernelPair{
		Open: open, Skips: func(err error) bool { return errors.Is(err, kernel.ErrNotRunnable) },
	}, equivalence.Options{Packets: f.each, Sample: f.sample, Seed: f.seed + uint64(n), Versions: s.versions(), Deviations: codes, MaxDifferences: 3})
	if err != nil {
		o.report = nil
		return fail(err)
	}
	o.rules = s.rules()
	if err := f.prove(ctx, s.machine(), target, s.versions(), codes, &o); err != nil {
		return fail(err)
	}
	if o.report.Word != equivalence.Different {
		return f.tell(o, n)
	}
	o.failed = true
	fmt.Fprintf(&o.text, "\nruleset %d of seed %d (again: -seed %d -only %d)\n", n, f.seed, f.seed, n)
	if f.show {
		writeBytes(&o.text, o.report)
	}
	if err := report.Kernel(&o.text, o.report, report.Names{A: "iptables", B: "nftables"}); err != nil {
		return fail(err)
	}
	return o
}

// tell puts before what there is to say of a ruleset how to run it again.
func (f *fuzz) tell(o outcome, n int) outcome {
	if !o.failed {
		return o
	}
	said := o.text.String()
	o.text = bytes.Buffer{}
	fmt.Fprintf(&o.text, "\nruleset %d of seed %d (again: -seed %d -only %d)\n%s", n, f.seed, f.seed, n, said)
	return o
}

// refused counts why a ruleset was refused. One that the legacy tools load was
// refused wrongly, unless iptables is known to read it as something else than
// it says.
func (f *fuzz) refused(o outcome, s sources, list diag.List, fail func(error) outcome) outcome {
	wrong := true
	for _, d := range list {
		if d.Severity != diag.Error {
			continue
		}
		o.counts["refused by us: "+d.Code+": "+d.Summary]++
		if f.show {
			_ = diag.Write(&o.text, diag.List{d})
		}
		wrong = wrong && d.Code != "chains-too-deep" && d.Code != "template-undecided" && d.Code != "untranslatable-option" && d.Code != "untranslatable-match" && d.Code != "untranslatable-target"
	}
	xt, err := kernel.NewXtables(packet.DefaultHost([]string{"eth0"}), s.text[0], s.text[1], kernel.Options{Sets: s.sets})
	var refusal *kernel.RulesetError
	switch {
	case errors.As(err, &refusal):
		return o
	case err != nil:
		return fail(err)
	case wrong:
		o = fail(fmt.Errorf("we refuse a ruleset that iptables loads"))
		_ = diag.Write(&o.text, list)
	}
	if err := xt.Close(); err != nil {
		return fail(err)
	}
	return o
}

func openPair(host *packet.Host, s sources, messages []netlink.Message, o kernel.Options) (equivalence.Kernel, equivalence.Kernel, func() error, error) {
	o.Sets = s.sets
	// Most of the time is spent waiting for the kernel and the tools.
	var xt, nft *kernel.Machine
	var errXt, errNft error
	var both sync.WaitGroup
	both.Go(func() { xt, errXt = kernel.NewXtables(host, s.text[0], s.text[1], o) })
	both.Go(func() { nft, errNft = kernel.NewNftables(host, messages, o) })
	both.Wait()
	done := func() error {
		var errs []error
		for _, m := range []*kernel.Machine{xt, nft} {
			if m != nil {
				errs = append(errs, m.Close())
			}
		}
		return errors.Join(errs...)
	}
	if errXt != nil || errNft != nil {
		return nil, nil, nil, errors.Join(errXt, errNft, done())
	}
	return xt, nft, done, nil
}

// writeBytes prints the packets of all differences, before and after.
func writeBytes(w io.Writer, r *equivalence.KernelReport) {
	for _, list := range [][]equivalence.Difference{r.Differences, r.Source, r.Target} {
		for _, d := range list {
			fmt.Fprintf(w, "%v\n  %x\n  %x\n  %x\n", d.Packet, d.Packet.Data, d.A.Data, d.B.Data)
		}
	}
}

func (f *fuzz) summary(took time.Duration) {
	fmt.Fprintf(f.out, "%d rulesets with %d rules, %d packets through both engines and both models, %d rulesets with differences or errors, seed %d, %v, %.0f packets/s\n",
		f.rulesets, f.rules, f.packets, f.different, f.seed, took.Round(time.Second), float64(f.packets)/took.Seconds())
	fmt.Fprintf(f.out, "  not compared: %d differences that met a clock, a random number or a memory\n", f.volatile)
	keys := make([]string, 0, len(f.counts))
	for k := range f.counts {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(f.out, "  %s: %d\n", k, f.counts[k])
	}
}
