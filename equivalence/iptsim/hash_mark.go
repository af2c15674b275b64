package iptsim

import (
	"encoding/binary"

	"nftmigrate/equivalence/predicate"
)

const protoGRE = 47

// A hashedFlow is what HMARK sees of a packet or of its connection.
type hashedFlow struct {
	source, destination predicate.Bits
	protocol            uint8
	ports               uint32 // the source above the destination
	ported              bool
}

// hashMark sets the mark of a packet that belongs to a flow.
func hashMark(v *view, e predicate.HashMark) (unknown string) {
	var flow hashedFlow
	ok := false
	switch {
	case e.Connection && v.f.Template:
		return "hashing a template"
	case e.Connection:
		entry := v.f.Tracking.Entry
		if entry == nil {
			return ""
		}
		if entry.Protocol == protoGRE && e.Keep != 0 {
			return "hashing a connection of GRE"
		}
		flow = hashedFlow{
			predicate.Addr(entry.Original.Src), predicate.Addr(entry.Reply.Src), entry.Protocol,
			uint32(entry.Original.SrcPort)<<16 | uint32(entry.Reply.SrcPort), entry.Protocol != protoICMP,
		}
		ok = true
	case v.version == 4:
		flow, ok = hashedIPv4(v.f.Data)
	case v.version == 6:
		flow, ok = hashedIPv6(v.f.Data)
	default:
		return "hashing a packet without header"
	}
	if ok {
		v.f.Mark = e.Mark(flow.source, flow.destination, flow.protocol, flow.ports, flow.ported)
	}
	return ""
}

// hashedIPv4 is the flow of a packet, or of the one that an error of ICMP quotes;
// ok is false when that is cut.
func hashedIPv4(data []byte) (flow hashedFlow, ok bool) {
	const header, icmpHeader = 20, 8
	size := int(data[0]&15) * 4
	if data[9] == protoICMP && size+icmpHeader <= len(data) && quotes4(data[size]) {
		if data = data[size+icmpHeader:]; len(data) < header {
			return flow, false
		}
		size = int(data[0]&15) * 4
	}
	flow.source = predicate.Number(uint64(binary.BigEndian.Uint32(data[12:])))
	flow.destination = predicate.Number(uint64(binary.BigEndian.Uint32(data[16:])))
	flow.protocol = data[9]
	if fragment := binary.BigEndian.Uint16(data[6:])&0x3fff != 0; flow.protocol != protoICMP && !fragment {
		flow.takePorts(data, size)
	}
	return flow, true
}

// quotes4 reports whether messages of a type quote a packet.
func quotes4(kind uint8) bool {
	switch kind {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// hashedIPv6 is likewise. A packet whose headers do not end in it has the flow of
// zeros.
func hashedIPv6(data []byte) (flow hashedFlow, ok bool) {
	const header, icmpHeader, information = 40, 8, 128
	protocol, at, fragment, found := hashedHeader(data, 0)
	if !found {
		return flow, true
	}
	base := 0
	if protocol == protoICMPv6 && !fragment && at+icmpHeader <= len(data) && data[at] != 0 && data[at] < information {
		if base = at + icmpHeader; base+header > len(data) {
			return flow, false
		}
		if data[base]>>4 != 6 {
			return flow, false
		}
		if protocol, at, fragment, found = hashedHeader(data, base); !found {
			return flow, false
		}
	}
	address := func(at int) predicate.Bits {
		return predicate.Bits{Hi: binary.BigEndian.Uint64(data[at:]), Lo: binary.BigEndian.Uint64(data[at+8:])}
	}
	flow.source, flow.destination, flow.protocol = address(base+8), address(base+24), protocol
	if protocol != protoICMPv6 && !fragment {
		flow.takePorts(data, at)
	}
	return flow, true
}

// hashedHeader looks for the header behind the extension headers of one at an
// offset, of which an authentication header is none. fragment says that there is a
// fragment header before it.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_find_hdr.
func hashedHeader(data []byte, base int) (protocol uint8, at int, fragment, found bool) {
	protocol, at = data[base+6], base+40
	for isExtension(protocol) && protocol != protoNone {
		if at+2 > len(data) {
			return 0, 0, false, false
		}
		size := (int(data[at+1]) + 1) * 8
		switch protocol {
		case protoAuth:
			return protocol, at, fragment, true
		case protoRouting:
			if at+4 > len(data) {
				return 0, 0, false, false
			}
		case protoFragment:
			if at+4 > len(data) {
				return 0, 0, false, false
			}
			fragment, size = true, 8
			if binary.BigEndian.Uint16(data[at+2:])>>3 != 0 {
				inner := data[at]
				return inner, base, true, !isExtension(inner) || inner == protoNone
			}
		}
		protocol, at = data[at], at+size
	}
	return protocol, at, fragment, true
}

// takePorts reads the ports of a header, where its protocol has some.
func (f *hashedFlow) takePorts(data []byte, at int) {
	for _, p := range flowPortsAt {
		if p.proto == f.protocol && at+p.at+bothPorts <= len(data) {
			f.ports, f.ported = binary.BigEndian.Uint32(data[at+p.at:]), true
		}
	}
}
