package report

import (
	"testing"

	"nftmigrate/packet"
)

func TestStep(t *testing.T) {
	tests := []struct {
		name string
		step packet.Step
		want string
	}{
		{
			"iptables", packet.Step{Stage: "filter INPUT", Place: "rules.v4:5", Text: "-A INPUT -i lo -j ACCEPT", Result: "no match at -i"},
			"filter INPUT  rules.v4:5  -A INPUT -i lo -j ACCEPT  → no match at -i",
		},
		{
			"nft", packet.Step{
				Stage: "table ip t chain c", Place: "rules.v4:5",
				Text:   "[ meta load iifname => reg 1 ] = 0x30687465 0x00000000 0x00000000 0x00000000\n[ cmp eq reg 1 0x00006f6c 0x00000000 0x00000000 0x00000000 ]",
				Result: "no match at [ cmp eq reg 1 0x00006f6c 0x00000000 0x00000000 0x00000000 ]",
			},
			"table ip t chain c  rules.v4:5  meta load iifname = 0x30687465, cmp eq 0x00006f6c  → no match",
		},
		{
			"nft with zero", packet.Step{
				Stage:  "table ip t chain c",
				Text:   "[ ct load state => reg 1 ] = 0x00000008\n[ bitwise reg 1 = ( reg 1 & 0x00000006 ) ^ 0x00000000 ] = 0x00000000\n[ cmp neq reg 1 0x00000000 ]",
				Result: "no match at [ cmp neq reg 1 0x00000000 ]",
			},
			"table ip t chain c  ct load state = 0x00000008, bitwise = ( & 0x00000006 ) ^ 0x00000000 = 0x00000000, cmp neq 0x00000000  → no match",
		},
		{
			"nft deciding", packet.Step{Stage: "c", Text: "[ cmp eq reg 1 0x00000006 ]\n[ immediate reg 0 accept ]", Result: "accept"},
			"c  cmp eq 0x00000006; immediate accept  → accept",
		},
		{"policy", packet.Step{Stage: "c", Text: "policy", Result: "drop"}, "c  policy  → drop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Step(tt.step); got != tt.want {
				t.Errorf("Step() =\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
