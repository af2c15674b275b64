package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

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
		if back.kind == packet.Local {
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
