package nftsim

import "encoding/binary"

// header is what nf_tables finds out about a packet at each hook.
//
// Kernel: include/net/netfilter/nf_tables_ipv4.h and nf_tables_ipv6.h,
// nft_set_pktinfo_ipv4 and nft_set_pktinfo_ipv6.
type header struct {
	version  int
	hasProto bool // the transport protocol was found
	proto    uint8
	offset   int // of the transport header
	fragment uint16
}

const (
	ipv4Len = 20
	ipv6Len = 40
)

// protocol numbers of IPv6 extension headers, RFC 8200.
const (
	protoHopByHop = 0
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoNone     = 59
	protoDestOpts = 60
)

// Transport protocol numbers.
const (
	protoTCP     = 6
	protoUDP     = 17
	protoICMPv6  = 58
	protoUDPLite = 136
)

func parseHeader(data []byte) header {
	if len(data) == 0 {
		return header{}
	}
	h := header{version: int(data[0] >> 4)}
	switch {
	case h.version == 4 && len(data) >= ipv4Len:
		h.hasProto, h.proto = true, data[9]
		h.offset = int(data[0]&15) * 4
		h.fragment = binary.BigEndian.Uint16(data[6:]) & 0x1fff
	case h.version == 6 && len(data) >= ipv6Len:
		if f, ok := findHeader6(data, anyHeader, true); ok && f.offset <= 0xffff {
			h.hasProto, h.proto, h.offset, h.fragment = true, f.proto, f.offset, f.fragment
		}
	}
	return h
}

// anyHeader asks findHeader6 for the first header that is no extension.
const anyHeader = -1

// found6 is a header of an IPv6 packet.
type found6 struct {
	proto    uint8
	offset   int
	fragment uint16 // offset in the datagram, in bytes
}

var extension6 = [256]bool{
	protoHopByHop: true, protoRouting: true, protoFragment: true,
	protoAH: true, protoNone: true, protoDestOpts: true,
}

// findHeader6 walks the extension headers of an IPv6 packet to the header of
// a number, or to the first that is no extension header. With stopAtAH, an
// authentication header counts as such.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_find_hdr. Of a fragment that is not
// the first, the kernel learns the protocol but reports offset 0.
func findHeader6(data []byte, target int, stopAtAH bool) (found6, bool) {
	next, at := data[6], ipv6Len
	for {
		found := int(next) == target
		if !extension6[next] || next == protoNone {
			return found6{proto: next, offset: at}, target == anyHeader || found
		}
		if at+2 > len(data) {
			return found6{}, false
		}
		length := 8 * (int(data[at+1]) + 1)
		switch next {
		case protoRouting:
			if at+4 > len(data) {
				return found6{}, false
			}
		case protoFragment:
			if at+4 > len(data) {
				return found6{}, false
			}
			if offset := binary.BigEndian.Uint16(data[at+2:]) &^ 7; offset != 0 {
				inner := data[at]
				if target == anyHeader && (!extension6[inner] || inner == protoNone) {
					return found6{proto: inner, fragment: offset}, true
				}
				return found6{proto: next, offset: at, fragment: offset}, found
			}
			length = 8
		case protoAH:
			if stopAtAH && target == anyHeader {
				return found6{proto: next, offset: at}, true
			}
			length = 4 * (int(data[at+1]) + 2)
		}
		if found {
			return found6{proto: next, offset: at}, true
		}
		next, at = data[at], at+length
	}
}
