package iptables

import (
	"fmt"
	"strings"
)

// Compile-time assertions that every argument type of the package is a Value.
var (
	_ MultiValue         = (*Flag)(nil)
	_ MultiValue         = (*TCPFlags)(nil)
	_ UnnegatedDefaulter = (*TCPFlags)(nil)
	_ Defaulter          = (*PortSpan)(nil)
	_ Value              = (*Address)(nil)
	_ Value              = (*AddressRange)(nil)
	_ Value              = (*HostAddress)(nil)
	_ Value              = (*MAC)(nil)
	_ Value              = (*Interface)(nil)
	_ Value              = (*Protocol)(nil)
	_ Value              = (*PortList)(nil)
	_ Value              = (*MarkMask)(nil)
	_ Value              = (*Text)(nil)
	_ Value              = (*Word)(nil)
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

// A Text is any string. It prints quoted as iptables-save quotes comments and
// log prefixes; the plain string is string(t).
type Text string

// Set takes the argument as it is.
func (t *Text) Set(arg string) error {
	*t = Text(arg)
	return nil
}

// String returns the text as [Quote] prints it.
func (t *Text) String() string { return Quote(string(*t)) }

// A Word is a name that iptables-save prints without quotes, whatever it holds:
// the name of a set, of a list of recent, of a helper.
type Word string

// Set takes the argument as it is.
func (w *Word) Set(arg string) error {
	*w = Word(arg)
	return nil
}

// String returns the word.
func (w *Word) String() string { return string(*w) }

// Quote returns a string as iptables-save prints texts: as it is when it
// consists of letters, digits, "_" and "-", else in double quotes, with a
// backslash before each double quote, single quote and backslash.
func Quote(s string) string {
	plain := s != ""
	special := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"' || c == '\\' || c == '\'':
			special++
			plain = false
		case !isWordByte(c):
			plain = false
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + special + 2)
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' || c == '\'' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

func isWordByte(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// An Interface is an interface name; a trailing "+" matches every name with
// that beginning.
type Interface string

// interfaceNameMax is the longest interface name.
//
// Kernel: include/uapi/linux/if.h, IFNAMSIZ - 1.
const interfaceNameMax = 15

// Set reads a name of 1 to 15 bytes.
func (i *Interface) Set(arg string) error {
	if arg == "" {
		return fmt.Errorf("an interface name cannot be empty; + alone stands for every interface")
	}
	if len(arg) > interfaceNameMax {
		return fmt.Errorf("%q has %d bytes, and an interface name has at most %d", arg, len(arg), interfaceNameMax)
	}
	*i = Interface(arg)
	return nil
}

// String returns the name as it was given.
func (i *Interface) String() string { return string(*i) }

// IsDefault reports whether the name matches every interface, which
// iptables-save does not print, negated or not.
func (i *Interface) IsDefault() bool { return *i == "" || *i == "+" }
