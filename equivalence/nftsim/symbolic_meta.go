package nftsim

import (
	"bytes"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// symbolicMeta are the loads of meta, by key.
var symbolicMeta = map[MetaKey]func(x *symbolicRun, to Register){
	unix.NFT_META_LEN: numberOf(symbolic.Length),
	unix.NFT_META_PROTOCOL: func(x *symbolicRun, to Register) {
		x.store(to, symbolic.Constant(uint64(etherTypes[x.space.Version]), 16))
	},
	unix.NFT_META_PRIORITY: numberOf(symbolic.Priority),
	unix.NFT_META_MARK:     numberOf(symbolic.Mark),
	unix.NFT_META_SECMARK:  numberOf(symbolic.Secmark),
	unix.NFT_META_IIF:      deviceOf(deviceIndex, wordSize, symbolic.InName),
	unix.NFT_META_OIF:      deviceOf(deviceIndex, wordSize, symbolic.OutName),
	unix.NFT_META_IIFNAME:  deviceOf(deviceName, nameLen, symbolic.InName),
	unix.NFT_META_OIFNAME:  deviceOf(deviceName, nameLen, symbolic.OutName),
	// The type of the device that the packet is at.
	unix.NFT_META_IIFTYPE: func(x *symbolicRun, to Register) {
		s := x.space
		x.require(s.ITE(x.atOut(), s.HasDevice(symbolic.OutName), s.HasDevice(symbolic.InName)))
		x.storeNumber(to, x.choice(x.atOut(), s.Bits(symbolic.OutType), s.Bits(symbolic.InType)))
	},
	unix.NFT_META_OIFTYPE: ofDevice(symbolic.OutName, symbolic.OutType),
	unix.NFT_META_SKUID:   ofOwner(symbolic.UID),
	unix.NFT_META_SKGID:   ofOwner(symbolic.GID),
	25: func(x *symbolicRun, to Register) { // secpath
		x.store(to, extend(symbolic.Word{x.atLeast(x.space.Bits(symbolic.TransformsIn), 1)}, 8))
	},
	unix.NFT_META_CGROUP: func(x *symbolicRun, to Register) {
		x.require(x.space.Bit(symbolic.HasSocket))
		x.storeNumber(to, x.space.Bits(symbolic.SocketClass))
	},
	unix.NFT_META_NFPROTO: func(x *symbolicRun, to Register) {
		x.store(to, symbolic.Constant(uint64(protocolFamilies[x.space.Version]), 8))
	},
	unix.NFT_META_L4PROTO: func(x *symbolicRun, to Register) {
		x.require(x.hasProto())
		x.store(to, x.proto())
	},
	unix.NFT_META_PKTTYPE:   symbolicPacketType,
	unix.NFT_META_IIFGROUP:  ofDevice(symbolic.InName, symbolic.InGroup),
	unix.NFT_META_CPU:       numberOf(symbolic.CPU),
	unix.NFT_META_RTCLASSID: numberOf(symbolic.Realm),
	30:                      numberOf(symbolic.Clock),
	31:                      numberOf(symbolic.ClockDay),
	32:                      numberOf(symbolic.ClockSecond),
	unix.NFT_META_OIFGROUP:  ofDevice(symbolic.OutName, symbolic.OutGroup),
}

// numberOf loads a number in host byte order.
func numberOf(g symbolic.Group) func(*symbolicRun, Register) {
	return func(x *symbolicRun, to Register) { x.storeNumber(to, x.bits(g)) }
}

// deviceOf leaves it to who compares the name or index of a device what is known
// of it.
func deviceOf(kind heldKind, n int, g symbolic.Group) func(*symbolicRun, Register) {
	return func(x *symbolicRun, to Register) { x.mark(to, n, kind, g) }
}

// ofDevice loads a number of a device, and breaks for none.
func ofDevice(device, g symbolic.Group) func(*symbolicRun, Register) {
	return func(x *symbolicRun, to Register) {
		x.require(x.space.HasDevice(device))
		x.storeNumber(to, x.space.Bits(g))
	}
}

// ofOwner loads a number of the owner of the packet's socket.
func ofOwner(g symbolic.Group) func(*symbolicRun, Register) {
	return func(x *symbolicRun, to Register) {
		x.require(x.space.And(x.space.Bit(symbolic.HasSocket), x.space.Bit(symbolic.HasFile)))
		x.storeNumber(to, x.space.Bits(g))
	}
}

// symbolicPacketType is loadPacketType.
func symbolicPacketType(x *symbolicRun, to Register) {
	s := x.space
	kind := s.Bits(symbolic.PacketType)
	group := symbolic.Constant(packet.TypeMulticast, len(kind))
	if s.Version == 4 {
		multicast := s.Number(x.bits(symbolic.Destination)[:4], 0xe)
		group = x.choice(multicast, group, symbolic.Constant(packet.TypeBroadcast, len(kind)))
	}
	x.store(to, extend(x.choice(s.Number(kind, unix.PACKET_LOOPBACK), group, kind), 8))
}

func (i *MetaLoad) asks(*compiler) bool { return i.Key == unix.NFT_META_PRANDOM }

func (i *MetaLoad) symbolic(x *symbolicRun) {
	if i.Key == unix.NFT_META_PRANDOM {
		// Most significant byte first, see loadRandom.
		if n, ok := x.ask(i, randomNumber); ok {
			x.store(i.To, n)
		}
		return
	}
	load := symbolicMeta[i.Key]
	if load == nil {
		x.undecided("loading " + metaKeys[i.Key].name)
		return
	}
	load(x, i.To)
}

// metaGroups are the groups that meta sets.
var metaGroups = map[MetaKey]symbolic.Group{
	unix.NFT_META_PRIORITY: symbolic.Priority, unix.NFT_META_MARK: symbolic.Mark,
	unix.NFT_META_SECMARK: symbolic.Secmark,
}

func (i *MetaSet) symbolic(x *symbolicRun) {
	g := metaGroups[i.Key]
	if i.Key == unix.NFT_META_NFTRACE {
		w, ok := x.load(i.From, 1)
		switch {
		case !ok:
		case slices.Contains(w, bdd.True):
			x.emit(symbolic.Token{Kind: "trace"})
		default:
			x.undecided("the end of a trace")
		}
		return
	}
	if g == 0 {
		x.undecided("setting " + metaKeys[i.Key].name)
		return
	}
	if w, ok := x.loadNumber(i.From, metaKeys[i.Key].size); ok {
		x.write(x.space.Levels(g), w)
	}
}

// canSee reports whether a rule can match packets of an IP version, as far as
// comparisons of the version at its beginning tell.
func canSee(r *Rule, version int) bool {
	for at := 0; at+1 < len(r.Instructions); at += 2 {
		load, ok := r.Instructions[at].(*MetaLoad)
		cmp, compares := r.Instructions[at+1].(*Cmp)
		if !ok || !compares || load.To != cmp.From {
			return true
		}
		var value []byte
		switch load.Key {
		case unix.NFT_META_NFPROTO:
			value = []byte{protocolFamilies[version]}
		case unix.NFT_META_PROTOCOL:
			value = binary.BigEndian.AppendUint16(nil, etherTypes[version])
		default:
			return true
		}
		if len(value) == len(cmp.Data) && !cmpOps[cmp.Op].holds(bytes.Compare(value, cmp.Data)) {
			return false
		}
	}
	return true
}
