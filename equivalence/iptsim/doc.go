// Package iptsim runs packets through an iptables model, as the kernel's
// xtables would.
//
// It reads a packet's fields with its own eyes, evaluates the predicates that
// matches state ([Meaning]) and carries out the actions of targets ([Doing]).
// It knows no extension by name, nothing of nftables and nothing of netlink.
package iptsim
