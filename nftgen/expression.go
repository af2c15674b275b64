package nftgen

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// An expression is one instruction of a rule, ready to be written.
type expression interface {
	// marshal returns the attributes of an element of a list of expressions.
	marshal(family Family) ([]byte, error)
}

// fromLibrary is an expression that google/nftables encodes as the kernel
// reads it.
type fromLibrary struct{ expr.Any }

func (e fromLibrary) marshal(family Family) ([]byte, error) {
	return expr.Marshal(byte(family), e.Any)
}

// ownExpression is an expression of our own encoding.
type ownExpression struct {
	name string
	data attributes
}

func (e ownExpression) marshal(Family) ([]byte, error) {
	var a attributes
	a.text(unix.NFTA_EXPR_NAME, e.name)
	a.nested(unix.NFTA_EXPR_DATA, e.data)
	return a, nil
}

// ctLoad reads a key of one direction of the connection. The library sends the
// direction as four bytes, of which the kernel reads the first.
//
// Kernel: net/netfilter/nft_ct.c, nft_ct_policy.
func ctLoad(key, register uint32, direction uint8) expression {
	var a attributes
	a.u32(unix.NFTA_CT_KEY, key)
	a.u32(unix.NFTA_CT_DREG, register)
	a.bytes(unix.NFTA_CT_DIRECTION, direction)
	return ownExpression{"ct", a}
}

// Attributes of shifts, which the library does not send.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_bitwise_ops and
// enum nft_bitwise_attributes.
const (
	bitwiseOp   = 6
	bitwiseData = 7
	leftShift   = 1
	rightShift  = 2
)

// shift moves the bits of a register of four bytes, to the left by a positive
// number.
func shift(register uint32, bits int) expression {
	op := uint32(leftShift)
	if bits < 0 {
		op, bits = rightShift, -bits
	}
	var count, a attributes
	count.bytes(unix.NFTA_DATA_VALUE, binary.NativeEndian.AppendUint32(nil, uint32(bits))...)
	a.u32(unix.NFTA_BITWISE_SREG, register)
	a.u32(unix.NFTA_BITWISE_DREG, register)
	a.u32(unix.NFTA_BITWISE_LEN, 4)
	a.u32(bitwiseOp, op)
	a.nested(bitwiseData, count)
	return ownExpression{"bitwise", a}
}

// masquerade sends flags together with ports; the library sends only one of
// them.
//
// Kernel: net/netfilter/nft_masq.c, nft_masq_policy.
func masquerade(flags, low, high uint32) expression {
	var a attributes
	if flags != 0 {
		a.u32(unix.NFTA_MASQ_FLAGS, flags)
	}
	if low != 0 {
		a.u32(unix.NFTA_MASQ_REG_PROTO_MIN, low)
	}
	if high != 0 {
		a.u32(unix.NFTA_MASQ_REG_PROTO_MAX, high)
	}
	return ownExpression{"masq", a}
}

func compare(op Op, register uint32, data []byte) expression {
	return fromLibrary{&expr.Cmp{Op: expr.CmpOp(op), Register: register, Data: data}}
}

func bitwise(register uint32, mask, xor []byte) expression {
	return fromLibrary{&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: uint32(len(mask)), Mask: mask, Xor: xor}}
}

// toNetworkOrder turns a register from the order of the host.
func toNetworkOrder(register uint32, length int) expression {
	return fromLibrary{&expr.Byteorder{
		SourceRegister: register, DestRegister: register,
		Op: expr.ByteorderHton, Len: uint32(length), Size: uint32(max(2, length)),
	}}
}

func immediate(register uint32, data []byte) expression {
	return fromLibrary{&expr.Immediate{Register: register, Data: data}}
}

func payload(register, base, offset, length uint32) expression {
	return fromLibrary{&expr.Payload{DestRegister: register, Base: expr.PayloadBase(base), Offset: offset, Len: length}}
}

func meta(register, key uint32) expression {
	return fromLibrary{&expr.Meta{Key: expr.MetaKey(key), Register: register}}
}

// loadInto returns the expression that brings a field into a register; length is
// that of the field, or less of a payload field.
func (f Field) loadInto(register, length uint32) expression {
	l := &f.load
	switch l.kind {
	case loadPayload:
		return payload(register, l.key, l.offset, length)
	case loadMeta:
		return meta(register, l.key)
	case loadCT:
		if l.direction != 0 {
			return ctLoad(l.key, register, l.direction-1)
		}
		return fromLibrary{&expr.Ct{Key: expr.CtKey(l.key), Register: register}}
	case loadExthdrTCP:
		return fromLibrary{&expr.Exthdr{
			DestRegister: register, Type: uint8(l.key), Len: length,
			Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpTcpopt,
		}}
	case loadExthdrSCTP:
		const chunks = 3 // NFT_EXTHDR_OP_SCTP
		return fromLibrary{&expr.Exthdr{
			DestRegister: register, Type: uint8(l.key), Len: length, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOp(chunks),
		}}
	case loadTCPValue:
		return fromLibrary{&expr.Exthdr{DestRegister: register, Type: uint8(l.key), Offset: l.offset, Len: length, Op: expr.ExthdrOpTcpopt}}
	case loadExthdrIPv6:
		var flags uint32
		if l.present {
			flags = unix.NFT_EXTHDR_F_PRESENT
		}
		return fromLibrary{&expr.Exthdr{
			DestRegister: register, Type: uint8(l.key), Offset: l.offset, Len: length, Flags: flags, Op: expr.ExthdrOpIpv6,
		}}
	case loadFib:
		return fromLibrary{&expr.Fib{
			Register: register, ResultADDRTYPE: !l.present, ResultOIF: l.present, FlagPRESENT: l.present, FlagMARK: l.marked, FlagSADDR: l.source, FlagDADDR: !l.source,
			FlagIIF: l.iface == "iif", FlagOIF: l.iface == "oif",
		}}
	case loadConstant:
		return immediate(register, make([]byte, length))
	case loadSocket:
		return f.loadSocketExpr(register)
	case loadRoute:
		return f.loadRouteExpr(register)
	case loadXfrm:
		return f.loadXfrmExpr(register)
	case loadNumgen:
		return fromLibrary{&expr.Numgen{Register: register, Modulus: l.key, Type: unix.NFT_NG_INCREMENTAL}}
	}
	return nil
}
