package nftgen

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDry shows that a rule that is only printed is refused as one that is encoded
// is, with the same error, leaves the same to be known about the packet, and is
// never thought smaller than it is.
func TestDry(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(3, 0))}
	var rules []Rule
	for _, k := range allCases() {
		rules = append(rules, k.rule)
	}
	for range 20_000 {
		r := m.rule()
		if m.pick(3) { // up to some that the kernel does not take
			r.Stmts = append(slices.Repeat([]Stmt{m.match()}, m.IntN(60)), r.Stmts...)
		}
		rules = append(rules, r)
	}
	refused, large := 0, 0
	dry := new(compiler)
	for _, r := range rules {
		for _, family := range []Family{Inet, IP, IP6} {
			*dry = compiler{table: family, dry: true, steps: dry.steps[:0]}
			dry.begin()
			full := newCompiler(family)
			_, dryErr := r.compile(dry, nil)
			_, err := r.compile(full, nil)
			if fmt.Sprint(dryErr) != fmt.Sprint(err) {
				t.Fatalf("%v in %v: dry, the error is %v, else %v", r.Stmts, family, dryErr, err)
			}
			if err != nil {
				refused++
				continue
			}
			if dry.l3 != full.l3 || dry.l4 != full.l4 || dry.ports != full.ports || dry.told != full.told || dry.ether != full.ether {
				t.Fatalf("%v in %v: dry, the compiler knows %+v, else %+v", r.Stmts, family, dry, full)
			}
			if dry.most < full.count() {
				t.Fatalf("%v in %v: at most %d expressions, but there are %d", r.Stmts, family, dry.most, full.count())
			}
			if full.count() > fewExpressions {
				large++
			}
		}
	}
	if refused < 1000 || large < 100 {
		t.Errorf("%d rules are refused, %d are large: the test shows too little", refused, large)
	}
}
