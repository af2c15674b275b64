package extension_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/translate"
)

var update = flag.Bool("update", false, "rewrite the out/ files of the archives")

// checkPackets is how many packets the check of an archive compares.
const checkPackets = 3000

// TestArchives runs each archive of testdata: reads and prints the rules,
// translates them, sends the archive's packets through both machines, and
// compares what comes out with the files out/*.
//
// Each line of "packets" says what becomes of a packet, and then which it is,
// in the words of [packet.ParseWords] and a few for the connection:
//
//	1,3     --in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn   # why
//	drop    --in eth0 …
//	drop|2  --in eth0 …
//
// Numbers are the bits that the rules leave in the packet mark (1 is 0x1, 2 is
// 0x2, 3 is 0x4), "none" is a packet without mark, "drop" is dropped. Behind "@"
// is the packet's priority as a class, when it is not 0 ("1@1:2"). Two fates, of iptables and nftables, state a declared deviation.
func TestArchives(t *testing.T) {
	for _, path := range archives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a := readArchive(t, path)
			r := a.run(t)
			if r.source != nil && r.batch != nil {
				a.runPackets(t, r)
			}
			a.compare(t, r.out)
		})
	}
}

func archives(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	return paths
}

// An archive is one file of testdata.
type archive struct {
	path    string
	text    *archiveText
	packets []expectation
}

// A result is what the project makes of an archive's rules.
type result struct {
	v4, v6     *iptables.Ruleset
	text       []byte // nft
	batch      *nftgen.Batch
	source     equivalence.Machine
	target     *nftsim.Machine
	out        []archiveFile
	deviations []string
	lacking    bool // the kernel cannot run the target
}

func readArchive(t *testing.T, path string) *archive {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read archive: %v", err)
	}
	a := &archive{path: path, text: parseArchive(raw)}
	for i, line := range strings.Split(string(a.file("packets")), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		e, err := parseExpectation(line)
		if err != nil {
			t.Fatalf("%s: line %d of packets: %v", path, i+1, err)
		}
		a.packets = append(a.packets, e)
	}
	return a
}

func (a *archive) file(name string) []byte {
	for _, f := range a.text.files {
		if f.name == name {
			return f.data
		}
	}
	return nil
}

// sets are the ipsets that the rules name: the file "sets", or of types that the
// kernel at hand lacks "sets.lacking". Those are confirmed by nft alone.
func (a *archive) sets() []byte {
	if text := a.file("sets"); text != nil {
		return text
	}
	return a.file("sets.lacking")
}

// lackingSets reports whether the kernel at hand cannot load the sets.
func (a *archive) lackingSets() bool { return a.file("sets.lacking") != nil }

// keeps reports whether the archive's rules are translated with --keep-xt: a
// file "options" says so.
func (a *archive) keeps() bool { return strings.Contains(string(a.file("options")), "--keep-xt") }

// run takes the rules through the project.
func (a *archive) run(t *testing.T) *result {
	t.Helper()
	r := &result{}
	var diags diag.List
	emit := func(name string, data []byte) { r.out = append(r.out, archiveFile{"out/" + name, data}) }
	parse := func(name string, f iptables.Family) *iptables.Ruleset {
		text := a.file(name)
		if text == nil {
			return nil
		}
		rs, list := iptables.Parse(diag.NewSource(name, text), f, extension.Registry)
		diags = append(diags, list...)
		return rs
	}
	r.v4, r.v6 = parse("rules.v4", iptables.IPv4), parse("rules.v6", iptables.IPv6)
	if r.v4 == nil && r.v6 == nil {
		t.Fatalf("%s has neither rules.v4 nor rules.v6", a.path)
	}
	var sets *ipset.Sets
	if text := a.sets(); text != nil {
		var list diag.List
		sets, list = ipset.Parse(diag.NewSource("sets", text))
		diags = append(diags, list...)
	}
	if !diags.HasErrors() {
		if sets != nil {
			var b bytes.Buffer
			if err := ipset.Print(&b, sets); err != nil {
				t.Fatalf("print sets: %v", err)
			}
			emit("print.sets", b.Bytes())
		}
		var machines []equivalence.Machine
		for _, side := range []struct {
			name string
			rs   *iptables.Ruleset
		}{{"print.v4", r.v4}, {"print.v6", r.v6}} {
			if side.rs == nil {
				continue
			}
			emit(side.name, printRules(t, side.rs))
			machines = append(machines, iptsim.NewWithSets(side.rs, sets))
		}
		r.source = equivalence.Join(machines...)
		translation, list := translate.Translate(r.v4, r.v6, translate.Options{Sets: sets, KeepXt: a.keeps()})
		diags = append(diags, list...)
		if translation != nil {
			a.generate(t, r, translation, emit)
		}
	}
	var said bytes.Buffer
	if err := diag.Write(&said, diags); err != nil {
		t.Fatalf("print diagnostics: %v", err)
	}
	if said.Len() > 0 {
		emit("diag", said.Bytes())
	}
	return r
}

func printRules(t *testing.T, rs *iptables.Ruleset) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := iptables.Print(&b, rs, iptables.PrintOptions{}); err != nil {
		t.Fatalf("print rules: %v", err)
	}
	return b.Bytes()
}

// generate makes text and batch of a translation, and checks the batch.
func (a *archive) generate(t *testing.T, r *result, translation *translate.Result, emit func(string, []byte)) {
	t.Helper()
	var text bytes.Buffer
	if err := nftgen.Print(&text, translation.Ruleset); err != nil {
		t.Fatalf("print nft text: %v", err)
	}
	r.text = text.Bytes()
	batch, err := nftgen.Encode(translation.Ruleset)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	r.batch = batch
	if r.target, err = nftsim.Decode(batch.Messages); err != nil {
		t.Fatalf("decode the batch: %v", err)
	}
	for _, d := range translation.Deviations {
		r.deviations = append(r.deviations, d.Code)
	}
	emit("nft", r.text)
	emit("bytecode", bytecode(r.target))
	emit("check", a.check(t, r))
}

// check compares the machines on packets of the checker's choice.
func (a *archive) check(t *testing.T, r *result) []byte {
	t.Helper()
	var versions []int
	if r.v4 != nil {
		versions = append(versions, 4)
	}
	if r.v6 != nil {
		versions = append(versions, 6)
	}
	report, err := equivalence.Check(r.source, r.target, equivalence.Options{
		Packets: checkPackets, Seed: 1, Versions: versions, Deviations: r.deviations,
	})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, report.Word)
	for _, code := range slices.Sorted(maps.Keys(report.Explained)) {
		// What the engines do with malformed packets says nothing of a rule.
		if code != "hotdrop" && code != "ipv6-ah" {
			fmt.Fprintf(&b, "explained by %s\n", code)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(report.Unknown)) {
		fmt.Fprintf(&b, "unknown: %s\n", why)
	}
	for _, d := range report.Differences {
		fmt.Fprintf(&b, "%v\n  differs in %v\n  iptables: %s\n  nftables: %s\n", d.Packet, d.Aspects, equivalence.Describe(d.A), equivalence.Describe(d.B))
	}
	if report.Word != equivalence.NoDifference && !bytes.Equal(b.Bytes(), a.file("out/check")) {
		t.Errorf("the check says:\n%s", b.String())
	}
	return b.Bytes()
}

// bytecode writes the rules and sets of a batch in the notation of "nft
// --debug=netlink".
func bytecode(m *nftsim.Machine) []byte {
	var b bytes.Buffer
	for _, table := range m.Tables {
		for _, s := range table.Sets {
			fmt.Fprintf(&b, "set %s\n", s.Name)
			for _, e := range s.Elements {
				fmt.Fprintf(&b, "  element %x", e.Key)
				if e.KeyEnd != nil {
					fmt.Fprintf(&b, " - %x", e.KeyEnd)
				}
				if e.End {
					b.WriteString(" end")
				}
				if e.Data != nil {
					fmt.Fprintf(&b, " : %x", e.Data)
				}
				b.WriteByte('\n')
			}
		}
		for _, c := range table.Chains {
			for _, rule := range c.Rules {
				fmt.Fprintf(&b, "chain %s\n", c.Name)
				for _, i := range rule.Instructions {
					fmt.Fprintf(&b, "  %v\n", i)
				}
			}
		}
	}
	return b.Bytes()
}

// host is what the packets of archives meet.
func host() *packet.Host { return packet.DefaultHost([]string{"eth0", "eth1"}) }

// runPackets sends the archive's packets through both machines.
func (a *archive) runPackets(t *testing.T, r *result) {
	t.Helper()
	source, target := equivalence.NewWalker(r.source, host()), equivalence.NewWalker(r.target, host())
	source.Unheard, target.Unheard = true, true
	for _, e := range a.packets {
		r.source.Reset()
		r.target.Reset()
		if got := fateWord(source.Run(e.packet)); got != e.source {
			t.Errorf("iptables: %s: %s, want %s", e.words, got, e.source)
		}
		if got := fateWord(target.Run(e.packet)); got != e.target {
			t.Errorf("nftables: %s: %s, want %s", e.words, got, e.target)
		}
	}
}

// fateWord is a fate as the archives write it.
func fateWord(f packet.Fate) string {
	switch {
	case f.Verdict == packet.Undecided:
		return fmt.Sprintf("undecided %v", f.Unknown)
	case f.Verdict == packet.Drop:
		return "drop"
	}
	class := ""
	if f.Priority != 0 {
		class = fmt.Sprintf("@%x:%x", f.Priority>>16, f.Priority&0xffff)
	}
	if f.Mark == 0 {
		return "none" + class
	}
	var bits []string
	for i := range 32 {
		if f.Mark&(1<<i) != 0 {
			bits = append(bits, strconv.Itoa(i+1))
		}
	}
	return strings.Join(bits, ",") + class
}

// compare compares what came out with the archive, or rewrites the archive.
func (a *archive) compare(t *testing.T, out []archiveFile) {
	t.Helper()
	var want []archiveFile
	kept := &archiveText{comment: a.text.comment}
	for _, f := range a.text.files {
		if strings.HasPrefix(f.name, "out/") {
			want = append(want, f)
		} else {
			kept.files = append(kept.files, f)
		}
	}
	equal := func(x, y archiveFile) bool { return x.name == y.name && bytes.Equal(x.data, y.data) }
	if slices.EqualFunc(out, want, equal) {
		return
	}
	if *update {
		kept.files = append(kept.files, out...)
		if err := os.WriteFile(a.path, kept.format(), 0o644); err != nil {
			t.Fatalf("rewrite archive: %v", err)
		}
		return
	}
	for _, f := range out {
		if old := a.file(f.name); !bytes.Equal(old, f.data) {
			t.Errorf("%s is now\n%s\nwant\n%s", f.name, f.data, old)
		}
	}
	for _, f := range want {
		if !slices.ContainsFunc(out, func(o archiveFile) bool { return o.name == f.name }) {
			t.Errorf("%s is there, and nothing of that name comes out", f.name)
		}
	}
}
