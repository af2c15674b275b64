package nftsim

import (
	"fmt"
	"net/netip"
	"strings"
)

func init() { registerXtMatch("rt", 0, decodeXtRouting) }

// xtRouting asks for a routing header of IPv6, and of type 0 what it holds. A packet
// that ends before it can be said whether there is such a header is dropped.
//
// Kernel: net/ipv6/netfilter/ip6t_rt.c; include/uapi/linux/netfilter_ipv6/ip6t_rt.h,
// struct ip6t_rt.
type xtRouting struct {
	kind, length  uint32
	left          [2]uint32
	flags, invert uint8
	addresses     []netip.Addr
}

// Bits of its flags. The first three are those of inversion, too.
const (
	xtRoutingType = 1 << iota
	xtRoutingLeft
	xtRoutingLength
	xtRoutingReserved
	xtRoutingAddresses
	xtRoutingAmong
)

func decodeXtRouting(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtRouting{kind: r.u32(), left: [2]uint32{r.u32(), r.u32()}, length: r.u32(), flags: r.u8(), invert: r.u8()}
	r.align(4)
	var all [16]netip.Addr
	for i := range all {
		all[i] = netip.AddrFrom16([16]byte(r.bytes(16)))
	}
	n := int(r.u8())
	r.align(4)
	if err := r.end(); err != nil {
		return nil, err
	}
	const invertible = xtRoutingType | xtRoutingLeft | xtRoutingLength
	odd := m.flags>>6 != 0 || m.invert&^(m.flags&invertible) != 0 || n > len(all) || m.flags&xtRoutingAddresses == 0 && m.flags&xtRoutingAmong != 0 ||
		m.flags&xtRoutingType == 0 && m.kind != 0 || m.flags&xtRoutingLength == 0 && m.length != 0 || (m.flags&xtRoutingAddresses != 0) != (n != 0)
	if odd {
		return nil, notModelled{fmt.Sprintf("match rt with the flags %#x and %#x and %d addresses", m.flags, m.invert, n)}
	}
	for _, a := range all[n:] {
		if a != netip.IPv6Unspecified() {
			return nil, notModelled{"match rt with addresses behind the last"}
		}
	}
	m.addresses = all[:n]
	return m, nil
}

func (m *xtRouting) String() string {
	words := []string{"routing header"}
	say := func(bit uint8, format string, values ...any) {
		text := fmt.Sprintf(format, values...)
		if m.invert&bit != 0 {
			text = "not " + text
		}
		words = append(words, text)
	}
	if m.flags&xtRoutingType != 0 {
		say(xtRoutingType, "of type %d", m.kind)
	}
	if m.flags&xtRoutingLeft != 0 || m.left != [2]uint32{0, 1<<32 - 1} {
		say(xtRoutingLeft, "%d-%d segments left", m.left[0], m.left[1])
	}
	if m.flags&xtRoutingLength != 0 {
		say(xtRoutingLength, "%d bytes long", m.length)
	}
	if m.flags&xtRoutingReserved != 0 {
		say(0, "nothing in what is reserved")
	}
	for _, a := range m.addresses {
		say(0, "over %v", a)
	}
	if m.flags&xtRoutingAmong != 0 {
		say(0, "and others among them")
	}
	return strings.Join(words, ", ")
}

func (*xtRouting) negated() bool { return false }

// drops drops what ends before it can be said whether there is such a header.
func (*xtRouting) drops(x *execution) bool {
	_, known := routingHeader(x)
	return !known
}

func (m *xtRouting) holds(x *execution) (match, known bool) {
	header, _ := routingHeader(x)
	if header == nil {
		return false, true
	}
	is := func(bit uint8, holds bool) bool { return holds != (m.invert&bit != 0) }
	left := uint32(header[3])
	switch {
	case !is(xtRoutingLeft, m.left[0] <= left && left <= m.left[1]),
		m.flags&xtRoutingLength != 0 && !is(xtRoutingLength, m.length == uint32(len(header))),
		m.flags&xtRoutingType != 0 && !is(xtRoutingType, m.kind == uint32(header[2])),
		m.flags&xtRoutingReserved != 0 && [4]byte(header[4:8]) != [4]byte{}:
		return false, true
	case m.flags&xtRoutingAddresses == 0:
		return true, true
	}
	found := 0
	const before, size = 8, 16
	for at := before; at+size <= len(header); at += size {
		a := netip.AddrFrom16([16]byte(header[at : at+size]))
		switch {
		case found == len(m.addresses):
			return m.flags&xtRoutingAmong != 0, true
		case a == m.addresses[found]:
			found++
		case m.flags&xtRoutingAmong == 0:
			return false, true
		}
	}
	return found == len(m.addresses), true
}

// routingHeader returns the routing header of a packet, nil when there is none that is
// whole. known is false where a packet ends before it can be said.
func routingHeader(x *execution) (header []byte, known bool) {
	data := x.flight.Data
	if len(data) < ipv6Len || data[0]>>4 != 6 {
		return nil, true
	}
	found, ok := findHeader6(data, protoRouting, false)
	if !ok {
		// A later fragment ends the search.
		last, whole := findHeader6(data, anyHeader, false)
		return nil, whole || last.fragment != 0
	}
	const unit = 8
	length := unit * (int(data[found.offset+1]) + 1)
	if found.offset+length > len(data) {
		return nil, true
	}
	return data[found.offset : found.offset+length], true
}
