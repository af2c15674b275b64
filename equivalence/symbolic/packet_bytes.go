package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// The size of the headers of the two versions, at least.
const (
	headerIPv4 = 20
	headerIPv6 = 40
)

// extensionHeaders are those behind which the transport protocol may stand, RFC
// 8200 section 4.
var extensionHeaders = []uint64{packet.HopByHop, packet.Routing, packet.Fragment, packet.DestOpts, packet.AH}

// Packet returns n bytes of the packet from an offset on, counted from the network
// header, and whether there are so many. ok is false for bytes that are not modelled.
//
// Right behind an IPv4 header without options, or an IPv6 header without extensions,
// are the bytes of the transport header; what is elsewhere has variables of its own.
func (s *Space) Packet(offset, n int) (w Word, there bdd.Ref, ok bool) {
	size := headerIPv4
	if s.Version == 6 {
		size = headerIPv6
	}
	if offset < 0 || offset+n > packetSize {
		return nil, bdd.False, false
	}
	plain := bdd.True
	if offset+n > size {
		plain = s.plainHeader()
	}
	for at := offset; at < offset+n; at++ {
		if at < size {
			b, _ := s.Network(at, 1)
			w = append(w, b...)
			continue
		}
		b, _ := s.Bytes(PacketBytes, at, 1)
		if transport, named := s.Bytes(Transport, at-size, 1); named {
			for i := range b {
				b[i] = s.ITE(plain, transport[i], b[i])
			}
		}
		w = append(w, b...)
	}
	if offset+n <= size {
		return w, bdd.True, true
	}
	end := offset + n
	behind := s.atLeast(s.Bits(TransportBytes), uint64(end-size))
	return w, s.ITE(plain, behind, s.atLeast(s.Bits(Length), uint64(end))), true
}

// plainHeader holds for packets with the transport header right behind a network
// header of the least size.
func (s *Space) plainHeader() bdd.Ref {
	if s.Version == 4 {
		return s.Number(s.Bits(HeaderWords), headerIPv4/4)
	}
	next, extended := s.Bits(NextHeader), bdd.False
	for _, header := range extensionHeaders {
		extended = s.Or(extended, s.Number(next, header))
	}
	return s.Not(extended)
}

// Extension returns whether a packet has an IPv6 extension header that an instance of
// [ExtensionKind] is about, and its first bytes. The one right behind the IPv6 header
// is told by other variables, and all of its bytes.
func (s *Space) Extension(slot Slot) (there bdd.Ref, first Word) {
	answer := s.Peek(slot)
	number := extensionNumber(s.slots[slot].instance)
	begins := s.FirstExtension(number)
	// It was found when there are so many bytes of it, as behind it there is something.
	least := 2
	if number == packet.Fragment || number == packet.Routing {
		least = 4
	}
	found := s.Or(s.Bit(TransportFound), s.atLeast(s.Bits(Length), uint64(headerIPv6+least)))
	there = s.ITE(begins, found, s.Diff(answer[0], s.plainHeader()))
	first = slices.Clone(answer[1:])
	for bit := range first {
		if place := 8*headerIPv6 + bit; place < PacketBytes.Width() {
			first[bit] = s.ITE(begins, s.Var(PacketBytes.Level(place)), first[bit])
		}
	}
	return there, first
}

// FirstExtension holds for packets with an extension header of a number right behind
// the IPv6 header.
func (s *Space) FirstExtension(number uint8) bdd.Ref {
	return s.Number(s.Bits(NextHeader), uint64(number))
}

// nextHeader is what the number behind the addresses of IPv6 says of the headers: one
// that is none of the extensions is the protocol.
func (d *domain) nextHeader() {
	s := d.space
	if s.Version == 4 {
		return
	}
	plain, same := s.plainHeader(), bdd.True
	for i, bit := range s.Bits(NextHeader) {
		same = s.And(same, s.Not(s.Xor(bit, s.Variables(Protocol)[i])))
	}
	d.implies(plain, s.All(same, s.Var(TransportFound.Level(0)), d.is(BehindAuth, 0), d.is(Fragment, 0), d.is(MoreFragments, 0)))
	if d.used[PacketBytes] {
		d.wholeExtension()
	}
	if d.at.Accepts("hbh-position") {
		for slot, of := range s.slots {
			if of.instance.Kind == ExtensionKind && extensionNumber(of.instance) == packet.HopByHop {
				d.implies(s.Var(s.answer(Slot(slot), 0, 0)), s.FirstExtension(packet.HopByHop))
				d.assumed = append(d.assumed, assumePosition)
			}
		}
	}
}

// wholeExtension: a packet with something behind its headers has all of the first of
// them, as it says how long it is.
func (d *domain) wholeExtension() {
	s, sized := d.space, bdd.False
	for _, number := range []uint8{packet.HopByHop, packet.Routing, packet.DestOpts} {
		sized = s.Or(sized, s.FirstExtension(number))
	}
	behind := s.And(sized, s.atLeast(s.Bits(TransportBytes), 1))
	length, _ := s.Bytes(PacketBytes, headerIPv6+1, 1)
	const unit, most = 8, 256
	whole := bdd.False
	for units := range most {
		enough := s.atLeast(s.Bits(Length), uint64(headerIPv6+unit*(units+1)+1))
		whole = s.Or(whole, s.And(s.Number(length, uint64(units)), enough))
	}
	d.implies(behind, whole)
	d.used[Length] = true
}
