package iptables

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// U8, U16, U32 and U64 are plain numbers: decimal, hexadecimal (0x) or octal
// (leading 0), with leading blanks and a plus sign allowed, as strtoul(3) of
// base 0 reads them. They print as decimal numbers.
type (
	U8  uint8
	U16 uint16
	U32 uint32
	U64 uint64
)

// Spans are inclusive: "a", "a:b", "a:" or ":b". When an end is left out it is
// 0 or the maximum; an empty argument is 0. They print as "a" when both ends
// are equal, else "a:b". The ends may stand in any order; an extension that
// refuses a reversed span does so itself.
type (
	U8Span  struct{ Low, High uint8 }
	U16Span struct{ Low, High uint16 }
	U32Span struct{ Low, High uint32 }
	U64Span struct{ Low, High uint64 }
)

// A MarkMask is "value" or "value/mask"; mask is all ones when it is not given.
// The value may have bits outside of the mask. It prints as hexadecimal, with
// the mask only when that is not all ones.
type MarkMask struct{ Value, Mask uint32 }

// leadingNumber reads a number at the start of s, as strtoul(3) of base 0 does,
// and returns what follows it. ok is false when there is no number or it does
// not fit into 64 bits.
func leadingNumber(s string) (value uint64, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	s = strings.TrimPrefix(s, "+")
	base, digits := 10, s
	switch {
	case len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && digit(s[2]) < 16:
		base, digits = 16, s[2:]
	case len(s) > 0 && s[0] == '0':
		base = 8
	}
	n := 0
	for n < len(digits) && digit(digits[n]) < base {
		n++
	}
	if n == 0 {
		return 0, s, false
	}
	value, err := strconv.ParseUint(digits[:n], base, 64)
	return value, digits[n:], err == nil
}

func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return 99
}

// ParseNumber reads a whole argument as a number from 0 to limit. The error is
// one that a Value's Set may return.
func ParseNumber(arg string, limit uint64) (uint64, error) {
	v, rest, ok := leadingNumber(arg)
	switch {
	case !ok && rest != arg && rest == "" || ok && v > limit || !ok && allDigits(arg):
		return 0, fmt.Errorf("%s is out of range 0-%d", arg, limit)
	case !ok || rest != "":
		return 0, fmt.Errorf("%q is not a number from 0 to %d", arg, limit)
	}
	return v, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if digit(s[i]) > 9 {
			return false
		}
	}
	return s != ""
}

// parseSpan reads "a", "a:b", "a:", ":b", ":" or "".
func parseSpan(arg string, limit uint64) (low, high uint64, err error) {
	first, second, two := strings.Cut(arg, ":")
	if first != "" {
		if low, err = ParseNumber(first, limit); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case !two:
		return low, low, nil
	case strings.Contains(second, ":"):
		return 0, 0, fmt.Errorf("%q has more than two ends, expected a number or low:high", arg)
	case second == "":
		return low, limit, nil
	}
	high, err = ParseNumber(second, limit)
	return low, high, err
}

func spanString(low, high uint64) string {
	if low == high {
		return strconv.FormatUint(low, 10)
	}
	return strconv.FormatUint(low, 10) + ":" + strconv.FormatUint(high, 10)
}

// Set reads a number from 0 to 255.
func (u *U8) Set(arg string) error {
	v, err := ParseNumber(arg, math.MaxUint8)
	*u = U8(v)
	return err
}

// Set reads a number from 0 to 65535.
func (u *U16) Set(arg string) error {
	v, err := ParseNumber(arg, math.MaxUint16)
	*u = U16(v)
	return err
}

// Set reads a number of 32 bits.
func (u *U32) Set(arg string) error {
	v, err := ParseNumber(arg, math.MaxUint32)
	*u = U32(v)
	return err
}

// Set reads a number of 64 bits.
func (u *U64) Set(arg string) error {
	v, err := ParseNumber(arg, math.MaxUint64)
	*u = U64(v)
	return err
}

// String returns the decimal number.
func (u *U8) String() string { return strconv.FormatUint(uint64(*u), 10) }

// String returns the decimal number.
func (u *U16) String() string { return strconv.FormatUint(uint64(*u), 10) }

// String returns the decimal number.
func (u *U32) String() string { return strconv.FormatUint(uint64(*u), 10) }

// String returns the decimal number.
func (u *U64) String() string { return strconv.FormatUint(uint64(*u), 10) }

// Set reads a span of numbers from 0 to 255.
func (s *U8Span) Set(arg string) error {
	low, high, err := parseSpan(arg, math.MaxUint8)
	s.Low, s.High = uint8(low), uint8(high)
	return err
}

// Set reads a span of numbers from 0 to 65535.
func (s *U16Span) Set(arg string) error {
	low, high, err := parseSpan(arg, math.MaxUint16)
	s.Low, s.High = uint16(low), uint16(high)
	return err
}

// Set reads a span of numbers of 32 bits.
func (s *U32Span) Set(arg string) error {
	low, high, err := parseSpan(arg, math.MaxUint32)
	s.Low, s.High = uint32(low), uint32(high)
	return err
}

// Set reads a span of numbers of 64 bits.
func (s *U64Span) Set(arg string) error {
	low, high, err := parseSpan(arg, math.MaxUint64)
	s.Low, s.High = low, high
	return err
}

// String returns "low" or "low:high".
func (s *U8Span) String() string { return spanString(uint64(s.Low), uint64(s.High)) }

// String returns "low" or "low:high".
func (s *U16Span) String() string { return spanString(uint64(s.Low), uint64(s.High)) }

// String returns "low" or "low:high".
func (s *U32Span) String() string { return spanString(uint64(s.Low), uint64(s.High)) }

// String returns "low" or "low:high".
func (s *U64Span) String() string { return spanString(s.Low, s.High) }

// Set reads "value" or "value/mask".
func (m *MarkMask) Set(arg string) error {
	value, mask, masked := strings.Cut(arg, "/")
	v, err := ParseNumber(value, math.MaxUint32)
	if err != nil {
		return fmt.Errorf("the value %w", err)
	}
	bits := uint64(math.MaxUint32)
	if masked {
		if bits, err = ParseNumber(mask, math.MaxUint32); err != nil {
			return fmt.Errorf("the mask %w", err)
		}
	}
	m.Value, m.Mask = uint32(v), uint32(bits)
	return nil
}

// String returns "0xvalue" or "0xvalue/0xmask".
func (m *MarkMask) String() string {
	if m.Mask == math.MaxUint32 {
		return fmt.Sprintf("0x%x", m.Value)
	}
	return fmt.Sprintf("0x%x/0x%x", m.Value, m.Mask)
}
