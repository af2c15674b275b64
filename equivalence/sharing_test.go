package equivalence_test

import (
	"context"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/nftsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// TestProveSharing gives IPv4 and IPv6 one bucket where they have one each.
func TestProveSharing(t *testing.T) {
	const v4 = "*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m limit --limit 3/min --limit-burst 4 -j ACCEPT\n-A INPUT -p tcp -j DROP\nCOMMIT\n"
	parse := func(name string, family iptables.Family) *iptables.Ruleset {
		rs, list := iptables.Parse(diag.NewSource(name, []byte(v4)), family, extension.Registry)
		if list.HasErrors() {
			t.Fatal(list)
		}
		return rs
	}
	rs4, rs6 := parse("rules.v4", iptables.IPv4), parse("rules.v6", iptables.IPv6)
	result, list := translate.Translate(rs4, rs6, translate.Options{})
	if list.HasErrors() {
		t.Fatal(list)
	}
	var codes []string
	for _, d := range result.Deviations {
		codes = append(codes, d.Code)
	}
	word := func() (equivalence.Word, int) {
		batch, err := nftgen.Encode(result.Ruleset)
		if err != nil {
			t.Fatal(err)
		}
		target, err := nftsim.Decode(batch.Messages)
		if err != nil {
			t.Fatal(err)
		}
		p, err := equivalence.Prove(context.Background(), equivalence.Join(iptsim.New(rs4), iptsim.New(rs6)), target,
			equivalence.ProofOptions{Versions: []int{4, 6}, Deviations: codes})
		if err != nil {
			t.Fatal(err)
		}
		return p.Word, len(p.Differences)
	}
	if got, _ := word(); got != equivalence.Equivalent {
		t.Errorf("a bucket each: %s", got)
	}
	for _, table := range []*nftgen.Table{result.Ruleset.Table} {
		for _, c := range table.Chains {
			if c.Name != "INPUT" {
				continue
			}
			// One rule with a limit for both, in the place of one for each.
			kept := c.Rules[:0]
			for _, r := range c.Rules {
				limited := false
				for _, s := range r.Stmts {
					_, isLimit := s.(nftgen.Limit)
					limited = limited || isLimit
				}
				if limited && r.Family == nftgen.IP6 {
					continue
				}
				if limited {
					r.Family = 0
				}
				kept = append(kept, r)
			}
			c.Rules = kept
		}
	}
	if got, shown := word(); got != equivalence.Different || shown == 0 {
		t.Errorf("one bucket for both: %s with %d differences", got, shown)
	}
}
