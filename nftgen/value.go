package nftgen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// hostIsBig is whether this machine keeps the most significant byte first.
var hostIsBig = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// inRegister returns a value as it stands in a register.
func (t *Datatype) inRegister(v Value) []byte {
	if t.text {
		return append(slices.Clone(v), make([]byte, t.Bytes-len(v))...)
	}
	b := slices.Clone([]byte(v))
	if t.Order == HostEndian && !hostIsBig {
		slices.Reverse(b)
	}
	return b
}

// check refuses a value that is not one of the type.
func (t *Datatype) check(v Value) error {
	if t.text {
		return checkInterfaceName(string(v))
	}
	if len(v) != t.Bytes {
		return fmt.Errorf("write a value of type %s: %d bytes instead of %d", t.Name, len(v), t.Bytes)
	}
	if t == clock && number(v)%1e9 != 0 {
		return fmt.Errorf("write a time: %d ns are no whole seconds", number(v))
	}
	return nil
}

// swapped reports whether values have to be brought into network byte order
// before they are compared by size.
func (t *Datatype) swapped() bool { return t.hostNumber() && t.Bytes > 1 }

// hostNumber reports whether values are numbers in the order of the host.
func (t *Datatype) hostNumber() bool { return t.Order == HostEndian && !t.text }

func (t *Datatype) checkInterval(i Interval) error {
	if err := t.check(i.Low); err != nil {
		return err
	}
	if err := t.check(i.High); err != nil {
		return err
	}
	if bytes.Compare(i.Low, i.High) > 0 {
		return fmt.Errorf("write an interval of type %s: %x is above %x", t.Name, []byte(i.Low), []byte(i.High))
	}
	if (t.text || t.bits != nil) && !i.single() {
		return fmt.Errorf("write an interval of type %s: neither names nor flags have an order", t.Name)
	}
	return nil
}

func (i Interval) single() bool { return bytes.Equal(i.Low, i.High) }

// successor returns v+1; ok is false for the greatest value.
func successor(v Value) (next Value, ok bool) {
	next = slices.Clone(v)
	for i := len(next) - 1; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next, true
		}
	}
	return nil, false
}

// filled reports whether all bytes of v are b.
func filled(v Value, b byte) bool {
	return !slices.ContainsFunc(v, func(c byte) bool { return c != b })
}

// prefixMask returns a mask of n bytes with the first bits set.
func prefixMask(n, bits int) Value {
	m := make(Value, n)
	for i := range m {
		switch {
		case bits >= 8*(i+1):
			m[i] = 0xff
		case bits > 8*i:
			m[i] = ^byte(0xff >> (bits - 8*i))
		}
	}
	return m
}

// prefixLength returns the length of the prefix that an interval is.
func prefixLength(i Interval) (length int, ok bool) {
	for n, low := range i.Low {
		open := low ^ i.High[n]
		if open == 0 {
			continue
		}
		// From the first bit that differs on, all are 0 in one and 1 in the other.
		if open&(open+1) != 0 || low&open != 0 || !filled(i.Low[n+1:], 0) || !filled(i.High[n+1:], 0xff) {
			return 0, false
		}
		return 8*n + bits.LeadingZeros8(open), true
	}
	return 8 * len(i.Low), true
}

func and(a, b Value) Value { return combine(a, b, func(x, y byte) byte { return x & y }) }
func or(a, b Value) Value  { return combine(a, b, func(x, y byte) byte { return x | y }) }

func combine(a, b Value, op func(x, y byte) byte) Value {
	out := make(Value, len(a))
	for i := range a {
		out[i] = op(a[i], b[i])
	}
	return out
}

func not(a Value) Value {
	out := make(Value, len(a))
	for i := range a {
		out[i] = ^a[i]
	}
	return out
}

// disjoint reports whether a and b have no bit in common.
func disjoint(a, b Value) bool { return filled(and(a, b), 0) }

// coalesce joins intervals that touch, as nft does for the intervals of
// anonymous sets.
func coalesce(in []Interval) []Interval {
	out := slices.Clone(in[:1])
	for _, i := range in[1:] {
		last := &out[len(out)-1]
		if next, ok := successor(last.High); ok && bytes.Equal(next, i.Low) {
			last.High = i.High
			continue
		}
		out = append(out, i)
	}
	return out
}
