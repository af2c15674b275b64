package packet

import "encoding/binary"

// A location is where the transport header of a packet starts.
type location struct {
	start    int
	proto    uint8
	fragment bool // a part of a datagram
	offset   uint16
	more     bool
	ah       bool // behind an IPv6 authentication header
}

// locate finds the transport header; ok is false when the IP headers are not
// whole.
func locate(data []byte) (l location, ok bool) {
	if len(data) == 0 {
		return l, false
	}
	switch data[0] >> 4 {
	case 4:
		size := int(data[0]&15) * 4
		if len(data) < 20 || size < 20 || size > len(data) {
			return l, false
		}
		frag := binary.BigEndian.Uint16(data[6:])
		l = location{start: size, proto: data[9], offset: frag & 0x1fff, more: frag&0x2000 != 0}
		l.fragment = l.offset != 0 || l.more
		return l, true
	case 6:
		return locate6(data)
	}
	return l, false
}

func locate6(data []byte) (l location, ok bool) {
	if len(data) < 40 {
		return l, false
	}
	l = location{start: 40, proto: data[6]}
	for isExtension(l.proto) {
		b := data[l.start:]
		if l.proto == Fragment {
			l.fragment = true
		}
		if len(b) < 8 {
			return l, false
		}
		size := (int(b[1]) + 1) * 8
		switch l.proto {
		case AH:
			size = (int(b[1]) + 2) * 4
			l.ah = true
		case Fragment:
			size = 8
			frag := binary.BigEndian.Uint16(b[2:])
			l.offset, l.more = frag>>3, frag&1 != 0
		}
		if size > len(b) {
			return l, false
		}
		l.proto, l.start = b[0], l.start+size
		if l.offset != 0 {
			return l, true
		}
	}
	return l, true
}

// isExtension reports whether a protocol is an IPv6 extension header that the
// builder can step over.
func isExtension(proto uint8) bool {
	switch proto {
	case HopByHop, Routing, Fragment, AH, DestOpts:
		return true
	}
	return false
}
