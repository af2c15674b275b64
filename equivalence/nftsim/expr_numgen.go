package nftsim

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
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

func (i *Numgen) asks(*compiler) bool { return i.Modulus != 1 }

func (i *Numgen) symbolic(x *symbolicRun) {
	in := symbolic.Instance{Kind: "nth", Parameters: fmt.Sprintf("counter of %d", i.Modulus), Width: 32, Below: uint64(i.Modulus)}
	scaled := i.Random && i.Modulus&(i.Modulus-1) == 0
	switch {
	case scaled:
		in = randomNumber
	case i.Random:
		in.Kind, in.Parameters, in.Silent = "random below", fmt.Sprintf("below %d", i.Modulus), true
	}
	n := symbolic.Constant(0, 32)
	if i.asks(x.compiler) {
		var ok bool
		if n, ok = x.ask(i, in); !ok {
			return
		}
		if scaled { // to the bits that weigh most
			n = extend(n[:bits.TrailingZeros32(i.Modulus)], 32)
		}
	}
	if i.Offset != 0 {
		// What is above the modulus does not occur.
		n = x.plus(extend(n[bits.LeadingZeros32(i.Modulus-1):], 32), uint64(i.Offset))
	}
	x.storeNumber(i.To, n)
}

// randomNumber is the state of a generator of random numbers.
var randomNumber = symbolic.Instance{Kind: "random", Parameters: "number of 32 bits", Width: 32, Silent: true}
