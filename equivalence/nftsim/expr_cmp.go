package nftsim

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
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

// comparisons are the functions of the comparisons.
var comparisons = []func(c *compiler, w symbolic.Word, b []byte) bdd.Ref{
	unix.NFT_CMP_EQ:  (*compiler).equals,
	unix.NFT_CMP_NEQ: func(c *compiler, w symbolic.Word, b []byte) bdd.Ref { return c.space.Not(c.equals(w, b)) },
	unix.NFT_CMP_LT:  (*compiler).below,
	unix.NFT_CMP_LTE: (*compiler).notAbove,
	unix.NFT_CMP_GT:  func(c *compiler, w symbolic.Word, b []byte) bdd.Ref { return c.space.Not(c.notAbove(w, b)) },
	unix.NFT_CMP_GTE: func(c *compiler, w symbolic.Word, b []byte) bdd.Ref { return c.space.Not(c.below(w, b)) },
}

func (i *Cmp) symbolic(x *symbolicRun) {
	equal := i.Op == unix.NFT_CMP_EQ || i.Op == unix.NFT_CMP_NEQ
	switch h := x.holding(i.From, len(i.Data)); {
	case equal && h.kind == deviceName:
		i.require(x, x.named(h.group, func(name []byte) bool { return bytes.HasPrefix(name, i.Data) }))
	case equal && h.kind == deviceIndex && len(i.Data) == wordSize:
		i.index(x, h.group, binary.NativeEndian.Uint32(i.Data))
	default:
		if w, ok := x.load(i.From, len(i.Data)); ok {
			x.require(comparisons[i.Op](x.compiler, w, i.Data))
		}
	}
}

func (i *Cmp) require(x *symbolicRun, equal bdd.Ref) {
	if i.Op == unix.NFT_CMP_NEQ {
		equal = x.space.Not(equal)
	}
	x.require(equal)
}

// index compares the index of a device. Of an unknown host it is known that
// there is none for no device, and that the loopback device has the first.
func (i *Cmp) index(x *symbolicRun, g symbolic.Group, index uint32) {
	const loopback = 1
	is := func(name string) bdd.Ref {
		return x.named(g, func(other []byte) bool { return bytes.Equal(other, padded(name)) })
	}
	equal := bdd.False
	switch index {
	case 0:
		equal = is("")
	case loopback:
		equal = is("lo")
	default:
		known := x.space.Or(is(""), is("lo"))
		x.undecidedWhere(x.space.Not(known), fmt.Sprintf("device index %d of an unknown host", index))
		if x.ended {
			return
		}
	}
	i.require(x, equal)
}
