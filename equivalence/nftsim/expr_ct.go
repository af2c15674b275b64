package nftsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

func init() { register("ct", decodeCt) }

// A CtKey names what Ct loads or sets.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_ct_keys.
type CtKey uint32

// A Direction is a direction of a connection.
type Direction uint8

// The directions; the numbers are the kernel's.
const (
	DirOriginal Direction = iota
	DirReply
	DirNone // both, or none was given
)

var directionNames = map[Direction]string{DirOriginal: "original", DirReply: "reply"}

// CtLoad loads something of the packet's connection. All but the state break
// the rule when the packet has no connection.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_get_eval.
type CtLoad struct {
	Key       CtKey
	Direction Direction
	To        Register
}

// CtSet sets something of the packet's connection, and does nothing when it
// has none.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_set_eval.
type CtSet struct {
	Key  CtKey
	From Register
}

// A ctKey is what is known of a key. The functions are nil when a use of the
// key is not modelled.
type ctKey struct {
	name     string
	size     int // bytes in the register
	directed bool
	load     func(x *execution, e *packet.Entry, d Direction, to Register) result
	set      func(e *packet.Entry, value []byte)
}

// ctKeys are the keys, by number.
var ctKeys = []ctKey{
	unix.NFT_CT_STATE: {name: "state", size: 4, load: loadState},
	unix.NFT_CT_DIRECTION: {name: "direction", size: 1, load: func(x *execution, _ *packet.Entry, _ Direction, to Register) result {
		d := DirOriginal
		if x.flight.Tracking.Reply {
			d = DirReply
		}
		x.regs.storeU8(to, uint8(d))
		return proceed
	}},
	unix.NFT_CT_STATUS: {name: "status", size: 4, load: ctU32(func(e *packet.Entry) uint32 { return e.Status })},
	unix.NFT_CT_MARK: {name: "mark", size: 4, load: ctU32(func(e *packet.Entry) uint32 { return e.Mark }),
		set: func(e *packet.Entry, value []byte) { e.Mark = binary.NativeEndian.Uint32(value) }},
	unix.NFT_CT_SECMARK: {name: "secmark", size: 4, load: ctU32(func(e *packet.Entry) uint32 { return e.Secmark }),
		set: func(e *packet.Entry, value []byte) { e.Secmark = binary.NativeEndian.Uint32(value) }},
	unix.NFT_CT_EXPIRATION: {name: "expiration", size: 4, load: ctU32(expiration)},
	unix.NFT_CT_HELPER: {name: "helper", size: 16, load: func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		if e.Helper == "" {
			return breaks
		}
		var name [16]byte
		copy(name[:15], e.Helper)
		x.regs.store(to, name[:])
		return proceed
	}},
	unix.NFT_CT_L3PROTOCOL: {name: "l3protocol", size: 1, load: func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		x.regs.storeU8(to, entryFamily(e))
		return proceed
	}},
	unix.NFT_CT_SRC: {name: "src", size: 16, directed: true, load: ctAddress(sourceOf, 0)},
	unix.NFT_CT_DST: {name: "dst", size: 16, directed: true, load: ctAddress(destinationOf, 0)},
	unix.NFT_CT_PROTOCOL: {name: "protocol", size: 1, load: func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		x.regs.storeU8(to, e.Protocol)
		return proceed
	}},
	unix.NFT_CT_PROTO_SRC: {name: "proto_src", size: 2, directed: true, load: ctPort(func(t *packet.Tuple) uint16 { return t.SrcPort })},
	unix.NFT_CT_PROTO_DST: {name: "proto_dst", size: 2, directed: true, load: ctPort(func(t *packet.Tuple) uint16 { return t.DstPort })},
	unix.NFT_CT_LABELS: {name: "label", size: 16, load: func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		x.regs.store(to, e.Labels[:])
		return proceed
	}, set: func(e *packet.Entry, value []byte) {
		// What is set stays: nf_connlabels_replace gets the value as its mask.
		for k := range e.Labels {
			e.Labels[k] |= value[k]
		}
	}},
	unix.NFT_CT_PKTS:   {name: "packets", size: 8, load: ctCounter(countPackets)},
	unix.NFT_CT_BYTES:  {name: "bytes", size: 8, load: ctCounter(countBytes)},
	unix.NFT_CT_AVGPKT: {name: "avgpkt", size: 8, load: ctCounter(averagePacket)},
	unix.NFT_CT_ZONE: {name: "zone", size: 2, load: func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		x.regs.storeU16(to, e.Zone)
		return proceed
	}},
	unix.NFT_CT_EVENTMASK: {name: "event", size: 4},
	unix.NFT_CT_SRC_IP:    {name: "src_ip", size: 4, directed: true, load: ctAddress(sourceOf, familyIPv4)},
	unix.NFT_CT_DST_IP:    {name: "dst_ip", size: 4, directed: true, load: ctAddress(destinationOf, familyIPv4)},
	unix.NFT_CT_SRC_IP6:   {name: "src_ip6", size: 16, directed: true, load: ctAddress(sourceOf, familyIPv6)},
	unix.NFT_CT_DST_IP6:   {name: "dst_ip6", size: 16, directed: true, load: ctAddress(destinationOf, familyIPv6)},
	unix.NFT_CT_ID:        {name: "ct_id", size: 4},
}

func decodeCt(s *scope, data []byte) (Instruction, error) {
	l := &CtLoad{Direction: DirNone}
	var from Register
	sets := false
	err := decodeNest("ct", data, need(unix.NFTA_CT_KEY, decodeU32((*uint32)(&l.Key))),
		may(unix.NFTA_CT_DREG, decodeRegister(&l.To)),
		may(unix.NFTA_CT_DIRECTION, decodeU8((*uint8)(&l.Direction))),
		may(unix.NFTA_CT_SREG, func(ad *netlink.AttributeDecoder) error {
			sets = true
			return decodeRegister(&from)(ad)
		}))
	if err != nil {
		return nil, err
	}
	if int(l.Key) >= len(ctKeys) {
		return nil, notModelled{fmt.Sprintf("key %d", l.Key)}
	}
	k := &ctKeys[l.Key]
	if _, ok := directionNames[l.Direction]; !ok && l.Direction != DirNone {
		return nil, fmt.Errorf("direction %d", l.Direction)
	}
	if k.directed && l.Direction == DirNone {
		return nil, fmt.Errorf("%s without a direction", k.name)
	}
	if sets && l.Key == unix.NFT_CT_ZONE {
		return &CtZone{From: from, Of: l.Direction}, from.span(k.size)
	}
	if sets && l.Key == unix.NFT_CT_EVENTMASK {
		return &CtEvents{From: from}, from.span(k.size)
	}
	if sets {
		if k.set == nil || l.Direction != DirNone {
			return nil, notModelled{"setting " + k.name}
		}
		return &CtSet{Key: l.Key, From: from}, from.span(k.size)
	}
	if k.load == nil {
		return nil, notModelled{"loading " + k.name}
	}
	size := k.size
	if s.table.Family == familyIPv4 && (l.Key == unix.NFT_CT_SRC || l.Key == unix.NFT_CT_DST) {
		size = 4
	}
	return l, l.To.span(size)
}

func (i *CtLoad) String() string {
	s := fmt.Sprintf("[ ct load %s => reg %s", ctKeys[i.Key].name, i.To)
	if i.Direction != DirNone {
		s += " , dir " + directionNames[i.Direction]
	}
	return s + " ]"
}

func (i *CtSet) String() string {
	return fmt.Sprintf("[ ct set %s with reg %s ]", ctKeys[i.Key].name, i.From)
}

func (i *CtLoad) loads() (Register, int) {
	return i.To, min(ctKeys[i.Key].size, registerBytes-int(i.To)*wordSize)
}

func (*CtLoad) tracks(int) bool { return true }
func (*CtSet) tracks(int) bool  { return true }

func (i *CtLoad) exec(x *execution) result {
	e := x.flight.Tracking.Entry
	if e == nil && i.Key != unix.NFT_CT_STATE {
		if templated(x.flight) {
			return x.unknown("loading %s of a template", ctKeys[i.Key].name)
		}
		return breaks
	}
	return ctKeys[i.Key].load(x, e, i.Direction, i.To)
}

func (i *CtSet) exec(x *execution) result {
	if e := x.flight.Tracking.Entry; e != nil {
		k := &ctKeys[i.Key]
		k.set(e, x.regs.load(i.From, k.size))
	}
	return proceed
}

// stateBits are the bits of a connection's state. Before the kernel has looked
// for a connection, the state is invalid.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h,
// NF_CT_STATE_*_BIT.
var stateBits = map[packet.State]uint32{
	0: 1, packet.Invalid: 1, packet.Established: 2, packet.Related: 4, packet.New: 8, packet.Untracked: 64,
}

func loadState(x *execution, _ *packet.Entry, _ Direction, to Register) result {
	state := x.flight.Tracking.State
	switch {
	case templated(x.flight):
		state = packet.New
	case state == 0 && x.flight.Notrack:
		state = packet.Untracked
	}
	x.regs.storeU32(to, stateBits[state])
	return proceed
}

func ctU32(get func(*packet.Entry) uint32) func(*execution, *packet.Entry, Direction, Register) result {
	return func(x *execution, e *packet.Entry, _ Direction, to Register) result {
		x.regs.storeU32(to, get(e))
		return proceed
	}
}

// expiration is in milliseconds. The time of an entry runs only once it is
// confirmed, behind the last hook of its first packet.
//
// Kernel: include/net/netfilter/nf_conntrack.h, nf_ct_expires.
func expiration(e *packet.Entry) uint32 {
	if e.Status&packet.StatusConfirmed == 0 {
		return 0
	}
	return e.Expires * 1000
}

func tuple(e *packet.Entry, d Direction) *packet.Tuple {
	if d == DirReply {
		return &e.Reply
	}
	return &e.Original
}

func entryFamily(e *packet.Entry) uint8 {
	if e.Original.Src.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

func sourceOf(t *packet.Tuple) netip.Addr      { return t.Src }
func destinationOf(t *packet.Tuple) netip.Addr { return t.Dst }

// ctAddress loads an address of a tuple; with a family, only from connections
// of that family.
func ctAddress(get func(*packet.Tuple) netip.Addr, family uint8) func(*execution, *packet.Entry, Direction, Register) result {
	return func(x *execution, e *packet.Entry, d Direction, to Register) result {
		if family != 0 && family != entryFamily(e) {
			return breaks
		}
		x.regs.store(to, get(tuple(e, d)).AsSlice())
		return proceed
	}
}

func ctPort(get func(*packet.Tuple) uint16) func(*execution, *packet.Entry, Direction, Register) result {
	return func(x *execution, e *packet.Entry, d Direction, to Register) result {
		x.regs.store(to, binary.BigEndian.AppendUint16(nil, get(tuple(e, d))))
		return proceed
	}
}

// ctCounter loads a counter of one direction or of both. An entry that was
// made without accounting counts nothing.
func ctCounter(get func(e *packet.Entry, d Direction) uint64) func(*execution, *packet.Entry, Direction, Register) result {
	return func(x *execution, e *packet.Entry, d Direction, to Register) result {
		n := uint64(0)
		if e.Accounting {
			n = get(e, d)
		}
		x.regs.storeU64(to, n)
		return proceed
	}
}

func countPackets(e *packet.Entry, d Direction) uint64 { return count(e.Packets, d) }
func countBytes(e *packet.Entry, d Direction) uint64   { return count(e.Bytes, d) }

func averagePacket(e *packet.Entry, d Direction) uint64 {
	if n := countPackets(e, d); n != 0 {
		return countBytes(e, d) / n
	}
	return 0
}

func count(n [2]uint64, d Direction) uint64 {
	if d == DirNone {
		return n[0] + n[1]
	}
	return n[d]
}
