package predicate

import (
	"fmt"
	"slices"
	"strings"
)

// U32 is one test of "-m u32": a number made of four bytes of the packet lies in
// one of the spans. Each step does something to the number, or with "@" takes it
// for a distance to where the next one is read.
//
// Kernel: net/netfilter/xt_u32.c, u32_match_it.
type U32 struct {
	Steps []U32Step // the first is the place of the first number
	Spans []Span
}

// A U32Step is an operator, "&", "<<", ">>" or "@", and its number.
type U32Step struct {
	Operator string
	Number   uint32
}

// U32All is all tests of "-m u32" where one of them has an "@": then they are no
// tests of fields.
type U32All struct{ Tests []U32 }

var (
	_ Instance = U32{}
	_ Content  = U32All{}
)

// Predicate is the tests as tests of the bits of numbers, where they are that, of
// packets of an IP version.
func (a U32All) Predicate(version int) Predicate {
	var all All
	for _, t := range a.Tests {
		p := t.Predicate(version)
		if _, jumps := p.(Stateful); jumps {
			return Stateful{Instance: a}
		}
		all = append(all, p)
	}
	return all
}

// Content marks the type.
func (U32All) Content() {}

// Identity is "": there is nothing to share.
func (U32All) Identity() string { return "" }

// Describe says what is read.
func (a U32All) Describe() string {
	var b strings.Builder
	b.WriteString("u32")
	for _, t := range a.Tests {
		b.WriteString(" ")
		for _, s := range t.Steps {
			fmt.Fprintf(&b, "%s%d", s.Operator, s.Number)
		}
		for i, s := range t.Spans {
			fmt.Fprintf(&b, "%c%d:%d", "=,"[min(i, 1)], s.Low.Lo, s.High.Lo)
		}
	}
	return b.String()
}

// Keys is none.
func (U32All) Keys() []Field { return nil }

// Ask asks the tests in their order.
func (a U32All) Ask(r Reader, scope string) Truth {
	for _, t := range a.Tests {
		if answer := t.Ask(r, scope); answer != Yes {
			return answer
		}
	}
	return Yes
}

// overHeader are the steps by which a distance is the length of the IPv4 header.
var overHeader = []U32Step{{Number: 0}, {Operator: ">>", Number: 22}, {Operator: "&", Number: 0x3c}}

// Predicate is the test as tests of the bits of one number, where there is one: of
// IPv4 also one that is told from the end of the header on.
func (u U32) Predicate(version int) Predicate {
	steps := u.Steps
	field := Field{ID: PacketWord, Arg: steps[0].Number}
	if n := len(overHeader); version == 4 && len(steps) > n && slices.Equal(steps[1:n], overHeader[1:]) && steps[0].Number == 0 && steps[n].Operator == "@" {
		field = Field{ID: TransportWord, Arg: steps[n].Number}
		steps = steps[n:]
	}
	var from [32]uint32 // for each bit of the result the bit that it comes from, 0 for none
	for bit := range from {
		number := uint32(1) << bit
		for _, s := range steps[1:] {
			if s.Operator == "@" {
				return Stateful{Instance: u}
			}
			number = s.apply(number)
		}
		for to := range from {
			from[to] |= number >> to & 1 << bit
		}
	}
	back := func(number uint32) (bits uint32) {
		for to, bit := range from {
			if number>>to&1 == 1 {
				bits |= bit
			}
		}
		return bits
	}
	reachable := uint32(0)
	for to, bit := range from {
		if bit != 0 {
			reachable |= 1 << to
		}
	}
	var any Any
	for _, s := range u.Spans {
		blocks(s.Low.Lo, s.High.Lo, func(value, size uint64) {
			mask := ^uint32(size - 1)
			if uint32(value)&mask&^reachable == 0 {
				any = append(any, Masked{Field: field, Mask: Number(uint64(back(mask))), Value: Number(uint64(back(uint32(value) & mask)))})
			}
		})
	}
	return any
}

// blocks calls for each of the fewest aligned blocks of a power of two of numbers
// that make a span of 32 bits.
func blocks(low, high uint64, each func(value, size uint64)) {
	for low <= high && high < 1<<32 {
		size := uint64(1)
		for low&(2*size-1) == 0 && low+2*size-1 <= high && size < 1<<32 {
			size *= 2
		}
		each(low, size)
		low += size
	}
}

func (s U32Step) apply(number uint32) uint32 {
	switch s.Operator {
	case "&":
		return number & s.Number
	case "<<":
		return number << s.Number
	}
	return number >> s.Number
}

// Identity is "": there is nothing to share.
func (U32) Identity() string { return "" }

// Describe says what is read.
func (u U32) Describe() string { return fmt.Sprintf("u32 %v in %v", u.Steps, u.Spans) }

// Keys is none.
func (U32) Keys() []Field { return nil }

// Ask reads the numbers.
func (u U32) Ask(r Reader, _ string) Truth {
	var at, number uint32
	for i, s := range u.Steps {
		if i > 0 && s.Operator != "@" {
			number = s.apply(number)
			continue
		}
		if at+number < at {
			return No
		}
		at += number
		if uint64(at)+uint64(s.Number) > 0xffff {
			return No // no packet is so long
		}
		word, present := r.Field(Field{ID: PacketWord, Arg: at + s.Number})
		if present != Yes {
			return present
		}
		number = uint32(word.Lo)
	}
	for _, s := range u.Spans {
		if s.Low.Lo <= uint64(number) && uint64(number) <= s.High.Lo {
			return Yes
		}
	}
	return No
}
