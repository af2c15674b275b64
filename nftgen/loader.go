package nftgen

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// A loaderKind is the expression that reads a field.
type loaderKind uint8

const (
	loadPayload loaderKind = iota + 1
	loadMeta
	loadCT
	loadExthdrTCP
	loadExthdrIPv6
	loadTCPValue
	loadFib
	loadNumgen
	loadSocket
	loadRoute
	loadXfrm
	loadConstant
	loadExthdrSCTP
)

// A loader says how a field gets into a register.
type loader struct {
	kind   loaderKind
	key    uint32 // payload base, meta or ct key, TCP option kind, numgen modulus
	offset uint32
	length uint32
	// direction of a ct key: 0 none, 1 original, 2 reply
	direction uint8
	id        fieldID
	present   bool   // IPv6 extension header: whether it is there
	mask      Value  // what of the loaded bytes belongs to the field, nil for all
	numbered  bool   // a field with a mask that can be compared with any number, not with 0 alone
	source    bool   // fib: by source address
	marked    bool   // fib: by mark too
	iface     string // fib: "", "iif", "oif"
}

// Bases of payload loads.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_payload_bases.
const (
	linkHeader      = 0
	networkHeader   = 1
	transportHeader = 2
)

func payloadField(text string, id fieldID, t *Datatype, base, offset, length uint32, needs ...need) Field {
	return Field{Text: text, Type: t, access: &access{load: loader{kind: loadPayload, key: base, offset: offset, length: length, id: id}, needs: needs}}
}

// bitField is some of the bits of a header, which are next to one another.
func bitField(text string, t *Datatype, base, offset uint32, mask Value, needs ...need) Field {
	f := payloadField(text, fieldID{}, t, base, offset, uint32(len(mask)), needs...)
	f.load.mask, f.load.numbered = mask, true
	return f
}

// rawField is bytes of a header that nft knows by place only: "@nh,8,8". It adds
// no test of the family before them.
func rawField(text string, t *Datatype, base, offset uint32, family Family) Field {
	f := payloadField(text, fieldID{}, t, base, offset, uint32(t.Bytes))
	f.family = family
	return f
}

// placed returns a number as it stands among the bits that are loaded; ok is
// false when it does not fit there.
func (l loader) placed(v Value) (bytes Value, ok bool) {
	n, mask := number(v), number(l.mask)
	shifted := n << bits.TrailingZeros64(mask)
	b := binary.BigEndian.AppendUint64(nil, shifted)
	return b[8-len(l.mask):], shifted&^mask == 0 && shifted>>bits.TrailingZeros64(mask) == n
}

func metaField(text string, t *Datatype, key uint32) Field {
	return Field{Text: text, Type: t, access: &access{load: loader{kind: loadMeta, key: key, length: uint32(t.Bytes)}}}
}

func ctField(text string, t *Datatype, key uint32) Field {
	return Field{Text: text, Type: t, access: &access{load: loader{kind: loadCT, key: key, length: uint32(t.Bytes)}}}
}

func ctDirField(text string, t *Datatype, key uint32, reply bool) Field {
	f := ctField(text, t, key)
	f.load.direction = 1
	if reply {
		f.load.direction = 2
	}
	return f
}

func ctAddr(reply bool, l3 Family, name string, destination bool) Field {
	t, word, key := ipv4Addr, "ip", uint32(unix.NFT_CT_SRC_IP)
	if l3 == IP6 {
		t, word, key = ipv6Addr, "ip6", unix.NFT_CT_SRC_IP6
	}
	if destination {
		key++
	}
	f := ctDirField(fmt.Sprintf("ct %s %s %s", direction(reply), word, name), t, key, reply)
	f.family = l3
	return f
}

func direction(reply bool) string {
	if reply {
		return "reply"
	}
	return "original"
}

func ctCounter(name string, key uint32, d CTCounterDir) Field {
	if d == CTBoth {
		return ctField("ct "+name, integer64, key)
	}
	return ctDirField(fmt.Sprintf("ct %s %s", direction(d == CTReply), name), integer64, key, d == CTReply)
}

func tcpOptionField(kind uint8) Field {
	return Field{
		Text: fmt.Sprintf("tcp option %d", kind), Type: boolean,
		access: &access{load: loader{kind: loadExthdrTCP, key: uint32(kind), length: 1}},
	}
}

// ipv6Header is whether an IPv6 extension header is there.
func ipv6Header(text string, header uint32) Field {
	return Field{
		Text: text, Type: boolean,
		access: &access{
			load:  loader{kind: loadExthdrIPv6, key: header, length: 1, present: true},
			needs: []need{{l3: IP6}},
		},
	}
}

// ipv6HeaderField is a field of an IPv6 extension header.
func ipv6HeaderField(text string, header, offset uint32, t *Datatype, mask Value) Field {
	return Field{
		Text: text, Type: t,
		access: &access{
			load:  loader{kind: loadExthdrIPv6, key: header, offset: offset, length: uint32(t.Bytes), mask: mask},
			needs: []need{{l3: IP6}},
		},
	}
}

// ipv6HeaderBits is some bits of one byte of an IPv6 extension header.
func ipv6HeaderBits(text string, header, offset uint32, t *Datatype, mask Value) Field {
	f := ipv6HeaderField(text, header, offset, t, mask)
	f.load.numbered = true
	return f
}

func fibTypeField(source bool, iface string) Field {
	text := "fib daddr"
	if source {
		text = "fib saddr"
	}
	if iface != "" {
		text += " . " + iface
	}
	return Field{Text: text + " type", Type: fibAddrType, access: &access{load: loader{kind: loadFib, source: source, iface: iface, length: 4}}}
}

func fibRouteField(mark bool, iface string) Field {
	text := "fib saddr"
	if mark {
		text += " . mark"
	}
	if iface != "" {
		text += " . " + iface
	}
	return Field{Text: text + " oif", Type: boolean, access: &access{load: loader{kind: loadFib, source: true, marked: mark, iface: iface, length: 1, present: true}}}
}

func numgenField(mod uint32) Field {
	return Field{Text: fmt.Sprintf("numgen inc mod %d", mod), Type: integer32, access: &access{load: loader{kind: loadNumgen, key: mod, length: 4}}}
}
