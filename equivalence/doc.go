// Package equivalence compares two machines: it chooses packets, runs them
// through both, compares what became of them, shrinks what differs, and says
// how much was shown.
//
// The machines, and the kernel, reach it as interfaces; it knows neither
// iptables nor nftables. Start with [Check].
package equivalence
