package nftsim

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func init() { register("bitwise", decodeBitwise) }

// A BitwiseOp is what Bitwise does.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_bitwise_ops.
type BitwiseOp uint32

// The operations.
const (
	MaskXor BitwiseOp = iota
	ShiftLeft
	ShiftRight
	And // of two registers, as the following; since Linux 6.13
	Or
	Xor
)

var bitwiseSigns = map[BitwiseOp]string{ShiftLeft: "<<", ShiftRight: ">>", And: "&", Or: "|", Xor: "^"}

// bitwisePairs are the operations of two registers.
var bitwisePairs = map[BitwiseOp]func(a, b uint32) uint32{
	And: func(a, b uint32) uint32 { return a & b },
	Or:  func(a, b uint32) uint32 { return a | b },
	Xor: func(a, b uint32) uint32 { return a ^ b },
}

// Bitwise computes To from From, word by word in host byte order: masked and
// exclusively ored with constants, shifted, or combined with a second register.
//
// Kernel: net/netfilter/nft_bitwise.c.
type Bitwise struct {
	From, To Register
	Second   Register // of And, Or and Xor
	Len      int      // bytes
	Op       BitwiseOp
	Mask     []byte // of MaskXor
	Xor      []byte // of MaskXor
	Shift    uint32 // bits, of the shifts
}

// Attributes that golang.org/x/sys does not name.
const (
	bitwiseOp   = 6
	bitwiseData = 7
	bitwiseReg2 = 8
)

func decodeBitwise(_ *scope, data []byte) (Instruction, error) {
	i := &Bitwise{}
	var length uint32
	var shift []byte
	err := decodeNest("bitwise", data,
		need(unix.NFTA_BITWISE_SREG, decodeRegister(&i.From)), need(unix.NFTA_BITWISE_DREG, decodeRegister(&i.To)),
		need(unix.NFTA_BITWISE_LEN, decodeU32(&length)), may(bitwiseOp, decodeU32((*uint32)(&i.Op))),
		may(unix.NFTA_BITWISE_MASK, decodeValue(&i.Mask)), may(unix.NFTA_BITWISE_XOR, decodeValue(&i.Xor)),
		may(bitwiseData, decodeValue(&shift)),
		may(bitwiseReg2, decodeRegister(&i.Second)))
	if err != nil {
		return nil, err
	}
	if length == 0 || length > maxValue {
		return nil, fmt.Errorf("%d bytes", length)
	}
	i.Len = int(length)
	if err := i.check(shift); err != nil {
		return nil, err
	}
	if err := i.From.span(i.Len); err != nil {
		return nil, err
	}
	return i, i.To.span(i.Len)
}

// check refuses operands that do not belong to the operation.
func (i *Bitwise) check(shift []byte) error {
	constants, second := i.Mask != nil || i.Xor != nil, i.Second != 0
	switch i.Op {
	case MaskXor:
		if len(i.Mask) != i.Len || len(i.Xor) != i.Len || shift != nil || second {
			return fmt.Errorf("mask of %d and xor of %d bytes for %d", len(i.Mask), len(i.Xor), i.Len)
		}
	case ShiftLeft, ShiftRight:
		if len(shift) != wordSize || constants || second {
			return fmt.Errorf("shift by a constant of %d bytes", len(shift))
		}
		if i.Shift = binary.NativeEndian.Uint32(shift); i.Shift >= 32 {
			return fmt.Errorf("shift by %d bits", i.Shift)
		}
		if i.Shift == 0 && i.Len > wordSize {
			return notModelled{"a shift of several words by 0 bits"}
		}
	case And, Or, Xor:
		if shift != nil || constants || !second {
			return fmt.Errorf("operation %d lacks its second register", i.Op)
		}
		return i.Second.span(i.Len)
	default:
		return notModelled{fmt.Sprintf("bitwise operation %d", i.Op)}
	}
	return nil
}

func (i *Bitwise) String() string {
	switch i.Op {
	case MaskXor:
		return fmt.Sprintf("[ bitwise reg %s = ( reg %s & %s ) ^ %s ]", i.To, i.From, words(i.Mask), words(i.Xor))
	case ShiftLeft, ShiftRight:
		return fmt.Sprintf("[ bitwise reg %s = ( reg %s %s 0x%08x ) ]", i.To, i.From, bitwiseSigns[i.Op], i.Shift)
	}
	return fmt.Sprintf("[ bitwise reg %s = ( reg %s %s reg %s ) ]", i.To, i.From, bitwiseSigns[i.Op], i.Second)
}

func (i *Bitwise) loads() (Register, int) { return i.To, i.Len }

func (i *Bitwise) exec(x *execution) result {
	n := Register((i.Len + wordSize - 1) / wordSize)
	switch i.Op {
	case MaskXor:
		for w := range n {
			x.regs.storeU32(i.To+w, x.regs.u32(i.From+w)&wordOf(i.Mask, w)^wordOf(i.Xor, w))
		}
	case ShiftLeft:
		carry := uint32(0)
		for w := n; w > 0; w-- {
			v := x.regs.u32(i.From + w - 1)
			x.regs.storeU32(i.To+w-1, v<<i.Shift|carry)
			carry = v >> (32 - i.Shift)
		}
	case ShiftRight:
		carry := uint32(0)
		for w := range n {
			v := x.regs.u32(i.From + w)
			x.regs.storeU32(i.To+w, v>>i.Shift|carry)
			carry = v << (32 - i.Shift)
		}
	default:
		pair := bitwisePairs[i.Op]
		for w := range n {
			x.regs.storeU32(i.To+w, pair(x.regs.u32(i.From+w), x.regs.u32(i.Second+w)))
		}
	}
	return proceed
}

// wordOf returns the w-th word of a constant, filled up with zeros.
func wordOf(b []byte, w Register) uint32 {
	var word [wordSize]byte
	copy(word[:], b[int(w)*wordSize:])
	return binary.NativeEndian.Uint32(word[:])
}

func (i *Bitwise) symbolic(x *symbolicRun) {
	n := (i.Len + wordSize - 1) / wordSize * wordSize
	if i.Op == MaskXor {
		i.mask(x, n)
		return
	}
	w, ok := x.load(i.From, n)
	if !ok {
		return
	}
	switch i.Op {
	case ShiftLeft, ShiftRight:
		x.store(i.To, hostWords(i.shift(hostWords(w))))
		return
	}
	second, ok := x.load(i.Second, n)
	if !ok {
		return
	}
	pair := map[BitwiseOp]func(a, b bdd.Ref) bdd.Ref{And: x.space.And, Or: x.space.Or, Xor: x.space.Xor}[i.Op]
	for k := range w {
		w[k] = pair(w[k], second[k])
	}
	x.store(i.To, w)
}

// mask masks and exclusively ors n bytes, bit by bit. What is masked out need
// not be known.
func (i *Bitwise) mask(x *symbolicRun, n int) {
	mask, xor := make([]byte, n), make([]byte, n)
	copy(mask, i.Mask)
	copy(xor, i.Xor)
	out := symbolic.ConstantBytes(xor)
	for k := range n {
		if mask[k] == 0 {
			continue
		}
		at := int(i.From)*wordSize + k
		if kind := x.holds[at].kind; kind != data {
			x.undecided(fmt.Sprintf("byte %d of register %s %s", k, i.From, heldWords[kind]))
			return
		}
		for bit := 8 * k; bit < 8*k+8; bit++ {
			if bitOf(mask, bit) {
				out[bit] = x.space.Xor(x.regs[8*int(i.From)*wordSize+bit], out[bit])
			}
		}
	}
	x.store(i.To, out)
}

// hostWords turns the bytes of words in registers into numbers, or back.
func hostWords(w symbolic.Word) symbolic.Word {
	var out symbolic.Word
	for at := 0; at < len(w); at += 8 * wordSize {
		out = append(out, symbolic.SwapNative(w[at:at+8*wordSize])...)
	}
	return out
}

// shift shifts several words as one number, the first of which weighs most.
func (i *Bitwise) shift(w symbolic.Word) symbolic.Word {
	zeros := symbolic.Constant(0, int(i.Shift))
	if i.Op == ShiftLeft {
		return append(w[i.Shift:], zeros...)
	}
	return append(zeros, w[:len(w)-int(i.Shift)]...)
}
