package rulegen

import "bytes"

// A Shape is a kind of ruleset.
type Shape struct {
	Name string
	IPv6 bool
	// Full is the size of a large ruleset of the kind: rules, or services of
	// kube-proxy.
	Full int
	// Generate returns a ruleset of a size.
	Generate func(size int, seed uint64) []byte
}

// The sizes of the largest rulesets: of the gateway of a university with both
// families, and of a cluster with all the services that Kubernetes supports.
const (
	GatewayRules  = 5500
	Gateway6Rules = 6200
	KubeServices  = 10_000
)

// How long lists of rules are that overlap with few others, and with many.
const (
	fewOverlap  = 100_000
	manyOverlap = 30_000
)

// Shapes are the kinds of ruleset.
var Shapes = []Shape{
	{Name: "gateway", Full: GatewayRules, Generate: Gateway},
	{Name: "gateway6", IPv6: true, Full: Gateway6Rules, Generate: Gateway6},
	{Name: "kube-proxy", Full: KubeServices, Generate: KubeProxy},
	{Name: "random", Full: fewOverlap, Generate: Random},
	{Name: "pooled", Full: manyOverlap, Generate: Pooled},
	{Name: "cross", Full: manyOverlap, Generate: Cross},
	{Name: "block", Full: fewOverlap, Generate: Block},
}

// Count returns how many rules a text has, and how many chains, built-in ones
// included.
func Count(save []byte) (rules, chains int) {
	for line := range bytes.Lines(save) {
		switch {
		case bytes.HasPrefix(line, []byte("-A ")):
			rules++
		case line[0] == ':':
			chains++
		}
	}
	return rules, chains
}
