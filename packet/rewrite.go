package packet

import (
	"encoding/binary"
	"net/netip"
)

// RewriteAddr replaces the source or destination address of a packet and
// adapts the checksums, as NAT does. It does nothing when the headers are not
// whole or the address is of the other family.
//
// Kernel: net/netfilter/nf_nat_proto.c, nf_nat_manip_pkt.
func RewriteAddr(data []byte, destination bool, to netip.Addr) {
	l, ok := locate(data)
	if !ok || to.Is4() != (data[0]>>4 == 4) {
		return
	}
	at, size := 12, 4
	if data[0]>>4 == 6 {
		at, size = 8, 16
	}
	if destination {
		at += size
	}
	field := data[at : at+size]
	old, fresh := append([]byte(nil), field...), to.AsSlice()
	if data[0]>>4 == 4 {
		updateChecksum(data, 10, old, fresh)
	}
	// The pseudo header covers the address; SCTP and ICMP in IPv4 have none, and
	// of DCCP the kernel leaves the checksum as it was.
	if none := l.proto == SCTP || l.proto == DCCP || l.proto == ICMP && to.Is4(); !none && l.offset == 0 {
		adaptTransport(data[l.start:], l.proto, old, fresh)
	}
	copy(field, fresh)
}

// RewritePort replaces the source or destination port of TCP, UDP, UDP-Lite
// and SCTP (not of DCCP, which Linux 6.17 forgot how to translate), or the
// identifier of an ICMP query, and adapts the checksum.
// Other packets and fragments without the header are left alone.
func RewritePort(data []byte, destination bool, to uint16) {
	l, ok := locate(data)
	if !ok || l.offset != 0 {
		return
	}
	segment := data[l.start:]
	at := 0
	switch l.proto {
	case TCP, UDP, UDPLite, SCTP:
		if destination {
			at = 2
		}
	case ICMP, ICMPv6:
		at = 4
		if len(segment) == 0 || answer(l.proto, segment[0]) == segment[0] {
			return
		}
	default:
		return
	}
	if len(segment) < at+2 {
		return
	}
	old := append([]byte(nil), segment[at:at+2]...)
	fresh := binary.BigEndian.AppendUint16(nil, to)
	copy(segment[at:], fresh)
	if l.proto == SCTP {
		if len(segment) >= 12 {
			FixChecksums(data)
		}
		return
	}
	adaptTransport(segment, l.proto, old, fresh)
}

// adaptTransport adapts a transport checksum to a replacement. A UDP checksum
// of zero means none and stays.
func adaptTransport(segment []byte, proto uint8, old, fresh []byte) {
	field := checksumField(proto)
	if field < 0 || len(segment) < field+2 {
		return
	}
	udp := proto == UDP
	if udp && binary.BigEndian.Uint16(segment[field:]) == 0 {
		return
	}
	updateChecksum(segment, field, old, fresh)
	if udp && binary.BigEndian.Uint16(segment[field:]) == 0 {
		binary.BigEndian.PutUint16(segment[field:], 0xffff)
	}
}

// Translatable reports whether NAT can change a packet. It cannot change a GRE
// packet that is shorter than the header with a key, and drops it.
//
// Kernel: net/netfilter/nf_nat_proto.c, gre_manip_pkt.
func Translatable(data []byte) bool {
	const gre, keyed = 47, 8
	l, ok := locate(data)
	return ok && (l.proto != gre || l.offset != 0 || len(data)-l.start >= keyed)
}
