package iptsim

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/equivalence/symbolic"
)

// symbolicFields say which variables the fields are.
var symbolicFields = map[predicate.FieldID]func(c *compiler, arg uint32) symbolicField{
	predicate.Protocol:       func(c *compiler, _ uint32) symbolicField { return c.where(symbolic.Protocol, c.found()) },
	predicate.SrcAddr:        always(symbolic.Source),
	predicate.DstAddr:        always(symbolic.Destination),
	predicate.InInterface:    deviceName(symbolic.InName),
	predicate.OutInterface:   deviceName(symbolic.OutName),
	predicate.FragmentOffset: always(symbolic.Fragment),
	predicate.MoreFragments:  always(symbolic.MoreFragments),
	predicate.TotalLength:    always(symbolic.Length),
	predicate.TTL:            always(symbolic.TTL),
	predicate.TOS:            always(symbolic.TOS),
	predicate.TransportBytes: func(c *compiler, _ uint32) symbolicField { return c.where(symbolic.TransportBytes, c.found()) },
	predicate.SrcPort:        func(c *compiler, _ uint32) symbolicField { return c.transport(0, 2) },
	predicate.DstPort:        func(c *compiler, _ uint32) symbolicField { return c.transport(2, 2) },
	predicate.TCPFlags:       func(c *compiler, _ uint32) symbolicField { return c.transportOf(protoTCP, 13) },
	predicate.TCPDataOffset: func(c *compiler, _ uint32) symbolicField {
		f := c.transportOf(protoTCP, 12)
		f.word = f.word[:4]
		return f
	},
	predicate.TCPOption: func(c *compiler, kind uint32) symbolicField {
		has := c.space.Var(symbolic.TCPOption.Level(int(kind)))
		return symbolicField{word: symbolic.Constant(1, 1), present: c.space.And(c.tcpHeader(), has)}
	},
	predicate.TCPMSS: func(c *compiler, _ uint32) symbolicField {
		has := c.space.Var(symbolic.TCPOption.Level(optionMSS))
		return c.where(symbolic.MSS, c.space.And(c.tcpHeader(), has))
	},
	predicate.TransportByte: func(c *compiler, at uint32) symbolicField { return c.taken(int(at), 1) },
	predicate.TransportWord: func(c *compiler, at uint32) symbolicField { return c.taken(int(at), 4) },
	predicate.SegmentMSS: func(c *compiler, _ uint32) symbolicField { // of a later fragment it says nothing
		has := c.space.Var(symbolic.TCPOption.Level(optionMSS))
		return c.where(symbolic.MSS, c.space.And(c.tcpHeader(), has))
	},
	predicate.SegmentCut: func(c *compiler, _ uint32) symbolicField { // likewise
		return symbolicField{word: symbolic.Constant(1, 1), present: c.space.Not(c.tcpHeader())}
	},
	predicate.FlowPort:    func(c *compiler, which uint32) symbolicField { return c.flowPort(which) },
	predicate.PacketByte:  func(c *compiler, at uint32) symbolicField { return c.packet(int(at), 1) },
	predicate.PacketWord:  func(c *compiler, at uint32) symbolicField { return c.packet(int(at), 4) },
	predicate.ICMPType:    func(c *compiler, _ uint32) symbolicField { return c.transportOf(c.icmp(), 0) },
	predicate.ICMPCode:    func(c *compiler, _ uint32) symbolicField { return c.transportOf(c.icmp(), 1) },
	predicate.HeaderThere: func(c *compiler, arg uint32) symbolicField { return c.extension(arg, 0) },
	predicate.HeaderByte:  func(c *compiler, arg uint32) symbolicField { return c.extension(arg, 1) },
	predicate.HeaderWord:  func(c *compiler, arg uint32) symbolicField { return c.extension(arg, 4) },
	// Of a packet with something behind its headers, all of them are whole.
	predicate.HeaderWhole: func(c *compiler, arg uint32) symbolicField { return c.extension(arg, 0) },
	predicate.HeaderSet:   func(c *compiler, _ uint32) symbolicField { return c.headerSet() },
	predicate.HeaderLost: func(*compiler, uint32) symbolicField {
		return symbolicField{word: symbolic.Constant(1, 1), present: bdd.False}
	},
	predicate.Mark:     always(symbolic.Mark),
	predicate.Secmark:  always(symbolic.Secmark),
	predicate.PktType:  always(symbolic.PacketType),
	predicate.Priority: always(symbolic.Priority),
	predicate.CPU:      always(symbolic.CPU),
	predicate.ClockTime: func(c *compiler, _ uint32) symbolicField {
		f := c.where(symbolic.Clock, bdd.True)
		f.scale = 1e9
		return f
	},
	predicate.ClockSecond: always(symbolic.ClockSecond),
	predicate.ClockDay:    always(symbolic.ClockDay),
	predicate.Realm:       always(symbolic.Realm),
	predicate.InGroup: func(c *compiler, _ uint32) symbolicField {
		return c.where(symbolic.InGroup, c.space.HasDevice(symbolic.InName))
	},
	predicate.OutGroup: func(c *compiler, _ uint32) symbolicField {
		return c.where(symbolic.OutGroup, c.space.HasDevice(symbolic.OutName))
	},
	predicate.SrcMAC: func(c *compiler, _ uint32) symbolicField { return c.ethernet(6) },
	predicate.DstMAC: func(c *compiler, _ uint32) symbolicField { return c.ethernet(0) },

	predicate.CTState:  func(c *compiler, _ uint32) symbolicField { return symbolicField{word: c.ctState(), present: bdd.True} },
	predicate.CTStatus: entryField(symbolic.CTStatus), predicate.CTMark: entryField(symbolic.CTMark),
	predicate.CTSecmark:   entryField(symbolic.CTSecmark),
	predicate.CTDirection: entryField(symbolic.CTDirection), predicate.CTProtocol: entryField(symbolic.CTProtocol),
	predicate.CTExpire: func(c *compiler, _ uint32) symbolicField {
		f := c.where(symbolic.CTExpires, c.space.HasEntry())
		f.scale = 1000
		return f
	},
	predicate.CTOrigSrc: entryField(symbolic.CTOrigSrc), predicate.CTOrigDst: entryField(symbolic.CTOrigDst),
	predicate.CTReplSrc: entryField(symbolic.CTReplSrc), predicate.CTReplDst: entryField(symbolic.CTReplDst),
	predicate.CTOrigSrcPort: entryField(symbolic.CTOrigSrcPort), predicate.CTOrigDstPort: entryField(symbolic.CTOrigDstPort),
	predicate.CTReplSrcPort: entryField(symbolic.CTReplSrcPort), predicate.CTReplDstPort: entryField(symbolic.CTReplDstPort),
	predicate.CTPackets: counterField(symbolic.CTPacketsOrig), predicate.CTBytes: counterField(symbolic.CTBytesOrig),
	predicate.CTAvgPkt: counterField(symbolic.CTAverageOrig),

	predicate.CTLabel: func(c *compiler, n uint32) symbolicField {
		s := c.space
		has := s.Bits(symbolic.CTLabels)[labelPlace(uint8(n))]
		return symbolicField{word: symbolic.Constant(1, 1), present: s.And(s.HasEntry(), has)}
	},
	predicate.CTHelper: func(c *compiler, _ uint32) symbolicField {
		return c.where(symbolic.CTHelper, c.space.And(c.space.HasEntry(), c.space.Bit(symbolic.CTHasHelper)))
	},
	predicate.SocketUID: ownerField(symbolic.UID), predicate.SocketGID: ownerField(symbolic.GID),
	predicate.Protected: func(c *compiler, way uint32) symbolicField {
		return symbolicField{word: symbolic.Constant(1, 1), present: c.transformed(way, 1)}
	},
	predicate.Transforms: func(c *compiler, way uint32) symbolicField {
		return c.where(transforms[way&1].number, bdd.True)
	},
	predicate.TransformRequest: func(c *compiler, arg uint32) symbolicField {
		out, n := predicate.TransformPlace(arg)
		way := predicate.Transform(out, 0)
		of := transforms[way]
		return symbolicField{word: c.space.Bits(of.requests)[32*n : 32*n+32], present: c.transformed(way, n+1)}
	},
	predicate.BackType:         (*compiler).backType,
	predicate.BackByIn:         (*compiler).backByIn,
	predicate.LoopedBack:       func(c *compiler, _ uint32) symbolicField { return c.loopedBack() },
	predicate.Taker:            takerField(symbolic.Taker),
	predicate.TakerTransparent: takerField(symbolic.TakerTransparent),
	predicate.TakerWildcard:    takerField(symbolic.TakerWhole, symbolic.TakerWildcard),
	predicate.TakerMark: func(c *compiler, _ uint32) symbolicField {
		return c.where(symbolic.TakerMark, takerField(symbolic.TakerWhole)(c, 0).present)
	},
	predicate.SocketClass: func(c *compiler, _ uint32) symbolicField {
		return c.where(symbolic.SocketClass, c.space.Bit(symbolic.HasSocket))
	},
	predicate.SocketExists: func(c *compiler, _ uint32) symbolicField {
		return symbolicField{word: symbolic.Constant(1, 1), present: c.space.Bit(symbolic.HasSocket)}
	},

	predicate.SrcType: always(symbolic.SourceType), predicate.DstType: always(symbolic.DestinationType),
	predicate.SrcTypeIn: always(symbolic.SourceTypeIn), predicate.DstTypeIn: always(symbolic.DestinationTypeIn),
	predicate.SrcTypeOut: always(symbolic.SourceTypeOut), predicate.DstTypeOut: always(symbolic.DestinationTypeOut),
}

// takerField is something that the local socket of a packet is, when all are true.
func takerField(flags ...symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, _ uint32) symbolicField {
		f := c.space.Bit(symbolic.Taker)
		for _, g := range flags {
			f = c.space.And(f, c.space.Bit(g))
		}
		return symbolicField{word: symbolic.Constant(1, 1), present: f}
	}
}

// transforms are those of what came in, and of what leaves.
var transforms = [2]struct{ number, requests symbolic.Group }{
	{symbolic.TransformsIn, symbolic.RequestsIn}, {symbolic.TransformsOut, symbolic.RequestsOut},
}

// transformed holds for packets with so many transforms of IPsec, or more.
func (c *compiler) transformed(way uint32, n int) bdd.Ref {
	f := symbolicField{word: c.space.Bits(transforms[way&1].number)}
	return c.between(f, predicate.Number(uint64(n)), predicate.Ones(len(f.word)))
}

func (c *compiler) where(g symbolic.Group, present bdd.Ref) symbolicField {
	return symbolicField{word: c.space.Bits(g), present: present}
}

func always(g symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, _ uint32) symbolicField { return c.where(g, bdd.True) }
}

func deviceName(g symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, _ uint32) symbolicField {
		return symbolicField{word: c.space.DeviceName(g), present: bdd.True}
	}
}

func entryField(g symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, _ uint32) symbolicField { return c.where(g, c.space.HasEntry()) }
}

// counterField is a counter by the direction that the field names.
func counterField(original symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, direction uint32) symbolicField {
		s := c.space
		return c.where(original+symbolic.Group(min(direction, 2)), s.And(s.HasEntry(), s.Bit(symbolic.CTAccounting)))
	}
}

func ownerField(g symbolic.Group) func(*compiler, uint32) symbolicField {
	return func(c *compiler, _ uint32) symbolicField {
		s := c.space
		return c.where(g, s.And(s.Bit(symbolic.HasSocket), s.Bit(symbolic.HasFile)))
	}
}

// ethernet is an address of the Ethernet header.
func (c *compiler) ethernet(offset int) symbolicField {
	s := c.space
	address, _ := s.Bytes(symbolic.Link, offset, 6)
	ethernet := s.Number(s.Bits(symbolic.InType), 1)
	return symbolicField{word: address, present: s.And(s.Bit(symbolic.HasLink), s.And(s.HasDevice(symbolic.InName), ethernet))}
}

func (c *compiler) icmp() uint64 {
	if c.space.Version == 4 {
		return protoICMP
	}
	return protoICMPv6
}

// transport is a part of the transport header, which later fragments do not
// have.
func (c *compiler) transport(offset, n int) symbolicField {
	s := c.space
	word, _ := s.Bytes(symbolic.Transport, offset, n)
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	return symbolicField{word: word, present: s.And(s.And(c.found(), first), c.reaches(offset+n))}
}

// taken is a part of what the kernel takes for the transport header: see
// view.segment.
func (c *compiler) taken(offset, n int) symbolicField {
	s := c.space
	word, modelled := s.Bytes(symbolic.Transport, offset, n)
	f := symbolicField{word: word, present: s.And(c.found(), c.reaches(offset+n)), known: modelled}
	if s.Version == 4 {
		return f
	}
	whole, ok := s.Network(offset, n)
	f.known = f.known && ok
	if !f.known {
		return f
	}
	first := s.Number(s.Bits(symbolic.Fragment), 0)
	for i := range word {
		f.word[i] = s.ITE(first, word[i], whole[i])
	}
	f.present = s.And(c.found(), s.Or(s.Not(first), c.reaches(offset+n)))
	return f
}

// packet is a part of the packet from the network header on.
func (c *compiler) packet(offset, n int) symbolicField {
	word, there, modelled := c.space.Packet(offset, n)
	return symbolicField{word: word, present: there, known: modelled}
}

// transportOf is a byte of the header of one protocol.
func (c *compiler) transportOf(proto uint64, offset int) symbolicField {
	f := c.transport(offset, 1)
	f.present = c.space.And(c.space.Number(c.space.Bits(symbolic.Protocol), proto), f.present)
	return f
}

// reaches holds when there are n bytes from the transport header on.
func (c *compiler) reaches(n int) bdd.Ref {
	bytes := symbolicField{word: c.space.Bits(symbolic.TransportBytes)}
	return c.between(bytes, predicate.Number(uint64(n)), predicate.Number(symbolic.MostTransportBytes))
}

// tcpHeader holds for packets with a TCP header that is whole: see tcpOptions.
func (c *compiler) tcpHeader() bdd.Ref {
	return c.space.Memo(tcpHeaderKey{}, c.makeTCPHeader)
}

type tcpHeaderKey struct{}

func (c *compiler) makeTCPHeader() bdd.Ref {
	s := c.space
	offset := c.transportOf(protoTCP, 12)
	offset.word = offset.word[:4]
	whole := bdd.False
	for words := uint64(5); words <= 15; words++ {
		size := s.And(s.Number(offset.word, words), c.reaches(4*int(words)))
		whole = s.Or(whole, size)
	}
	return s.And(offset.present, s.And(c.reaches(20), whole))
}

// ctState is the state as a number with one bit set, of 7 bits.
//
// Kernel: net/netfilter/xt_conntrack.c, conntrack_mt.
func (c *compiler) ctState() symbolic.Word {
	s := c.space
	tracking, exempt := s.Bits(symbolic.Tracking), s.Exempted()
	w := symbolic.Constant(0, 7)
	set := func(bit int, f bdd.Ref) { w[6-bit] = s.Or(w[6-bit], f) }
	for number, bit := range stateBits { // others do not exist
		is := s.Number(tracking, uint64(number))
		if bit == 0 {
			bit = predicate.StateInvalid
		}
		for place := range 7 {
			if bit>>place&1 == 1 {
				set(place, s.Diff(is, exempt))
			}
		}
	}
	set(6, exempt)
	// A template is taken for a new connection (bit 3).
	template := s.Templated()
	for i := range w {
		w[i] = s.Diff(w[i], template)
	}
	set(3, template)
	return w
}
