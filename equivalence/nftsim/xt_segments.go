package nftsim

import (
	"fmt"
	"net/netip"
	"strings"
)

func init() { registerXtMatch("srh", 1, decodeXtSegments) }

// xtSegments asks for a segment routing header of IPv6 with no more segments left than
// it has: for numbers in it, and for segments.
//
// Kernel: net/ipv6/netfilter/ip6t_srh.c, srh1_mt6; include/uapi/linux/netfilter_ipv6/ip6t_srh.h,
// struct ip6t_srh1.
type xtSegments struct {
	next, length, left, last uint8
	tag                      [2]byte
	addresses, masks         [3][16]byte // of the previous one, the next one and the last one
	flags, invert            uint16
}

func decodeXtSegments(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtSegments{next: r.u8(), length: r.u8(), left: r.u8(), last: r.u8(), tag: [2]byte(r.bytes(2))}
	r.align(4)
	for _, list := range []*[3][16]byte{&m.addresses, &m.masks} {
		for i := range list {
			list[i] = [16]byte(r.bytes(16))
		}
	}
	m.flags, m.invert = r.u16(), r.u16()
	if err := r.end(); err != nil {
		return nil, err
	}
	if m.flags>>14 != 0 || m.invert&^m.flags != 0 {
		return nil, notModelled{fmt.Sprintf("match srh with the flags %#x and %#x", m.flags, m.invert)}
	}
	return m, nil
}

// An xtSegmentsTest is what a flag asks: the words, and whether it holds for a header.
type xtSegmentsTest struct {
	words string
	holds func(header, packet []byte) bool
}

// tests are those of all flags, lowest first.
func (m *xtSegments) tests() []xtSegmentsTest {
	const nextAt, lengthAt, leftAt, lastAt, tagAt = 0, 1, 3, 4, 6
	list := []xtSegmentsTest{{fmt.Sprintf("next header = %d", m.next), func(h, _ []byte) bool { return h[nextAt] == m.next }}}
	for _, f := range []struct {
		name   string
		at     int
		number uint8
	}{{"length", lengthAt, m.length}, {"segments left", leftAt, m.left}, {"last entry", lastAt, m.last}} {
		list = append(list,
			xtSegmentsTest{fmt.Sprintf("%s = %d", f.name, f.number), func(h, _ []byte) bool { return h[f.at] == f.number }},
			xtSegmentsTest{fmt.Sprintf("%s > %d", f.name, f.number), func(h, _ []byte) bool { return h[f.at] > f.number }},
			xtSegmentsTest{fmt.Sprintf("%s < %d", f.name, f.number), func(h, _ []byte) bool { return h[f.at] < f.number }})
	}
	list = append(list, xtSegmentsTest{fmt.Sprintf("tag = %x", m.tag[:]), func(h, _ []byte) bool { return [2]byte(h[tagAt:tagAt+2]) == m.tag }})
	for i, name := range []string{"previous", "next", "last"} {
		words := fmt.Sprintf("%s segment = %v under %v", name, netip.AddrFrom16(m.addresses[i]), netip.AddrFrom16(m.masks[i]))
		list = append(list, xtSegmentsTest{words, func(_, packet []byte) bool {
			const size = 16
			for n := range size {
				if (packet[n]^m.addresses[i][n])&m.masks[i][n] != 0 {
					return false
				}
			}
			return true
		}})
	}
	return list
}

func (m *xtSegments) String() string {
	words := []string{"segment routing header"}
	for bit, t := range m.tests() {
		switch {
		case m.flags>>bit&1 == 0:
		case m.invert>>bit&1 != 0:
			words = append(words, "not "+t.words)
		default:
			words = append(words, t.words)
		}
	}
	return strings.Join(words, ", ")
}

func (*xtSegments) negated() bool { return false }

func (m *xtSegments) holds(x *execution) (match, known bool) {
	data := x.flight.Data
	if len(data) < ipv6Len || data[0]>>4 != 6 {
		return false, false
	}
	header, _ := routingHeader(x) // a packet that ends before has none
	const typeAt, leftAt, lastAt, segmentRouting, before, size = 2, 3, 4, 4, 8, 16
	if header == nil || header[typeAt] != segmentRouting || header[leftAt] > header[lastAt] {
		return false, true
	}
	// Segments can stand behind the end of the header, in what follows it.
	found, _ := findHeader6(data, protoRouting, false)
	rest := data[found.offset:]
	left := int(header[leftAt])
	const firstSegment = 11 // of the bits
	for bit, t := range m.tests() {
		if m.flags>>bit&1 == 0 {
			continue
		}
		segment := rest
		if bit >= firstSegment {
			place := [3]int{left + 1, left - 1, 0}[bit-firstSegment]
			missing := bit == firstSegment && header[leftAt] == header[lastAt] || place < 0
			if missing || before+size*(place+1) > len(rest) {
				return false, true
			}
			segment = rest[before+size*place:]
		}
		if t.holds(header, segment) != (m.invert>>bit&1 == 0) {
			return false, true
		}
	}
	return true, true
}
