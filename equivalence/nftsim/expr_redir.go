package nftsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nftmigrate/packet"
)

func init() { register("redir", decodeRedir) }

// Redir asks for a translation of the destination to this host, and accepts:
// to the loopback address in the output hook, else to the first address of the
// incoming device.
//
// Kernel: net/netfilter/nft_redir.c, net/netfilter/nf_nat_redirect.c.
type Redir struct {
	natPortRange
	Flags uint32
}

func decodeRedir(_ *scope, data []byte) (Instruction, error) {
	i := &Redir{}
	err := decodeNest("redir", data, may(unix.NFTA_REDIR_FLAGS, decodeU32(&i.Flags)),
		may(unix.NFTA_REDIR_REG_PROTO_MIN, decodeRegister(&i.MinPort)),
		may(unix.NFTA_REDIR_REG_PROTO_MAX, decodeRegister(&i.MaxPort)))
	if err != nil {
		return nil, err
	}
	if err := checkNATFlags(i.Flags); err != nil {
		return nil, err
	}
	return i, i.check()
}

func (i *Redir) String() string {
	return "[ redir " + i.natPortRange.String() + natFlagText(i.Flags) + "]"
}

func (*Redir) tracks(int) bool { return true }

func (i *Redir) exec(x *execution) result {
	to := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if x.header.version == 6 {
		to = netip.IPv6Loopback()
	}
	if x.flight.Hook != packet.Output {
		d, r := x.device(x.flight.In)
		if r != proceed {
			return r
		}
		to = redirectAddress(d, x.destination())
	}
	if !to.IsValid() {
		return x.decide(Verdict{Code: VerdictDrop})
	}
	e := packet.NATEvent{Destination: true, Min: to, Max: to}
	i.load(x, &e)
	return x.translate(e, i.Flags)
}

// redirectAddress is the first address of a device; of IPv6 ones, the one that
// was added last and has the scope of the packet's destination, if that is less
// than global.
func redirectAddress(d *packet.Device, old netip.Addr) netip.Addr {
	if old.Is4() {
		return firstAddress(d, true)
	}
	scope := narrow6(old)
	for _, p := range slices.Backward(d.Addrs) {
		if a := p.Addr(); !a.Is4() && (scope == 0 || narrow6(a) == scope) {
			return a
		}
	}
	return netip.Addr{}
}

// narrow6 is the kernel's scope of an IPv6 address as RFC 4291 section 2.7
// numbers them, 0 when it is global; IPv4-compatible addresses have their own.
//
// Kernel: net/ipv6/addrconf_core.c, __ipv6_addr_type.
func narrow6(a netip.Addr) int {
	const host, link, site, compatible = 1, 2, 5, 16
	b := a.As16()
	switch high := binary.BigEndian.Uint16(b[:]); {
	case a.IsMulticast():
		if scope := int(b[1] & 15); scope == host || scope == link || scope == site {
			return scope
		}
	case a.IsLoopback():
		return host
	case a.IsLinkLocalUnicast():
		return link
	case high>>6 == 0xfec0>>6:
		return site
	case !a.IsUnspecified() && [12]byte(b[:]) == [12]byte{}:
		return compatible
	}
	return 0
}

func (i *Redir) symbolic(x *symbolicRun) {
	x.translate("redirect", fmt.Sprintf("ports %t flags %#x", i.MinPort != 0, i.Flags&natCompared), nil, &i.natPortRange)
}
