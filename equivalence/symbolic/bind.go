package symbolic

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// Bind returns the values that the variables have on a packet in flight, as a
// stage would find it. Variables of which [Space.Knows] is false are false.
func (s *Space) Bind(f *packet.Flight) func(l bdd.Level) bool {
	b := &binding{space: s, f: f, values: map[Group]uint64{}, wide: map[Group][]byte{}, first: map[string][]byte{}}
	b.headers()
	b.circumstances()
	b.connection()
	return b.value
}

// Knows reports whether Bind can tell the value of a variable: the answers of
// instances, and the types that the routing tables give addresses, it cannot; but
// it sees which extension headers there are.
func (s *Space) Knows(l bdd.Level) bool {
	g, _, ok := GroupOf(l)
	if !ok {
		slot, _, _, known := s.instanceOf(l)
		return known && s.slots[slot].instance.Kind == ExtensionKind
	}
	return ok && (g < SourceType || g > DestinationTypeOut)
}

// binding is a packet read into values of groups.
type binding struct {
	space  *Space
	f      *packet.Flight
	values map[Group]uint64 // of groups up to 64 bits
	wide   map[Group][]byte // of longer ones, the first byte first
	// first are the first bytes of the first extension header of each number.
	first map[string][]byte
}

func (b *binding) value(l bdd.Level) bool {
	g, bit, ok := GroupOf(l)
	if !ok {
		return b.extension(l)
	}
	if raw, ok := b.wide[g]; ok {
		return bit/8 < len(raw) && raw[bit/8]>>(7-bit%8)&1 == 1
	}
	shift := g.Width() - 1 - bit
	return shift < 64 && b.values[g]>>shift&1 == 1
}

// extension is a variable of an instance of [ExtensionKind].
func (b *binding) extension(l bdd.Level) bool {
	slot, _, bit, ok := b.space.instanceOf(l)
	if !ok || b.space.slots[slot].instance.Kind != ExtensionKind {
		return false
	}
	first, there := b.first[b.space.slots[slot].instance.Parameters]
	if bit == 0 {
		return there
	}
	bit--
	return bit/8 < len(first) && first[bit/8]>>(7-bit%8)&1 == 1
}

func (b *binding) flag(g Group, on bool) {
	if on {
		b.values[g] = 1
	}
}

// headers reads the bytes of the packet.
func (b *binding) headers() {
	data := b.f.Data
	b.wide[NetworkRest] = data[:min(len(data), networkSize)]
	b.wide[PacketBytes] = data[:min(len(data), packetSize)]
	b.values[Length] = uint64(len(data))
	at := 0
	switch b.space.Version {
	case 4:
		if len(data) < 20 {
			return
		}
		frag := binary.BigEndian.Uint16(data[6:])
		b.values[HeaderWords] = uint64(data[0] & 15)
		b.values[TOS], b.values[TTL], b.values[Protocol] = uint64(data[1]), uint64(data[8]), uint64(data[9])
		b.values[Fragment] = uint64(frag & 0x1fff)
		b.flag(MoreFragments, frag&0x2000 != 0)
		b.address(Source, data[12:16])
		b.address(Destination, data[16:20])
		b.flag(TransportFound, true)
		at = int(data[0]&15) * 4
	case 6:
		if len(data) < 40 {
			return
		}
		b.values[TOS] = uint64(data[0]<<4 | data[1]>>4)
		b.values[TTL], b.values[NextHeader] = uint64(data[7]), uint64(data[6])
		b.address(Source, data[8:24])
		b.address(Destination, data[24:40])
		at = b.extensions()
	}
	rest := data[min(at, len(data)):]
	b.values[TransportBytes] = uint64(min(len(rest), MostTransportBytes))
	b.wide[Transport] = rest[:min(len(rest), TransportSize)]
	if b.values[Protocol] == packet.TCP && b.values[Fragment] == 0 {
		b.options(rest)
	}
	b.chunks(rest)
}

// chunks walks what would be the chunks of SCTP (RFC 9260 section 3.2).
func (b *binding) chunks(rest []byte) {
	const header, least, round = 12, 4, 3
	found := make([]byte, 256/8)
	b.wide[Chunk] = found
	for at := header; ; {
		if at+least > len(rest) {
			b.flag(ChunksCut, true)
			return
		}
		length := int(binary.BigEndian.Uint16(rest[at+2:]))
		if length == 0 {
			b.flag(ChunksCut, true)
			return
		}
		found[rest[at]/8] |= 1 << (7 - rest[at]%8)
		if at += (length + round) &^ round; at >= len(rest) {
			return
		}
	}
}

func (b *binding) address(g Group, a []byte) {
	wide := make([]byte, addressBits/8)
	copy(wide[len(wide)-len(a):], a)
	b.wide[g] = wide
}

// extensions walks the extension headers of RFC 8200 section 4 and returns where
// the transport header is.
func (b *binding) extensions() int {
	data := b.f.Data
	next, at := data[6], 40
	for {
		switch next {
		case packet.HopByHop, packet.Routing, packet.DestOpts, packet.Fragment, packet.AH:
		default:
			b.values[Protocol] = uint64(next)
			b.flag(TransportFound, true)
			return at
		}
		if at+2 > len(data) || (next == packet.Fragment || next == packet.Routing) && at+4 > len(data) {
			return at
		}
		if number := strconv.Itoa(int(next)); b.first[number] == nil {
			const known = 8
			b.first[number] = data[at:min(len(data), at+known)]
		}
		size := 8 * (int(data[at+1]) + 1)
		switch next {
		case packet.AH:
			size = 4 * (int(data[at+1]) + 2)
			b.flag(BehindAuth, true)
			if b.wide[Auth] == nil {
				b.wide[Auth] = data[at:min(len(data), at+authSize)]
			}
		case packet.Fragment:
			size = 8
			word := binary.BigEndian.Uint16(data[at+2:])
			b.values[Fragment] = uint64(word >> 3)
			b.flag(MoreFragments, word&1 != 0)
			if word>>3 != 0 {
				switch data[at] {
				case packet.HopByHop, packet.Routing, packet.DestOpts, packet.Fragment, packet.AH:
					// What such a fragment continues is not told.
				default:
					b.values[Protocol] = uint64(data[at])
					b.flag(TransportFound, true)
				}
				return at + 8
			}
		}
		next, at = data[at], at+size
	}
}

// options reads the kinds of the options of a TCP header, and the value of the
// maximum segment size (RFC 9293 section 3.1).
func (b *binding) options(segment []byte) {
	if len(segment) < 20 {
		return
	}
	size := int(segment[12]>>4) * 4
	if size < 20 || size > len(segment) {
		return
	}
	kinds := make([]byte, 256/8)
	b.wide[TCPOption] = kinds
	for o := segment[20:size]; len(o) > 0; {
		kinds[o[0]/8] |= 1 << (7 - o[0]%8)
		if o[0] <= 1 || len(o) < 2 || o[1] == 0 {
			o = o[1:]
			continue
		}
		const mss, mssSize = 2, 4
		if o[0] == mss && o[1] == mssSize && len(o) >= mssSize && b.values[MSS] == 0 {
			b.values[MSS] = uint64(binary.BigEndian.Uint16(o[2:]))
		}
		o = o[min(int(o[1]), len(o)):]
	}
}

// circumstances reads what is not in the bytes.
func (b *binding) circumstances() {
	f, names := b.f, b.space.names
	b.values[Hook] = uint64(f.Hook)
	b.values[InName] = uint64(names.Class(f.In, b.space.tests))
	b.values[OutName] = uint64(names.Class(f.Out, b.space.tests))
	b.values[Mark], b.values[Priority] = uint64(f.Mark), uint64(f.Priority)
	b.values[Secmark] = uint64(f.Secmark)
	b.flag(Notrack, f.Notrack)
	b.flag(Template, f.Template)
	b.values[Given], _ = b.space.GivenNumber(f.Given)
	if f.Packet == nil {
		return
	}
	if f.Packet.Path == packet.Arriving {
		b.values[PacketType] = uint64(f.Packet.Type)
	}
	if link := f.Packet.Link; link != nil {
		ether := []byte{8, 0}
		if b.space.Version == 6 {
			ether = []byte{0x86, 0xdd}
		}
		b.flag(HasLink, true)
		b.wide[Link] = append(append(append([]byte{}, link.Dst[:]...), link.Src[:]...), ether...)
	}
	wall := f.Packet.Wall()
	b.values[Clock], b.values[ClockSecond] = uint64(wall.UnixNano()), uint64(wall.Unix()%86400)
	b.values[ClockDay] = uint64(wall.Weekday())
	b.values[CPU] = uint64(f.Packet.CPU)
	if socket := f.Packet.Socket; socket != nil {
		b.flag(HasSocket, true)
		b.flag(HasFile, !socket.NoFile)
		b.values[UID], b.values[GID], b.values[SocketClass] = uint64(socket.UID), uint64(socket.GID), uint64(socket.Class)
	}
	if f.Host == nil {
		return
	}
	if d := f.Host.Device(f.In); d != nil {
		b.values[InType], b.values[InGroup] = hardware(d), uint64(d.Group)
	}
	b.path()
	if d := f.Host.Device(f.Out); d != nil {
		b.values[OutType], b.values[OutGroup] = hardware(d), uint64(d.Group)
	}
}

// path reads the largest segment for the way out, or to the host itself, and the
// way back.
func (b *binding) path() {
	f, headers, most := b.f, 40, 0xffff
	out := f.Out
	if f.Hook == packet.Input {
		out = "lo"
	}
	d := f.Host.Device(out)
	if d == nil {
		return
	}
	mtu := min(d.MTU, most)
	raw := b.wide[Source]
	if b.space.Version == 4 {
		raw = raw[len(raw)-4:]
	} else {
		headers = 60
	}
	if a, ok := netip.AddrFromSlice(raw); ok {
		if r, ok := f.Host.Lookup(a); ok {
			if r.Type == packet.Local || r.Type == packet.Anycast {
				r.Device = "lo"
			}
			if back := f.Host.Device(r.Device); back != nil {
				mtu = min(mtu, back.MTU)
			}
		}
	}
	b.values[PathMSS] = uint64(max(mtu-headers, 0))
}

// hardware is the ARPHRD_* number of a device, include/uapi/linux/if_arp.h.
func hardware(d *packet.Device) uint64 {
	const ethernet, loopback, none = 1, 772, 0xfffe
	switch {
	case d.Loopback:
		return loopback
	case d.Ethernet:
		return ethernet
	}
	return none
}

// connection reads what tracking says.
func (b *binding) connection() {
	t := b.f.Tracking
	b.values[Tracking] = uint64(t.State)
	b.flag(CTDirection, t.Reply && t.Entry != nil)
	e := t.Entry
	if e == nil {
		return
	}
	b.values[CTStatus], b.values[CTMark], b.values[CTProtocol] = uint64(e.Status), uint64(e.Mark), uint64(e.Protocol)
	if e.Status&packet.StatusConfirmed != 0 {
		b.values[CTExpires] = uint64(e.Expires) * 1000
	}
	for g, a := range map[Group]netip.Addr{CTOrigSrc: e.Original.Src, CTOrigDst: e.Original.Dst, CTReplSrc: e.Reply.Src, CTReplDst: e.Reply.Dst} {
		if a.IsValid() {
			b.address(g, a.AsSlice())
		}
	}
	b.values[CTOrigSrcPort], b.values[CTOrigDstPort] = uint64(e.Original.SrcPort), uint64(e.Original.DstPort)
	b.values[CTReplSrcPort], b.values[CTReplDstPort] = uint64(e.Reply.SrcPort), uint64(e.Reply.DstPort)
	b.flag(CTAccounting, e.Accounting)
	for i, n := range []struct{ packets, bytes uint64 }{
		{e.Packets[0], e.Bytes[0]}, {e.Packets[1], e.Bytes[1]}, {e.Packets[0] + e.Packets[1], e.Bytes[0] + e.Bytes[1]},
	} {
		b.values[CTPacketsOrig+Group(i)], b.values[CTBytesOrig+Group(i)] = n.packets, n.bytes
		if n.packets != 0 {
			b.values[CTAverageOrig+Group(i)] = n.bytes / n.packets
		}
	}
	b.wide[CTLabels] = e.Labels[:]
	b.values[CTZone], b.values[CTSecmark] = uint64(e.Zone), uint64(e.Secmark)
	if e.Helper != "" {
		b.flag(CTHasHelper, true)
		name := make([]byte, 16)
		copy(name[:15], e.Helper)
		b.wide[CTHelper] = name
	}
}
