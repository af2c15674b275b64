package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("numgen", decodeNumgen) }

// Numgen loads a number: the next in turn, or a random one.
//
// Kernel: net/netfilter/nft_numgen.c.
type Numgen struct {
	To      Register
	Modulus uint32
	Random  bool
	Offset  uint32
}

func decodeNumgen(_ *scope, data []byte) (Instruction, error) {
	i := &Numgen{}
	var kind uint32
	err := decodeNest("numgen", data, need(unix.NFTA_NG_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_NG_MODULUS, decodeU32(&i.Modulus)), need(unix.NFTA_NG_TYPE, decodeU32(&kind)),
		may(unix.NFTA_NG_OFFSET, decodeU32(&i.Offset)))
	if err != nil {
		return nil, err
	}
	if kind > unix.NFT_NG_RANDOM {
		return nil, notModelled{fmt.Sprintf("generator %d", kind)}
	}
	if i.Modulus == 0 || i.Offset+i.Modulus-1 < i.Offset {
		return nil, fmt.Errorf("%d numbers from %d on", i.Modulus, i.Offset)
	}
	i.Random = kind == unix.NFT_NG_RANDOM
	return i, i.To.span(wordSize)
}

func (i *Numgen) String() string {
	kind, offset := "inc", ""
	if i.Random {
		kind = "random"
	}
	if i.Offset != 0 {
		offset = fmt.Sprintf("offset %d ", i.Offset)
	}
	return fmt.Sprintf("[ numgen reg %s = %s mod %d %s]", i.To, kind, i.Modulus, offset)
}

func (i *Numgen) loads() (Register, int) { return i.To, wordSize }

func (i *Numgen) exec(x *execution) result {
	var n uint32
	if i.Random {
		n = uint32(uint64(x.flight.Draw()) * uint64(i.Modulus) >> 32)
	} else {
		next := state(x, i, func() *uint32 { return new(uint32) })
		n = *next
		*next = (n + 1) % i.Modulus
	}
	x.regs.storeU32(i.To, n+i.Offset)
	return proceed
}
