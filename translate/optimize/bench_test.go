package optimize_test

import (
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/rulegen"
	"nftmigrate/iptables"
	"nftmigrate/translate"
	"nftmigrate/translate/optimize"
)

// BenchmarkRun optimises large rulesets of each shape; the translation is not counted.
func BenchmarkRun(b *testing.B) {
	for _, shape := range rulegen.Shapes {
		if shape.IPv6 {
			continue
		}
		b.Run(shape.Name, func(b *testing.B) {
			rules, list := iptables.Parse(diag.NewSource("bench.v4", shape.Generate(10_000, 1)), iptables.IPv4, extension.Registry)
			if list.HasErrors() {
				b.Fatal(list)
			}
			for b.Loop() {
				b.StopTimer()
				result, list := translate.Translate(rules, nil, translate.Options{})
				if result == nil {
					b.Fatal(list)
				}
				b.StartTimer()
				optimize.Run(result.Ruleset.Table, optimize.Options{Level: optimize.MostLevel})
			}
		})
	}
}
