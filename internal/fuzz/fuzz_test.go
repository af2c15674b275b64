package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

// known are the codes of what the generator writes and we refuse knowingly.
var known = []string{"untranslatable-option"}

func TestGeneratorIsDeterministic(t *testing.T) {
	for n := range uint64(20) {
		text := func() string {
			g := &generator{Rand: rand.New(rand.NewPCG(1, n)), v6: n%2 == 1}
			return g.ruleset()
		}
		if a, b := text(), text(); a != b {
			t.Fatalf("ruleset %d is written in two ways", n)
		}
	}
}

func TestGeneratorIsUnderstood(t *testing.T) {
	const rulesets = 300
	refused := 0
	for n := range uint64(rulesets) {
		g := &generator{Rand: rand.New(rand.NewPCG(2, n)), v6: n%2 == 1, stateless: n%5 == 0, queues: n%3 == 0}
		family := iptables.IPv4
		if g.v6 {
			family = iptables.IPv6
		}
		text := g.ruleset()
		_, list := iptables.Parse(diag.NewSource("generated", []byte(text)), family, extension.Registry)
		for _, d := range list {
			if d.Severity == diag.Error && !slices.Contains(known, d.Code) {
				var b bytes.Buffer
				if err := diag.Write(&b, diag.List{d}); err != nil {
					t.Fatal(err)
				}
				t.Errorf("ruleset %d: %s", n, b.String())
			}
		}
		if list.HasErrors() {
			refused++
		}
	}
	if refused > rulesets/10 {
		t.Errorf("%d of %d rulesets are refused", refused, rulesets)
	}
}

func needs(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN,
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("iptables-legacy-save"))
}

// TestFuzz is a short run of the fuzzer. A longer one is
// go run ./internal/fuzz -packets 1000000 -seed 1.
func TestFuzz(t *testing.T) {
	needs(t)
	var out bytes.Buffer
	f := &fuzz{each: 500, seed: 7, out: &out, counts: make(map[string]int)}
	const packets = 40_000
	f.run(context.Background(), limits{packets: packets, most: 3}, 2)
	if f.different != 0 || f.packets < packets {
		t.Errorf("%d packets, %d rulesets with differences or errors:\n%s", f.packets, f.different, out.String())
	}
	if f.volatile > f.packets/20 {
		t.Errorf("%d of %d packets were not compared", f.volatile, f.packets)
	}
}

// TestPlantedBugs leaves one rule out of what is loaded, of what is modelled or
// of both, and wants to hear of it.
func TestPlantedBugs(t *testing.T) {
	needs(t)
	without := func(batch []netlink.Message, n int) []netlink.Message {
		const newRule = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE
		for i, m := range batch {
			if m.Header.Type != newRule {
				continue
			}
			if n == 0 {
				return slices.Delete(slices.Clone(batch), i, i+1)
			}
			n--
		}
		return batch
	}
	tests := []struct {
		name  string
		plant func(batch []netlink.Message, n int) (loaded, modelled []netlink.Message)
	}{
		{"wrong translation", func(b []netlink.Message, n int) ([]netlink.Message, []netlink.Message) {
			return without(b, n), without(b, n)
		}},
		{"wrong model", func(b []netlink.Message, n int) ([]netlink.Message, []netlink.Message) {
			return b, without(b, n)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Few rules are such that their loss can be seen: most are never
			// reached, or only count.
			const rulesets, least = 12, 1
			found := 0
			for n := range rulesets {
				var out bytes.Buffer
				f := &fuzz{each: 1000, seed: 11, out: &out, counts: make(map[string]int)}
				f.alter = func(b []netlink.Message) ([]netlink.Message, []netlink.Message) { return tt.plant(b, n%3) }
				o := f.ruleset(context.Background(), n)
				if o.report != nil && o.failed {
					found++
				}
			}
			if found < least {
				t.Errorf("found %d of %d bugs, want at least %d", found, rulesets, least)
			}
		})
	}
}
