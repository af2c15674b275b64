package bugs_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/internal/scratch"
	"nftmigrate/internal/testkit"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func TestMain(m *testing.M) {
	scratch.Main()
	os.Exit(m.Run())
}

// A ruleset is a source with wrong translations of it.
type ruleset struct {
	name   string
	v4, v6 string
	bugs   []bug
	sets   string // of ipset, that rules name
}

// A bug is one edit of the translation: of the batch, or of the text.
type bug struct {
	name string
	// batch is the edit of the batch; when it is nil, old becomes new in the
	// text.
	batch    change
	old, new string
	// shows is the aspect in which packets show it; "" is for edits that are
	// no bugs, because nothing that is compared depends on them.
	shows equivalence.Aspect
}

const (
	verdictDiffers  = equivalence.AspectVerdict
	dataDiffers     = equivalence.AspectData
	markDiffers     = equivalence.AspectMark
	connMarkDiffers = equivalence.AspectConnMark
	trackingDiffers = equivalence.AspectTracking
	eventsDiffer    = equivalence.AspectEvents
	secmarkDiffers  = equivalence.AspectSecmark
)

// TestPlantedBugs checks each ruleset against its translation, which must show
// no difference, and against each edit of it, which must.
func TestPlantedBugs(t *testing.T) {
	for _, r := range slices.Concat(matchRulesets, layoutRulesets, stateRulesets, rewriteRulesets, targetRulesets, circumstanceRulesets) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			right := r.translate(t)
			right.check(t, right.batch(t), bug{})
			for _, b := range r.bugs {
				t.Run(b.name, func(t *testing.T) { right.check(t, right.edited(t, b), b) })
			}
		})
	}
}

// seeds is how many choices of packets a bug must be found with.
var seeds = flag.Uint64("seeds", 2, "number of choices of packets")

// A translation is a ruleset with what the project makes of it.
type translation struct {
	source     equivalence.Machine
	versions   []int
	text       string
	encoded    *nftgen.Batch
	deviations []string
}

func (r ruleset) translate(t *testing.T) *translation {
	t.Helper()
	out := &translation{}
	var machines []equivalence.Machine
	sets, list := ipset.Parse(diag.NewSource("sets.ipset", []byte(r.sets)))
	if list.HasErrors() {
		t.Fatalf("sets: %v", list)
	}
	parse := func(name, text string, family iptables.Family) *iptables.Ruleset {
		if text == "" {
			return nil
		}
		rs, list := iptables.Parse(diag.NewSource(name, []byte(text)), family, extension.Registry)
		if list.HasErrors() {
			t.Fatalf("rules: %v", list)
		}
		machines = append(machines, iptsim.NewWithSets(rs, sets))
		out.versions = append(out.versions, int(family))
		return rs
	}
	v4, v6 := parse("rules.v4", r.v4, iptables.IPv4), parse("rules.v6", r.v6, iptables.IPv6)
	result, list := translate.Translate(v4, v6, translate.Options{Sets: sets})
	if list.HasErrors() {
		t.Fatalf("translate: %v", list)
	}
	for _, d := range result.Deviations {
		out.deviations = append(out.deviations, d.Code)
	}
	var text bytes.Buffer
	if err := nftgen.Print(&text, result.Ruleset); err != nil {
		t.Fatalf("print: %v", err)
	}
	var err error
	if out.encoded, err = nftgen.Encode(result.Ruleset); err != nil {
		t.Fatalf("encode: %v", err)
	}
	out.text, out.source = text.String(), equivalence.Join(machines...)
	return out
}

// batch returns a copy of the right batch.
func (r *translation) batch(t *testing.T) []netlink.Message {
	t.Helper()
	list := slices.Clone(r.encoded.Messages)
	for i := range list {
		list[i].Data = slices.Clone(list[i].Data)
	}
	return list
}

// edited returns the batch of a wrong translation.
func (r *translation) edited(t *testing.T, b bug) []netlink.Message {
	t.Helper()
	if b.batch != nil {
		list, err := b.batch(r.batch(t))
		if err != nil {
			t.Fatalf("the edit does not apply: %v\n%s", err, r.dump(t))
		}
		return list
	}
	text, err := replace(r.text, b.old, b.new)
	if err != nil {
		t.Fatalf("the edit does not apply: %v\n%s", err, r.text)
	}
	testkit.Need(t, testkit.Tool("nft"), testkit.NetNS)
	list, diags, err := scratch.Compile(context.Background(), diag.NewSource("edited.nft", []byte(text)))
	if err != nil || diags.HasErrors() {
		t.Fatalf("compile: %v, %v\n%s", err, diags, text)
	}
	return list
}

func (r *translation) dump(t *testing.T) string {
	t.Helper()
	m, err := nftsim.Decode(r.encoded.Messages)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	var b bytes.Buffer
	if err := m.Dump(&b); err != nil {
		t.Fatalf("dump: %v", err)
	}
	return b.String()
}

// maxBefore is how many packets a reader can be asked to follow before the one
// that shows a difference.
const maxBefore = 30

// shows reports whether a report has a difference as a bug shows it.
func shows(r *equivalence.Report, b bug) bool {
	return slices.ContainsFunc(r.Differences, func(d equivalence.Difference) bool { return slices.Contains(d.Aspects, b.shows) })
}

// fewPackets is how many find most of the bugs; the others take as many as a check
// has without a wish.
const fewPackets = 3000

// check runs packets of several choices through both sides and wants what the
// bug says.
func (r *translation) check(t *testing.T, batch []netlink.Message, b bug) {
	t.Helper()
	for seed := uint64(1); seed <= *seeds; seed++ {
		target, err := nftsim.Decode(batch)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		o := equivalence.Options{Seed: seed, Versions: r.versions, Deviations: r.deviations}
		if b.shows != "" {
			o.Packets = fewPackets
		}
		report, err := equivalence.Check(r.source, target, o)
		if o.Packets != 0 && err == nil && !shows(report, b) {
			o.Packets = 0
			report, err = equivalence.Check(r.source, target, o)
		}
		if err != nil {
			t.Fatalf("check: %v", err)
		}
		if b.shows == "" {
			if report.Word != equivalence.NoDifference {
				t.Fatalf("seed %d: %s, want %s: %s, %v", seed, report.Word, equivalence.NoDifference, first(report), report.Unknown)
			}
			continue
		}
		if report.Word != equivalence.Different {
			t.Errorf("seed %d: %s, %d packets, %v", seed, report.Word, report.Packets, report.Unknown)
			continue
		}
		at := slices.IndexFunc(report.Differences, func(d equivalence.Difference) bool { return slices.Contains(d.Aspects, b.shows) })
		if at < 0 {
			t.Errorf("seed %d: no difference in the %s: %s", seed, b.shows, first(report))
			continue
		}
		d := report.Differences[at]
		if len(d.A.Trace) == 0 || len(d.B.Trace) == 0 || d.Count < 1 {
			t.Errorf("seed %d: a difference without traces: %s", seed, first(report))
		}
		if len(d.Before) > maxBefore {
			t.Errorf("seed %d: %d packets before the one that differs", seed, len(d.Before))
		}
		if seed == 1 {
			t.Logf("%d before, %s: %s; %s", len(d.Before), d.Packet, equivalence.Describe(d.A), equivalence.Describe(d.B))
		}
	}
}

func first(r *equivalence.Report) string {
	if len(r.Differences) == 0 {
		return "no difference"
	}
	d := r.Differences[0]
	return d.Packet.String() + ": " + equivalence.Describe(d.A) + "; " + equivalence.Describe(d.B)
}
