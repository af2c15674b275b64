package optimize_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
	"nftmigrate/translate/optimize"
)

// planted are rulesets, a pass for each, and a way in which the pass could go wrong.
var planted = []struct {
	pass, rules string
	harm        func(t *nftgen.Table)
}{
	{"unreachable", "-A INPUT -p tcp -j ACCEPT\n-A INPUT -s 10.0.0.1 -j ACCEPT\n-A INPUT -j DROP\n-A INPUT -p udp -j ACCEPT\n", func(t *nftgen.Table) {
		c := chain(t, "INPUT")
		c.Rules = slices.Delete(c.Rules, 1, 2)
	}},
	{"shortcut", "-A INPUT -s 10.0.0.1 -j A\n-A A -j ACCEPT\n", func(t *nftgen.Table) {
		last(chain(t, "INPUT").Rules[0], nftgen.VerdictStmt{Kind: nftgen.Drop})
	}},
	{"fold", "-A INPUT -s 10.0.0.1 -j A\n-A INPUT -s 10.0.0.2 -j B\n-A INPUT -s 10.0.0.3 -j C\n-A A -p tcp -j ACCEPT\n-A B -p tcp -j ACCEPT\n-A C -p tcp -j ACCEPT\n-A C -p udp -j ACCEPT\n", func(t *nftgen.Table) {
		last(chain(t, "INPUT").Rules[2], nftgen.VerdictStmt{Kind: nftgen.Jump, Chain: "A"})
	}},
	{"inline", inlined(), func(t *nftgen.Table) {
		r := chain(t, "INPUT").Rules[3]
		r.Stmts = r.Stmts[1:]
	}},
	{"merge", merged(), func(t *nftgen.Table) {
		c := chain(t, "INPUT")
		c.Rules[0], c.Rules[1] = c.Rules[1], c.Rules[0]
	}},
	{"merge", merged(), func(t *nftgen.Table) {
		s := t.Sets[0]
		low, _ := s.Bulk.Element(s.Bulk.Len() - 1)
		low[3] ^= 1
	}},
	{"merge", marked(), func(t *nftgen.Table) {
		s := t.Sets[0]
		low, _ := s.Bulk.Element(s.Bulk.Len() - 1)
		low[3] ^= 64
	}},
	{"masks", "-A INPUT -s 10.0.0.0/24 -j ACCEPT\n", func(t *nftgen.Table) {
		r := chain(t, "INPUT").Rules[0]
		c := r.Stmts[0].(nftgen.Compare)
		c.Mask = nftgen.Value{255, 255, 255, 128}
		r.Stmts[0] = c
	}},
	{"unused", "-A INPUT -s 10.0.0.1 -g A\n-A A -p tcp -j ACCEPT\n", func(t *nftgen.Table) {
		t.Chains = slices.DeleteFunc(t.Chains, func(c *nftgen.Chain) bool { return c.Name == "A" })
		last(chain(t, "INPUT").Rules[0], nftgen.VerdictStmt{Kind: nftgen.Return})
	}},
}

func inlined() string {
	var b strings.Builder
	for _, n := range "12345678" {
		c := string(n)
		b.WriteString("-A INPUT -s 10.0." + c + ".0/24 -j A" + c + "\n-A A" + c + " -p tcp -m tcp --dport 2" + c + " -j ACCEPT\n-A A" + c + " -j DROP\n")
	}
	return b.String()
}

// marked is a list of sources that are marked.
func marked() string {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "-A INPUT -s 10.0.0.%d -j MARK --set-xmark 0x%d/0xffffffff\n", i, i)
	}
	return b.String()
}

// merged is a list of sources that are accepted, one of which is dropped first.
func merged() string {
	var b strings.Builder
	b.WriteString("-A INPUT -s 10.0.0.3 -p tcp -j DROP\n")
	for i := range 40 {
		fmt.Fprintf(&b, "-A INPUT -s 10.0.0.%d -j ACCEPT\n", i)
	}
	return b.String()
}

func chain(t *nftgen.Table, name string) *nftgen.Chain {
	return t.Chains[slices.IndexFunc(t.Chains, func(c *nftgen.Chain) bool { return c.Name == name })]
}

func last(r *nftgen.Rule, s nftgen.Stmt) {
	r.Stmts = append(slices.Clone(r.Stmts[:len(r.Stmts)-1]), s)
}

// TestPlanted runs each pass alone, and finds what goes wrong in it.
func TestPlanted(t *testing.T) {
	tested := make(map[string]bool)
	for _, p := range planted {
		var chains []string
		for line := range strings.Lines(p.rules) {
			if c := strings.Fields(line)[1]; c != "INPUT" && !slices.Contains(chains, c) {
				chains = append(chains, c)
			}
		}
		var b strings.Builder
		head := "*filter\n:INPUT DROP"
		if strings.Contains(p.rules, "-j MARK") {
			head = "*mangle\n:INPUT ACCEPT" // of packets that are dropped no mark is seen
		}
		b.WriteString(head + " [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
		for _, c := range chains {
			b.WriteString(":" + c + " - [0:0]\n")
		}
		rules, list := iptables.Parse(diag.NewSource("planted.v4", []byte(b.String()+p.rules+"COMMIT\n")), iptables.IPv4, extension.Registry)
		result, more := translate.Translate(rules, nil, translate.Options{})
		if result == nil {
			t.Fatalf("%s: %v %v\n%s", p.pass, list, more, p.rules)
		}
		var off []string
		for _, other := range optimize.Passes {
			if other.Name != p.pass {
				off = append(off, other.Name)
			}
		}
		optimize.Run(result.Ruleset.Table, optimize.Options{Level: optimize.MostLevel, Off: off})
		if word := compare(t, rules, result.Ruleset); word != equivalence.Equivalent {
			t.Errorf("%s: the pass makes %s", p.pass, word)
		}
		p.harm(result.Ruleset.Table)
		if word := compare(t, rules, result.Ruleset); word != equivalence.Different {
			t.Errorf("%s: a planted mistake is %s", p.pass, word)
		}
		tested[p.pass] = true
	}
	for _, p := range optimize.Passes {
		if !tested[p.Name] {
			t.Errorf("no mistake is planted for pass %s", p.Name)
		}
	}
}

func compare(t *testing.T, rules *iptables.Ruleset, rs *nftgen.Ruleset) equivalence.Word {
	t.Helper()
	batch, err := nftgen.Encode(rs)
	if err != nil {
		t.Fatal(err)
	}
	target, err := nftsim.Decode(batch.Messages)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := equivalence.Prove(t.Context(), iptsim.NewWithSets(rules, nil), target, equivalence.ProofOptions{Versions: []int{4}})
	if err != nil {
		t.Fatal(err)
	}
	return proof.Word
}
