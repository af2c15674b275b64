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

// IsFragment reports whether the data are a part of a datagram, or are in an IPv6
// fragment header for another reason, whole or not, whatever comes behind it.
// Where connections are tracked, all of them are put together before, and headers
// that are not whole dropped.
//
// Kernel: net/ipv6/netfilter/nf_conntrack_reasm.c, nf_ct_frag6_gather.
func IsFragment(data []byte) bool {
	l, _ := locate(data)
	return l.fragment
}

// IsICMPError reports whether a packet is an ICMP or ICMPv6 message about
// another packet (RFC 1122 section 3.2.2, RFC 4443 section 2.1).
func IsICMPError(data []byte) bool {
	l, ok := locate(data)
	if !ok || l.offset != 0 || len(data) <= l.start {
		return false
	}
	switch kind := data[l.start]; l.proto {
	case ICMP:
		return kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12
	case ICMPv6:
		return kind < 128
	}
	return false
}

// HasAuthentication reports whether the headers of an IPv6 packet include an
// authentication header (RFC 4302).
func HasAuthentication(data []byte) bool {
	l, _ := locate(data)
	return l.ah
}
