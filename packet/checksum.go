package packet

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FixChecksums recomputes the IPv4 header checksum and the transport checksum
// in place, where the headers are whole. Fragments keep their transport
// checksum, because it covers bytes that are not here.
func FixChecksums(data []byte) {
	fixHeaderChecksum(data)
	l, ok := locate(data)
	if !ok || l.fragment {
		return
	}
	segment := data[l.start:]
	field := checksumField(l.proto)
	if field < 0 || len(segment) < field+2 {
		return
	}
	if l.proto == SCTP {
		if len(segment) >= 12 {
			clear(segment[8:12])
			// RFC 9260 appendix A: the CRC is sent least significant byte first.
			binary.LittleEndian.PutUint32(segment[8:], crc32.Checksum(segment, castagnoli))
		}
		return
	}
	clear(segment[field : field+2])
	sum := ^fold(sumWords(pseudo(data, l), segment))
	if sum == 0 && (l.proto == UDP || l.proto == UDPLite) { // 0 says that there is none
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(segment[field:], sum)
}

// fixHeaderChecksum recomputes the checksum of an IPv4 header.
func fixHeaderChecksum(data []byte) {
	if len(data) < 20 || data[0]>>4 != 4 {
		return
	}
	size := int(data[0]&15) * 4
	if size < 20 || size > len(data) {
		return
	}
	clear(data[10:12])
	binary.BigEndian.PutUint16(data[10:], ^fold(sumWords(0, data[:size])))
}

// checksumField returns where a transport header has its checksum, or -1.
func checksumField(proto uint8) int {
	switch proto {
	case TCP:
		return 16
	case UDP, UDPLite, DCCP:
		return 6
	case ICMP, ICMPv6:
		return 2
	case SCTP:
		return 8
	}
	return -1
}

// pseudo returns the sum of the pseudo header (RFC 9293 section 3.1, RFC 8200
// section 8.1), or 0 for ICMP in IPv4, which has none.
func pseudo(data []byte, l location) uint32 {
	if l.proto == ICMP && data[0]>>4 == 4 {
		return 0
	}
	sum := uint32(l.proto) + uint32(len(data)-l.start)
	if data[0]>>4 == 4 {
		return sumWords(sum, data[12:20])
	}
	return sumWords(sum, data[8:40])
}

func sumWords(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
		sum = sum&0xffff + sum>>16
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// updateChecksum adapts the checksum at b[at:] to the replacement of old by new
// (RFC 1624), so that a wrong checksum stays wrong.
func updateChecksum(b []byte, at int, old, new []byte) {
	sum := uint32(^binary.BigEndian.Uint16(b[at:]))
	for i := 0; i < len(old); i += 2 {
		sum += uint32(^binary.BigEndian.Uint16(old[i:]))
		sum += uint32(binary.BigEndian.Uint16(new[i:]))
	}
	binary.BigEndian.PutUint16(b[at:], ^fold(sum))
}
