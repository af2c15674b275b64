package equivalence

import (
	"maps"
	"net/netip"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// connection chooses what connection tracking finds.
func (b *builder) connection() {
	s := &b.spec
	state, _ := b.number(symbolic.Tracking)
	if state != 0 {
		s.State = packet.State(state)
	}
	s.Reply = b.flag(symbolic.CTDirection)
	mark, _ := b.number(symbolic.CTMark)
	s.ConnMark = uint32(mark)
	secmark, _ := b.number(symbolic.CTSecmark)
	s.ConnSecmark = uint32(secmark)
	if status, asked := b.number(symbolic.CTStatus); asked {
		s.Status = uint32(status)
	}
	if b.flag(symbolic.CTAccounting) {
		b.counters()
	}
	b.tuples()
	b.translated()
}

// translated makes the packet one of a connection of which addresses are
// translated, where it has others behind a hook.
func (b *builder) translated() {
	s := &b.spec
	if !b.allows(symbolic.Tracking, uint64(packet.Established)) || !b.allows(symbolic.CTDirection, 0) {
		return
	}
	for _, turn := range slices.Sorted(maps.Keys(b.translations)) {
		destination := tracks(b.translations[turn])
		g, now, at, port := symbolic.Source, s.Src, 0, s.SrcPort
		if destination {
			g, now, at, port = symbolic.Destination, s.Dst, 2, s.DstPort
		}
		later, laterPort := b.addressLater(g, turn, now), b.portLater(at, turn, port)
		if later == now && laterPort == port {
			continue
		}
		s.State, s.Reply, s.Entry = packet.Established, false, nil
		pkt, err := s.Packet()
		if err != nil {
			return
		}
		e := *pkt.Tracking.Entry
		e.Status |= packet.StatusSrcNATDone | packet.StatusDstNATDone
		ported := e.Protocol != packet.ICMP && e.Protocol != packet.ICMPv6
		switch {
		case destination:
			e.Status |= packet.StatusDstNAT
			if e.Reply.Src = later; ported {
				e.Reply.SrcPort = laterPort
			}
		default:
			e.Status |= packet.StatusSrcNAT
			if e.Reply.Dst = later; ported {
				e.Reply.DstPort = laterPort
			}
		}
		s.Entry = &e
		return
	}
}

// portLater is a port with the bits that are asked for behind a turn.
func (b *builder) portLater(offset, turn int, port uint16) uint16 {
	for bit := range 16 {
		if v, set := b.path[symbolic.Later(symbolic.Transport.Level(8*offset+bit), turn)]; set {
			port &^= 0x8000 >> bit
			if v {
				port |= 0x8000 >> bit
			}
		}
	}
	return port
}

// addressLater is an address with the bits that are asked for behind a turn.
func (b *builder) addressLater(g symbolic.Group, turn int, a netip.Addr) netip.Addr {
	raw := a.AsSlice()
	for i, l := range b.space.Levels(g) {
		if v, set := b.path[symbolic.Later(l, turn)]; set {
			raw[i/8] &^= 0x80 >> (i % 8)
			if v {
				raw[i/8] |= 0x80 >> (i % 8)
			}
		}
	}
	out, _ := netip.AddrFromSlice(raw)
	return out
}

// counters are those of the connection. What both directions have together is
// put right in the direction of which nothing is asked.
func (b *builder) counters() {
	s := &b.spec
	s.Packets = b.counted(symbolic.CTPacketsOrig, symbolic.CTPacketsRepl, symbolic.CTPacketsBoth)
	s.Bytes = b.counted(symbolic.CTBytesOrig, symbolic.CTBytesRepl, symbolic.CTBytesBoth)
	for i := range 2 {
		if average, asked := b.number(symbolic.CTAverageOrig + symbolic.Group(i)); asked {
			s.Packets[i], s.Bytes[i] = 1, average
		}
	}
	if average, asked := b.number(symbolic.CTAverageBoth); asked {
		s.Packets, s.Bytes = [2]uint64{1, 0}, [2]uint64{average, 0}
	}
	if s.Packets == [2]uint64{} {
		s.Packets[0] = 1
	}
}

// counted are two counters that fit what is asked of each and of their sum.
func (b *builder) counted(original, reply, both symbolic.Group) [2]uint64 {
	o, _ := b.number(original)
	r, _ := b.number(reply)
	sum, _ := b.number(both)
	for _, c := range [][2]uint64{{o, r}, {sum - r, r}, {o, sum - o}} {
		if b.allows(original, c[0]) && b.allows(reply, c[1]) && b.allows(both, c[0]+c[1]) {
			return c
		}
	}
	return [2]uint64{o, r}
}

// allows reports whether a class has packets of which a group is a number.
func (b *builder) allows(g symbolic.Group, n uint64) bool {
	levels := b.space.Levels(g)
	for i, l := range levels {
		if v, set := b.path[l]; set && v != (n>>(len(levels)-1-i)&1 == 1) {
			return false
		}
	}
	return true
}

// asks reports whether anything of a group is asked for.
func (b *builder) asks(g symbolic.Group) bool {
	return slices.ContainsFunc(b.space.Levels(g), func(l bdd.Level) bool { _, set := b.path[l]; return set })
}

// asksBytes reports whether anything of bytes of the transport header is asked
// for.
func (b *builder) asksBytes(offset, n int) bool {
	for bit := range 8 * n {
		if _, set := b.path[symbolic.Transport.Level(8*offset+bit)]; set {
			return true
		}
	}
	return false
}

// A tupleGroups are the groups of one direction of a connection.
type tupleGroups struct{ src, dst, srcPort, dstPort symbolic.Group }

var (
	originalGroups = tupleGroups{symbolic.CTOrigSrc, symbolic.CTOrigDst, symbolic.CTOrigSrcPort, symbolic.CTOrigDstPort}
	replyGroups    = tupleGroups{symbolic.CTReplSrc, symbolic.CTReplDst, symbolic.CTReplSrcPort, symbolic.CTReplDstPort}
)

// tuples makes addresses and ports of packet and connection fit together: where
// nothing is asked of those of the packet, they are the connection's. What does
// not fit, as where addresses are translated, is the connection's alone.
func (b *builder) tuples() {
	s := &b.spec
	own, other := originalGroups, replyGroups
	if s.Reply {
		own, other = other, own
	}
	for _, of := range []tupleGroups{own, {other.dst, other.src, other.dstPort, other.srcPort}} {
		if !b.asks(symbolic.Source) {
			s.Src = b.addressIn(of.src, s.Src)
		}
		if !b.asks(symbolic.Destination) {
			s.Dst = b.addressIn(of.dst, s.Dst)
		}
		if !b.asksBytes(0, 2) {
			s.SrcPort = b.portIn(of.srcPort, s.SrcPort)
		}
		if !b.asksBytes(2, 2) {
			s.DstPort = b.portIn(of.dstPort, s.DstPort)
		}
	}
	pkt, err := s.Packet()
	if err != nil || pkt.Tracking.Entry == nil {
		return
	}
	made := *pkt.Tracking.Entry
	e := made
	for _, of := range []struct {
		groups tupleGroups
		tuple  *packet.Tuple
	}{{originalGroups, &e.Original}, {replyGroups, &e.Reply}} {
		of.tuple.Src, of.tuple.Dst = b.addressIn(of.groups.src, of.tuple.Src), b.addressIn(of.groups.dst, of.tuple.Dst)
		of.tuple.SrcPort, of.tuple.DstPort = b.portIn(of.groups.srcPort, of.tuple.SrcPort), b.portIn(of.groups.dstPort, of.tuple.DstPort)
	}
	e.Protocol = uint8(b.numberIn(symbolic.CTProtocol, uint64(e.Protocol)))
	e.Zone = uint16(b.numberIn(symbolic.CTZone, uint64(e.Zone)))
	if b.asks(symbolic.CTExpires) {
		n, _ := b.number(symbolic.CTExpires)
		e.Expires = uint32(n / 1000)
	}
	if raw, asked := b.bytes(symbolic.CTLabels, 0, len(e.Labels)); asked {
		e.Labels = [16]byte(raw)
	}
	if e != made {
		s.Entry = &e
	}
}

// numberIn is a number with the bits that are asked for.
func (b *builder) numberIn(g symbolic.Group, n uint64) uint64 {
	levels := b.space.Levels(g)
	for i, l := range levels {
		if v, set := b.path[l]; set {
			bit := uint64(1) << (len(levels) - 1 - i)
			n &^= bit
			if v {
				n |= bit
			}
		}
	}
	return n
}

func (b *builder) portIn(g symbolic.Group, port uint16) uint16 {
	return uint16(b.numberIn(g, uint64(port)))
}

// addressIn is an address with the bits that are asked for.
func (b *builder) addressIn(g symbolic.Group, a netip.Addr) netip.Addr {
	return b.addressLater(g, 0, a)
}

// random chooses the random numbers that a packet draws: in the order of the
// states that are asked.
func (b *builder) random() {
	var drawn []uint32
	for slot := symbolic.Slot(0); ; slot++ {
		in, ok := b.space.InstanceAt(slot)
		if !ok {
			break
		}
		if !in.Silent || in.Width != 32 {
			continue
		}
		for _, n := range b.space.AnswersOn(slot, b.path) {
			if in.Below != 0 {
				n = (n<<32 + in.Below - 1) / in.Below
			}
			drawn = append(drawn, uint32(n))
		}
	}
	if drawn != nil {
		b.spec.Random = drawn
	}
}

// drawnOtherwise are variants of a witness with several random numbers, which
// draw them in another order.
func drawnOtherwise(w witness) []witness {
	if len(w.spec.Random) < 2 {
		return nil
	}
	var list []witness
	turned := slices.Clone(w.spec.Random)
	slices.Reverse(turned)
	for _, numbers := range append([][]uint32{turned}, slices.Collect(slices.Chunk(w.spec.Random, 1))...) {
		v := w
		v.spec.Random = numbers
		if pkt, err := v.spec.Packet(); err == nil {
			v.packet = pkt
			list = append(list, v)
		}
	}
	return list
}
