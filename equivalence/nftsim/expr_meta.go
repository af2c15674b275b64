package nftsim

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

func init() { register("meta", decodeMeta) }

// A MetaKey names what Meta loads or sets.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_meta_keys.
type MetaKey uint32

// MetaLoad loads something about the packet that is not in its bytes.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval.
type MetaLoad struct {
	Key MetaKey
	To  Register
}

// MetaSet sets something about the packet.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_set_eval.
type MetaSet struct {
	Key  MetaKey
	From Register
}

// A metaKey is what is known of a key. The functions are nil when a use of the
// key is not modelled.
type metaKey struct {
	name string
	size int // bytes in the register
	load func(x *execution, to Register) result
	set  func(x *execution, value []byte) result
}

// metaKeys are the keys, by number.
var metaKeys = []metaKey{
	unix.NFT_META_LEN: {name: "len", size: 4, load: func(x *execution, to Register) result {
		x.regs.storeU32(to, uint32(len(x.flight.Data)))
		return proceed
	}},
	unix.NFT_META_PROTOCOL: {name: "protocol", size: 2, load: func(x *execution, to Register) result {
		x.regs.store(to, binary.BigEndian.AppendUint16(nil, etherTypes[x.header.version]))
		return proceed
	}},
	unix.NFT_META_PRIORITY: {name: "priority", size: 4,
		load: loadU32(func(f *packet.Flight) uint32 { return f.Priority }),
		set:  setU32(func(f *packet.Flight, v uint32) { f.Priority = v })},
	unix.NFT_META_MARK: {name: "mark", size: 4,
		load: loadU32(func(f *packet.Flight) uint32 { return f.Mark }),
		set:  setU32(func(f *packet.Flight, v uint32) { f.Mark = v })},
	unix.NFT_META_IIF:       {name: "iif", size: 4, load: loadIndex(inName)},
	unix.NFT_META_OIF:       {name: "oif", size: 4, load: loadIndex(outName)},
	unix.NFT_META_IIFNAME:   {name: "iifname", size: nameLen, load: loadName(inName)},
	unix.NFT_META_OIFNAME:   {name: "oifname", size: nameLen, load: loadName(outName)},
	unix.NFT_META_IIFTYPE:   {name: "iiftype", size: 2, load: loadArrivalType},
	unix.NFT_META_OIFTYPE:   {name: "oiftype", size: 2, load: loadType(outName)},
	unix.NFT_META_SKUID:     {name: "skuid", size: 4, load: loadOwner(func(s *packet.Socket) uint32 { return s.UID })},
	unix.NFT_META_SKGID:     {name: "skgid", size: 4, load: loadOwner(func(s *packet.Socket) uint32 { return s.GID })},
	unix.NFT_META_NFTRACE:   {name: "nftrace", size: 1, set: setTrace},
	unix.NFT_META_RTCLASSID: {name: "rtclassid", size: 4, load: loadU32(func(*packet.Flight) uint32 { return 0 })}, // no route of a host has a realm
	unix.NFT_META_SECMARK: {name: "secmark", size: 4,
		load: loadU32(func(f *packet.Flight) uint32 { return f.Secmark }),
		set:  setU32(func(f *packet.Flight, v uint32) { f.Secmark = v })},
	unix.NFT_META_NFPROTO:     {name: "nfproto", size: 1, load: loadProtocolFamily},
	unix.NFT_META_L4PROTO:     {name: "l4proto", size: 1, load: loadTransport},
	unix.NFT_META_BRI_IIFNAME: {name: "bri_iifname", size: nameLen},
	unix.NFT_META_BRI_OIFNAME: {name: "bri_oifname", size: nameLen},
	unix.NFT_META_PKTTYPE:     {name: "pkttype", size: 1, load: loadPacketType},
	unix.NFT_META_CPU:         {name: "cpu", size: 4, load: loadU32(func(f *packet.Flight) uint32 { return f.Packet.CPU })},
	unix.NFT_META_IIFGROUP:    {name: "iifgroup", size: 4, load: loadGroup(inName)},
	unix.NFT_META_OIFGROUP:    {name: "oifgroup", size: 4, load: loadGroup(outName)},
	unix.NFT_META_CGROUP: {name: "cgroup", size: 4, load: func(x *execution, to Register) result {
		if x.flight.Packet.Socket == nil {
			return breaks
		}
		x.regs.storeU32(to, x.flight.Packet.Socket.Class)
		return proceed
	}},
	unix.NFT_META_PRANDOM: {name: "prandom", size: 4, load: loadRandom},
	// No packet of a host of the model came protected.
	25: {name: "secpath", size: 1, load: func(x *execution, to Register) result {
		x.regs.storeU8(to, 0)
		return proceed
	}},
	26: {name: "iifkind", size: nameLen},
	27: {name: "oifkind", size: nameLen},
	28: {name: "bri_iifpvid", size: 2},
	29: {name: "bri_iifvproto", size: 2},
	30: {name: "time", size: 8, load: func(x *execution, to Register) result {
		x.regs.store(to, binary.NativeEndian.AppendUint64(nil, uint64(x.flight.Packet.Wall().UnixNano())))
		return proceed
	}},
	// The kernel's time zone, which it takes off, is taken to be UTC.
	31: {name: "day", size: 1, load: func(x *execution, to Register) result {
		x.regs.storeU8(to, uint8(x.flight.Packet.Wall().Weekday()))
		return proceed
	}},
	32: {name: "hour", size: 4, load: loadU32(func(f *packet.Flight) uint32 {
		hour, minute, second := f.Packet.Wall().Clock()
		return uint32(hour*3600 + minute*60 + second)
	})},
	33: {name: "sdif", size: 4},
	34: {name: "sdifname", size: nameLen},
	35: {name: "bri_broute", size: 1},
}

func decodeMeta(_ *scope, data []byte) (Instruction, error) {
	var key MetaKey
	var to, from Register
	sets := false
	err := decodeNest("meta", data, need(unix.NFTA_META_KEY, decodeU32((*uint32)(&key))),
		may(unix.NFTA_META_DREG, decodeRegister(&to)),
		may(unix.NFTA_META_SREG, func(ad *netlink.AttributeDecoder) error {
			sets = true
			return decodeRegister(&from)(ad)
		}))
	if err != nil {
		return nil, err
	}
	if int(key) >= len(metaKeys) {
		return nil, notModelled{fmt.Sprintf("key %d", key)}
	}
	k := &metaKeys[key]
	if sets {
		if k.set == nil {
			return nil, notModelled{"setting " + k.name}
		}
		return &MetaSet{Key: key, From: from}, from.span(k.size)
	}
	if k.load == nil {
		return nil, notModelled{"loading " + k.name}
	}
	return &MetaLoad{Key: key, To: to}, to.span(k.size)
}

func (i *MetaLoad) String() string {
	return fmt.Sprintf("[ meta load %s => reg %s ]", metaKeys[i.Key].name, i.To)
}

func (i *MetaSet) String() string {
	return fmt.Sprintf("[ meta set %s with reg %s ]", metaKeys[i.Key].name, i.From)
}

func (i *MetaLoad) loads() (Register, int) { return i.To, metaKeys[i.Key].size }

func (i *MetaLoad) exec(x *execution) result { return metaKeys[i.Key].load(x, i.To) }

func (i *MetaSet) exec(x *execution) result {
	k := &metaKeys[i.Key]
	return k.set(x, x.regs.load(i.From, k.size))
}

func loadU32(get func(*packet.Flight) uint32) func(*execution, Register) result {
	return func(x *execution, to Register) result {
		x.regs.storeU32(to, get(x.flight))
		return proceed
	}
}

// loadRandom loads a random number with its most significant byte first. The
// kernel's stand in the order of the machine and are as random in any; this is
// the order in which nft compares them.
func loadRandom(x *execution, to Register) result {
	x.regs.store(to, binary.BigEndian.AppendUint32(nil, x.flight.Draw()))
	return proceed
}

func setU32(set func(*packet.Flight, uint32)) func(*execution, []byte) result {
	return func(x *execution, value []byte) result {
		set(x.flight, binary.NativeEndian.Uint32(value))
		return proceed
	}
}

// setTrace starts the reports about the packet. Stopping them is not modelled.
func setTrace(x *execution, value []byte) result {
	if value[0] == 0 {
		return x.unknown("the end of a trace is not modelled")
	}
	x.flight.Emit(packet.TraceEvent{})
	return proceed
}

func inName(f *packet.Flight) string  { return f.In }
func outName(f *packet.Flight) string { return f.Out }

// nameLen is the length of an interface name with its final NUL bytes.
const nameLen = 16

// loadName loads the name of a device, and the empty name for none.
func loadName(name func(*packet.Flight) string) func(*execution, Register) result {
	return func(x *execution, to Register) result {
		var b [nameLen]byte
		copy(b[:nameLen-1], name(x.flight))
		x.regs.store(to, b[:])
		return proceed
	}
}

// device finds a device of the host. A device that the host does not have
// leaves the packet undecided.
func (x *execution) device(name string) (*packet.Device, result) {
	if d := x.flight.Host.Device(name); d != nil {
		return d, proceed
	}
	return nil, x.unknown("the host has no device %q", name)
}

// loadIndex loads the index of a device, and 0 for none.
func loadIndex(name func(*packet.Flight) string) func(*execution, Register) result {
	return func(x *execution, to Register) result {
		index := uint32(0)
		if name(x.flight) != "" {
			d, r := x.device(name(x.flight))
			if r != proceed {
				return r
			}
			index = d.Index
		}
		x.regs.storeU32(to, index)
		return proceed
	}
}

// Hardware types of devices.
//
// Kernel: include/uapi/linux/if_arp.h.
const (
	hardwareEthernet = 1
	hardwareLoopback = 772
	hardwareNone     = 0xfffe
)

// loadType loads the hardware type of a device, and breaks for none.
func loadType(name func(*packet.Flight) string) func(*execution, Register) result {
	return loadDevice(name, func(x *execution, to Register, d *packet.Device) {
		switch {
		case d.Loopback:
			x.regs.storeU16(to, hardwareLoopback)
		case d.Ethernet:
			x.regs.storeU16(to, hardwareEthernet)
		default:
			x.regs.storeU16(to, hardwareNone)
		}
	})
}

// loadArrivalType loads the type of the device that the packet is at, which
// behind the routing is the outgoing one.
//
// Measured on Linux 6.18: iiftype in the postrouting hook.
func loadArrivalType(x *execution, to Register) result {
	return loadType(func(*packet.Flight) string { return x.at() })(x, to)
}

// loadGroup loads the group of a device, and breaks for none.
func loadGroup(name func(*packet.Flight) string) func(*execution, Register) result {
	return loadDevice(name, func(x *execution, to Register, d *packet.Device) { x.regs.storeU32(to, d.Group) })
}

func loadDevice(name func(*packet.Flight) string, load func(*execution, Register, *packet.Device)) func(*execution, Register) result {
	return func(x *execution, to Register) result {
		if name(x.flight) == "" {
			return breaks
		}
		d, r := x.device(name(x.flight))
		if r == proceed {
			load(x, to, d)
		}
		return r
	}
}

// loadOwner loads the owner of the packet's socket, and breaks for a packet
// without a socket or a socket without a file.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval_skugid.
func loadOwner(id func(*packet.Socket) uint32) func(*execution, Register) result {
	return func(x *execution, to Register) result {
		s := x.flight.Packet.Socket
		if s == nil || s.NoFile {
			return breaks
		}
		x.regs.storeU32(to, id(s))
		return proceed
	}
}

var protocolFamilies = map[int]uint8{4: familyIPv4, 6: familyIPv6}

func loadProtocolFamily(x *execution, to Register) result {
	x.regs.storeU8(to, protocolFamilies[x.header.version])
	return proceed
}

func loadTransport(x *execution, to Register) result {
	if !x.header.hasProto {
		return breaks
	}
	x.regs.storeU8(to, x.header.proto)
	return proceed
}

// loadPacketType is to whom the packet was addressed on the link. What the host
// sends to a group and hears itself is told apart by the IP destination.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval_pkttype_lo.
func loadPacketType(x *execution, to Register) result {
	kind := uint8(packet.TypeHost)
	if x.flight.Packet.Path == packet.Arriving {
		kind = x.flight.Type()
	}
	if kind == unix.PACKET_LOOPBACK {
		kind = packet.TypeMulticast
		if data := x.flight.Data; len(data) >= 20 && data[0]>>4 == 4 && data[16]>>4 != 0xe {
			kind = packet.TypeBroadcast
		}
	}
	x.regs.storeU8(to, kind)
	return proceed
}
