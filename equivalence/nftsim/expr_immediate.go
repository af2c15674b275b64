package nftsim

import (
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/symbolic"
)

func init() { register("immediate", decodeImmediate) }

// Immediate puts a constant or a verdict into a register.
//
// Kernel: net/netfilter/nft_immediate.c.
type Immediate struct {
	To      Register
	Data    []byte   // nil for a verdict
	Verdict *Verdict // nil for a constant
}

func decodeImmediate(_ *scope, data []byte) (Instruction, error) {
	i := &Immediate{}
	err := decodeNest("immediate", data, need(unix.NFTA_IMMEDIATE_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_IMMEDIATE_DATA, decodeData(&i.Data, &i.Verdict)))
	if err != nil {
		return nil, err
	}
	if i.Verdict != nil {
		if i.To != unix.NFT_REG_VERDICT {
			return nil, fmt.Errorf("verdict in register %s", i.To)
		}
		return i, nil
	}
	return i, i.To.span(len(i.Data))
}

func (i *Immediate) String() string {
	if i.Verdict != nil {
		return fmt.Sprintf("[ immediate reg 0 %s ]", i.Verdict)
	}
	return fmt.Sprintf("[ immediate reg %s %s ]", i.To, words(i.Data))
}

func (i *Immediate) exec(x *execution) result {
	if i.Verdict != nil {
		return x.decide(*i.Verdict)
	}
	x.regs.store(i.To, i.Data)
	return proceed
}

func (i *Immediate) symbolic(x *symbolicRun) {
	if i.Verdict != nil {
		x.decide(*i.Verdict)
		return
	}
	x.store(i.To, symbolic.ConstantBytes(i.Data))
}
