// Package rulegen makes large iptables rulesets for benchmarks and for trials of
// a proof: rulesets of the shapes that are met in the field ([Gateway],
// [Gateway6], [KubeProxy]) and lists of rules that are hard in one way each
// ([Random], [Pooled], [Cross], [Block]). [Shapes] lists them all.
//
// A ruleset is the text that iptables-save prints, without its comments, and
// depends on nothing but the size and the seed. [Reorder] makes a text that
// says the same in another order, [Mutate] one that says something else.
//
// The package writes and reads rules as text. It knows neither the parser nor
// any extension, so that it can serve trials of both.
package rulegen
