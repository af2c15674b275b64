package equivalence

import (
	"encoding/binary"
	"slices"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// extensions gives a packet the IPv6 extension headers that a class asks for. A
// fragment header that says nothing has bits of its own, which mean nothing.
func (b *builder) extensions() {
	s := &b.spec
	if b.space.Version == 4 {
		return
	}
	next, asked := b.number(symbolic.NextHeader)
	sized := []uint8{packet.HopByHop, packet.Routing, packet.DestOpts}
	if begins := uint8(next); asked && slices.Contains(sized, begins) {
		const header = 40
		length, _ := b.bytes(symbolic.PacketBytes, header+1, 1)
		size := min(8*(int(length[0])+1), symbolic.PacketBytes.Width()/8-header)
		raw, _ := b.bytes(symbolic.PacketBytes, header, size)
		s.Headers = append(s.Headers, packet.Extension{Proto: begins, Body: raw[2:]})
		sized = slices.DeleteFunc(sized, func(kind uint8) bool { return kind == begins })
	}
	for _, kind := range sized {
		first, there, _ := b.space.ExtensionOn(b.path, kind)
		if !there {
			continue
		}
		body := make([]byte, 8*(int(first[1])+1)-2)
		copy(body, first[2:])
		s.Headers = append(s.Headers, packet.Extension{Proto: kind, Body: body})
	}
	first, there, ok := b.space.ExtensionOn(b.path, packet.Fragment)
	if !ok {
		return
	}
	id := first[4:]
	const reserved = 6
	switch {
	case s.Fragmented:
		s.FragmentID = binary.BigEndian.Uint32(id)
	case there:
		s.Headers = append(s.Headers, packet.Extension{
			Proto: packet.Fragment, Body: append([]byte{0, first[3] & reserved}, id...), Reserved: first[1],
		})
	}
}

// chunks gives an SCTP packet the chunks that a class asks for, and, when the walk
// over them is to be cut, bytes that are none.
func (b *builder) chunks() {
	kinds := b.space.Levels(symbolic.Chunk)
	if !b.asks(symbolic.Chunk) && !b.asks(symbolic.ChunksCut) {
		return
	}
	var list []byte
	for kind, l := range kinds {
		if b.path[l] {
			list = append(list, byte(kind), 0, 0, 4)
		}
	}
	for kind, l := range kinds {
		if _, set := b.path[l]; len(list) == 0 && !b.path[symbolic.ChunksCut.Level(0)] && !set {
			list = append(list, byte(kind), 0, 0, 4)
		}
	}
	if b.path[symbolic.ChunksCut.Level(0)] {
		list = append(list, 0, 0)
	}
	b.spec.Payload = list
}
