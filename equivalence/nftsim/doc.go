// Package nftsim decodes a netlink batch of nf_tables messages and runs packets
// through it, as the kernel would.
//
// Decode reads the very bytes that will be committed, or that a kernel dumped,
// into instructions: plain data, one type per expression. Running them reads
// the wire bytes of a packet. What is not understood, an expression, an
// attribute, a key, is never skipped: it makes the packets that reach it
// undecided and is named in [packet.Flight].Unknown.
//
// The package knows nothing of iptables and of what made the batch. Start with
// [Decode], then run the [Machine.Stages], or have [Machine.Compile] make
// functions of all packets of them.
package nftsim
