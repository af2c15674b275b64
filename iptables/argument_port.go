package iptables

import (
	"fmt"
	"math"
	"strings"
)

// A PortSpan is an inclusive span of ports, "a", "a:b", "a:" or ":b", given as
// numbers or service names. It prints as numbers.
type PortSpan struct{ Low, High uint16 }

// A PortList is a list of ports and spans as multiport takes it: up to 15
// slots, of which a span takes two.
//
// Kernel: include/uapi/linux/netfilter/xt_multiport.h, XT_MULTI_PORTS.
type PortList []PortSpan

const portListSlots = 15

// A TCPFlags is the two arguments of --tcp-flags: the flags to look at, and
// those of them that must be set. The bits are those of byte 13 of the TCP
// header (RFC 9293, section 3.1): FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32.
type TCPFlags struct{ Mask, Comp uint8 }

// ParsePort reads a port number or the name of a well-known service. The error
// is one that a Value's Set may return.
func ParsePort(arg string) (uint16, error) {
	if v, rest, ok := leadingNumber(arg); ok && rest == "" && v <= math.MaxUint16 {
		return uint16(v), nil
	}
	if p, ok := services[arg]; ok {
		return p, nil
	}
	return 0, fmt.Errorf("%q is neither a port from 0 to 65535 nor the name of a well-known service", arg)
}

// Set reads a port or a span of ports that is not reversed.
func (s *PortSpan) Set(arg string) error {
	first, second, two := strings.Cut(arg, ":")
	low, high := uint16(0), uint16(math.MaxUint16)
	var err error
	if first != "" || !two {
		if low, err = ParsePort(first); err != nil {
			return err
		}
	}
	switch {
	case !two:
		high = low
	case second != "":
		if high, err = ParsePort(second); err != nil {
			return err
		}
	}
	if low > high {
		return fmt.Errorf("the span %q is reversed: write the lower port first", arg)
	}
	*s = PortSpan{Low: low, High: high}
	return nil
}

// String returns "low" or "low:high".
func (s *PortSpan) String() string { return spanString(uint64(s.Low), uint64(s.High)) }

// IsDefault reports whether the span holds every port, which iptables-save does
// not print, negated or not.
func (s *PortSpan) IsDefault() bool { return s.Low == 0 && s.High == math.MaxUint16 }

// Set reads ports and spans with commas between them. Both ends of a span are
// given, and the second is the higher one.
func (l *PortList) Set(arg string) error {
	var list PortList
	slots := 0
	for part := range strings.SplitSeq(arg, ",") {
		first, second, two := strings.Cut(part, ":")
		low, err := ParsePort(first)
		if err != nil {
			return err
		}
		high := low
		slots++
		if two {
			slots++
			if high, err = ParsePort(second); err != nil {
				return err
			}
			if low >= high {
				return fmt.Errorf("the span %q does not go up: write the lower port first, or a single port", part)
			}
		}
		if slots > portListSlots {
			return fmt.Errorf("%q has more than %d ports, where a span counts as two: spread them over several rules", arg, portListSlots)
		}
		list = append(list, PortSpan{Low: low, High: high})
	}
	*l = list
	return nil
}

// String returns the ports with commas between them.
func (l *PortList) String() string {
	parts := make([]string, len(*l))
	for i := range *l {
		parts[i] = (*l)[i].String()
	}
	return strings.Join(parts, ",")
}

// tcpFlags lists the names of --tcp-flags in the order of printing.
var tcpFlags = []struct {
	name string
	bit  uint8
}{
	{"FIN", 0x01}, {"SYN", 0x02}, {"RST", 0x04}, {"PSH", 0x08}, {"ACK", 0x10}, {"URG", 0x20},
}

const allTCPFlags = 0x3f

func parseTCPFlags(arg string) (uint8, error) {
	var flags uint8
	for part := range strings.SplitSeq(arg, ",") {
		bits, ok := tcpFlagBits(strings.ToUpper(part))
		if !ok {
			return 0, fmt.Errorf("%q is not a TCP flag, expected SYN, ACK, FIN, RST, URG, PSH, ALL or NONE", part)
		}
		flags |= bits
	}
	return flags, nil
}

func tcpFlagBits(name string) (bits uint8, ok bool) {
	switch name {
	case "ALL":
		return allTCPFlags, true
	case "NONE", "":
		return 0, true
	}
	for _, f := range tcpFlags {
		if f.name == name {
			return f.bit, true
		}
	}
	return 0, false
}

func tcpFlagNames(flags uint8) string {
	var names []string
	for _, f := range tcpFlags {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	if names == nil {
		return "NONE"
	}
	return strings.Join(names, ",")
}

// Set satisfies Value; SetArgs is called instead.
func (f *TCPFlags) Set(arg string) error { return f.SetArgs(strings.Fields(arg)) }

// String returns both lists with a blank between them.
func (f *TCPFlags) String() string { return strings.Join(f.Args(), " ") }

// Count returns 2.
func (*TCPFlags) Count() int { return 2 }

// SetArgs reads the mask and the flags to be set, in any case.
func (f *TCPFlags) SetArgs(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("two lists of flags are expected, not %d", len(args))
	}
	mask, err := parseTCPFlags(args[0])
	if err != nil {
		return err
	}
	comp, err := parseTCPFlags(args[1])
	if err != nil {
		return err
	}
	*f = TCPFlags{Mask: mask, Comp: comp}
	return nil
}

// Args returns the mask and the flags to be set.
func (f *TCPFlags) Args() []string { return []string{tcpFlagNames(f.Mask), tcpFlagNames(f.Comp)} }

// IsUnnegatedDefault reports whether no flag is looked at, which iptables-save
// does not print unless it is negated.
func (f *TCPFlags) IsUnnegatedDefault() bool { return f.Mask == 0 }
