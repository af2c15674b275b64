package iptsim

import (
	"encoding/binary"
	"net/netip"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// A property is how a packet to be built is given a field's value.
type property struct {
	bits int // width of the field; 128 for names
	set  func(s *packet.Spec, f predicate.Field, v predicate.Bits, family iptables.Family)
}

type specSetter = func(s *packet.Spec, f predicate.Field, v predicate.Bits, family iptables.Family)

// plain makes a setter of a function of the value alone.
func plain(set func(s *packet.Spec, n uint64)) specSetter {
	return func(s *packet.Spec, _ predicate.Field, v predicate.Bits, _ iptables.Family) { set(s, v.Lo) }
}

// properties are the fields that a packet can be built to have.
var properties = map[predicate.FieldID]property{
	predicate.Protocol: {8, plain(func(s *packet.Spec, n uint64) { s.Proto = uint8(n) })},
	predicate.SrcAddr: {128, func(s *packet.Spec, _ predicate.Field, v predicate.Bits, f iptables.Family) {
		s.Src, s.Version = toAddr(v, f), int(f)
	}},
	predicate.DstAddr: {128, func(s *packet.Spec, _ predicate.Field, v predicate.Bits, f iptables.Family) {
		s.Dst, s.Version = toAddr(v, f), int(f)
	}},
	predicate.InInterface: {128, func(s *packet.Spec, _ predicate.Field, v predicate.Bits, _ iptables.Family) { s.In = toName(v) }},
	predicate.OutInterface: {128, func(s *packet.Spec, _ predicate.Field, v predicate.Bits, _ iptables.Family) {
		s.Out = toName(v)
	}},
	predicate.FragmentOffset: {13, plain(func(s *packet.Spec, n uint64) {
		s.FragmentOffset, s.Fragmented = uint16(n), n != 0
		if n != 0 && len(s.Payload) < 32 {
			s.Payload = make([]byte, 32)
		}
	})},
	predicate.TotalLength: {16, plain(func(s *packet.Spec, n uint64) { s.Length = int(n) })},
	predicate.TTL: {8, plain(func(s *packet.Spec, n uint64) {
		if s.TTL = int(n); n == 0 {
			s.TTL = -1
		}
	})},
	predicate.TOS:           {8, plain(func(s *packet.Spec, n uint64) { s.TOS = uint8(n) })},
	predicate.SrcPort:       {16, plain(func(s *packet.Spec, n uint64) { s.SrcPort = uint16(n) })},
	predicate.DstPort:       {16, plain(func(s *packet.Spec, n uint64) { s.DstPort = uint16(n) })},
	predicate.TCPFlags:      {8, plain(func(s *packet.Spec, n uint64) { s.TCPFlags = uint8(n) })},
	predicate.TCPMSS:        {16, plain(func(s *packet.Spec, n uint64) { s.MSS = uint16(n) })},
	predicate.SegmentMSS:    {16, plain(func(s *packet.Spec, n uint64) { s.MSS = uint16(n) })},
	predicate.TransportWord: {32, plain(func(s *packet.Spec, n uint64) { s.SPI = uint32(n) })},
	predicate.TransportByte: {8, func(s *packet.Spec, f predicate.Field, v predicate.Bits, _ iptables.Family) {
		switch f.Arg {
		case 8: // of DCCP
			s.Type = uint8(v.Lo >> 1 & 15)
		case 13: // of TCP
			s.TCPFlags = uint8(v.Lo)
		}
	}},
	predicate.ICMPType: {8, plain(func(s *packet.Spec, n uint64) { s.Type = uint8(n) })},
	predicate.ICMPCode: {8, plain(func(s *packet.Spec, n uint64) { s.Code = uint8(n) })},
	predicate.TCPOption: {1, func(s *packet.Spec, f predicate.Field, v predicate.Bits, _ iptables.Family) {
		// Behind others that the rule wants, as far as there is room.
		const room = 36
		held := s.TCPOptions
		s.TCPOptions = nil
		if v.Lo == 1 && f.Arg > optionNOP && len(held) <= room {
			s.TCPOptions = held[:len(held):len(held)]
		}
		if v.Lo == 1 {
			s.TCPOptions = append(s.TCPOptions, byte(f.Arg), 2)
		}
	}},
	predicate.Mark:      {32, plain(func(s *packet.Spec, n uint64) { s.Mark = uint32(n) })},
	predicate.ClockTime: {34, plain(func(s *packet.Spec, n uint64) { s.Clock = int64(n) * 1e9 })},
	predicate.ClockSecond: {17, plain(func(s *packet.Spec, n uint64) {
		// A day of spring 2024, or the one that is set already.
		const day = 86400
		s.Clock = (max(s.Clock/1e9, 1714521600)/day*day + int64(n%day)) * 1e9
	})},
	predicate.ClockDay: {3, plain(func(s *packet.Spec, n uint64) {
		const day, sunday = 86400, 1714867200
		second := s.Clock / 1e9 % day
		s.Clock = (sunday + int64(n)*day + second) * 1e9
	})},
	predicate.CPU:       {32, plain(func(s *packet.Spec, n uint64) { s.CPU = uint32(n) })},
	predicate.Secmark:   {32, plain(func(s *packet.Spec, n uint64) { s.Secmark = uint32(n) })},
	predicate.CTSecmark: {32, plain(func(s *packet.Spec, n uint64) { s.ConnSecmark = uint32(n) })},
	predicate.CTMark:    {32, plain(func(s *packet.Spec, n uint64) { s.ConnMark = uint32(n) })},
	predicate.PktType:   {3, plain(func(s *packet.Spec, n uint64) { s.PktType = uint8(n) })},
	predicate.SrcMAC: {48, plain(func(s *packet.Spec, n uint64) {
		s.Link = &packet.Link{Src: macOf(n), Dst: [6]byte{2, 0, 0, 0, 0, 1}}
	})},
	predicate.DstMAC: {48, plain(func(s *packet.Spec, n uint64) {
		s.Link = &packet.Link{Src: [6]byte{2, 0, 0, 0, 0, 2}, Dst: macOf(n)}
	})}, predicate.CTState: {7, plain(func(s *packet.Spec, n uint64) {
		for _, b := range wishStates {
			if n&b.bit != 0 {
				s.State = b.state
			}
		}
	})},
	predicate.CTStatus: {15, plain(func(s *packet.Spec, n uint64) { s.Status = uint32(n) })},
	predicate.CTHelper: {128, func(s *packet.Spec, _ predicate.Field, _ predicate.Bits, _ iptables.Family) {
		s.State = packet.Related
	}},
	predicate.CTDirection: {1, plain(func(s *packet.Spec, n uint64) { s.State, s.Reply = packet.Established, n == 1 })},
	predicate.CTPackets: {64, counted(func(s *packet.Spec, direction int, n uint64) {
		s.Packets[direction], s.Bytes[direction] = n, n*64
	})},
	predicate.CTBytes: {64, counted(func(s *packet.Spec, direction int, n uint64) {
		s.Packets[direction], s.Bytes[direction] = 1+n/1500, n
	})},
	predicate.CTAvgPkt: {64, counted(func(s *packet.Spec, direction int, n uint64) {
		s.Packets[direction], s.Bytes[direction] = 3, 3*n
	})},
	predicate.SocketUID:   {32, plain(func(s *packet.Spec, n uint64) { owner(s).UID = uint32(n) })},
	predicate.SocketClass: {32, plain(func(s *packet.Spec, n uint64) { owner(s).Class = uint32(n) })},
	predicate.SocketGID:   {32, plain(func(s *packet.Spec, n uint64) { owner(s).GID = uint32(n) })},
	predicate.DstType: {4, func(s *packet.Spec, _ predicate.Field, v predicate.Bits, f iptables.Family) {
		if a, ok := typicalAddr(packet.RouteType(v.Lo), f); ok {
			s.Dst, s.Version = a, int(f)
		}
	}},
	predicate.Random: {32, plain(func(s *packet.Spec, n uint64) { s.Random = []uint32{uint32(n)} })},
}

// counted makes a setter of the counters of a connection. The direction is the
// field's argument; what both together are to be, the original one gets.
func counted(set func(s *packet.Spec, direction int, n uint64)) specSetter {
	return func(s *packet.Spec, f predicate.Field, v predicate.Bits, _ iptables.Family) {
		s.State, s.Packets, s.Bytes = packet.Established, [2]uint64{}, [2]uint64{}
		if f.Arg == 1 {
			s.Packets[0], s.Bytes[0] = 1, 64
			set(s, 1, v.Lo)
			return
		}
		set(s, 0, v.Lo)
	}
}

var wishStates = []struct {
	bit   uint64
	state packet.State
}{
	{predicate.StateEstablished, packet.Established},
	{predicate.StateNew, packet.New},
	{predicate.StateRelated, packet.Related},
	{predicate.StateInvalid, packet.Invalid},
	{predicate.StateUntracked, packet.Untracked},
}

func owner(s *packet.Spec) *packet.Socket {
	s.In = ""
	own := packet.Socket{}
	if s.Socket != nil {
		own = *s.Socket
	}
	s.Socket = &own
	return s.Socket
}

func toAddr(v predicate.Bits, f iptables.Family) netip.Addr {
	b := v.Bytes()
	if f == iptables.IPv4 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

func toName(v predicate.Bits) string {
	b := v.Bytes()
	n := 0
	for n < len(b) && b[n] != 0 {
		n++
	}
	return string(b[:n])
}

// typicalAddr is an address that has a route type on most hosts.
func typicalAddr(t packet.RouteType, f iptables.Family) (netip.Addr, bool) {
	four := f == iptables.IPv4
	switch {
	case t == packet.Broadcast && four:
		return netip.AddrFrom4([4]byte{255, 255, 255, 255}), true
	case t == packet.Multicast && four:
		return netip.AddrFrom4([4]byte{224, 0, 0, 1}), true
	case t == packet.Multicast:
		return netip.MustParseAddr("ff02::1"), true
	}
	return netip.Addr{}, false
}

func macOf(n uint64) [6]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return [6]byte(b[2:])
}
