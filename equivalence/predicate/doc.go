// Package predicate is the form in which an iptables match or target states
// its meaning: data, not code.
//
// A match is a [Meaning]: a [Predicate] over named packet [Field]s (and, or,
// not, range, mask, membership, stateful instance) and the condition under
// which the kernel drops the packet inside the match. A target is an [Action]:
// a list of [Effect]s and what follows. The iptables machine evaluates them on
// a packet ([Eval]); the proof engine compiles them.
//
// The package knows neither iptables syntax nor nftables, and no wire format:
// what a field is on a packet is the business of the [Reader].
package predicate
