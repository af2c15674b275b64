package iptsim

import (
	"encoding/binary"
	"net/netip"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/packet"
)

var _ predicate.Reader = (*view)(nil)

// Field returns the value of a field.
func (v *view) Field(f predicate.Field) (predicate.Bits, predicate.Truth) {
	if int(f.ID) >= len(readers) || readers[f.ID] == nil {
		return predicate.Bits{}, predicate.Unknown
	}
	value, present := readers[f.ID](v, f.Arg)
	return value, predicate.Of(present)
}

// A reader reads one field of a packet; ok is false when it has no such field.
type reader func(v *view, arg uint32) (value predicate.Bits, ok bool)

// readers are the fields that the machine models.
var readers = [...]reader{
	predicate.Protocol: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.proto), v.transport)
	},
	predicate.SrcAddr:      func(v *view, _ uint32) (predicate.Bits, bool) { return v.src, true },
	predicate.DstAddr:      func(v *view, _ uint32) (predicate.Bits, bool) { return v.dst, true },
	predicate.InInterface:  func(v *view, _ uint32) (predicate.Bits, bool) { return v.in, true },
	predicate.OutInterface: func(v *view, _ uint32) (predicate.Bits, bool) { return v.out, true },
	predicate.FragmentOffset: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.offset), true)
	},
	predicate.MoreFragments: func(v *view, _ uint32) (predicate.Bits, bool) {
		return flag(v.more)
	},
	predicate.TotalLength: (*view).totalLength,
	predicate.TTL: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.f.Data[v.ttlAt()]), true)
	},
	predicate.TOS: func(v *view, _ uint32) (predicate.Bits, bool) {
		if v.version == 4 {
			return number(uint64(v.f.Data[1]), true)
		}
		return number(uint64(v.f.Data[0]<<4|v.f.Data[1]>>4), true)
	},

	predicate.TransportBytes: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(max(0, len(v.f.Data)-v.thoff)), v.transport)
	},
	predicate.SrcPort: func(v *view, _ uint32) (predicate.Bits, bool) { return word(v.header(), 0) },
	predicate.DstPort: func(v *view, _ uint32) (predicate.Bits, bool) { return word(v.header(), 2) },
	predicate.TCPFlags: func(v *view, _ uint32) (predicate.Bits, bool) {
		return octet(v.headerOf(protoTCP), 13)
	},
	predicate.TCPDataOffset: func(v *view, _ uint32) (predicate.Bits, bool) {
		b, ok := octet(v.headerOf(protoTCP), 12)
		return predicate.Number(b.Lo >> 4), ok
	},
	predicate.TCPOption: func(v *view, kind uint32) (predicate.Bits, bool) {
		options, ok := tcpOptions(v.headerOf(protoTCP))
		return number(1, ok && hasOption(options, kind))
	},
	predicate.TCPMSS: func(v *view, _ uint32) (predicate.Bits, bool) {
		options, ok := tcpOptions(v.headerOf(protoTCP))
		if !ok {
			return predicate.Bits{}, false
		}
		at, ok := findMSS(options)
		if !ok {
			return predicate.Bits{}, false
		}
		return word(options, at+2)
	},
	predicate.TransportByte: func(v *view, at uint32) (predicate.Bits, bool) { return octet(v.segment(), int(at)) },
	predicate.TransportWord: func(v *view, at uint32) (predicate.Bits, bool) {
		b := v.segment()
		if int(at)+4 > len(b) {
			return predicate.Bits{}, false
		}
		return predicate.Number(uint64(binary.BigEndian.Uint32(b[at:]))), true
	},
	predicate.SegmentMSS: func(v *view, _ uint32) (predicate.Bits, bool) {
		options, ok := tcpOptions(v.segment())
		if v.offset != 0 || ok && oddMSS(options) {
			v.Declare("tcpmss-reading")
		}
		if !ok {
			return predicate.Bits{}, false
		}
		at, ok := findMSS(options)
		if !ok {
			return predicate.Bits{}, false
		}
		return word(options, at+2)
	},
	predicate.SegmentCut: func(v *view, _ uint32) (predicate.Bits, bool) {
		_, ok := tcpOptions(v.segment())
		if v.offset != 0 {
			v.Declare("tcpmss-reading")
		}
		return number(1, !ok)
	},
	predicate.FlowPort:   (*view).flowPort,
	predicate.PacketByte: func(v *view, at uint32) (predicate.Bits, bool) { return octet(v.f.Data, int(at)) },
	predicate.PacketWord: func(v *view, at uint32) (predicate.Bits, bool) {
		b := v.f.Data
		if int(at)+4 > len(b) {
			return predicate.Bits{}, false
		}
		return predicate.Number(uint64(binary.BigEndian.Uint32(b[at:]))), true
	},
	predicate.ICMPType: func(v *view, _ uint32) (predicate.Bits, bool) { return octet(v.icmp(), 0) },
	predicate.ICMPCode: func(v *view, _ uint32) (predicate.Bits, bool) { return octet(v.icmp(), 1) },

	predicate.HeaderThere: func(v *view, arg uint32) (predicate.Bits, bool) {
		kind, _ := predicate.HeaderPlace(arg)
		_, found, _ := v.lookFor(kind)
		return number(1, found)
	},
	predicate.HeaderByte:  func(v *view, arg uint32) (predicate.Bits, bool) { return v.extensionBytes(arg, 1) },
	predicate.HeaderWord:  func(v *view, arg uint32) (predicate.Bits, bool) { return v.extensionBytes(arg, 4) },
	predicate.HeaderWhole: (*view).extensionWhole,
	predicate.HeaderSet:   func(v *view, _ uint32) (predicate.Bits, bool) { return v.headerSet() },
	predicate.HeaderLost: func(v *view, arg uint32) (predicate.Bits, bool) {
		kind, _ := predicate.HeaderPlace(arg)
		_, _, lost := v.lookFor(kind)
		return number(1, lost)
	},

	predicate.Mark:     func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Mark), true) },
	predicate.PktType:  func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Type()), true) },
	predicate.SrcMAC:   func(v *view, _ uint32) (predicate.Bits, bool) { return v.ethernet(false) },
	predicate.DstMAC:   func(v *view, _ uint32) (predicate.Bits, bool) { return v.ethernet(true) },
	predicate.Priority: func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Priority), true) },

	predicate.Secmark: func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Secmark), true) },

	predicate.CPU:      func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Packet.CPU), true) },
	predicate.InGroup:  func(v *view, _ uint32) (predicate.Bits, bool) { return v.group(v.f.In) },
	predicate.OutGroup: func(v *view, _ uint32) (predicate.Bits, bool) { return v.group(v.f.Out) },
	// No route of a host has a realm.
	predicate.Realm: func(*view, uint32) (predicate.Bits, bool) { return number(0, true) },

	predicate.CTState: (*view).ctState,
	predicate.CTStatus: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return number(uint64(e.Status), true)
	}),
	predicate.CTMark: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return number(uint64(e.Mark), true)
	}),
	predicate.CTSecmark: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return number(uint64(e.Secmark), true)
	}),
	predicate.CTDirection: entry(func(v *view, _ *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return flag(v.f.Tracking.Reply)
	}),
	predicate.CTProtocol: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return number(uint64(e.Protocol), true)
	}),
	predicate.CTExpire: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		// The lifetime starts when the entry is confirmed, behind all rules of
		// its first packet (include/net/netfilter/nf_conntrack.h, nf_ct_expires).
		if e.Status&packet.StatusConfirmed == 0 {
			return number(0, true)
		}
		return number(uint64(e.Expires), true)
	}),
	predicate.CTOrigSrc:     tupleAddr(func(e *packet.Entry) netip.Addr { return e.Original.Src }),
	predicate.CTOrigDst:     tupleAddr(func(e *packet.Entry) netip.Addr { return e.Original.Dst }),
	predicate.CTReplSrc:     tupleAddr(func(e *packet.Entry) netip.Addr { return e.Reply.Src }),
	predicate.CTReplDst:     tupleAddr(func(e *packet.Entry) netip.Addr { return e.Reply.Dst }),
	predicate.CTOrigSrcPort: tuplePort(func(e *packet.Entry) uint16 { return e.Original.SrcPort }),
	predicate.CTOrigDstPort: tuplePort(func(e *packet.Entry) uint16 { return e.Original.DstPort }),
	predicate.CTReplSrcPort: tuplePort(func(e *packet.Entry) uint16 { return e.Reply.SrcPort }),
	predicate.CTReplDstPort: tuplePort(func(e *packet.Entry) uint16 { return e.Reply.DstPort }),
	predicate.CTPackets: accounting(func(packets, _ uint64) uint64 {
		return packets
	}),
	predicate.CTBytes: accounting(func(_, bytes uint64) uint64 {
		return bytes
	}),
	predicate.CTAvgPkt: accounting(func(packets, bytes uint64) uint64 {
		if packets == 0 {
			return 0
		}
		return bytes / packets
	}),

	predicate.CTLabel: entry(func(v *view, e *packet.Entry, n uint32) (predicate.Bits, bool) {
		return number(1, e.Labels[n/8]>>(n%8)&1 == 1)
	}),
	predicate.CTHelper: entry(func(v *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return predicate.Name(e.Helper), e.Helper != ""
	}),

	// xt_owner.c: a socket without a file has no user.
	predicate.SocketUID: func(v *view, _ uint32) (predicate.Bits, bool) {
		s := v.f.Packet.Socket
		if s == nil || s.NoFile {
			return predicate.Bits{}, false
		}
		return number(uint64(s.UID), true)
	},
	predicate.SocketGID: func(v *view, _ uint32) (predicate.Bits, bool) {
		s := v.f.Packet.Socket
		if s == nil || s.NoFile {
			return predicate.Bits{}, false
		}
		return number(uint64(s.GID), true)
	},
	predicate.SocketGroup: func(v *view, n uint32) (predicate.Bits, bool) {
		s := v.f.Packet.Socket
		if s == nil || s.NoFile || n >= uint32(len(s.Groups)) {
			return predicate.Bits{}, false
		}
		return number(uint64(s.Groups[n]), true)
	},
	predicate.SocketExists: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(1, v.f.Packet.Socket != nil)
	},

	predicate.SrcType:    func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(false, "") },
	predicate.DstType:    func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(true, "") },
	predicate.SrcTypeIn:  func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(false, v.f.In) },
	predicate.DstTypeIn:  func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(true, v.f.In) },
	predicate.SrcTypeOut: func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(false, v.f.Out) },
	predicate.DstTypeOut: func(v *view, _ uint32) (predicate.Bits, bool) { return v.addressType(true, v.f.Out) },

	predicate.BackType: func(v *view, _ uint32) (predicate.Bits, bool) {
		kind, _ := v.back()
		return number(uint64(kind), kind != packet.Unspec)
	},
	predicate.BackByIn: func(v *view, _ uint32) (predicate.Bits, bool) {
		_, device := v.back()
		return number(1, device != "" && device == v.f.In)
	},
	predicate.LoopedBack: func(v *view, _ uint32) (predicate.Bits, bool) {
		d := v.device(v.f.In)
		return number(1, d != nil && d.Loopback)
	},

	predicate.SocketClass: func(v *view, _ uint32) (predicate.Bits, bool) {
		if v.f.Packet.Socket == nil {
			return predicate.Bits{}, false
		}
		return number(uint64(v.f.Packet.Socket.Class), true)
	},
	// No host of the model has IPsec.
	// No socket of a host of the model takes packets.
	predicate.Taker:            func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },
	predicate.TakerTransparent: func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },
	predicate.TakerWildcard:    func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },
	predicate.TakerMark:        func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },
	predicate.Protected:        func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },
	predicate.Transforms:       func(*view, uint32) (predicate.Bits, bool) { return number(0, true) },
	predicate.TransformRequest: func(*view, uint32) (predicate.Bits, bool) { return number(0, false) },

	predicate.ClockTime: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.f.Packet.Wall().Unix()), true)
	},
	predicate.ClockSecond: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.f.Packet.Wall().Unix()%86400), true)
	},
	predicate.ClockDay: func(v *view, _ uint32) (predicate.Bits, bool) {
		return number(uint64(v.f.Packet.Wall().Weekday()), true)
	},

	predicate.Random: func(v *view, _ uint32) (predicate.Bits, bool) { return number(uint64(v.f.Draw()), true) },
}

func number(n uint64, ok bool) (predicate.Bits, bool) { return predicate.Number(n), ok }

func flag(set bool) (predicate.Bits, bool) {
	if set {
		return predicate.Number(1), true
	}
	return predicate.Bits{}, true
}

func octet(b []byte, at int) (predicate.Bits, bool) {
	if at >= len(b) {
		return predicate.Bits{}, false
	}
	return predicate.Number(uint64(b[at])), true
}

func word(b []byte, at int) (predicate.Bits, bool) {
	if at+2 > len(b) {
		return predicate.Bits{}, false
	}
	return predicate.Number(uint64(binary.BigEndian.Uint16(b[at:]))), true
}

// totalLength is the length that the IP header claims.
//
// Kernel: net/netfilter/xt_length.c.
func (v *view) totalLength(uint32) (predicate.Bits, bool) {
	if v.version == 4 {
		return word(v.f.Data, 2)
	}
	n, ok := word(v.f.Data, 4)
	return predicate.Number(n.Lo + 40), ok
}

// ttlAt returns where the TTL or hop limit is.
func (v *view) ttlAt() int {
	if v.version == 4 {
		return 8
	}
	return 7
}

// icmp returns the header of the family's ICMP.
func (v *view) icmp() []byte {
	if v.version == 4 {
		return v.headerOf(protoICMP)
	}
	return v.headerOf(protoICMPv6)
}

// ethernet is an address of the Ethernet header. A device that is not of type
// Ethernet, lo among them, gives none.
//
// Kernel: net/netfilter/xt_mac.c; net/netfilter/ipset/ip_set_bitmap_ipmac.c.
func (v *view) ethernet(destination bool) (predicate.Bits, bool) {
	if v.f.Packet.Link == nil || v.f.In == "" {
		return predicate.Bits{}, false
	}
	if d := v.device(v.f.In); d != nil && (!d.Ethernet || d.Loopback) {
		return predicate.Bits{}, false
	}
	if destination {
		return predicate.MAC(v.f.Packet.Link.Dst), true
	}
	return predicate.MAC(v.f.Packet.Link.Src), true
}

// group is the group of a device.
//
// Kernel: net/netfilter/xt_devgroup.c.
func (v *view) group(name string) (predicate.Bits, bool) {
	d := v.device(name)
	if d == nil {
		return predicate.Bits{}, false
	}
	return number(uint64(d.Group), true)
}

func (v *view) device(name string) *packet.Device {
	if v.f.Host == nil {
		return nil
	}
	return v.f.Host.Device(name)
}

// ctState is the state bit. A packet that tracking has not looked at yet counts
// as invalid.
//
// Kernel: net/netfilter/xt_conntrack.c, conntrack_mt.
func (v *view) ctState(uint32) (predicate.Bits, bool) {
	state := uint64(predicate.StateInvalid)
	switch {
	case v.f.Template && v.f.Tracking.State == 0:
		state = predicate.StateNew
	case v.f.Notrack:
		state = predicate.StateUntracked
	case int(v.f.Tracking.State) < len(stateBits) && stateBits[v.f.Tracking.State] != 0:
		state = stateBits[v.f.Tracking.State]
	}
	return number(state, true)
}

var stateBits = [...]uint64{
	packet.New: predicate.StateNew, packet.Established: predicate.StateEstablished,
	packet.Related: predicate.StateRelated, packet.Invalid: predicate.StateInvalid,
	packet.Untracked: predicate.StateUntracked,
}

// entry makes a reader of something that only packets with a conntrack entry
// have.
func entry(read func(v *view, e *packet.Entry, arg uint32) (predicate.Bits, bool)) reader {
	return func(v *view, arg uint32) (predicate.Bits, bool) {
		if v.f.Tracking.Entry == nil {
			return predicate.Bits{}, false
		}
		return read(v, v.f.Tracking.Entry, arg)
	}
}

func tupleAddr(pick func(e *packet.Entry) netip.Addr) reader {
	return entry(func(_ *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		a := pick(e)
		if !a.IsValid() {
			return predicate.Bits{}, false
		}
		return predicate.Addr(a), true
	})
}

func tuplePort(pick func(e *packet.Entry) uint16) reader {
	return entry(func(_ *view, e *packet.Entry, _ uint32) (predicate.Bits, bool) {
		return number(uint64(pick(e)), true)
	})
}

// accounting makes a reader of counters: of the original direction, of the
// reply, or of both. A connection that is not counted has none.
//
// Kernel: net/netfilter/xt_connbytes.c.
func accounting(value func(packets, bytes uint64) uint64) reader {
	return entry(func(v *view, e *packet.Entry, direction uint32) (predicate.Bits, bool) {
		if !e.Accounting {
			return predicate.Bits{}, false
		}
		if e.Packets == [2]uint64{} {
			v.Declare("connbytes-uncounted")
		}
		if direction < 2 {
			return number(value(e.Packets[direction], e.Bytes[direction]), true)
		}
		return number(value(e.Packets[0]+e.Packets[1], e.Bytes[0]+e.Bytes[1]), true)
	})
}
