package nftgen

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// filling returns a ruleset with one rule of a statement that is repeated.
func filling(n int, stmt Stmt, sets ...*Set) *Ruleset {
	rule := &Rule{Stmts: slices.Repeat([]Stmt{stmt}, n)}
	return &Ruleset{Table: &Table{Family: IP, Name: "t", Sets: sets, Chains: []*Chain{{Name: "c", Rules: []*Rule{rule}}}}}
}

// TestRuleSize finds the longest rules of some statements that are encoded: the
// kernel takes them, and rules that are longer have an error.
func TestRuleSize(t *testing.T) {
	s := &Set{Name: "s", Key: []*Datatype{ipv4Addr}, Dynamic: true, Size: 10}
	tests := []struct {
		name    string
		stmt    Stmt
		longest int
	}{
		{"lookup", InSet{Fields: []Field{IPSaddr}, Set: s}, 56},
		{"masked lookup", InSet{Fields: []Field{IPSaddr}, Masks: []Value{ip("255.0.0.0")}, Set: s}, 42},
		{"update", Update{Op: OpAdd, Fields: []Field{IPSaddr}, Set: s}, 34},
		{"span", InSpan{Field: IPTTL, Low: u8(3), High: u8(5), Not: true}, 63},
		{"name", IfName{Field: MetaIifname, Name: "abcdefgh"}, 63},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Encode(filling(test.longest+1, test.stmt, s)); !errors.As(err, new(*RuleSizeError)) {
				t.Errorf("%d have the error %v", test.longest+1, err)
			}
			batch, err := Encode(filling(test.longest, test.stmt, s))
			if err != nil {
				t.Fatal(err)
			}
			t.Run("kernel", func(t *testing.T) {
				testkit.Need(t, testkit.Root, testkit.NetNS)
				err := newNamespace(t).Do(func() error {
					conn, err := nfnetlink.Dial()
					if err != nil {
						return fmt.Errorf("dial nfnetlink: %w", err)
					}
					defer conn.Close()
					return nfnetlink.Send(conn, batch.Messages, nfnetlink.Options{})
				})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}
