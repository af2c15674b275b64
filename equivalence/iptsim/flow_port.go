package iptsim

import (
	"encoding/binary"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// A flowPortPlace is where the ports of a protocol are.
type flowPortPlace struct {
	proto uint8
	at    int
}

// flowPortsAt is where the two ports are that a rate limit by key sees in the
// header of a protocol; others have none.
//
// Kernel: include/linux/in.h, proto_ports_offset.
var flowPortsAt = []flowPortPlace{{protoTCP, 0}, {protoUDP, 0}, {protoDCCP, 0}, {protoESP, 0}, {protoAuth, 4}, {protoSCTP, 0}, {protoUDPLite, 0}}

const (
	protoUDP     = 17
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136
	bothPorts    = 4
)

// flowPort is the port of a key. IPv4 does not look whether the packet is a later
// fragment. In IPv6 the search goes through authentication headers, stops at the
// header of a later fragment, and fails where no next header is announced.
//
// Kernel: net/netfilter/xt_hashlimit.c, hashlimit_init_dst;
// net/ipv6/exthdrs_core.c, ipv6_skip_exthdr.
func (v *view) flowPort(which uint32) (predicate.Bits, bool) {
	if v.version == 6 {
		switch later, ok := v.skip(); {
		case !ok:
			return predicate.Bits{}, false
		case later:
			return number(0, true)
		}
	}
	for _, p := range flowPortsAt {
		if p.proto != v.proto {
			continue
		}
		if v.thoff+p.at+bothPorts > len(v.f.Data) {
			return predicate.Bits{}, false
		}
		return word(v.f.Data[v.thoff+p.at:], 2*int(which))
	}
	return number(0, true)
}

// skip walks the headers of IPv6 and says whether they end in that of a later
// fragment. ok is false when the packet ends before, or announces no next header.
func (v *view) skip() (later, ok bool) {
	data := v.f.Data
	next, at := data[6], 40
	for isExtension(next) {
		if next == protoNone || at+2 > len(data) {
			return false, false
		}
		size := (int(data[at+1]) + 1) * 8
		switch next {
		case protoFragment:
			if at+4 > len(data) {
				return false, false
			}
			if binary.BigEndian.Uint16(data[at+2:])>>3 != 0 {
				return true, true
			}
			size = 8
		case protoAuth:
			size = (int(data[at+1]) + 2) * 4
		}
		next, at = data[at], at+size
	}
	return false, true
}

// flowPort is the port as a number of variables.
func (c *compiler) flowPort(which uint32) symbolicField {
	s := c.space
	f := symbolicField{word: symbolic.Constant(0, 16), present: bdd.True, known: true}
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	for _, p := range flowPortsAt {
		is := s.Number(s.Bits(symbolic.Protocol), uint64(p.proto))
		if s.Version == 6 {
			is = s.And(is, first)
		}
		word, modelled := s.Bytes(symbolic.Transport, p.at+2*int(which), 2)
		f.known = f.known && modelled
		for i := range word {
			f.word[i] = s.ITE(is, word[i], f.word[i])
		}
		f.present = s.Diff(f.present, s.Diff(is, c.reaches(p.at+bothPorts)))
	}
	if s.Version == 6 {
		none := s.Number(s.Bits(symbolic.Protocol), protoNone)
		f.present = s.And(f.present, s.Or(s.Not(first), s.Diff(c.found(), none)))
	}
	return f
}

// ported holds for packets of which a key has the ports of the header.
func (c *compiler) ported() bdd.Ref {
	s := c.space
	f := bdd.False
	for _, p := range flowPortsAt {
		if p.proto != protoAuth {
			f = s.Or(f, s.Number(s.Bits(symbolic.Protocol), uint64(p.proto)))
		}
	}
	if s.Version == 6 {
		f = s.And(f, s.Number(s.Bits(symbolic.Fragment), 0))
	}
	return f
}
