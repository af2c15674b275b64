// Package live reads the sets of ipset that a kernel holds, as the text that
// "ipset save" prints.
//
// It is text, so that whatever is said about a set or an element later has a
// line that a reader can look at, and so that sets of a kernel and of a file go
// the same way.
//
// Kernel: net/netfilter/ipset/ip_set_core.c, ip_set_dump_do;
// include/uapi/linux/netfilter/ipset/ip_set.h.
package live
