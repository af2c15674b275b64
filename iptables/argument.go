package iptables

import (
	"net/netip"
)

// Flag is an option without argument.
type Flag struct{}

// Set satisfies Value; it is never called with an argument.
func (*Flag) Set(string) error { return nil }

// String returns "".
func (*Flag) String() string { return "" }

// Count returns 0.
func (*Flag) Count() int { return 0 }

// SetArgs accepts no arguments.
func (*Flag) SetArgs([]string) error { return nil }

// Args returns none.
func (*Flag) Args() []string { return nil }

// An Address is an address with a mask, which need not be contiguous.
// Addr is already masked, as the kernel stores it.
type Address struct {
	Addr netip.Addr
	Mask netip.Addr // same family; all ones for a single address
}

// An Interface is an interface name; a trailing "+" matches every name with
// that beginning.
type Interface string

// A Protocol is an IP protocol number; 0 means any.
type Protocol uint8

// U8, U16, U32 and U64 are plain numbers: decimal, hexadecimal (0x) or octal
// (leading 0), as xtables_strtoui reads them.
type (
	U8  uint8
	U16 uint16
	U32 uint32
	U64 uint64
)

// Spans are inclusive: "a", "a:b", "a:" or ":b". When an end is left out it is
// 0 or the maximum. They print as "a" when both ends are equal, else "a:b".
type (
	U8Span  struct{ Low, High uint8 }
	U16Span struct{ Low, High uint16 }
	U32Span struct{ Low, High uint32 }
	U64Span struct{ Low, High uint64 }
)

// A PortSpan is an inclusive span of ports, given as numbers or service names.
type PortSpan struct{ Low, High uint16 }

// A MarkMask is "value" or "value/mask"; mask is all ones when it is not given.
// It prints as hexadecimal, with the mask only when that is not all ones.
type MarkMask struct{ Value, Mask uint32 }

// A Text is any string; Print quotes it where iptables-save does.
type Text string
