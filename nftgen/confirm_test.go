package nftgen

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// newNamespace returns a private network namespace for the test.
func newNamespace(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// nft runs nft in a namespace.
func nft(t *testing.T, ns *netns.NS, input string, args ...string) string {
	t.Helper()
	cmd := ns.Command("nft", args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out[:min(len(out), 4000)])
	}
	return string(out)
}

// inKernel sends a batch, if any, and returns the raw ruleset of a namespace.
func inKernel(t *testing.T, ns *netns.NS, batch []netlink.Message) []netlink.Message {
	t.Helper()
	var messages []netlink.Message
	err := ns.Do(func() error {
		conn, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := nfnetlink.Send(conn, batch, nfnetlink.Options{}); err != nil {
			return err
		}
		dump, err := nfnetlink.DumpRuleset(conn)
		if err != nil {
			return err
		}
		messages = nfnetlink.Normalise(dump.Messages, nfnetlink.KeepVolatile)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// expires is what is left of the time of an element.
var expires = regexp.MustCompile(` expires [0-9a-z]+`)

// requireSame loads the text in one namespace, sends the batch in another, and
// compares the raw dumps and the listings.
func requireSame(t *testing.T, rs *Ruleset) {
	t.Helper()
	batch, err := Encode(rs)
	if err != nil {
		t.Fatal(err)
	}
	text := printed(t, rs)
	byText, byBatch := newNamespace(t), newNamespace(t)
	nft(t, byText, text, "-f", "-")
	want, got := inKernel(t, byText, nil), inKernel(t, byBatch, batch.Messages)
	if len(got) != len(want) {
		t.Errorf("the batch makes %d objects, the text %d", len(got), len(want))
	}
	differences := 0
	for i := range min(len(got), len(want)) {
		if got[i].Header.Type == want[i].Header.Type && bytes.Equal(got[i].Data, want[i].Data) {
			continue
		}
		if differences++; differences > 10 {
			break
		}
		t.Errorf("object %d differs (-text +batch):\n%s\n%x\n%x", i,
			cmp.Diff(strings.Split(notation(want[i:i+1]), "\n"), strings.Split(notation(got[i:i+1]), "\n")), want[i].Data, got[i].Data)
	}
	list := func(ns *netns.NS) string { return expires.ReplaceAllString(nft(t, ns, "", "list", "ruleset"), "") }
	listing := list(byText)
	if other := list(byBatch); other != listing {
		t.Errorf("listings differ (-text +batch):\n%s", cmp.Diff(strings.Split(listing, "\n"), strings.Split(other, "\n")))
	}
	// Loading the text again, over either, changes nothing.
	for _, ns := range []*netns.NS{byText, byBatch} {
		nft(t, ns, text, "-f", "-")
		again := inKernel(t, ns, nil)
		if len(again) != len(want) {
			t.Errorf("after loading the text again there are %d objects, want %d", len(again), len(want))
		}
	}
}

// TestTextIsBatch shows that the text and the batch of all cases are the same
// ruleset to the kernel.
func TestTextIsBatch(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	for _, family := range []Family{Inet, IP, IP6} {
		t.Run(family.String(), func(t *testing.T) { requireSame(t, caseRuleset(family, allCases())) })
	}
}

// TestChains has base chains at all hooks and priorities of iptables.
func TestChains(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	var chains []*Chain
	for hook, name := range hookNames {
		for _, p := range []int32{-300, -200, -150, -100, 0, 50, 100, 300, -2147483647} {
			types := []string{"filter"}
			if hook == 3 {
				types = append(types, "route")
			}
			if hook != 2 && p > -200 {
				types = append(types, "nat")
			}
			for _, kind := range types {
				chains = append(chains, &Chain{
					Name: fmt.Sprintf("%s_%s_%d", kind, name, uint32(p)),
					Base: &Base{Type: kind, Hook: uint8(hook), Priority: p, Drop: kind != "nat" && p == 0},
				})
			}
		}
	}
	for _, family := range []Family{Inet, IP, IP6} {
		requireSame(t, &Ruleset{Table: &Table{Family: family, Name: "chains", Chains: chains}})
	}
}
