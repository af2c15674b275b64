// Command fuzz runs random rulesets and packets through both models and through
// the kernel, and prints every difference that no declared deviation explains.
//
//	go run ./internal/fuzz -packets 1000000 -seed 1
//
// It needs root, iptables-legacy and nf_tables; everything happens in private
// network namespaces.
package main
