package nftgen

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// number returns the value as an integer; values above eight bytes, which are
// addresses, keep their last eight.
func number(v Value) uint64 {
	var b [8]byte
	if len(v) > 8 {
		v = v[len(v)-8:]
	}
	copy(b[8-len(v):], v)
	return binary.BigEndian.Uint64(b[:])
}

func decimal(text []byte, v Value) []byte { return strconv.AppendUint(text, number(v), 10) }

func hex(text []byte, v Value) []byte {
	return strconv.AppendUint(append(text, "0x"...), number(v), 16)
}

func address(text []byte, v Value) []byte {
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return text
	}
	return a.AppendTo(text)
}

func hardware(text []byte, v Value) []byte { return append(text, net.HardwareAddr(v).String()...) }

// milliseconds writes a duration, which nft keeps in milliseconds.
func milliseconds(text []byte, v Value) []byte {
	return append(text, durationText(time.Duration(number(v))*time.Millisecond)...)
}

// wholeSeconds writes a time of the clock as a number, which nft takes for seconds
// whatever the time zone.
func wholeSeconds(text []byte, v Value) []byte { return strconv.AppendUint(text, number(v)/1e9, 10) }

// durationText writes a duration of whole milliseconds as nft reads it: each
// number of at most eight digits.
func durationText(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b []byte
	for _, u := range []struct {
		unit time.Duration
		word string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			b = append(strconv.AppendInt(b, int64(n), 10), u.word...)
			d -= n * u.unit
		}
	}
	return string(b)
}

// quotedName writes an interface name. A final star would be a wildcard.
func quotedName(text []byte, v Value) []byte { return appendName(text, string(v)) }

func appendName(text []byte, name string) []byte {
	text = append(text, '"')
	if head, ok := strings.CutSuffix(name, "*"); ok {
		return append(append(text, head...), `\*"`...)
	}
	return append(append(text, name...), '"')
}

// named writes values that have a name by it, others by fallback.
func named(names []symbol, fallback formatter) formatter {
	return func(text []byte, v Value) []byte {
		n := number(v)
		for _, s := range names {
			if s.value == n {
				return append(text, s.name...)
			}
		}
		return fallback(text, v)
	}
}

// flags writes one flag by its name and none or several as an expression.
func flags(names []symbol) formatter {
	return func(text []byte, v Value) []byte {
		list, rest := flagNames(names, number(v))
		switch {
		case rest != 0 || len(list) == 0:
			return hex(text, v)
		case len(list) == 1:
			return append(text, list[0]...)
		}
		return append(append(append(text, '('), strings.Join(list, "|")...), ')')
	}
}

// flagNames returns the names of the bits of n, and the bits without a name.
func flagNames(names []symbol, n uint64) (list []string, rest uint64) {
	for _, s := range names {
		if n&s.value != 0 {
			list = append(list, s.name)
			n &^= s.value
		}
	}
	return list, n
}

// mask writes a value that is combined bit by bit with the field.
func (t *Datatype) mask(text []byte, v Value) []byte {
	const word = 8
	if t.bits != nil || t.prefixes || t == etherAddr || len(v) > word {
		return t.format(text, v)
	}
	return hex(text, v)
}

// interval writes one value or a span as an element of a set; prefixes where
// the type has them and the span is one.
func (t *Datatype) interval(text []byte, low, high Value) []byte {
	if bytes.Equal(low, high) {
		if t.bits != nil {
			if list, rest := flagNames(t.bits, number(low)); rest != 0 || len(list) != 1 {
				return hex(text, low)
			}
		}
		return t.format(text, low)
	}
	if bits, ok := prefixLength(Interval{low, high}); ok && t.prefixes {
		return strconv.AppendInt(append(t.format(text, low), '/'), int64(bits), 10)
	}
	return t.span(text, low, high)
}

// span writes all values from low to high. Ends that have names are written as
// numbers; the names can hold hyphens.
func (t *Datatype) span(text []byte, low, high Value) []byte {
	format := t.format
	if t.ends != nil {
		format = t.ends
	}
	return format(append(format(text, low), '-'), high)
}

// class writes a class of traffic control as "major:minor", or its word.
func class(text []byte, v Value) []byte {
	switch n := number(v); n {
	case 0:
		return append(text, "none"...)
	case 0xffffffff:
		return append(text, "root"...)
	default:
		text = append(strconv.AppendUint(text, n>>16, 16), ':')
		return strconv.AppendUint(text, n&0xffff, 16)
	}
}
