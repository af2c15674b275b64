package nftsim

import (
	"net/netip"

	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("rt", decodeRt) }

// Rt loads the largest segment that fits both ways of the packet: the smaller
// MTU of the devices to the destination and back to the source, less the
// headers, in host byte order.
//
// Kernel: net/netfilter/nft_rt.c, get_tcpmss.
type Rt struct {
	To Register
}

func decodeRt(_ *scope, data []byte) (Instruction, error) {
	i := &Rt{}
	var key uint32
	err := decodeNest("rt", data, need(unix.NFTA_RT_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_RT_KEY, decodeU32(&key)))
	if err == nil && key == routeIPsec {
		return &RtIPsec{i.To}, i.To.span(1)
	}
	if err == nil && key != unix.NFT_RT_TCPMSS {
		err = notModelled{fmt.Sprintf("key %d", key)}
	}
	if err != nil {
		return nil, err
	}
	return i, i.To.span(2)
}

func (i *Rt) String() string { return fmt.Sprintf("[ rt load tcpmss => reg %s ]", i.To) }

func (i *Rt) loads() (Register, int) { return i.To, 2 }

// defaultMSS is the segment size when the MTU is too small or too large.
//
// Kernel: include/net/tcp.h, TCP_MSS_DEFAULT.
const defaultMSS = 536

func (i *Rt) exec(x *execution) result {
	name := x.flight.Out
	switch x.flight.Hook {
	case packet.Prerouting:
		return breaks // the packet has no route yet
	case packet.Input:
		name = "lo" // the route to the host itself
	}
	d, r := x.device(name)
	if r != proceed {
		return r
	}
	mtu, headers := d.MTU, map[int]int{4: ipv4Len + tcpLen, 6: ipv6Len + tcpLen}[x.header.version]
	if back, ok := lookupRoute(x.flight.Host, x.source(), ""); ok && !refusing[back.kind] {
		device := back.device
		if back.kind == packet.Local || everyRouters(x.flight.Host, x.source()) {
			device = "lo"
		}
		if d := x.flight.Host.Device(device); d != nil {
			mtu = min(mtu, d.MTU)
		}
	}
	if x.header.version == 4 {
		mtu = min(mtu, 0xffff) // net/ipv4/route.c, ipv4_mtu
	}
	mss := mtu - headers
	if mtu <= headers || mtu > 0xffff {
		mss = defaultMSS
	}
	x.regs.storeU16(i.To, uint16(mss))
	return proceed
}

// everyRouters reports whether an IPv6 address is that of all routers of a network
// of the host, which the local table routes to the loopback device.
//
// Kernel: net/ipv6/route.c, ip6_rt_get_dev_rcu (RFC 4291 section 2.6.1).
func everyRouters(h *packet.Host, a netip.Addr) bool {
	for _, d := range h.Devices {
		for _, p := range d.Addrs {
			if a.Is6() && p.Bits() < 127 && p.Masked().Addr() == a {
				return true
			}
		}
	}
	return false
}

func (i *Rt) symbolic(x *symbolicRun) {
	x.require(x.space.Not(x.space.Number(x.space.Bits(symbolic.Hook), uint64(packet.Prerouting))))
	if !x.ended {
		x.mark(i.To, 2, pathSegment, 0)
	}
}
