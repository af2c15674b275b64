package kernel

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// A header is what connection tracking takes from a packet.
type header struct {
	proto uint8
	tuple packet.Tuple
	// quoted is what an ICMP error quotes, nil for other packets.
	quoted []byte
	// pointer says where an ICMPv6 error finds something wrong.
	pointer uint32
	vtag    uint32 // verification tag of SCTP
	flags   uint8  // of TCP
}

// headerOf reads a packet as connection tracking does. ok is false when it is
// a fragment without the transport header, or cut.
//
// Kernel: net/netfilter/nf_conntrack_core.c, nf_ct_get_tuple; the ports of the
// protocols that have any are the first four bytes of their header.
func headerOf(data []byte) (h header, ok bool) {
	var body []byte
	if len(data) == 0 {
		return h, false
	}
	switch data[0] >> 4 {
	case 4:
		size := int(data[0]&15) * 4
		if size < 20 || len(data) < size || binary.BigEndian.Uint16(data[6:])&0x1fff != 0 {
			return h, false
		}
		h.proto, body = data[9], data[size:]
		h.tuple.Src, h.tuple.Dst = netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
	case 6:
		if len(data) < 40 {
			return h, false
		}
		h.tuple.Src, h.tuple.Dst = netip.AddrFrom16([16]byte(data[8:24])), netip.AddrFrom16([16]byte(data[24:40]))
		if h.proto, body, ok = skipExtensions(data[6], data[40:]); !ok {
			return h, false
		}
	default:
		return h, false
	}
	if h.proto == unix.IPPROTO_DCCP && !dccpTracked() {
		return h, true
	}
	switch h.proto {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP:
		if len(body) < 4 {
			return h, false
		}
		h.tuple.SrcPort, h.tuple.DstPort = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		switch {
		case h.proto == unix.IPPROTO_SCTP && len(body) >= 8:
			h.vtag = binary.BigEndian.Uint32(body[4:])
		case h.proto == unix.IPPROTO_TCP && len(body) >= 14:
			h.flags = body[13]
		}
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if len(body) < 8 {
			return h, false
		}
		h.tuple.SrcPort, h.tuple.DstPort = binary.BigEndian.Uint16(body[4:]), binary.BigEndian.Uint16(body)
		if isICMPError(h.proto, body[0]) {
			h.quoted, h.pointer = body[8:], binary.BigEndian.Uint32(body[4:])
		}
	}
	return h, true
}

// dccpTracked says whether the ports of DCCP belong to a connection: Linux 6.17
// took the tracking of DCCP out, with its settings.
var dccpTracked = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_dccp_timeout_request")
	return err == nil
})

// isICMPError says whether a type quotes the packet it is about.
//
// Kernel: net/ipv4/netfilter nf_conntrack_proto_icmp.c, icmp_is_err of
// include/linux/icmp.h; for IPv6 types below 128 are errors (RFC 4443 2.1).
func isICMPError(proto, kind uint8) bool {
	if proto == unix.IPPROTO_ICMPV6 {
		return kind < 128
	}
	switch kind {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// skipExtensions returns the protocol behind the extension headers of IPv6.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_skip_exthdr.
func skipExtensions(proto uint8, b []byte) (uint8, []byte, bool) {
	for {
		size := 8
		switch proto {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS, unix.IPPROTO_AH:
			if len(b) < 8 {
				return 0, nil, false
			}
			size = (int(b[1]) + 1) * 8
			if proto == unix.IPPROTO_AH {
				size = (int(b[1]) + 2) * 4
			}
		case unix.IPPROTO_FRAGMENT:
			if len(b) < 8 || binary.BigEndian.Uint16(b[2:])&0xfff8 != 0 {
				return 0, nil, false
			}
		default:
			return proto, b, true
		}
		if len(b) < size {
			return 0, nil, false
		}
		proto, b = b[0], b[size:]
	}
}

// queries are the ICMP types that answer one another.
//
// Kernel: nf_conntrack_proto_icmp.c and _icmpv6.c, invmap.
var queries = map[uint8][][2]uint8{
	unix.IPPROTO_ICMP:   {{8, 0}, {13, 14}, {15, 16}, {17, 18}},
	unix.IPPROTO_ICMPV6: {{128, 129}, {139, 140}},
}

// invert returns the tuple of the other direction of a connection that is not
// translated.
func invert(proto uint8, t packet.Tuple) packet.Tuple {
	if proto != unix.IPPROTO_ICMP && proto != unix.IPPROTO_ICMPV6 {
		return packet.Tuple{Src: t.Dst, Dst: t.Src, SrcPort: t.DstPort, DstPort: t.SrcPort}
	}
	kind := uint8(t.DstPort >> 8)
	for _, q := range queries[proto] {
		switch kind {
		case q[0]:
			kind = q[1]
		case q[1]:
			kind = q[0]
		default:
			continue
		}
		break
	}
	return packet.Tuple{Src: t.Dst, Dst: t.Src, SrcPort: t.SrcPort, DstPort: uint16(kind)<<8 | t.DstPort&0xff}
}
