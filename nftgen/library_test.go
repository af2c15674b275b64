package nftgen

import (
	"testing"

	"github.com/google/nftables/expr"

	"nftmigrate/internal/nfnetlink"
)

// written returns an expression in the notation of the goldens.
func written(t *testing.T, e expression) string {
	t.Helper()
	b, err := e.marshal(Inet)
	if err != nil {
		t.Fatal(err)
	}
	return expressionNotation(nfnetlink.Nested(b))
}

// TestOwnExpressions shows why some expressions are not the library's: what it
// writes in their place, beside ours. What the kernel makes of ours is in
// TestTextIsBatch.
func TestOwnExpressions(t *testing.T) {
	const random, specified = rangeProtoRandom, rangeProtoSpecified
	for _, test := range []struct {
		name          string
		library       expr.Any
		own           expression
		wantLib, want string
	}{
		{
			"the direction of a ct key is one byte",
			&expr.Ct{Key: expr.CtKeyPROTODST, Register: 1, Direction: 1}, ctLoad(12, 1, 1),
			"[ ct load proto_dst => reg 1 , dir 00000001 ]", "[ ct load proto_dst => reg 1 , dir 01 ]",
		},
		{
			"counters have a direction",
			&expr.Ct{Key: expr.CtKeyPKTS, Register: 1, Direction: 1}, ctLoad(14, 1, 1),
			"[ ct load packets => reg 1 ]", "[ ct load packets => reg 1 , dir 01 ]",
		},
		{
			"shifts",
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4}, shift(1, -3),
			"[ bitwise reg 1 = ( reg 1 &  ) ^  ]", "[ bitwise reg 1 = ( reg 1 >> 0x00000003 ) ]",
		},
		{
			"masquerade has ports and flags at once",
			&expr.Masq{Random: true, ToPorts: true, RegProtoMin: 1, RegProtoMax: 2}, masquerade(specified|random, 1, 2),
			"[ masq proto 1-2 flags 0x0 ]", "[ masq proto 1-2 flags 0x6 ]",
		},
	} {
		if got := written(t, fromLibrary{test.library}); got != test.wantLib {
			t.Errorf("%s: the library writes %s, want %s", test.name, got, test.wantLib)
		}
		if got := written(t, test.own); got != test.want {
			t.Errorf("%s: we write %s, want %s", test.name, got, test.want)
		}
	}
}
