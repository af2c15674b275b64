// Package kernel is the third machine: the kernel of this host, in private
// network namespaces with devices that lead nowhere.
//
// A [Machine] is a namespace that is set up like a [packet.Host] and that holds
// one ruleset: legacy xtables tables ([NewXtables]) or a batch of nf_tables
// messages ([NewNftables]). [Machine.Run] sends it a packet and tells what
// became of it. The package reads no rule language and imports no simulator;
// what it reports is the measure for both.
//
// # How a packet is run
//
// An arriving packet is one write to the TAP (or TUN) device it arrives on, and
// the kernel's receive path runs inside that call. A leaving packet is one send
// by a raw socket that has the owner, mark and priority of the packet. Chains
// of an own nf_tables table, before and behind all others of each hook, log
// what passes to the process and drop what has reached its end, so that the
// stack answers nothing and no packet leaves. Everything happens inside the
// system call that sends, and the reports come through one socket, so their
// order is that of the kernel.
//
// # What the kernel does by itself
//
// A machine that is compared with this one has to do these as well:
//
//   - ip_rcv and ip6_rcv drop malformed packets before the first hook, and cut
//     what is longer than its IP length says;
//   - a forwarded packet has its TTL or hop limit lowered before the FORWARD
//     hook, and IPv4 forwarding sets the packet priority from the TOS;
//   - fragments are collected before the hook priority -300 once connection
//     tracking is in use (see [Options]), and the whole datagram goes on; those
//     of an unfinished datagram wait for half a minute, so that unlike
//     datagrams need unlike identifications;
//   - a raw socket writes the total length and the header checksum of IPv4 and
//     replaces an identification of 0; the last is undone in [packet.Fate];
//   - what comes for a multicast group is delivered: the host joins it;
//   - NAT tables are not consulted for connections that exist already.
//
// # What cannot be seen
//
// The kernel log cannot be read per namespace, so each LOG of xtables and each
// "log" of nf_tables is loaded as a log to a netlink group whose number tells
// level and flags. Events in a fate are only [packet.LogEvent] and
// [packet.RejectEvent]; a translation shows in the bytes. Mark, connection mark
// and priority of a dropped packet are not known. Answers that the stack gives
// on its own (time exceeded, no route) are no events. The clock of a packet is
// not kept: limits and timeouts run in real time.
package kernel
