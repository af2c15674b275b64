package nftsim

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("nat", decodeNAT) }

// NAT asks for a translation of a new connection's source or destination, and
// accepts.
//
// Kernel: net/netfilter/nft_nat.c.
type NAT struct {
	Destination      bool
	Family           uint32   // NFPROTO_*; packets of other families pass
	MinAddr, MaxAddr Register // the verdict register stands for none; without MaxAddr it is MinAddr
	natPortRange
	Flags uint32
}

func decodeNAT(_ *scope, data []byte) (Instruction, error) {
	i := &NAT{}
	var kind uint32
	err := decodeNest("nat", data, need(unix.NFTA_NAT_TYPE, decodeU32(&kind)),
		need(unix.NFTA_NAT_FAMILY, decodeU32(&i.Family)),
		may(unix.NFTA_NAT_REG_ADDR_MIN, decodeRegister(&i.MinAddr)), may(unix.NFTA_NAT_REG_ADDR_MAX, decodeRegister(&i.MaxAddr)),
		may(unix.NFTA_NAT_REG_PROTO_MIN, decodeRegister(&i.MinPort)), may(unix.NFTA_NAT_REG_PROTO_MAX, decodeRegister(&i.MaxPort)),
		may(unix.NFTA_NAT_FLAGS, decodeU32(&i.Flags)))
	if err != nil {
		return nil, err
	}
	if kind > unix.NFT_NAT_DNAT {
		return nil, fmt.Errorf("type %d", kind)
	}
	i.Destination = kind == unix.NFT_NAT_DNAT
	portOnly := i.Family == familyInet && i.MinAddr == 0
	if i.Family != familyIPv4 && i.Family != familyIPv6 && !portOnly {
		return nil, notModelled{fmt.Sprintf("translation of addresses of family %d", i.Family)}
	}
	if i.MinAddr == 0 && i.MinPort == 0 {
		return nil, errors.New("translation to nothing")
	}
	for _, r := range []Register{i.MinAddr, i.MaxAddr} {
		if r != 0 {
			if err := r.span(i.addressLen()); err != nil {
				return nil, err
			}
		}
	}
	if err := checkNATFlags(i.Flags); err != nil {
		return nil, err
	}
	return i, i.check()
}

func (i *NAT) addressLen() int {
	if i.Family == familyIPv4 {
		return 4
	}
	return 16
}

func (i *NAT) String() string {
	s := "[ nat snat "
	if i.Destination {
		s = "[ nat dnat "
	}
	s += familyNames[uint8(i.Family)] + " "
	if i.MinAddr != 0 {
		s += fmt.Sprintf("addr_min reg %s ", i.MinAddr)
	}
	if i.MaxAddr != 0 {
		s += fmt.Sprintf("addr_max reg %s ", i.MaxAddr)
	}
	return s + i.natPortRange.String() + natFlagText(i.Flags) + "]"
}

func (i *NAT) tracks(version int) bool { return sees(uint8(i.Family), version) }

func (i *NAT) exec(x *execution) result {
	if !sees(uint8(i.Family), x.header.version) {
		return proceed
	}
	e := packet.NATEvent{Destination: i.Destination}
	if i.MinAddr != 0 {
		low, high := x.regs.load(i.MinAddr, i.addressLen()), x.regs.load(orMin(i.MaxAddr, i.MinAddr), i.addressLen())
		e.Min, _ = netip.AddrFromSlice(low)
		e.Max, _ = netip.AddrFromSlice(high)
		if i.Flags&natPrefix != 0 {
			e.Min = i.prefix(x, low, high)
			e.Max = e.Min
		}
	}
	i.load(x, &e)
	return x.translate(e, i.Flags)
}

// prefix replaces the network part of the packet's address: the bits in which
// the two ends of the range are alike.
//
// Kernel: net/netfilter/nft_nat.c, nft_nat_setup_netmap.
func (i *NAT) prefix(x *execution, low, high []byte) netip.Addr {
	old := x.source()
	if i.Destination {
		old = x.destination()
	}
	mapped := old.AsSlice()
	for k := range mapped {
		network := ^(low[k] ^ high[k])
		mapped[k] = mapped[k]&^network | low[k]&network
	}
	a, _ := netip.AddrFromSlice(mapped)
	return a
}

func (i *NAT) symbolic(x *symbolicRun) {
	if !sees(uint8(i.Family), x.space.Version) {
		return
	}
	kind, address := "snat", symbolic.Source
	if i.Destination {
		kind, address = "dnat", symbolic.Destination
	}
	var ends symbolic.Word
	if i.MinAddr != 0 {
		low, ok := x.load(i.MinAddr, i.addressLen())
		high, ok2 := x.load(orMin(i.MaxAddr, i.MinAddr), i.addressLen())
		if !ok || !ok2 {
			return
		}
		if i.Flags&natPrefix != 0 {
			old := x.bits(address)
			for k := range low {
				low[k] = x.space.ITE(x.space.Xor(low[k], high[k]), old[k], low[k])
			}
			high = low
		}
		ends = append(low, high...)
	}
	text := fmt.Sprintf("address %t ports %t flags %#x", i.MinAddr != 0, i.MinPort != 0, i.Flags&natCompared)
	x.translate(kind, text, ends, &i.natPortRange)
}
