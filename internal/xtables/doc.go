// Package xtables reads and replaces the tables of legacy xtables as the kernel
// keeps them: those of ip_tables, ip6_tables and arp_tables, not those that
// iptables-nft puts into nf_tables.
//
// A table is one block of bytes, and it is replaced as a whole, atomically for
// packets, too. The package knows no match and no target but for what it must:
// the standard target, because policies are in it, and "set" and "SET", because
// they mean sets of ipset by numbers that are others in another namespace, or
// after a set was made again.
//
// Reading has no side effects. The kernel registers the hooks of a table when
// somebody asks for it, so a table is asked for only when it is listed as
// registered.
//
// The layout is that of 64-bit programs, in the byte order of the machine. A
// 32-bit program would need the kernel's compat layout, and is refused. The
// kernel gives out the private state of matches as zeros since 4.11; before, it
// gave out its pointers, so that a table which was put back does not look the same.
//
// Call [Dial], then [Conn.Names] and [Conn.Read]; change tables with
// [Conn.Change], which takes the lock that iptables takes.
//
// Kernel: net/ipv4/netfilter/ip_tables.c, net/netfilter/x_tables.c;
// include/uapi/linux/netfilter_ipv4/ip_tables.h.
package xtables
