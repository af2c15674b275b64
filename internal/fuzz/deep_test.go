package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/report"
	"nftmigrate/translate"
)

// ladders writes a ruleset of one long ladder, of rules whose effects can all be
// seen: marks, drops, logs and rates.
func (g *generator) ladders(length int) string {
	var b strings.Builder
	b.WriteString("*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n")
	var l ladder
	for i := range length {
		l = append(l, chain{table: "mangle", name: fmt.Sprintf("deep%d", i)})
	}
	b.WriteString(l.declare())
	bursts := 1
	action := func() string {
		bursts++ // like buckets are paired in the order of the rules, those of rules that no packet meets too
		bit := 1 << g.IntN(6)
		return g.pick(fmt.Sprintf("-j MARK --set-xmark %#x/0x0", bit), fmt.Sprintf("-j MARK --set-xmark %#x/0x0", bit), "-j DROP", "-j ACCEPT",
			"-j RETURN", "-j RETURN", `-j LOG --log-prefix "here "`, fmt.Sprintf("-m limit --limit 1/minute --limit-burst %d -j DROP", bursts), "")
	}
	rule := func(chain, action string) {
		fmt.Fprintf(&b, "-A %s %s%s\n", chain, g.entrance(), action)
	}
	rule("FORWARD", action())
	rule("FORWARD", "-j deep0")
	rule("FORWARD", action())
	for i, c := range l {
		for range g.IntN(2) {
			rule(c.name, action())
		}
		if i+1 < length {
			rule(c.name, g.pick("-j", "-j", "-j", "-g")+" "+l[i+1].name)
		}
		if i+3 < length && g.IntN(8) == 0 {
			rule(c.name, g.pick("-j", "-g")+" "+l[i+3].name)
		}
		for range g.IntN(3) / 2 {
			rule(c.name, action())
		}
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// TestDeepLadders translates chains that are nested deeper than nf_tables
// allows, proves that nothing changed, and runs packets of each class.
func TestDeepLadders(t *testing.T) {
	const rulesets = 60
	flattened, refused := 0, 0
	for n := range uint64(rulesets) {
		g := &generator{Rand: rand.New(rand.NewPCG(17, n)), stateless: true}
		text := g.ladders(12 + g.IntN(30))
		source, list := iptables.Parse(diag.NewSource("ladder", []byte(text)), iptables.IPv4, extension.Registry)
		if list.HasErrors() {
			t.Fatalf("ladder %d: %v", n, list)
		}
		result, list := translate.Translate(source, nil, translate.Options{})
		if result == nil {
			if len(list) != 1 || list[0].Code != "chains-too-deep" {
				t.Errorf("ladder %d: %v", n, list)
			}
			refused++
			continue
		}
		if len(result.Inlined) > 0 {
			flattened++
		}
		batch, err := nftgen.Encode(result.Ruleset)
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		target, err := nftsim.Decode(batch.Messages)
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		machine := sources{parsed: [2]*iptables.Ruleset{source}}.machine()
		options := equivalence.ProofOptions{Versions: []int{4}, Memory: proofMemory, Time: 20 * time.Second, MaxDifferences: 1}
		proof, err := equivalence.Prove(context.Background(), machine, target, options)
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		if proof.Word != equivalence.Equivalent {
			var b bytes.Buffer
			_ = nftgen.Print(&b, result.Ruleset)
			t.Errorf("ladder %d: %s %s\n%s%s", n, proof.Word, proof.Incomplete, text, b.String())
		}
	}
	t.Logf("%d of %d ladders were flattened, %d were refused", flattened, rulesets, refused)
	if flattened < rulesets*6/10 {
		t.Errorf("%d of %d ladders were flattened", flattened, rulesets)
	}
}

// TestDeepLaddersInKernel loads ladders of up to 100 chains into both engines and
// sends packets through them.
func TestDeepLaddersInKernel(t *testing.T) {
	needs(t)
	ran := 0
	for n := uint64(0); ran < 6 && n < 100; n++ {
		g := &generator{Rand: rand.New(rand.NewPCG(18, n)), stateless: true}
		length := 25
		if ran == 0 {
			length = 100
		}
		s := sources{}
		s.text[0] = []byte(g.ladders(length))
		source, list := iptables.Parse(diag.NewSource("ladder", s.text[0]), iptables.IPv4, extension.Registry)
		if list.HasErrors() {
			t.Fatalf("ladder %d: %v", n, list)
		}
		s.parsed[0] = source
		result, _ := translate.Translate(source, nil, translate.Options{})
		if result == nil || len(result.Inlined) == 0 {
			continue
		}
		ran++
		batch, err := nftgen.Encode(result.Ruleset)
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		target, err := nftsim.Decode(batch.Messages)
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		open := func(host *packet.Host, tracked bool) (equivalence.Kernel, equivalence.Kernel, func() error, error) {
			return openPair(host, s, batch.Messages, kernel.Options{Untracked: !tracked})
		}
		r, err := equivalence.KernelCheck(context.Background(), s.machine(), target, equivalence.KernelPair{Open: open},
			equivalence.Options{Packets: 500, Seed: n, Versions: []int{4}, MaxDifferences: 1})
		if err != nil {
			t.Fatalf("ladder %d: %v", n, err)
		}
		if r.Word == equivalence.Different {
			var b bytes.Buffer
			_ = report.Kernel(&b, r, report.Names{A: "iptables", B: "nftables"})
			t.Errorf("ladder %d:\n%s%s", n, b.String(), s.text[0])
		}
	}
	if ran < 6 {
		t.Errorf("%d ladders were run", ran)
	}
}
