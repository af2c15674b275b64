package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// fibTypes are the types of an address: over all devices, by the incoming and by
// the outgoing one.
var fibTypes = map[uint32][3]symbolic.Group{
	unix.NFTA_FIB_F_SADDR: {symbolic.SourceType, symbolic.SourceTypeIn, symbolic.SourceTypeOut},
	unix.NFTA_FIB_F_DADDR: {symbolic.DestinationType, symbolic.DestinationTypeIn, symbolic.DestinationTypeOut},
}

func (i *Fib) symbolic(x *symbolicRun) {
	if i.asks(x.compiler) {
		i.wayBack(x)
		return
	}
	if i.Result != unix.NFT_FIB_RESULT_ADDRTYPE {
		x.undecided("the route to an address of the packet")
		return
	}
	// Of IPv4 the mark has no say: the local table is asked.
	if i.Flags&unix.NFTA_FIB_F_PRESENT != 0 || x.space.Version == 6 && i.Flags&unix.NFTA_FIB_F_MARK != 0 {
		x.undecided(fmt.Sprintf("the type of an address by flags %#x", i.Flags))
		return
	}
	by := 0
	if i.Flags&unix.NFTA_FIB_F_IIF != 0 {
		by = 1
	} else if i.Flags&unix.NFTA_FIB_F_OIF != 0 {
		by = 2
	}
	group := fibTypes[i.Flags&(unix.NFTA_FIB_F_SADDR|unix.NFTA_FIB_F_DADDR)][by]
	x.storeNumber(i.To, extend(x.bits(group), 32))
}

// asks reports whether it is the way back to the source that is asked for: whether
// there is one, or of IPv6 its type by the packet's mark.
func (i *Fib) asks(c *compiler) bool {
	const all = unix.NFTA_FIB_F_SADDR | unix.NFTA_FIB_F_MARK | unix.NFTA_FIB_F_IIF | unix.NFTA_FIB_F_PRESENT
	if i.Flags&unix.NFTA_FIB_F_SADDR == 0 || i.Flags&^uint32(all) != 0 {
		return false
	}
	if i.Result == unix.NFT_FIB_RESULT_ADDRTYPE {
		return c.space.Version == 6 && i.Flags == unix.NFTA_FIB_F_SADDR|unix.NFTA_FIB_F_MARK
	}
	return i.Flags&unix.NFTA_FIB_F_PRESENT != 0
}

// wayBack loads whether there is a way back to the source, or its type. It is asked
// where packets arrive. That a way is one to the host itself, or to where no host is,
// counts as none; what came from the loopback device has one without a look, and in
// IPv4 what has no address yet.
//
// Kernel: net/ipv4/netfilter/nft_fib_ipv4.c, nft_fib4_eval;
// net/ipv6/netfilter/nft_fib_ipv6.c, nft_fib6_eval and nft_fib6_eval_type.
func (i *Fib) wayBack(x *symbolicRun) {
	s := x.space
	device := i.Flags&unix.NFTA_FIB_F_IIF != 0
	in := symbolic.WayBack(i.Flags&unix.NFTA_FIB_F_MARK != 0, device && s.Version == 6)
	w, ok := x.peek(instanceID{key: in.Kind + " " + in.Parameters}, in)
	if !ok {
		return
	}
	hook := s.Bits(symbolic.Hook)
	arrives := s.Or(s.Number(hook, uint64(packet.Prerouting)), s.Number(hook, uint64(packet.Input)))
	x.undecidedWhere(s.Not(arrives), "the route to an address of the packet")
	source, destination := x.bits(symbolic.Source), x.bits(symbolic.Destination)
	nowhere := s.Number(source, 0)
	if s.Version == 6 {
		x.undecidedWhere(nowhere, "the route to ::")
	}
	if x.ended {
		return
	}
	kind := w[:symbolic.WayBackType]
	if i.Result == unix.NFT_FIB_RESULT_ADDRTYPE {
		x.storeNumber(i.To, extend(kind, 32))
		return
	}
	const loopback, heard = 772, unix.PACKET_LOOPBACK
	found := s.Not(s.Or(s.Number(kind, uint64(packet.Unspec)), s.Number(kind, uint64(packet.Local))))
	if s.Version == 6 {
		found = s.Diff(found, s.Number(kind, uint64(packet.Anycast)))
	}
	if device {
		found = s.And(found, w[symbolic.WayBackType])
	}
	if s.Version == 4 {
		every := bdd.True
		for _, bit := range destination {
			every = s.And(every, bit)
		}
		const group = 0xe00000 // 224.0.0.0/24
		found = s.Or(found, s.And(nowhere, s.Or(every, s.Number(destination[:24], group))))
	}
	found = s.Or(found, s.Or(s.Number(s.Bits(symbolic.InType), loopback), s.Number(s.Bits(symbolic.PacketType), heard)))
	x.storeNumber(i.To, extend(symbolic.Word{found}, 32))
}
