package extension

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A u32Tests is the argument of "--u32": tests of which all must hold.
type u32Tests []u32Test

// A u32Test is a number made of the packet and the spans in which it has to be.
type u32Test struct {
	location []u32Step
	spans    []u32Span
}

// A u32Step is a number with the operator before it: "", "&", "<<", ">>" or "@".
type u32Step struct {
	operator string
	number   uint32
}

type u32Span struct{ low, high uint32 }

// u32Most is how many tests there can be, numbers in a location, and spans.
const u32Most = 10

var u32Operators = []string{"<<", ">>", "&", "@"}

// A u32Reader reads the argument from the start.
type u32Reader struct{ rest string }

func (r *u32Reader) skip() { r.rest = strings.TrimLeft(r.rest, " \t\n\v\f\r") }

func (r *u32Reader) take(word string) bool {
	r.skip()
	rest, ok := strings.CutPrefix(r.rest, word)
	if ok {
		r.rest = rest
	}
	return ok
}

// number reads a number as C writes it: in octal behind a 0, in hexadecimal behind
// 0x.
func (r *u32Reader) number() (uint32, error) {
	r.skip()
	n := 0
	for n < len(r.rest) && (r.rest[n] >= '0' && r.rest[n] <= '9' || strings.ContainsRune("abcdefABCDEFxX", rune(r.rest[n]))) {
		n++
	}
	digits := r.rest[:n]
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 != 'x' {
		digits = "0o" + digits[1:]
	}
	value, err := strconv.ParseUint(digits, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("there is no number from 0 to %d before %q", uint32(math.MaxUint32), r.rest)
	}
	r.rest = r.rest[n:]
	return uint32(value), nil
}

// Set reads tests with "&&" between them.
func (t *u32Tests) Set(arg string) error {
	*t = nil
	r := &u32Reader{rest: arg}
	for {
		test, err := r.test()
		if err != nil {
			return err
		}
		if *t = append(*t, test); len(*t) > u32Most {
			return fmt.Errorf("there are more than %d tests", u32Most)
		}
		if r.skip(); r.rest == "" {
			return nil
		}
		if !r.take("&&") {
			return fmt.Errorf("expected , or && before %q", r.rest)
		}
	}
}

func (r *u32Reader) test() (t u32Test, err error) {
	for operator := ""; ; {
		number, err := r.number()
		if err != nil {
			return t, err
		}
		if shift := operator == "<<" || operator == ">>"; shift && number > 31 {
			return t, fmt.Errorf("the kernel shifts by at most 31 bits, not by %d", number)
		}
		if t.location = append(t.location, u32Step{operator, number}); len(t.location) > u32Most {
			return t, fmt.Errorf("a location has more than %d numbers", u32Most)
		}
		if r.take("=") {
			break
		}
		operator = ""
		for _, o := range u32Operators {
			if operator == "" && r.take(o) {
				operator = o
			}
		}
		if operator == "" {
			return t, errors.New("expected an operator or = behind a number of a location")
		}
	}
	for {
		low, err := r.number()
		if err != nil {
			return t, err
		}
		span := u32Span{low, low}
		if r.take(":") {
			if span.high, err = r.number(); err != nil {
				return t, err
			}
		}
		if t.spans = append(t.spans, span); len(t.spans) > u32Most {
			return t, fmt.Errorf("a test has more than %d spans", u32Most)
		}
		if !r.take(",") {
			return t, nil
		}
	}
}

// String writes the tests in hexadecimal, in quotes.
func (t *u32Tests) String() string {
	var b strings.Builder
	b.WriteByte('"')
	for i, test := range *t {
		if i > 0 {
			b.WriteString("&&")
		}
		for _, s := range test.location {
			fmt.Fprintf(&b, "%s%#x", s.operator, s.number)
		}
		for j, s := range test.spans {
			b.WriteByte("=,"[min(j, 1)])
			if fmt.Fprintf(&b, "%#x", s.low); s.low != s.high {
				fmt.Fprintf(&b, ":%#x", s.high)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
