package predicate

import (
	"errors"
	"fmt"
)

// BPF is "-m bpf": a classic BPF program returns something other than 0 for the
// packet from the network header on. Loads from behind the packet end it with 0.
// What it can ask the kernel beside the packet is not modelled.
//
// Kernel: net/netfilter/xt_bpf.c; net/core/filter.c.
type BPF struct{ Program []BPFInstruction }

// A BPFInstruction is an operation, how far it jumps when a comparison holds and
// when not, and its constant.
type BPFInstruction struct {
	Code        uint16
	True, False uint8
	K           uint32
}

var _ Content = BPF{}

// Content marks the type.
func (BPF) Content() {}

// Classes, sizes, modes and operations of instructions.
//
// Kernel: include/uapi/linux/bpf_common.h and filter.h.
const (
	bpfLd, bpfLdx, bpfSt, bpfStx, bpfAlu, bpfJmp, bpfRet, bpfMisc = 0, 1, 2, 3, 4, 5, 6, 7

	bpfWord, bpfHalf, bpfByte                           = 0x00, 0x08, 0x10
	bpfImm, bpfAbs, bpfInd, bpfMem, bpfLength, bpfNible = 0x00, 0x20, 0x40, 0x60, 0x80, 0xa0

	bpfAdd, bpfSub, bpfMul, bpfDiv, bpfOr, bpfAnd, bpfLsh, bpfRsh, bpfNeg, bpfMod, bpfXor = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0
	bpfAlways, bpfEqual, bpfGreater, bpfAtLeast, bpfSet                                   = 0x00, 0x10, 0x20, 0x30, 0x40

	bpfX         = 0x08 // the other operand is register X, else the constant
	bpfAncillary = 0xfff00000
	bpfMemory    = 16
	bpfReturnK   = 0x06
	bpfReturnA   = 0x16
	bpfToA       = 0x80
	bpfToX       = 0x00
)

// Returns reports whether the instruction ends the program.
func (i BPFInstruction) Returns() bool { return i.Code == bpfReturnK || i.Code == bpfReturnA }

// Check says why the kernel refuses the instruction at a place of a program of so
// many.
func (i BPFInstruction) Check(at, all int) error {
	unknown := fmt.Errorf("has the operation %d, which does not exist", i.Code)
	mode, operation := i.Code&0xe0, i.Code&0xf0
	switch i.Code & 7 {
	case bpfLd:
		switch {
		case i.Code&0x18 == 0x18, mode > bpfLength, (mode == bpfImm || mode == bpfMem || mode == bpfLength) && i.Code&0x18 != bpfWord, i.Code > 0xff:
			return unknown
		}
		if mode == bpfMem && i.K >= bpfMemory {
			return errors.New("loads from behind the memory")
		}
	case bpfLdx:
		switch i.Code {
		case bpfLdx | bpfImm, bpfLdx | bpfLength, bpfLdx | bpfNible | bpfByte:
		case bpfLdx | bpfMem:
			if i.K >= bpfMemory {
				return errors.New("loads from behind the memory")
			}
		default:
			return unknown
		}
	case bpfSt, bpfStx:
		if i.Code > 7 {
			return unknown
		}
		if i.K >= bpfMemory {
			return errors.New("stores behind the memory")
		}
	case bpfAlu:
		switch {
		case i.Code > 0xff || operation > bpfXor || operation == bpfNeg && i.Code&bpfX != 0:
			return unknown
		case (operation == bpfDiv || operation == bpfMod) && i.Code&bpfX == 0 && i.K == 0:
			return errors.New("divides by 0")
		case (operation == bpfLsh || operation == bpfRsh) && i.Code&bpfX == 0 && i.K > 31:
			return errors.New("shifts by more than 31 bits")
		}
	case bpfJmp:
		switch {
		case i.Code > 0xff || operation > bpfSet || operation == bpfAlways && i.Code&bpfX != 0:
			return unknown
		case operation == bpfAlways && uint64(at)+1+uint64(i.K) >= uint64(all):
			return errors.New("jumps behind the program")
		case operation != bpfAlways && at+1+int(max(i.True, i.False)) >= all:
			return errors.New("jumps behind the program")
		}
	case bpfRet:
		if !i.Returns() {
			return unknown
		}
	case bpfMisc:
		if i.Code != bpfMisc|bpfToX && i.Code != bpfMisc|bpfToA {
			return unknown
		}
	}
	return nil
}

// Identity is "": there is nothing to share.
func (BPF) Identity() string { return "" }

// Describe says the program.
func (b BPF) Describe() string {
	text := "bpf"
	for _, i := range b.Program {
		text += fmt.Sprintf(" %d:%d:%d:%d", i.Code, i.True, i.False, i.K)
	}
	return text
}

// Keys is the length of the packet, which a program can ask for.
func (BPF) Keys() []Field { return []Field{{ID: TotalLength}} }

// Ask runs the program.
func (b BPF) Ask(r Reader, _ string) Truth {
	var a, x uint32
	var memory [bpfMemory]uint32
	load := func(offset uint32, size uint16) (value uint32, ok Truth) {
		if offset >= bpfAncillary {
			return 0, Unknown
		}
		for n := range map[uint16]uint32{bpfWord: 4, bpfHalf: 2, bpfByte: 1}[size] {
			v, there := r.Field(Field{ID: PacketByte, Arg: offset + n})
			if there != Yes || offset > 0xffff {
				return 0, No
			}
			value = value<<8 | uint32(v.Lo)
		}
		return value, Yes
	}
	length, _ := r.Field(Field{ID: TotalLength})
	for at := 0; at < len(b.Program); at++ {
		i := b.Program[at]
		other, ok := i.K, Yes
		if i.Code&bpfX != 0 {
			other = x
		}
		switch i.Code & 7 {
		case bpfLd:
			switch i.Code & 0xe0 {
			case bpfImm:
				a = i.K
			case bpfAbs:
				a, ok = load(i.K, i.Code&0x18)
			case bpfInd:
				if a, ok = load(x+i.K, i.Code&0x18); i.K >= bpfAncillary {
					ok = Unknown
				}
			case bpfMem:
				a = memory[i.K]
			case bpfLength:
				a = uint32(length.Lo)
			}
		case bpfLdx:
			switch i.Code & 0xe0 {
			case bpfImm:
				x = i.K
			case bpfMem:
				x = memory[i.K]
			case bpfLength:
				x = uint32(length.Lo)
			case bpfNible:
				if x, ok = load(i.K, bpfByte); ok == Yes {
					x = x & 0xf * 4
				}
			}
		case bpfSt:
			memory[i.K] = a
		case bpfStx:
			memory[i.K] = x
		case bpfAlu:
			a, ok = i.compute(a, other)
		case bpfJmp:
			at += i.jump(a, other)
		case bpfRet:
			if i.Code == bpfReturnA {
				return Of(a != 0)
			}
			return Of(i.K != 0)
		case bpfMisc:
			if i.Code&bpfToA != 0 {
				a = x
			} else {
				x = a
			}
		}
		if ok != Yes {
			return ok
		}
	}
	return No
}

// compute is an operation on two numbers; dividing by 0 ends the program.
func (i BPFInstruction) compute(a, other uint32) (uint32, Truth) {
	switch i.Code & 0xf0 {
	case bpfAdd:
		return a + other, Yes
	case bpfSub:
		return a - other, Yes
	case bpfMul:
		return a * other, Yes
	case bpfOr:
		return a | other, Yes
	case bpfAnd:
		return a & other, Yes
	case bpfLsh:
		return a << (other & 31), Yes
	case bpfRsh:
		return a >> (other & 31), Yes
	case bpfNeg:
		return -a, Yes
	case bpfXor:
		return a ^ other, Yes
	}
	if other == 0 {
		return 0, No
	}
	if i.Code&0xf0 == bpfDiv {
		return a / other, Yes
	}
	return a % other, Yes
}

// jump is how many instructions are left out.
func (i BPFInstruction) jump(a, other uint32) int {
	holds := false
	switch i.Code & 0xf0 {
	case bpfAlways:
		return int(i.K)
	case bpfEqual:
		holds = a == other
	case bpfGreater:
		holds = a > other
	case bpfAtLeast:
		holds = a >= other
	case bpfSet:
		holds = a&other != 0
	}
	if holds {
		return int(i.True)
	}
	return int(i.False)
}
