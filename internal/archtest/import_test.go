package archtest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A ban says that packages never import others, directly or by way of others,
// and why. A name that ends in "/..." stands for a tree.
type ban struct {
	from, never []string
	except      []string // of from
	direct      bool     // by way of others is allowed
	reason      string
}

const (
	nftables = "github.com/google/nftables/..."
	mdlayher = "github.com/mdlayher/netlink/..."
)

var bans = []ban{
	{
		from:   []string{"equivalence/..."},
		never:  []string{"translate", "nftgen", "extension/...", nftables},
		reason: "the checker would see through the eyes of what it checks",
	},
	{
		from:   []string{"equivalence/nftsim"},
		never:  []string{"iptables", "equivalence/iptsim"},
		reason: "each machine knows one language",
	},
	{
		from:   []string{"equivalence/iptsim"},
		never:  []string{mdlayher, "equivalence/nftsim", "internal/nfnetlink"},
		reason: "each machine knows one language",
	},
	{
		from:   []string{"translate", "nftgen"},
		never:  []string{"packet", "equivalence/..."},
		reason: "a translator may not ask a simulator",
	},
	{
		from:   []string{"iptables", "script", "translate", "equivalence/...", "nftgen", "packet", "diag"},
		never:  []string{"extension/..."},
		reason: "drivers know no extension by name",
	},
	{
		from:   []string{"apply"},
		never:  []string{"iptables", "translate", "nftgen", "extension/..."},
		reason: "it sends what it was given",
	},
	{
		from:   []string{"host"},
		never:  []string{"translate", "nftgen", "extension/...", "equivalence/...", "packet"},
		reason: "it tells what is there, and makes nothing of it",
	},
	{
		from:   []string{"transaction", "plan"},
		never:  []string{"iptables", "translate", "nftgen", "extension/...", "equivalence/...", mdlayher},
		reason: "they keep what they are given: a guard must not depend on how rules are understood",
	},
	{
		from:   []string{"snapshot"},
		never:  []string{"iptables", "ipset", "ipset/live", "script", "translate", "nftgen", "extension/...", "equivalence/...", "transaction"},
		reason: "a rollback must not depend on how rules are understood",
	},
	{
		from:   []string{"persist"},
		never:  []string{"iptables", "ipset", "translate", "nftgen", "extension/...", "equivalence/...", "apply", "transaction", mdlayher, "os/exec"},
		reason: "what is undone in an emergency is undone by plain calls on files",
	},
	{
		from:   []string{"internal/xtables"},
		never:  []string{"iptables", "ipset", "translate", "nftgen", "extension/...", "equivalence/...", mdlayher},
		reason: "it moves tables as the kernel keeps them, whatever their rules say",
	},
	{
		from:   []string{"internal/ipsetlink"},
		never:  []string{"iptables", "ipset", "ipset/live", "translate", "nftgen", "extension/...", "equivalence/..."},
		reason: "it moves sets as the kernel tells them, whatever their types mean",
	},
	{
		from:   []string{"nftgen"},
		never:  []string{"iptables", "internal/nfnetlink", "apply"},
		reason: "the target language knows neither the source nor the kernel that runs",
	},
	{
		from:   []string{"iptables", "script"},
		never:  []string{"nftgen", "translate", "packet", "equivalence/...", mdlayher},
		reason: "the source language knows nothing of what is made of it",
	},
	{
		from:   []string{"ipset"},
		never:  []string{"nftgen", "translate", "packet", "equivalence/...", "extension/...", mdlayher},
		reason: "the language of sets knows nothing of what is made of them",
	},
	{
		from:   []string{"ipset/live"},
		never:  []string{"nftgen", "translate", "packet", "equivalence/...", "extension/...", "internal/nfnetlink"},
		reason: "it turns what a kernel says into the language of sets, and no more",
	},
	{
		from:   []string{"equivalence/nftsim", "nftgen", "apply", "iptables"},
		never:  []string{"ipset"},
		reason: "only what reads the source knows the language of its sets",
	},
	{
		from:   []string{"packet", "equivalence/predicate"},
		never:  []string{"iptables", "ipset", "nftgen", "translate", mdlayher},
		reason: "packets and predicates are what both machines share, so they know neither language",
	},
	{
		from:   []string{"equivalence/symbolic"},
		never:  []string{"iptables", "ipset", "nftgen", "translate", mdlayher, "equivalence/iptsim", "equivalence/nftsim", "equivalence/predicate"},
		reason: "it names the bits of packets for both sides of a proof, so it knows neither language nor how either reads a packet",
	},
	{
		from:   []string{"equivalence/bdd"},
		never:  []string{module + "/..."},
		reason: "the diagrams know nothing of packets",
	},
	{
		from:   []string{"diag"},
		never:  []string{module + "/..."},
		reason: "everyone reports through it, so it knows no one",
	},
	{
		from:   []string{"iptables", "ipset", "script", "translate", "nftgen", "extension", "packet", "equivalence", "equivalence/bdd", "equivalence/iptsim", "equivalence/nftsim", "equivalence/predicate", "equivalence/symbolic", "diag"},
		never:  []string{"os/exec", "internal/netns", "internal/scratch"},
		reason: "what depends on the running machine happens elsewhere, so that the same input gives the same bytes",
	},
	{
		from:   []string{"..."},
		except: []string{"cmd/..."},
		never:  []string{"github.com/spf13/cobra/...", "cmd/..."},
		reason: "the command line is the outermost layer",
	},
	{
		from:   []string{"..."},
		except: []string{"script"},
		direct: true,
		never:  []string{"mvdan.cc/sh/v3/..."},
		reason: "only scripts are in the language of the shell",
	},
	{
		from:   []string{"..."},
		except: []string{"equivalence/nftsim"},
		direct: true,
		never:  []string{"golang.org/x/net/..."},
		reason: "programs of BPF have an interpreter of their own on the side of iptables",
	},
	{
		from:   []string{"..."},
		except: []string{"report"},
		direct: true,
		never:  []string{"github.com/sergi/go-diff/..."},
		reason: "only reports show differences of texts",
	},
	{
		from:   []string{"..."},
		except: []string{"internal/testkit"},
		never:  []string{"internal/testkit", "testing", "github.com/google/go-cmp/...", "github.com/rogpeppe/go-internal/...", "github.com/crillab/gophersat/..."},
		reason: "the program needs nothing of its tests",
	},
}

// qualified returns the import path of a name in a ban.
func qualified(name string) string {
	first, _, _ := strings.Cut(name, "/")
	switch {
	case name == "...":
		return module + "/..."
	case strings.Contains(first, "."), first == module, name == "os/exec", name == "testing":
		return name
	}
	return module + "/" + name
}

func matches(pattern, name string) bool {
	pattern = qualified(pattern)
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == tree || strings.HasPrefix(name, tree+"/")
	}
	return name == pattern
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// chainTo returns how a package comes to import something that a ban names:
// the packages from the first to the last, nil when it does not. Imports of
// other modules are not followed.
func chainTo(graph map[string][]string, from string, never []string, direct bool) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range graph[queue[0]] {
			if _, seen := before[next]; seen {
				continue
			}
			before[next] = queue[0]
			if matchesAny(never, next) {
				chain := []string{}
				for at := next; at != ""; at = before[at] {
					chain = append([]string{at}, chain...)
				}
				return chain
			}
			if !direct {
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func TestImports(t *testing.T) {
	graph := imports(t)
	for _, b := range bans {
		for _, name := range slices.Sorted(maps.Keys(graph)) {
			if !matchesAny(b.from, name) || matchesAny(b.except, name) {
				continue
			}
			if chain := chainTo(graph, name, b.never, b.direct); chain != nil {
				t.Errorf("%s\n\tnever: %s", strings.Join(chain, " → "), b.reason)
			}
		}
	}
}

// TestBansBite plants a forbidden import for each ban, direct and by way of
// another package.
func TestBansBite(t *testing.T) {
	for _, b := range bans {
		if b.reason == "" {
			t.Errorf("ban of %v has no reason", b.never)
		}
		for _, never := range b.never {
			from := strings.TrimSuffix(qualified(b.from[0]), "/...")
			bad := strings.TrimSuffix(qualified(never), "/...")
			via := "example.org/between"
			if got := chainTo(map[string][]string{from: {"fmt", bad}}, from, b.never, b.direct); got == nil {
				t.Errorf("%s → %s is not noticed", from, bad)
			}
			if got := chainTo(map[string][]string{from: {via}, via: {bad}}, from, b.never, b.direct); (got == nil) != b.direct {
				t.Errorf("%s → %s → %s: found %v, by way of others allowed: %v", from, via, bad, got, b.direct)
			}
		}
	}
}
