package nftsim

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

func init() { register("cmp", decodeCmp) }

// A CmpOp is how Cmp compares.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_cmp_ops.
type CmpOp uint32

// cmpOps are the comparisons: their names, and whether they hold for the sign
// of register minus constant.
var cmpOps = []struct {
	name  string
	holds func(sign int) bool
}{
	unix.NFT_CMP_EQ:  {"eq", func(sign int) bool { return sign == 0 }},
	unix.NFT_CMP_NEQ: {"neq", func(sign int) bool { return sign != 0 }},
	unix.NFT_CMP_LT:  {"lt", func(sign int) bool { return sign < 0 }},
	unix.NFT_CMP_LTE: {"lte", func(sign int) bool { return sign <= 0 }},
	unix.NFT_CMP_GT:  {"gt", func(sign int) bool { return sign > 0 }},
	unix.NFT_CMP_GTE: {"gte", func(sign int) bool { return sign >= 0 }},
}

// Cmp breaks the rule unless a register compares with a constant. It compares
// bytes, the first one weighs most: a number in host byte order must be turned
// round before it can be compared by size.
//
// Kernel: net/netfilter/nft_cmp.c.
type Cmp struct {
	From Register
	Op   CmpOp
	Data []byte
}

func decodeCmp(_ *scope, data []byte) (Instruction, error) {
	i := &Cmp{}
	err := decodeNest("cmp", data, need(unix.NFTA_CMP_SREG, decodeRegister(&i.From)),
		need(unix.NFTA_CMP_OP, decodeU32((*uint32)(&i.Op))), need(unix.NFTA_CMP_DATA, decodeValue(&i.Data)))
	if err != nil {
		return nil, err
	}
	if int(i.Op) >= len(cmpOps) {
		return nil, notModelled{fmt.Sprintf("comparison %d", i.Op)}
	}
	return i, i.From.span(len(i.Data))
}

func (i *Cmp) String() string {
	return fmt.Sprintf("[ cmp %s reg %s %s ]", cmpOps[i.Op].name, i.From, words(i.Data))
}

func (i *Cmp) exec(x *execution) result {
	if cmpOps[i.Op].holds(bytes.Compare(x.regs.load(i.From, len(i.Data)), i.Data)) {
		return proceed
	}
	return breaks
}
