// Package host reads what decides about packets on a host, and what stands behind
// it, without changing anything: a question that registers hooks, loads modules or
// makes tables is not asked.
//
// It turns what the kernel holds into the language of iptables by the tools that
// come with iptables, and does not believe them: the text is loaded again, in a
// namespace of its own, and must make there what the kernel has here. Call [Rules].
package host
