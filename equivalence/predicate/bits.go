package predicate

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// Bits is an unsigned number of 128 bits: wide enough for an IPv6 address and
// for an interface name, which stands in it as 16 bytes padded with zeros.
type Bits struct{ Hi, Lo uint64 }

// Number returns n as Bits.
func Number(n uint64) Bits { return Bits{Lo: n} }

// Addr returns an address as Bits: an IPv4 address in the low 32 bits.
func Addr(a netip.Addr) Bits {
	if a.Is4() {
		b := a.As4()
		return Bits{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return Bits{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// Name returns an interface name as Bits, left-justified in 16 bytes.
func Name(s string) Bits {
	var b [16]byte
	copy(b[:], s)
	return Bits{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// MAC returns an Ethernet address as Bits in the low 48 bits.
func MAC(a [6]byte) Bits {
	var n uint64
	for _, c := range a {
		n = n<<8 | uint64(c)
	}
	return Bits{Lo: n}
}

// Ones returns the number whose low n bits are set.
func Ones(n int) Bits {
	switch {
	case n >= 128:
		return Bits{^uint64(0), ^uint64(0)}
	case n > 64:
		return Bits{1<<(n-64) - 1, ^uint64(0)}
	case n == 64:
		return Bits{Lo: ^uint64(0)}
	}
	return Bits{Lo: 1<<n - 1}
}

// And, Or, Xor and Not are bitwise.
func (a Bits) And(b Bits) Bits { return Bits{a.Hi & b.Hi, a.Lo & b.Lo} }

// Or returns a | b.
func (a Bits) Or(b Bits) Bits { return Bits{a.Hi | b.Hi, a.Lo | b.Lo} }

// Xor returns a ^ b.
func (a Bits) Xor(b Bits) Bits { return Bits{a.Hi ^ b.Hi, a.Lo ^ b.Lo} }

// Not returns ^a, over all 128 bits.
func (a Bits) Not() Bits { return Bits{^a.Hi, ^a.Lo} }

// Shift returns a shifted left by n bits, or right when n is negative.
func (a Bits) Shift(n int) Bits {
	switch {
	case n >= 64:
		return Bits{a.Lo << (n - 64), 0}
	case n > 0:
		return Bits{a.Hi<<n | a.Lo>>(64-n), a.Lo << n}
	case n <= -64:
		return Bits{0, a.Hi >> (-n - 64)}
	case n < 0:
		return Bits{a.Hi >> -n, a.Lo>>-n | a.Hi<<(64+n)}
	}
	return a
}

// Less reports whether a < b.
func (a Bits) Less(b Bits) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// Inc returns a + 1, wrapping around.
func (a Bits) Inc() Bits {
	lo, carry := bits.Add64(a.Lo, 1, 0)
	return Bits{a.Hi + carry, lo}
}

// Dec returns a - 1, wrapping around.
func (a Bits) Dec() Bits {
	lo, borrow := bits.Sub64(a.Lo, 1, 0)
	return Bits{a.Hi - borrow, lo}
}

// IsZero reports whether a is 0.
func (a Bits) IsZero() bool { return a == Bits{} }

// Bytes returns the 16 bytes of a, most significant first.
func (a Bits) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return b
}

// String returns a as hexadecimal.
func (a Bits) String() string {
	if a.Hi == 0 {
		return fmt.Sprintf("%#x", a.Lo)
	}
	return fmt.Sprintf("%#x%016x", a.Hi, a.Lo)
}
