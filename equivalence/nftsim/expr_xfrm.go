package nftsim

import (
	"fmt"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

func init() { register("xfrm", decodeXfrm) }

// Xfrm loads something of a transform of IPsec, and breaks where the packet has
// none, as no packet of a host of the model has.
//
// Kernel: net/netfilter/nft_xfrm.c.
type Xfrm struct {
	To        Register
	Key       uint32
	Direction uint8
	Number    uint32
}

func decodeXfrm(_ *scope, data []byte) (Instruction, error) {
	i := &Xfrm{}
	err := decodeNest("xfrm", data, need(1, decodeRegister(&i.To)), need(2, decodeU32(&i.Key)),
		need(3, decodeU8(&i.Direction)), may(4, decodeU32(&i.Number)))
	if err != nil {
		return nil, err
	}
	const request, index = 5, 6
	if i.Key != request && i.Key != index {
		return nil, notModelled{fmt.Sprintf("key %d", i.Key)}
	}
	return i, i.To.span(wordSize)
}

func (i *Xfrm) String() string {
	return fmt.Sprintf("[ xfrm load %s %d %s => reg %s ]", [...]string{"in", "out"}[i.Direction&1], i.Number, map[uint32]string{5: "reqid", 6: "spi"}[i.Key], i.To)
}

func (i *Xfrm) loads() (Register, int) { return i.To, wordSize }

func (*Xfrm) exec(*execution) result { return breaks }

func (i *Xfrm) symbolic(x *symbolicRun) {
	const request = 5
	number, requests := symbolic.TransformsIn, symbolic.RequestsIn
	if i.Direction&1 == 1 {
		number, requests = symbolic.TransformsOut, symbolic.RequestsOut
	}
	n := int(i.Number)
	if i.Number >= symbolic.MostTransforms {
		x.end(x.next()) // there are not so many
		return
	}
	x.require(x.atLeast(x.space.Bits(number), uint64(n)+1))
	switch {
	case x.ended:
	case i.Key != request:
		x.undecided("the index of a transform of IPsec")
	default:
		x.storeNumber(i.To, x.space.Bits(requests)[32*n:32*n+32])
	}
}

// routeIPsec is the key of [RtIPsec], NFT_RT_XFRM.
const routeIPsec = 4

// RtIPsec loads whether the packet will leave protected, which no packet of a host
// of the model does, and breaks where the packet has no route yet.
//
// Kernel: net/netfilter/nft_rt.c.
type RtIPsec struct{ To Register }

func (i *RtIPsec) String() string { return fmt.Sprintf("[ rt load ipsec => reg %s ]", i.To) }

func (i *RtIPsec) loads() (Register, int) { return i.To, 1 }

func (i *RtIPsec) exec(x *execution) result {
	if x.flight.Hook == packet.Prerouting {
		return breaks
	}
	x.regs.storeU8(i.To, 0)
	return proceed
}

func (i *RtIPsec) symbolic(x *symbolicRun) {
	s := x.space
	x.require(s.Not(s.Number(s.Bits(symbolic.Hook), uint64(packet.Prerouting))))
	if !x.ended {
		x.store(i.To, extend(symbolic.Word{x.atLeast(s.Bits(symbolic.TransformsOut), 1)}, 8))
	}
}
