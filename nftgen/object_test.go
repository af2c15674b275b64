package nftgen

import (
	"strings"
	"testing"
)

// Named objects that the cases use.
var (
	webCounter  = &Object{Name: "web", Kind: NamedCounter{Packets: 7, Bytes: 420}, Note: "of the old firewall"}
	caseObjects = []*Object{webCounter, {Name: "idle", Kind: NamedCounter{}}}
)

// objectCases are rules that use objects.
var objectCases = []ruleCase{
	c(Use{webCounter}), c(eq(IPSaddr, ip("192.0.2.7")), Use{webCounter}, accept), forFamily(IP6, Use{webCounter}, eq(IP6Saddr, ip("::7"))),
}

// TestObjectsRefused has tables with objects that cannot be.
func TestObjectsRefused(t *testing.T) {
	chain := func(stmts ...Stmt) []*Chain { return []*Chain{{Name: "user", Rules: []*Rule{{Stmts: stmts}}}} }
	tests := []struct {
		name  string
		table Table
		want  string
	}{
		{"nothing", Table{Objects: []*Object{nil}}, "nothing in place of an object"},
		{"no kind", Table{Objects: []*Object{{Name: "x"}}}, "of no kind"},
		{"keyword", Table{Objects: []*Object{{Name: "counter", Kind: NamedCounter{}}}}, "no name"},
		{"twice", Table{Objects: []*Object{{Name: "x", Kind: NamedCounter{}}, {Name: "x", Kind: NamedCounter{}}}}, "twice"},
		{"not in the table", Table{Chains: chain(Use{webCounter})}, "not in the table"},
		{"none", Table{Chains: chain(Use{})}, "not in the table"},
	}
	for _, tt := range tests {
		tt.table.Name, tt.table.Family = "t", Inet
		_, err := Encode(&Ruleset{Table: &tt.table})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Encode() = %v, want an error with %q", tt.name, err, tt.want)
		}
		if err := Print(&strings.Builder{}, &Ruleset{Table: &tt.table}); err == nil {
			t.Errorf("%s: Print() takes it", tt.name)
		}
	}
}
