package nftsim

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nftmigrate/packet"
)

func init() { registerXtTarget("HMARK", 0, decodeXtHMark) }

// An xtHMark sets the mark to a hash.
//
// Kernel: net/netfilter/xt_HMARK.c; include/uapi/linux/netfilter/xt_HMARK.h, struct
// xt_hmark_info.
type xtHMark struct {
	sourceMask, destinationMask [4]uint32
	portMask, portSet           uint32
	protocolMask                uint8
	seed, modulus, offset       uint32
	connection                  bool
}

func decodeXtHMark(info []byte) (xtTarget, error) {
	r := xtReader{data: info}
	var t xtHMark
	for _, mask := range []*[4]uint32{&t.sourceMask, &t.destinationMask} {
		for i := range mask {
			mask[i] = binary.BigEndian.Uint32(r.bytes(4))
		}
	}
	t.portMask, t.portSet = binary.BigEndian.Uint32(r.bytes(4)), binary.BigEndian.Uint32(r.bytes(4))
	flags, protocol := r.u32(), r.u16()
	t.seed, t.modulus, t.offset = r.u32(), r.u32(), r.u32()
	if err := r.end(); err != nil {
		return nil, err
	}
	// Of the flags two say what is done, the others which options were given.
	const connection, addressesOnly, known = 12, 13, 15
	if flags>>known != 0 || flags>>addressesOnly&1 != 0 || t.modulus == 0 {
		return nil, notModelled{fmt.Sprintf("target HMARK with the flags %#x", flags)}
	}
	t.protocolMask, t.connection = uint8(protocol), flags>>connection&1 != 0
	return t, nil
}

func (t xtHMark) String() string {
	words := []string{
		fmt.Sprintf("mark set hash of source %08x destination %08x ports (ports & %08x | %08x) protocol %#x", t.sourceMask, t.destinationMask, t.portMask, t.portSet, t.protocolMask),
		fmt.Sprintf("seed %#x mod %d offset %d", t.seed, t.modulus, t.offset),
	}
	if t.connection {
		words = append(words, "of the connection")
	}
	return strings.Join(words, ", ")
}

// symbolic: a hash is no function that a proof could hold.
func (t xtHMark) symbolic(x *symbolicRun) { x.undecided("the hash of HMARK") }

func (t xtHMark) exec(x *execution) result {
	if t.connection {
		return t.ofConnection(x)
	}
	data := x.flight.Data
	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		t.of4(x, data)
	case len(data) >= 40 && data[0]>>4 == 6:
		t.of6(x, data)
	default:
		return x.unknown("HMARK of such a packet")
	}
	return proceed
}

// set sets the mark. source and destination are the masked addresses.
func (t xtHMark) set(x *execution, source, destination, ports uint32, protocol uint8) {
	key := make([]byte, 12)
	binary.LittleEndian.PutUint32(key, min(source, destination))
	binary.LittleEndian.PutUint32(key[4:], max(source, destination))
	binary.LittleEndian.PutUint32(key[8:], ports)
	x.flight.Mark = below(jhash(key, t.seed)^uint32(protocol&t.protocolMask), t.modulus) + t.offset
}

// pair is both ports as they are hashed, the higher one above.
func (t xtHMark) pair(source, destination uint16) uint32 {
	both := (uint32(source)<<16|uint32(destination))&t.portMask | t.portSet
	if a, b := uint16(both>>16), uint16(both); b > a {
		return uint32(b)<<16 | uint32(a)
	}
	return both
}

// portsOf reads the ports of a protocol that begins there, 0 when there are none.
func (t xtHMark) portsOf(data []byte, protocol uint8) uint32 {
	switch protocol {
	case protoAH: // an index behind four bytes
		if len(data) < 4 {
			return 0
		}
		data = data[4:]
	case protoTCP, protoUDP, 33, 50, 132, 136: // DCCP, ESP, SCTP, UDP-Lite
	default:
		return 0
	}
	if len(data) < 4 {
		return 0
	}
	return t.pair(binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]))
}

func folded(address []byte, mask [4]uint32) (n uint32) {
	for i := range len(address) / 4 {
		n ^= binary.BigEndian.Uint32(address[4*i:]) & mask[i]
	}
	return n
}

func (t xtHMark) ofConnection(x *execution) result {
	e := x.flight.Tracking.Entry
	switch {
	case templated(x.flight):
		return x.unknown("HMARK of a template")
	case e == nil:
		return proceed
	case e.Protocol == 47 && t.portMask != 0:
		return x.unknown("HMARK of a connection of GRE")
	}
	var ports uint32
	if e.Protocol != packet.ICMP {
		ports = t.pair(e.Original.SrcPort, e.Reply.SrcPort)
	}
	t.set(x, folded(e.Original.Src.AsSlice(), t.sourceMask), folded(e.Reply.Src.AsSlice(), t.destinationMask), ports, e.Protocol)
	return proceed
}

// of4 hashes a packet of IPv4, or the one that an error of ICMP quotes.
func (t xtHMark) of4(x *execution, data []byte) {
	body := func() []byte { return data[min(int(data[0]&0xf)*4, len(data)):] }
	if rest := body(); data[9] == packet.ICMP && len(rest) >= 8 {
		if kind := rest[0]; kind >= 3 && kind <= 5 || kind == 11 || kind == 12 {
			if data = rest[8:]; len(data) < 20 {
				return
			}
		}
	}
	var ports uint32
	if data[9] != packet.ICMP && binary.BigEndian.Uint16(data[6:])<<2 == 0 {
		ports = t.portsOf(body(), data[9])
	}
	t.set(x, folded(data[12:16], t.sourceMask), folded(data[16:20], t.destinationMask), ports, data[9])
}

// of6 hashes a packet of IPv6, or the one that an error of ICMPv6 quotes.
func (t xtHMark) of6(x *execution, data []byte) {
	protocol, body, fragment, ok := xtUpper(data)
	if !ok {
		t.set(x, 0, 0, 0, 0)
		return
	}
	if protocol == packet.ICMPv6 && !fragment && len(body) >= 8 && body[0] >= 1 && body[0] <= 127 {
		data = body[8:]
		if len(data) < 40 || data[0]>>4 != 6 {
			return
		}
		if protocol, body, fragment, ok = xtUpper(data); !ok {
			return
		}
	}
	var ports uint32
	if protocol != packet.ICMPv6 && !fragment {
		ports = t.portsOf(body, protocol)
	}
	t.set(x, folded(data[8:24], t.sourceMask), folded(data[24:40], t.destinationMask), ports, protocol)
}

// xtUpper returns the first header of IPv6 that is no extension, or one of
// authentication, and whether that of a fragment stands before it. ok is false when
// the packet ends before.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_find_hdr with IP6_FH_F_AUTH.
func xtUpper(data []byte) (protocol uint8, body []byte, fragment, ok bool) {
	protocol, body = data[6], data[40:]
	for {
		least := 2
		switch protocol {
		case 43, 44:
			least = 4
		case 0, 60, protoAH:
		default:
			return protocol, body, fragment, true
		}
		if len(body) < least {
			return 0, nil, fragment, false
		}
		size := int(body[1])*8 + 8
		switch protocol {
		case protoAH:
			return protocol, body, fragment, true
		case 44:
			size, fragment = 8, true
			if next := body[0]; body[2] != 0 || body[3] > 7 { // a later one
				return next, nil, true, next != 0 && next != 43 && next != 44 && next != protoAH && next != 60
			}
		}
		protocol, body = body[0], body[min(size, len(body)):]
	}
}
