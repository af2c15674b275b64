package extension

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// stringMost is how many bytes a pattern can have.
const stringMost = 128

// A stringPattern is the argument of "--string" and "--hex-string": bytes.
type stringPattern string

// Set takes the argument as it is.
func (p *stringPattern) Set(arg string) error {
	*p = stringPattern(arg)
	return p.check()
}

func (p *stringPattern) check() error {
	switch {
	case len(*p) == 0:
		return errors.New("an empty pattern is nowhere, expected at least one byte")
	case len(*p) > stringMost:
		return fmt.Errorf("the pattern has %d bytes, and at most %d are searched", len(*p), stringMost)
	}
	return nil
}

// hex reports whether iptables-save prints the pattern as --hex-string: when some
// byte cannot be printed, or the last is a backslash.
func (p *stringPattern) hex() bool {
	for i := range len(*p) {
		if c := (*p)[i]; c < ' ' || c > '~' {
			return true
		}
	}
	return strings.HasSuffix(string(*p), `\`)
}

// String writes the pattern in quotes, in hexadecimal between bars when it has to be.
func (p *stringPattern) String() string {
	if p.hex() {
		return fmt.Sprintf(`"|%x|"`, string(*p))
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(string(*p)) + `"`
}

// A stringHex is the argument of "--hex-string": text, with bytes in hexadecimal
// between bars, as in "a|00 ff|b". Before text, a backslash takes the next byte as it
// is.
type stringHex struct{ stringPattern }

// Set reads text and hexadecimal. A byte behind a bar that ends hexadecimal is
// text, also when it is a bar.
func (h *stringHex) Set(arg string) error {
	var out []byte
	within := false
	for i := 0; i < len(arg); {
		literal := false
		switch c := arg[i]; {
		case c == '\\' && within:
			return errors.New("between bars there are hexadecimal digits only")
		case c == '\\':
			literal = true
		case c == '|':
			if within = !within; within {
				for i+1 < len(arg) && arg[i+1] == ' ' {
					i++
				}
			}
			i++
		}
		if i >= len(arg) {
			break
		}
		switch {
		case literal && i+1 >= len(arg):
			return errors.New("there is nothing behind the last backslash")
		case literal:
			out = append(out, arg[i+1])
			i += 2
		case within:
			if i+2 >= len(arg) {
				return errors.New("expected two hexadecimal digits for each byte, and a bar behind them")
			}
			n, err := strconv.ParseUint(arg[i:i+2], 16, 8)
			if err != nil {
				return fmt.Errorf("%q is no byte in hexadecimal", arg[i:i+2])
			}
			out = append(out, byte(n))
			if i += 2; arg[i] == ' ' {
				i++
			}
		default:
			out = append(out, arg[i])
			i++
		}
	}
	h.stringPattern = stringPattern(out)
	return h.check()
}

// A stringEnd is the argument of "--to".
type stringEnd uint16

const stringEndDefault = 65535

// Set reads a number.
func (e *stringEnd) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, stringEndDefault)
	*e = stringEnd(n)
	return err
}

// String writes the number.
func (e *stringEnd) String() string { return fmt.Sprint(uint16(*e)) }

// IsDefault reports whether it is that of a rule without the option.
func (e *stringEnd) IsDefault() bool { return *e == stringEndDefault }

// A stringStart is the argument of "--from".
type stringStart uint16

// Set reads a number.
func (s *stringStart) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, stringEndDefault)
	*s = stringStart(n)
	return err
}

// String writes the number.
func (s *stringStart) String() string { return fmt.Sprint(uint16(*s)) }

// IsDefault reports whether it is the start of the packet.
func (s *stringStart) IsDefault() bool { return *s == 0 }

// A stringWay is the argument of "--algo": how the kernel searches, which makes
// no difference to what it finds.
type stringWay string

// Set reads a name.
func (w *stringWay) Set(arg string) error {
	switch arg {
	case "bm", "kmp":
		*w = stringWay(arg)
		return nil
	}
	return fmt.Errorf("%q is neither bm nor kmp", arg)
}

// String writes the name.
func (w *stringWay) String() string { return string(*w) }
