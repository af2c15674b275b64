package optimize

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"nftmigrate/nftgen"
)

// A number is a value of a field, as wide as 16 bytes.
type number struct{ hi, lo uint64 }

func (n number) less(m number) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

// next returns n+1; it wraps around.
func (n number) next() number {
	lo, carry := bits.Add64(n.lo, 1, 0)
	return number{n.hi + carry, lo}
}

// previous returns n-1; it wraps around.
func (n number) previous() number {
	lo, borrow := bits.Sub64(n.lo, 1, 0)
	return number{n.hi - borrow, lo}
}

// numberOf reads a value, which is at most 16 bytes. A name gets the zeros that
// the kernel pads it with.
func numberOf(v nftgen.Value, t *nftgen.Datatype) number {
	var b [16]byte
	if t.IsName() {
		copy(b[:], v)
	} else {
		copy(b[len(b)-len(v):], v)
	}
	return number{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// append appends a number as a value of a type, padded.
func (n number) append(b []byte, t *nftgen.Datatype) []byte {
	var all [16]byte
	binary.BigEndian.PutUint64(all[:8], n.hi)
	binary.BigEndian.PutUint64(all[8:], n.lo)
	if t.IsName() {
		return append(b, all[:t.Bytes]...)
	}
	return append(b, all[len(all)-t.Bytes:]...)
}

// value returns a number as a value of a type.
func (n number) value(t *nftgen.Datatype) nftgen.Value {
	v := n.append(nil, t)
	if t.IsName() {
		v = bytes.TrimRight(v, "\x00")
	}
	return v
}

// A span is the numbers from low to high.
type span struct{ low, high number }

func (s span) single() bool { return s.low == s.high }

func (s span) overlaps(t span) bool { return !s.high.less(t.low) && !t.high.less(s.low) }

func (s span) contains(t span) bool { return !t.low.less(s.low) && !s.high.less(t.high) }

// prefix returns how many bits the numbers of a span have in common, of a type
// with so many bytes; ok is false when the span is not all that begin so.
func (s span) prefix(size int) (length int, ok bool) {
	open := number{s.low.hi ^ s.high.hi, s.low.lo ^ s.high.lo}
	following := open.next()
	if open.hi&following.hi != 0 || open.lo&following.lo != 0 || s.low.hi&open.hi != 0 || s.low.lo&open.lo != 0 {
		return 0, false
	}
	return 8*size - bits.OnesCount64(open.hi) - bits.OnesCount64(open.lo), true
}
