package nftsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

// Setters of the properties of a packet, from a field's bytes. They are hints
// for choosing packets, no part of running them.

type setter = func(s *packet.Spec, value []byte)

func native(b []byte) uint32 {
	var w [wordSize]byte
	copy(w[:], b)
	return binary.NativeEndian.Uint32(w[:])
}

func text(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

// setAddress sets an address from its first bytes.
func setAddress(version int, of func(*packet.Spec) *netip.Addr) setter {
	return func(s *packet.Spec, value []byte) {
		if s.Version = version; version == 4 {
			var a [4]byte
			copy(a[:], value)
			*of(s) = netip.AddrFrom4(a)
			return
		}
		var a [16]byte
		copy(a[:], value)
		*of(s) = netip.AddrFrom16(a)
	}
}

func specSource(s *packet.Spec) *netip.Addr      { return &s.Src }
func specDestination(s *packet.Spec) *netip.Addr { return &s.Dst }

// A headerPart is a part of a header.
type headerPart struct {
	base        PayloadBase
	offset, len int
}

const (
	networkBase   = unix.NFT_PAYLOAD_NETWORK_HEADER
	transportBase = unix.NFT_PAYLOAD_TRANSPORT_HEADER
	linkBase      = unix.NFT_PAYLOAD_LL_HEADER
)

var networkFields = map[int]map[headerPart]setter{
	4: {
		{networkBase, 1, 1}: func(s *packet.Spec, v []byte) { s.TOS = v[0] },
		{networkBase, 2, 2}: func(s *packet.Spec, v []byte) { s.Length = int(binary.BigEndian.Uint16(v)) },
		{networkBase, 4, 2}: func(s *packet.Spec, v []byte) { s.ID = binary.BigEndian.Uint16(v) },
		{networkBase, 6, 2}: func(s *packet.Spec, v []byte) {
			n := binary.BigEndian.Uint16(v)
			s.FragmentOffset, s.MoreFragments, s.DontFrag = n&0x1fff, n&0x2000 != 0, n&0x4000 != 0
		},
		{networkBase, 8, 1}: setTTL,
		{networkBase, 9, 1}: func(s *packet.Spec, v []byte) { s.Proto = v[0] },
	},
	6: {
		{networkBase, 0, 2}: func(s *packet.Spec, v []byte) { s.TOS = uint8(binary.BigEndian.Uint16(v) >> 4) },
		{networkBase, 6, 1}: func(s *packet.Spec, v []byte) { s.Proto = v[0] },
		{networkBase, 7, 1}: setTTL,
	},
}

func setTTL(s *packet.Spec, v []byte) {
	if s.TTL = int(v[0]); s.TTL == 0 {
		s.TTL = -1
	}
}

var transportFields = map[headerPart]setter{
	{transportBase, 0, 2}: func(s *packet.Spec, v []byte) {
		s.SrcPort = binary.BigEndian.Uint16(v)
		s.Type, s.Code = v[0], v[1]
	},
	{transportBase, 2, 2}:  func(s *packet.Spec, v []byte) { s.DstPort = binary.BigEndian.Uint16(v) },
	{transportBase, 0, 1}:  func(s *packet.Spec, v []byte) { s.Type = v[0] },
	{transportBase, 1, 1}:  func(s *packet.Spec, v []byte) { s.Code = v[0] },
	{transportBase, 13, 1}: func(s *packet.Spec, v []byte) { s.TCPFlags = v[0] },
	{transportBase, 0, 4}: func(s *packet.Spec, v []byte) {
		s.SrcPort, s.DstPort = binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])
	},
	{linkBase, 0, 6}: func(s *packet.Spec, v []byte) { linkOf(s).Dst = [6]byte(v) },
	{linkBase, 6, 6}: func(s *packet.Spec, v []byte) { linkOf(s).Src = [6]byte(v) },
}

func linkOf(s *packet.Spec) *packet.Link {
	own := packet.Link{}
	if s.Link != nil {
		own = *s.Link
	}
	s.Link = &own
	return s.Link
}

var metaFields = map[MetaKey]setter{
	unix.NFT_META_LEN:      func(s *packet.Spec, v []byte) { s.Length = int(min(native(v), 0xffff)) },
	unix.NFT_META_PRIORITY: func(s *packet.Spec, v []byte) { s.Priority = native(v) },
	unix.NFT_META_CPU:      func(s *packet.Spec, v []byte) { s.CPU = native(v) },
	unix.NFT_META_SECMARK:  func(s *packet.Spec, v []byte) { s.Secmark = native(v) },
	unix.NFT_META_MARK:     func(s *packet.Spec, v []byte) { s.Mark = native(v) },
	unix.NFT_META_IIFNAME:  func(s *packet.Spec, v []byte) { s.In = text(v) },
	unix.NFT_META_OIFNAME:  func(s *packet.Spec, v []byte) { s.Out = text(v) },
	unix.NFT_META_SKUID:    func(s *packet.Spec, v []byte) { socketOf(s).UID = native(v) },
	unix.NFT_META_SKGID:    func(s *packet.Spec, v []byte) { socketOf(s).GID = native(v) },
	unix.NFT_META_L4PROTO:  func(s *packet.Spec, v []byte) { s.Proto = v[0] },
	unix.NFT_META_PKTTYPE:  func(s *packet.Spec, v []byte) { s.PktType = v[0] },
	32:                     func(s *packet.Spec, v []byte) { s.Clock = (1714521600 + int64(native(v)%86400)) * 1e9 },
	30:                     func(s *packet.Spec, v []byte) { s.Clock = int64(binary.NativeEndian.Uint64(v) & math.MaxInt64) },
	unix.NFT_META_PRANDOM:  func(s *packet.Spec, v []byte) { s.Random = []uint32{native(v)} },
	unix.NFT_META_NFPROTO: func(s *packet.Spec, v []byte) {
		if version := map[uint8]int{familyIPv4: 4, familyIPv6: 6}[v[0]]; version != 0 {
			s.Version = version
		}
	},
}

func socketOf(s *packet.Spec) *packet.Socket {
	own := packet.Socket{}
	if s.Socket != nil {
		own = *s.Socket
	}
	s.Socket = &own
	return s.Socket
}

var ctFields = map[CtKey]setter{
	unix.NFT_CT_STATE: func(s *packet.Spec, v []byte) {
		for state := packet.New; state <= packet.Untracked; state++ {
			if native(v)&stateBits[state] != 0 {
				s.State = state
				return
			}
		}
	},
	unix.NFT_CT_SECMARK:   func(s *packet.Spec, v []byte) { s.ConnSecmark = native(v) },
	unix.NFT_CT_MARK:      func(s *packet.Spec, v []byte) { s.ConnMark = native(v) },
	unix.NFT_CT_STATUS:    func(s *packet.Spec, v []byte) { s.Status = native(v) },
	unix.NFT_CT_DIRECTION: func(s *packet.Spec, v []byte) { s.Reply = v[0] != 0 },
	unix.NFT_CT_PROTOCOL:  func(s *packet.Spec, v []byte) { s.Proto = v[0] },
}

// ctEnds are the keys of a tuple, by whether they are of the end that sends a
// packet of the direction.
var ctEnds = map[CtKey]struct{ source, port bool }{
	unix.NFT_CT_SRC_IP: {source: true}, unix.NFT_CT_SRC_IP6: {source: true}, unix.NFT_CT_SRC: {source: true},
	unix.NFT_CT_DST_IP: {}, unix.NFT_CT_DST_IP6: {}, unix.NFT_CT_DST: {},
	unix.NFT_CT_PROTO_SRC: {source: true, port: true}, unix.NFT_CT_PROTO_DST: {port: true},
}

// field says what a load puts into registers.
func (f *follower) field(i Instruction) (content, bool) {
	switch i := i.(type) {
	case *MetaLoad:
		k := metaKeys[i.Key]
		return content{
			set: metaFields[i.Key], name: "meta " + k.name, size: k.size,
			protoOf: i.Key == unix.NFT_META_L4PROTO, family: i.Key == unix.NFT_META_NFPROTO,
			isName: i.Key == unix.NFT_META_IIFNAME || i.Key == unix.NFT_META_OIFNAME,
		}, metaFields[i.Key] != nil
	case *CtLoad:
		return f.ctField(i)
	case *PayloadLoad:
		return f.payloadField(i)
	case *ExthdrLoad:
		return exthdrField(i)
	}
	return content{}, false
}

func (f *follower) payloadField(i *PayloadLoad) (content, bool) {
	c := content{name: fmt.Sprintf("%s %d %d p%d", payloadBases[i.Base], i.Offset, i.Len, f.proto), size: i.Len}
	at := headerPart{i.Base, i.Offset, i.Len}
	if i.Base != networkBase {
		c.set = transportFields[at]
		return c, c.set != nil
	}
	c.protoOf = i.Len == 1 && i.Offset == map[int]int{4: 9, 6: 6}[f.version]
	starts := map[int][2]int{4: {12, 16}, 6: {8, 24}}[f.version]
	switch {
	case i.Offset == starts[0] && f.version != 0 && i.Len <= starts[1]-starts[0]:
		c.set = setAddress(f.version, specSource)
	case i.Offset == starts[1] && f.version != 0 && i.Len <= starts[1]-starts[0]:
		c.set = setAddress(f.version, specDestination)
	default:
		c.set = networkFields[f.version][at]
	}
	return c, c.set != nil
}

func (f *follower) ctField(i *CtLoad) (content, bool) {
	c := content{set: ctFields[i.Key], name: i.String(), size: ctKeys[i.Key].size}
	end, directed := ctEnds[i.Key]
	if !directed {
		return c, c.set != nil
	}
	source := end.source == (i.Direction == DirOriginal)
	switch {
	case end.port && source:
		c.set = transportFields[headerPart{transportBase, 0, 2}]
	case end.port:
		c.set = transportFields[headerPart{transportBase, 2, 2}]
	case f.version == 0:
		return c, false
	case source:
		c.set = setAddress(f.version, specSource)
	default:
		c.set = setAddress(f.version, specDestination)
	}
	return c, true
}

func exthdrField(i *ExthdrLoad) (content, bool) {
	c := content{name: i.String(), size: i.Len}
	switch {
	case i.TCP && i.Type == optionMSS && !i.Present && i.Offset == 2 && i.Len == 2:
		c.set = func(s *packet.Spec, v []byte) { s.MSS = binary.BigEndian.Uint16(v) }
	case i.TCP && i.Present:
		c.set = func(s *packet.Spec, v []byte) {
			if s.TCPOptions = nil; v[0] == 1 && i.Type > 1 {
				s.TCPOptions = []byte{i.Type, 2}
			}
		}
	case !i.TCP && i.Present:
		c.set = func(s *packet.Spec, v []byte) {
			s.Headers = nil
			if v[0] == 1 && i.Type == protoFragment {
				s.Fragmented = true
			} else if v[0] == 1 {
				s.Headers = []packet.Extension{{Proto: i.Type}}
			}
		}
	}
	return c, c.set != nil
}
