// Package packet describes a synthetic packet: its bytes, its circumstances
// (devices, mark, connection, socket, time), the host it meets, and what became
// of it.
//
// It is what both machines and the kernel are given, and what they answer in.
// It knows neither iptables nor nftables and decodes headers only to build,
// print and repair packets; each machine reads the bytes with its own eyes.
// Start with [Packet] and [Fate].
package packet
