package translate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// ladder is a ruleset of nested chains c1, c2, …: rungs[i%len] are the rules of
// each, where "NEXT" is the chain below.
func ladder(depth int, rungs ...string) map[string][]byte {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n")
	for i := 1; i <= depth+1; i++ {
		fmt.Fprintf(&b, ":c%d - [0:0]\n", i)
	}
	b.WriteString("-A INPUT -j c1\n")
	for i := 1; i <= depth; i++ {
		for _, rule := range strings.Split(rungs[i%len(rungs)], "\n") {
			next := fmt.Sprintf("c%d", i+1)
			if i == depth && strings.Contains(rule, "NEXT") {
				continue
			}
			fmt.Fprintf(&b, "-A c%d %s\n", i, strings.ReplaceAll(rule, "NEXT", next))
		}
	}
	b.WriteString("COMMIT\n")
	return map[string][]byte{"rules.v4": []byte(b.String())}
}

// deepest returns how many chains are nested below a base chain.
func deepest(table *nftgen.Table) int {
	chains := make(map[string]*nftgen.Chain)
	for _, c := range table.Chains {
		chains[c.Name] = c
	}
	known := make(map[string]int)
	var below func(c *nftgen.Chain) int
	below = func(c *nftgen.Chain) int {
		if n, ok := known[c.Name]; ok {
			return n
		}
		n := 0
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				for _, to := range nftgen.Leads(s) {
					n = max(n, 1+below(chains[to]))
				}
			}
		}
		known[c.Name] = n
		return n
	}
	n := 0
	for _, c := range table.Chains {
		if c.Base != nil {
			n = max(n, below(c))
		}
	}
	return n
}

// TestDepth nests chains as deep as nf_tables allows, and deeper.
func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		depth   int
		inlined bool
		rungs   []string
	}{
		{"as deep as allowed", 15, false, []string{"-j NEXT\n-j DROP"}},
		{"one too many", 16, true, []string{"-j NEXT\n-j DROP"}},
		{"jumps", 100, true, []string{"-p tcp -j LOG\n-j NEXT"}},
		{"conditions", 100, true, []string{"-s 10.0.0.0/8 -j NEXT", "-d 10.0.0.0/8 -j NEXT\n-p udp -j DROP"}},
		{"returns", 100, true, []string{"-p udp -j RETURN\n-j NEXT\n-p icmp -j DROP"}},
		{"gotos", 100, true, []string{"-s 10.0.0.0/8 -g NEXT\n-j DROP", "-g NEXT"}},
		{"states behind", 50, true, []string{"-p udp -j RETURN\n-s 10.0.0.0/8 -j NEXT\n-m limit --limit 1/sec -j LOG"}},
		{"states in front", 100, true, []string{"-m limit --limit 1/sec -j NEXT"}},
		{"an or in front", 13, true, []string{"-m conntrack --ctstate NEW,DNAT -j NEXT\n-p tcp -j DROP"}},
		{"twice", 24, true, []string{"-p tcp -j NEXT\n-p udp -j NEXT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result, list := translated(t, ladder(tt.depth, tt.rungs...), translate.Options{})
			if result == nil {
				t.Fatalf("not translated: %v %s", list, list[0].Detail)
			}
			if got := deepest(result.Ruleset.Table); got > 15 {
				t.Errorf("chains are nested %d deep", got)
			}
			if inlined := len(result.Inlined) > 0; inlined != tt.inlined {
				t.Errorf("chains were put into others: %v, want %v", inlined, tt.inlined)
			}
			for _, in := range result.Inlined {
				found := false
				for _, c := range result.Ruleset.Table.Chains {
					found = found || c.Name == in.Into && strings.Contains(c.Note, in.Chain)
				}
				if !found {
					t.Errorf("no note in %s says that it holds the rules of %s", in.Into, in.Chain)
				}
			}
		})
	}
}

// TestTooDeep nests chains so that no form of fewer levels does the same.
func TestTooDeep(t *testing.T) {
	for _, tt := range []struct {
		name, rung string
		depth      int
		reason     string
	}{
		{"states in front of several rules", "-p tcp -j LOG\n-m limit --limit 1/sec -j NEXT\n-p udp -j LOG", 17, "may be asked only once"},
		{"marks that the chain changes", "-j MARK --set-mark 1\n-m mark --mark 1 -j NEXT\n-j MARK --set-mark 2\n-m mark --mark 2 -j DROP", 40, "changes what the rule"},
		{"too many rules", "-s 10.0.0.0/8 -j NEXT\n-d 10.0.0.0/8 -j NEXT\n-s 11.0.0.0/8 -j NEXT\n-d 11.0.0.0/8 -j NEXT\n-p udp -j LOG", 100, "too many rules"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result, list := translated(t, ladder(tt.depth, tt.rung), translate.Options{})
			if result != nil || len(list) != 1 || list[0].Code != "chains-too-deep" || !strings.Contains(list[0].Detail, tt.reason) {
				t.Errorf("diagnostics %v, want chains-too-deep because of %q", list, tt.reason)
			}
		})
	}
}

// TestDepthTime flattens a ladder of very many chains.
func TestDepthTime(t *testing.T) {
	start := time.Now()
	result, _ := translated(t, ladder(3000, "-p tcp -j LOG\n-j NEXT\n-p udp -j DROP"), translate.Options{})
	if took := time.Since(start); result == nil || took > 20*time.Second {
		t.Errorf("translated %v after %v", result != nil, took)
	}
}

// TestDepthNoPlace puts a chain into a rule that is from no line: the one that
// counts what a policy decides stands behind rules of the source.
func TestDepthNoPlace(t *testing.T) {
	files := ladder(40, "-s 10.0.0.1 -j RETURN\n-j NEXT\n-s 10.1.0.1 -j DROP")
	for name, text := range files {
		files[name] = []byte(strings.NewReplacer(":INPUT ACCEPT [0:0]", ":INPUT DROP [7:700]", "-A c", "[1:100] -A c", "COMMIT", "-A INPUT -g c41\nCOMMIT").Replace(string(text)))
	}
	if text, list := run(t, files, translate.Options{Counters: true}); text == "" && !strings.Contains(list, "chains-too-deep") {
		t.Errorf("neither a translation nor a reason:\n%s", list)
	}
}

// TestDepthApart tells of the chains of both families, where each has a table of
// its own.
func TestDepthApart(t *testing.T) {
	files := ladder(20, "-p udp -j NEXT")
	text := strings.Replace(string(files["rules.v4"]), "COMMIT", "-A OUTPUT -m owner --gid-owner 5 --suppl-groups -j DROP\nCOMMIT", 1)
	files["rules.v4"], files["rules.v6"] = []byte(text), []byte(text)
	both, list := translated(t, files, translate.Options{KeepXt: true})
	if both == nil {
		t.Fatalf("no translation: %v", list)
	}
	delete(files, "rules.v6")
	one, _ := translated(t, files, translate.Options{KeepXt: true})
	if len(one.Inlined) == 0 || len(both.Inlined) != 2*len(one.Inlined) {
		t.Errorf("%d chains were joined of both families, and %d of one", len(both.Inlined), len(one.Inlined))
	}
}
