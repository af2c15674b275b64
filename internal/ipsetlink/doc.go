// Package ipsetlink moves the sets of ipset between a kernel and memory as the
// kernel tells them: it reads them raw, compares them, and makes them again.
//
// It knows no type of set. What the kernel tells of a set and of its elements is
// what it takes to make them, so that is sent back, without the text of ipset and
// without its program; a rollback depends on neither. Call [Dial], then
// [Conn.Read] and [Conn.Put].
//
// Kernel: net/netfilter/ipset/ip_set_core.c;
// include/uapi/linux/netfilter/ipset/ip_set.h.
package ipsetlink
