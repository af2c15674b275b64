package packet

import "encoding/binary"

// Endpoints returns the addresses of a packet and, where its protocol has them
// and the header is there, its ports (for ICMP queries the identifier as source
// port). What is missing is zero.
func Endpoints(data []byte) Tuple {
	var t Tuple
	src, dst, ok := addresses(data)
	if !ok {
		return t
	}
	t.Src, t.Dst = src, dst
	l, ok := locate(data)
	if !ok || l.offset != 0 {
		return t
	}
	segment := data[l.start:]
	switch {
	case ported(l.proto) && len(segment) >= 4:
		t.SrcPort, t.DstPort = binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])
	case (l.proto == ICMP || l.proto == ICMPv6) && len(segment) >= 6:
		t.SrcPort = binary.BigEndian.Uint16(segment[4:])
	}
	return t
}

// IsFragment reports whether the data are a part of a datagram: a fragment
// other than one that is whole.
func IsFragment(data []byte) bool {
	l, ok := locate(data)
	return ok && l.fragment
}
