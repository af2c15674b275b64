package iptsim

import (
	"encoding/binary"
	"slices"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

// Protocols that the machine itself knows.
//
// Kernel: include/uapi/linux/in.h, in6.h.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoRouting  = 43
	protoFragment = 44
	protoAuth     = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoDestOpts = 60
)

// A view is a packet in flight as xtables sees it: what the traversal keeps at
// hand, and the reader of fields for predicates.
//
// Kernel: struct xt_action_param.
type view struct {
	f       *packet.Flight
	states  *predicate.States
	version int

	src, dst predicate.Bits
	in, out  predicate.Bits

	// transport says that the transport protocol was found. It always is in
	// IPv4; in IPv6 the search fails on a packet that ends within its
	// extension headers, and the rule then drops the packet.
	transport bool
	proto     uint8
	thoff     int // where the transport header starts
	offset    int // of the fragment, in units of 8 bytes
	more      bool
	// doomed says that the packet is dropped behind the rule.
	doomed bool
}

// reset looks at a packet.
func (v *view) reset(f *packet.Flight, states *predicate.States) {
	*v = view{f: f, states: states, in: predicate.Name(f.In), out: predicate.Name(f.Out)}
	data := f.Data
	if len(data) == 0 {
		return
	}
	switch {
	case data[0]>>4 == 4 && len(data) >= 20:
		v.version = 4
		v.addresses()
		v.transport = true
		v.proto = data[9]
		v.thoff = int(data[0]&15) * 4
		frag := binary.BigEndian.Uint16(data[6:])
		v.offset, v.more = int(frag&0x1fff), frag&0x2000 != 0
	case data[0]>>4 == 6 && len(data) >= 40:
		v.version = 6
		v.addresses()
		v.search()
	}
}

// addresses reads the addresses of the IP header.
func (v *view) addresses() {
	data := v.f.Data
	if v.version == 4 {
		v.src = predicate.Number(uint64(binary.BigEndian.Uint32(data[12:])))
		v.dst = predicate.Number(uint64(binary.BigEndian.Uint32(data[16:])))
		return
	}
	v.src = predicate.Bits{Hi: binary.BigEndian.Uint64(data[8:]), Lo: binary.BigEndian.Uint64(data[16:])}
	v.dst = predicate.Bits{Hi: binary.BigEndian.Uint64(data[24:]), Lo: binary.BigEndian.Uint64(data[32:])}
}

// search walks the extension headers of IPv6. It goes through authentication
// headers, and ends at a later fragment, whose fragment header must name
// something that is not an extension header.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_find_hdr with target -1.
func (v *view) search() {
	data := v.f.Data
	next, at := data[6], 40
	for isExtension(next) && next != protoNone {
		if at+2 > len(data) || next == protoRouting && at+4 > len(data) {
			return
		}
		size := (int(data[at+1]) + 1) * 8
		switch next {
		case protoFragment:
			if at+4 > len(data) {
				return
			}
			frag := binary.BigEndian.Uint16(data[at+2:])
			v.more = frag&1 != 0
			if offset := int(frag >> 3); offset != 0 {
				inner := data[at]
				if isExtension(inner) && inner != protoNone {
					return
				}
				v.transport, v.proto, v.offset, v.thoff = true, inner, offset, at+8
				return
			}
			size = 8
		case protoAuth:
			size = (int(data[at+1]) + 2) * 4
		}
		next, at = data[at], at+size
	}
	v.transport, v.proto, v.thoff = true, next, at
}

func isExtension(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAuth, protoNone, protoDestOpts:
		return true
	}
	return false
}

// header returns the packet from its transport header on; nil when there is
// none or this is a later fragment.
func (v *view) header() []byte {
	if !v.transport || v.offset != 0 || v.thoff > len(v.f.Data) {
		return nil
	}
	return v.f.Data[v.thoff:]
}

// segment returns the packet from where the kernel takes the transport header to
// begin, whether there is one or not. Of a later fragment of IPv6 it keeps the
// start of the packet.
//
// Kernel: net/ipv6/netfilter/ip6_tables.c, ip6_packet_match;
// net/ipv6/exthdrs_core.c, ipv6_find_hdr.
func (v *view) segment() []byte {
	switch {
	case !v.transport:
		return nil
	case v.version == 6 && v.offset != 0:
		return v.f.Data
	case v.thoff > len(v.f.Data):
		return nil
	}
	return v.f.Data[v.thoff:]
}

// headerOf is header for packets of one protocol.
func (v *view) headerOf(proto uint8) []byte {
	if v.proto != proto {
		return nil
	}
	return v.header()
}

// States is where stateful instances keep their state.
func (v *view) States() *predicate.States {
	v.f.Volatile = true
	return v.states
}

// Declare notes the code of a difference that translations may declare.
func (v *view) Declare(code string) {
	if !slices.Contains(v.f.Declared, code) {
		v.f.Declared = append(v.f.Declared, code)
	}
}

// Doubt notes that another clock might have given another answer.
func (v *view) Doubt() { v.f.Unsure = true }

// ForHost makes the packet one for the host.
func (v *view) ForHost() { v.f.ForHost = true }

// Now is the time of the packet.
func (v *view) Now() int64 { return v.f.Packet.Time }

// SetLabel gives the packet's connection a label, and says whether there is one.
//
// Kernel: net/netfilter/xt_connlabel.c.
func (v *view) SetLabel(bit uint8) bool {
	e := v.f.Tracking.Entry
	if e == nil {
		return false
	}
	e.Labels[bit/8] |= 1 << (bit % 8)
	return true
}
