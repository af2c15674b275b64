package nftgen

import "encoding/binary"

// Userdata of sets, elements and rules, which the kernel keeps and only nft
// reads.
//
// Source: libnftnl include/libnftnl/udata.h; nftables src/mnl.c.
const (
	setKeyByteorder  = 0
	setDataByteorder = 1
	setMerge         = 2
	setKeyTypeof     = 3
	setDataTypeof    = 4
	setDataInterval  = 6
	elementFlags     = 1
	elementOpenEnded = 1
	ruleComment      = 0
)

// Kinds of expressions in the userdata of sets.
//
// Source: nftables include/expression.h, enum expr_types; the values are those
// that nft 1.0.6 writes.
const (
	kindVerdict = 1
	kindPayload = 7
	kindMeta    = 9
	kindCT      = 12
	kindConcat  = 13
	kindFib     = 26
)

// A headerID is the number by which nft names a header in userdata.
//
// Source: nftables include/proto.h, enum proto_desc_id.
type headerID uint32

const (
	headerAH        headerID = 1
	headerESP       headerID = 2
	headerComp      headerID = 3
	headerICMP      headerID = 4
	headerUDP       headerID = 6
	headerUDPLite   headerID = 7
	headerTCP       headerID = 8
	headerDCCP      headerID = 9
	headerSCTP      headerID = 10
	headerTransport headerID = 11
	headerIP        headerID = 12
	headerIP6       headerID = 13
	headerICMPv6    headerID = 14
	headerEther     headerID = 17
)

// A fieldID is a field of a header in userdata.
type fieldID struct {
	header headerID
	index  uint32
}

// userdata are entries of a type, a length and that many bytes.
type userdata []byte

func (u *userdata) entry(kind byte, data ...byte) {
	*u = append(append(*u, kind, byte(len(data))), data...)
}

func (u *userdata) u32(kind byte, v uint32) {
	u.entry(kind, binary.NativeEndian.AppendUint32(nil, v)...)
}

// Orders of bytes in the userdata of sets.
const (
	orderMixed = 0
	orderHost  = 1
	orderBig   = 2
)

// userdata tells nft in which order the bytes of the key stand and, of an
// anonymous set, which fields make the key.
func (s *lookupSet) userdata() []byte {
	var u userdata
	switch {
	case s.concatenated():
		u.u32(setKeyByteorder, orderMixed)
	case s.types[0].Order == HostEndian && !(s.anonymous && s.interval && s.types[0].Bytes == 1):
		u.u32(setKeyByteorder, orderHost)
	default:
		u.u32(setKeyByteorder, orderBig)
	}
	switch {
	case s.verdicts, s.data != nil && (s.data.Bytes == 1 || s.data.pair): // of these nft knows no order
		u.u32(setDataByteorder, orderMixed)
	case s.data != nil && s.data.Order == HostEndian:
		u.u32(setDataByteorder, orderHost)
	case s.data != nil:
		u.u32(setDataByteorder, orderBig)
	}
	if s.anonymous && s.interval {
		u.u32(setMerge, 1)
	}
	switch {
	case s.concatenated():
		var fields userdata
		for i, f := range s.fields {
			// nft forgets the fields from the first that it has to turn.
			if s.interval && f.Type.hostNumber() {
				break
			}
			fields.entry(byte(i), f.typeof()...)
		}
		u.entry(setKeyTypeof, expressionData(kindConcat, fields)...)
	case s.anonymous && !s.isMap():
		u.entry(setKeyTypeof, s.fields[0].typeof()...)
	}
	switch {
	case s.anonymous && s.verdicts:
		u.entry(setDataTypeof, expressionData(kindVerdict, nil)...)
	case s.data != nil && s.data.pair:
		u.entry(setDataTypeof, expressionData(kindConcat, nil)...)
	}
	if s.isMap() {
		u.u32(setDataInterval, 0)
	}
	return u
}

func expressionData(kind uint32, data userdata) userdata {
	var u userdata
	u.u32(0, kind)
	u.entry(1, data...)
	return u
}

// typeof describes a field.
func (f Field) typeof() userdata {
	var data userdata
	l := &f.load
	switch l.kind {
	case loadPayload:
		if l.id == (fieldID{}) {
			return nil
		}
		data.u32(0, uint32(l.id.header))
		data.u32(1, l.id.index)
		if f.Type.Name == "integer" {
			data.u32(4, 8*l.length)
		}
		return expressionData(kindPayload, data)
	case loadMeta:
		data.u32(0, l.key)
		return expressionData(kindMeta, data)
	case loadCT:
		data.u32(0, l.key)
		data.u32(1, uint32(l.direction)-1)
		return expressionData(kindCT, data)
	case loadFib:
		data.u32(0, fibResultType)
		data.u32(1, l.fibFlags())
		return expressionData(kindFib, data)
	}
	return nil
}

// Numbers of a search of the routing table.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_fib_result and
// enum nft_fib_flags.
const (
	fibResultType  = 3
	fibSource      = 1 << 0
	fibDestination = 1 << 1
	fibIif         = 1 << 3
	fibOif         = 1 << 4
)

func (l loader) fibFlags() uint32 {
	flags := uint32(fibDestination)
	if l.source {
		flags = fibSource
	}
	switch l.iface {
	case "iif":
		flags |= fibIif
	case "oif":
		flags |= fibOif
	}
	return flags
}
