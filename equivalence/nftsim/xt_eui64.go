package nftsim

import (
	"bytes"
	"slices"
)

func init() { registerXtMatch("eui64", 0, decodeXtEUI64) }

// xtEUI64 compares the interface identifier with the link address.
//
// Kernel: net/ipv6/netfilter/ip6t_eui64.c.
type xtEUI64 struct{}

func decodeXtEUI64(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	r.u32() // unused
	return xtEUI64{}, r.end()
}

func (xtEUI64) String() string { return "interface identifier of the Ethernet source" }

func (xtEUI64) negated() bool { return false }

func (xtEUI64) holds(x *execution) (match, known bool) {
	link, data := x.flight.Packet.Link, x.flight.Data
	if link == nil || len(data) < 24 || data[0]>>4 != 6 {
		return false, link == nil || len(data) >= 24
	}
	id := slices.Concat(link.Src[:3], []byte{0xff, 0xfe}, link.Src[3:])
	id[0] ^= 2
	return bytes.Equal(id, data[16:24]), true
}
