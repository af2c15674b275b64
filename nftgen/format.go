package nftgen

import (
	"encoding/binary"
	"fmt"
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

func decimal(v Value) string { return strconv.FormatUint(number(v), 10) }

func hex(v Value) string { return fmt.Sprintf("0x%x", number(v)) }

func address(v Value) string {
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return ""
	}
	return a.String()
}

func hardware(v Value) string { return net.HardwareAddr(v).String() }

// milliseconds writes a duration, which nft keeps in milliseconds.
func milliseconds(v Value) string { return durationText(time.Duration(number(v)) * time.Millisecond) }

// wholeSeconds writes a time of the clock as a number, which nft takes for seconds
// whatever the time zone.
func wholeSeconds(v Value) string { return strconv.FormatUint(number(v)/1e9, 10) }

// durationText writes a duration of whole milliseconds as nft reads it: each
// number of at most eight digits.
func durationText(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		word string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.word)
			d -= n * u.unit
		}
	}
	return b.String()
}

// quotedName writes an interface name. A final star would be a wildcard.
func quotedName(v Value) string {
	s := string(v)
	if name, ok := strings.CutSuffix(s, "*"); ok {
		s = name + `\*`
	}
	return `"` + s + `"`
}

// named writes values that have a name by it, others by fallback.
func named(names []symbol, fallback func(Value) string) func(Value) string {
	return func(v Value) string {
		n := number(v)
		for _, s := range names {
			if s.value == n {
				return s.name
			}
		}
		return fallback(v)
	}
}

// flags writes one flag by its name and none or several as an expression.
func flags(names []symbol) func(Value) string {
	return func(v Value) string {
		list, rest := flagNames(names, number(v))
		switch {
		case rest != 0 || len(list) == 0:
			return hex(v)
		case len(list) == 1:
			return list[0]
		}
		return "(" + strings.Join(list, "|") + ")"
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
func (t *Datatype) mask(v Value) string {
	const word = 8
	if t.bits != nil || t.prefixes || t == etherAddr || len(v) > word {
		return t.Format(v)
	}
	return hex(v)
}

// interval writes one value or a span as an element of a set; prefixes where
// the type has them and the span is one.
func (t *Datatype) interval(i Interval) string {
	if i.single() {
		if list, rest := flagNames(t.bits, number(i.Low)); t.bits != nil && (rest != 0 || len(list) != 1) {
			return hex(i.Low)
		}
		return t.Format(i.Low)
	}
	if bits, ok := prefixLength(i); ok && t.prefixes {
		return fmt.Sprintf("%s/%d", t.Format(i.Low), bits)
	}
	return t.span(i.Low, i.High)
}

// span writes all values from low to high. Ends that have names are written as
// numbers; the names can hold hyphens.
func (t *Datatype) span(low, high Value) string {
	format := t.Format
	if t.ends != nil {
		format = t.ends
	}
	return format(low) + "-" + format(high)
}

// class writes a class of traffic control as "major:minor", or its word.
func class(v Value) string {
	switch n := number(v); n {
	case 0:
		return "none"
	case 0xffffffff:
		return "root"
	default:
		return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
	}
}
