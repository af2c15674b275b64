package main

import "encoding/binary"

// The payload of a packet is its number and what makes the sum of both zero, so
// that no checksum depends on it.
const payload = 16

const magic = 0x5a17c4

// number writes the number of a packet into it.
func number(b []byte, n uint64) {
	p := b[len(b)-payload:]
	binary.BigEndian.PutUint64(p, n)
	binary.BigEndian.PutUint64(p[8:], ^n)
}

// numberOf reads it, and is false for packets of others.
func numberOf(b []byte) (uint64, bool) {
	if len(b) < 20+8+payload || b[0]>>4 != 4 {
		return 0, false
	}
	p := b[len(b)-payload:]
	n := binary.BigEndian.Uint64(p)
	return n, binary.BigEndian.Uint64(p[8:]) == ^n
}

const (
	tcp = 6
	udp = 17
)

// newPacket returns a packet of IPv4: a segment that opens a connection, or a
// datagram.
func newPacket(from, to uint32, proto uint8, fromPort, toPort uint16) []byte {
	header := 8
	if proto == tcp {
		header = 20
	}
	b := make([]byte, 20+header+payload)
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[12:], from)
	binary.BigEndian.PutUint32(b[16:], to)
	binary.BigEndian.PutUint16(b[10:], ^sum(b[:20], 0))
	l4 := b[20:]
	binary.BigEndian.PutUint16(l4, fromPort)
	binary.BigEndian.PutUint16(l4[2:], toPort)
	number(b, magic)
	if proto == udp {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4))) // a checksum of zero is none
		return b
	}
	binary.BigEndian.PutUint32(l4[4:], from^to)
	l4[12], l4[13] = 5<<4, 2 // SYN
	binary.BigEndian.PutUint16(l4[14:], 65535)
	pseudo := uint32(sum(b[12:20], 0)) + uint32(proto) + uint32(len(l4))
	binary.BigEndian.PutUint16(l4[16:], ^sum(l4, pseudo))
	return b
}

// sum is the sum of the internet's checksum (RFC 1071).
func sum(b []byte, start uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return uint16(start)
}
