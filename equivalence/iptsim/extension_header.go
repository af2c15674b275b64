package iptsim

import (
	"encoding/binary"
	"fmt"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// lookFor walks the headers of an IPv6 packet to the first of a number. lost says
// that the packet ends before it can be said whether there is one.
//
// Kernel: net/ipv6/exthdrs_core.c, ipv6_find_hdr.
func (v *view) lookFor(number uint8) (at int, found, lost bool) {
	data := v.f.Data
	if v.version != 6 {
		return 0, false, false
	}
	next, at := data[6], 40
	for {
		if !isExtension(next) || next == protoNone {
			return at, next == number, false
		}
		if at+2 > len(data) || (next == protoRouting || next == protoFragment) && at+4 > len(data) {
			return 0, false, true
		}
		if next == number {
			return at, true, false
		}
		size := (int(data[at+1]) + 1) * 8
		switch next {
		case protoFragment:
			if binary.BigEndian.Uint16(data[at+2:])>>3 != 0 {
				return 0, false, false
			}
			size = 8
		case protoAuth:
			size = (int(data[at+1]) + 2) * 4
		}
		next, at = data[at], at+size
	}
}

// extensionBytes returns n bytes of a header, by the argument of a field.
func (v *view) extensionBytes(arg uint32, n int) (predicate.Bits, bool) {
	number, offset := predicate.HeaderPlace(arg)
	at, found, _ := v.lookFor(number)
	const first = 40
	if found && number == protoHopByHop && at != first && offset > 1 {
		v.Declare("hbh-position")
	}
	at += offset
	if !found || at+n > len(v.f.Data) {
		return predicate.Bits{}, false
	}
	var value uint64
	for _, b := range v.f.Data[at : at+n] {
		value = value<<8 | uint64(b)
	}
	return predicate.Number(value), true
}

// extensionWhole reports whether a header ends within the packet.
func (v *view) extensionWhole(arg uint32) (predicate.Bits, bool) {
	kind, _ := predicate.HeaderPlace(arg)
	at, found, _ := v.lookFor(kind)
	if !found {
		return predicate.Bits{}, false
	}
	size := 8
	switch kind {
	case protoFragment:
	case protoAuth:
		size = (int(v.f.Data[at+1]) + 2) * 4
	default:
		size = (int(v.f.Data[at+1]) + 1) * 8
	}
	if at+size > len(v.f.Data) {
		v.Declare("ipv6-header-end")
	}
	return number(1, at+size <= len(v.f.Data))
}

// Of each header a proof knows whether it is there, and so many first bytes.
func extensionWidth(kind uint8) int {
	switch kind {
	case protoFragment:
		return 8
	case protoRouting:
		return 4
	}
	return 2
}

// extensionsOf lists the headers that a predicate asks for.
func extensionsOf(p predicate.Predicate) []uint8 {
	var list []uint8
	for _, f := range predicate.FieldsOf(p) {
		switch f.ID {
		case predicate.HeaderThere, predicate.HeaderByte, predicate.HeaderWord, predicate.HeaderWhole:
			if kind, _ := predicate.HeaderPlace(f.Arg); kind != protoAuth { // which has variables
				list = append(list, kind)
			}
		case predicate.HeaderSet:
			list = append(list, protoHopByHop, protoRouting, protoFragment, protoDestOpts)
		}
	}
	return list
}

// extensionInstance is what a proof knows of a header, in the words of the other
// machine.
func extensionInstance(kind uint8) symbolic.Instance {
	return symbolic.Instance{
		Kind: symbolic.ExtensionKind, Parameters: fmt.Sprint(kind), Width: 1 + 8*extensionWidth(kind),
		Silent: true, Identity: extensionName(kind),
	}
}

func extensionName(kind uint8) string { return fmt.Sprint("extension ", kind) }

// extension is bytes of a header as a number of variables, of a packet that has
// something behind its headers. n of 0 is none.
func (c *compiler) extension(arg uint32, n int) symbolicField {
	s := c.space
	kind, offset := predicate.HeaderPlace(arg)
	slot, ok := c.named[extensionName(kind)]
	if s.Version == 4 {
		return symbolicField{word: symbolic.Constant(0, max(8*n, 1)), present: bdd.False, known: true}
	}
	if kind == protoAuth {
		w, modelled := s.Bytes(symbolic.Auth, offset, n)
		if n == 0 {
			w = symbolic.Constant(1, 1)
		}
		return symbolicField{word: w, present: s.Bit(symbolic.BehindAuth), known: modelled || n == 0}
	}
	if !ok || offset+n > extensionWidth(kind) {
		return symbolicField{}
	}
	there, first := s.Extension(slot)
	if kind == protoFragment {
		// A packet that is a fragment has such a header.
		place, more := s.Bits(symbolic.Fragment), s.Bit(symbolic.MoreFragments)
		there = s.Or(there, s.Or(more, s.Not(s.Number(place, 0))))
		copy(first[16:29], place)
		first[31] = more
	}
	if n == 0 {
		return symbolicField{word: symbolic.Constant(1, 1), present: there, known: true}
	}
	return symbolicField{word: first[8*offset : 8*(offset+n)], present: there, known: true}
}

const protoESP = 50

// headerSetBits are the bits of predicate.HeaderSet.
var headerSetBits = map[uint8]uint64{
	protoHopByHop: 128, protoDestOpts: 64, protoRouting: 32, protoFragment: 16, protoAuth: 8, protoESP: 4, protoNone: 2,
}

// headerSet walks the headers of IPv6, also behind later fragments. A packet that
// ends before the next one has no such set.
//
// Kernel: net/ipv6/netfilter/ip6t_ipv6header.c.
func (v *view) headerSet() (predicate.Bits, bool) {
	data := v.f.Data
	if v.version != 6 {
		return predicate.Bits{}, false
	}
	set, next, at := uint64(0), data[6], 40
	for {
		bit := headerSetBits[next]
		if bit == 0 {
			set |= 1
			break
		}
		if next != protoNone && len(data)-at < 2 {
			v.Declare("ipv6-header-end")
			return predicate.Bits{}, false
		}
		set |= bit
		if next == protoNone || next == protoESP {
			break
		}
		size := (int(data[at+1]) + 1) * 8
		switch next {
		case protoFragment:
			size = 8
			if at+4 <= len(data) && binary.BigEndian.Uint16(data[at+2:])>>3 != 0 && isExtension(data[at]) {
				v.Declare("ipv6-header-end")
			}
		case protoAuth:
			size = (int(data[at+1]) + 2) * 4
		}
		next, at = data[at], at+size
		if at > len(data) {
			v.Declare("ipv6-header-end")
			if next != protoNone && next != protoESP {
				set |= 1
			}
			break
		}
	}
	return predicate.Number(set), true
}

// headerSet is the set of a packet with two bytes behind its headers.
func (c *compiler) headerSet() symbolicField {
	s := c.space
	if s.Version == 4 {
		return symbolicField{word: symbolic.Constant(0, 8), present: bdd.False, known: true}
	}
	upper := func(n uint64) bdd.Ref { return s.Number(s.Bits(symbolic.Protocol), n) }
	esp, none := upper(protoESP), upper(protoNone)
	w := symbolic.Word{}
	for _, kind := range []uint8{protoHopByHop, protoDestOpts, protoRouting, protoFragment} {
		f := c.extension(predicate.Header(kind, 0), 0)
		if !f.known {
			return f
		}
		w = append(w, f.present)
	}
	w = append(w, s.Bit(symbolic.BehindAuth), esp, none, s.Not(s.Or(esp, none)))
	return symbolicField{word: w, present: c.found(), known: true}
}
