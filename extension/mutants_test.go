package extension_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// TestKeptMutants changes every byte of the structures of extensions that are
// kept, each rule by itself. Where the model of nf_tables reads something else then,
// no proof may call the two sides equivalent, unless both models run packets and do the
// same with all of many.
func TestKeptMutants(t *testing.T) {
	proved, noticed := 0, 0
	for _, path := range archives(t) {
		a := readArchive(t, path)
		if !a.keeps() {
			continue
		}
		for _, side := range []struct {
			file   string
			family iptables.Family
		}{{"rules.v4", iptables.IPv4}, {"rules.v6", iptables.IPv6}} {
			for _, rules := range oneByOne(a.file(side.file)) {
				m, ok := newMutant(t, rules, side.family)
				if !ok {
					continue
				}
				proved++
				noticed += m.change(t, path)
			}
		}
	}
	t.Logf("%d changes of %d rules were noticed", noticed, proved)
	if proved < 50 || noticed < 1000 {
		t.Errorf("%d changes of %d rules were noticed; there should be many more", noticed, proved)
	}
}

// oneByOne returns for each rule of a save file the file with that rule alone.
func oneByOne(rules []byte) (list [][]byte) {
	lines := strings.SplitAfter(string(rules), "\n")
	for n, line := range lines {
		if !strings.HasPrefix(line, "-A ") {
			continue
		}
		var b bytes.Buffer
		for k, other := range lines {
			if k == n || !strings.HasPrefix(other, "-A ") {
				b.WriteString(other)
			}
		}
		list = append(list, b.Bytes())
	}
	return list
}

// A mutant is a rule that is kept, and its translation, which is to be changed.
type mutant struct {
	rules    []byte
	source   equivalence.Machine
	messages []netlink.Message
	original string
	options  equivalence.ProofOptions
}

// newMutant translates rules; ok is false when they are not equivalent by a proof as
// they are, so that changes would show nothing.
func newMutant(t *testing.T, rules []byte, family iptables.Family) (m mutant, ok bool) {
	t.Helper()
	rs, list := iptables.Parse(diag.NewSource("rules", rules), family, extension.Registry)
	if list.HasErrors() {
		t.Fatalf("read %s: %v", rules, list)
	}
	var v4, v6 *iptables.Ruleset
	version := 4
	if v4 = rs; family == iptables.IPv6 {
		v4, v6, version = nil, rs, 6
	}
	translation, list := translate.Translate(v4, v6, translate.Options{KeepXt: true})
	if translation == nil {
		t.Fatalf("translate %s: %v", rules, list)
	}
	batch, err := nftgen.Encode(translation.Ruleset)
	if err != nil {
		t.Fatalf("encode %s: %v", rules, err)
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		t.Fatalf("decode %s: %v", rules, err)
	}
	m = mutant{rules: rules, source: iptsim.New(rs), messages: batch.Messages, original: string(bytecode(target)), options: equivalence.ProofOptions{Versions: []int{version}}}
	for _, d := range translation.Deviations {
		m.options.Deviations = append(m.options.Deviations, d.Code)
	}
	return m, len(compatExpressions(t, batch.Messages)) > 0 && m.prove(t, target) == equivalence.Equivalent
}

func (m *mutant) prove(t *testing.T, target *nftsim.Machine) equivalence.Word {
	t.Helper()
	proof, err := equivalence.Prove(context.Background(), m.source, target, m.options)
	if err != nil {
		t.Fatalf("prove %s: %v", m.rules, err)
	}
	return proof.Word
}

// change changes each byte and returns how many changes were noticed.
func (m *mutant) change(t *testing.T, path string) (noticed int) {
	t.Helper()
	for n, message := range m.messages {
		for _, at := range infoBytes(t, message) {
			batch := slices.Clone(m.messages)
			batch[n].Data = bytes.Clone(message.Data)
			batch[n].Data[at] ^= 1
			target, err := nftsim.Decode(batch)
			switch {
			case err != nil: // the kernel would refuse it
			case string(bytecode(target)) == m.original:
				continue // padding, or a place of the kernel's own
			case m.prove(t, target) != equivalence.Equivalent:
			case m.alike(t, target):
				continue // another way to say it, as "0&0=0" and "0&0=0:1"
			default:
				t.Errorf("%s: byte %d of message %d is another, and the proof says equivalent of\n%s", path, at, n, m.rules)
			}
			noticed++
		}
	}
	return noticed
}

// alike reports whether both models run all of many packets, and do the same with each.
func (m *mutant) alike(t *testing.T, target *nftsim.Machine) bool {
	t.Helper()
	const packets = 2000
	r, err := equivalence.Check(m.source, target, equivalence.Options{Packets: packets, Versions: m.options.Versions, Deviations: m.options.Deviations})
	if err != nil {
		t.Fatalf("compare %s: %v", m.rules, err)
	}
	return len(r.Differences) == 0 && len(r.Unknown) == 0
}

// infoBytes are the places of the structures of extensions in a message.
func infoBytes(t *testing.T, m netlink.Message) []int {
	t.Helper()
	var places []int
	for _, e := range compatExpressions(t, []netlink.Message{m}) {
		at := bytes.Index(m.Data, e)
		if at < 0 {
			t.Fatalf("an expression of extensions is not in its message")
		}
		list, err := netlink.UnmarshalAttributes(e)
		if err != nil {
			t.Fatalf("read an expression: %v", err)
		}
		for _, data := range list {
			if data.Type&^unix.NLA_F_NESTED != unix.NFTA_EXPR_DATA {
				continue
			}
			parts, err := netlink.UnmarshalAttributes(data.Data)
			if err != nil {
				t.Fatalf("read an extension: %v", err)
			}
			for _, p := range parts {
				if p.Type == unix.NFTA_MATCH_INFO {
					start := at + bytes.Index(e, p.Data)
					for i := range p.Data {
						places = append(places, start+i)
					}
				}
			}
		}
	}
	return places
}
