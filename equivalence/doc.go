// Package equivalence compares two machines, each of which runs packets by the
// rules of one language.
//
// [Prove] compares them for every packet: it has both compile their rules to
// functions (package symbolic) and compares those; what differs it shows by
// packets that both machines are run on. [ReplayProof] runs packets of every
// class of a proof. [Check] compares a sample: it chooses packets, runs them
// through both, shrinks what differs, and says how much was shown.
//
// It also says what the rules of one machine do ([Analyse]), and what changes
// between two of one language ([Changes]).
//
// The machines, and the kernel, reach it as interfaces; it knows neither
// iptables nor nftables. Start with [Prove].
package equivalence
