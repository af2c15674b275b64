package nftsim

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// What the kernel asks of a packet before it answers it. The protocols here
// are those of the answering code: of IPv6 it looks behind an authentication
// header, which nf_tables does not.

// transport is the transport header as the answering code finds it.
type transport struct {
	proto   uint8
	data    []byte // from the transport header on
	partial bool   // a fragment that is not the first
}

// transportOf finds the transport header; ok is false when extension headers
// end too early.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_skip_exthdr.
func (x *execution) transportOf() (t transport, ok bool) {
	data := x.flight.Data
	if x.header.version == 4 {
		h := x.header
		if h.offset > len(data) {
			return t, false
		}
		return transport{proto: h.proto, data: data[h.offset:], partial: h.fragment != 0}, true
	}
	f, found := findHeader6(data, anyHeader, false)
	if !found || f.fragment != 0 || f.offset > len(data) {
		return transport{proto: f.proto, partial: f.fragment != 0}, found && f.fragment != 0
	}
	return transport{proto: f.proto, data: data[f.offset:]}, true
}

// toMany says whether the packet is for more than one host.
func (x *execution) toMany() bool {
	to := x.destination()
	if to.Is6() {
		return to.IsMulticast()
	}
	return slices.Contains([]packet.RouteType{packet.Broadcast, packet.Multicast}, addressType4(x.flight.Host, to, ""))
}

// answersReset says whether a packet is answered by a TCP reset.
//
// Kernel: net/ipv4/netfilter/nf_reject_ipv4.c, nf_send_reset;
// net/ipv6/netfilter/nf_reject_ipv6.c, nf_send_reset6.
func (x *execution) answersReset() bool {
	t, ok := x.transportOf()
	const flagsAt, reset = 13, 4
	if !ok || t.partial || t.proto != protoTCP || len(t.data) < tcpLen || t.data[flagsAt]&reset != 0 {
		return false
	}
	if x.header.version == 6 && (!unicast6(x.source()) || !unicast6(x.destination())) {
		return false
	}
	return !x.toMany() && x.checksumHolds(t)
}

func unicast6(a netip.Addr) bool { return !a.IsMulticast() && !a.IsUnspecified() }

// answersError says whether a packet is answered by an ICMP error.
//
// Kernel: nf_reject_ipv4.c, nf_send_unreach, and net/ipv4/icmp.c, __icmp_send;
// nf_reject_ipv6.c, nf_send_unreach6, and net/ipv6/icmp.c, icmp6_send.
func (x *execution) answersError() bool {
	t, ok := x.transportOf()
	if !ok || t.partial || x.toMany() {
		return false
	}
	if x.flight.Packet.Path == packet.Arriving && x.flight.Packet.Type != packet.TypeHost {
		return false
	}
	if x.header.version == 6 && (!unicast6(x.source()) || t.proto == protoNone || len(t.data) == 0) {
		return false
	}
	if t.summed() && !x.checksumHolds(t) {
		return false
	}
	return !t.icmpError(x.header.version)
}

// icmpError says whether the transport header is that of an ICMP error, to
// which no error may answer. A header that is cut off or of a type that does
// not exist counts as one.
func (t transport) icmpError(version int) bool {
	switch {
	case version == 4 && t.proto == protoICMP:
		const lastType = 18
		errors := []byte{3, 4, 5, 11, 12}
		return len(t.data) == 0 || t.data[0] > lastType || slices.Contains(errors, t.data[0])
	case version == 6 && t.proto == protoICMPv6:
		const informational = 0x80
		return len(t.data) == 0 || t.data[0]&informational == 0
	}
	return false
}

// unsummed are the protocols whose checksum the kernel does not look at before
// it answers.
//
// Kernel: include/net/netfilter/nf_reject.h, nf_reject_verify_csum. Linux 6.18
// does look at that of DCCP, as if it were over all of the packet.
var unsummed = []uint8{unix.IPPROTO_GRE, unix.IPPROTO_ESP, unix.IPPROTO_AH, protoSCTP, protoUDPLite}

func (t transport) summed() bool {
	if t.proto == protoUDP && len(t.data) >= udpLen {
		return binary.BigEndian.Uint16(t.data[6:]) != 0
	}
	return !slices.Contains(unsummed, t.proto)
}

// checksumHolds sums up the transport header and all behind it; the pseudo
// header is part of it for TCP, UDP and all of IPv6.
//
// Kernel: net/netfilter/utils.c, nf_ip_checksum and nf_ip6_checksum.
func (x *execution) checksumHolds(t transport) bool {
	s := sum(t.data)
	if x.header.version == 4 {
		// The kernel sums from the network header on, whose own sum is 0xffff.
		s += 0xffff
	}
	if x.header.version == 6 || t.proto == protoTCP || t.proto == protoUDP {
		n := uint32(len(t.data))
		s += sum(x.source().AsSlice()) + sum(x.destination().AsSlice()) + uint32(t.proto) + n>>16 + n&0xffff
	}
	return fold(s) == 0xffff
}
