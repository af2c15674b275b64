// Package nfnetlink speaks the nf_tables part of netlink: it sends a batch as
// one transaction, reads a ruleset back as raw messages, and turns what was
// read into a batch that makes it again.
//
// It knows no rule language, only messages and attributes, and it keeps the
// bytes that it does not know. A [Conn] belongs to the network namespace in
// which [Dial] was called. Call [Dial] inside netns.NS.Do first, then [Send]
// and [DumpRuleset].
//
// Kernel: net/netfilter/nfnetlink.c, net/netfilter/nf_tables_api.c.
package nfnetlink
