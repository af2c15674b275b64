package nftsim

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("range", decodeRange) }

// Range breaks the rule unless a register lies between two constants, or
// outside of them. It compares bytes, as [Cmp] does.
//
// Kernel: net/netfilter/nft_range.c.
type Range struct {
	From      Register
	Not       bool
	Low, High []byte
}

func decodeRange(_ *scope, data []byte) (Instruction, error) {
	i := &Range{}
	var op uint32
	err := decodeNest("range", data, need(unix.NFTA_RANGE_SREG, decodeRegister(&i.From)),
		need(unix.NFTA_RANGE_OP, decodeU32(&op)), need(unix.NFTA_RANGE_FROM_DATA, decodeValue(&i.Low)),
		need(unix.NFTA_RANGE_TO_DATA, decodeValue(&i.High)))
	if err != nil {
		return nil, err
	}
	if op > unix.NFT_RANGE_NEQ {
		return nil, notModelled{fmt.Sprintf("range operation %d", op)}
	}
	if len(i.Low) != len(i.High) {
		return nil, fmt.Errorf("range from %d to %d bytes", len(i.Low), len(i.High))
	}
	i.Not = op == unix.NFT_RANGE_NEQ
	return i, i.From.span(len(i.Low))
}

func (i *Range) String() string {
	op := "eq"
	if i.Not {
		op = "neq"
	}
	return fmt.Sprintf("[ range %s reg %s %s %s ]", op, i.From, words(i.Low), words(i.High))
}

func (i *Range) exec(x *execution) result {
	v := x.regs.load(i.From, len(i.Low))
	inside := bytes.Compare(v, i.Low) >= 0 && bytes.Compare(v, i.High) <= 0
	if inside != i.Not {
		return proceed
	}
	return breaks
}

func (i *Range) symbolic(x *symbolicRun) {
	w, ok := x.load(i.From, len(i.Low))
	if !ok {
		return
	}
	inside := x.between(w, i.Low, i.High)
	if i.Not {
		inside = x.space.Not(inside)
	}
	x.require(inside)
}
