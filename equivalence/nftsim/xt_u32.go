package nftsim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
)

func init() { registerXtMatch("u32", 0, decodeXtU32) }

// xtU32 tests numbers of four bytes.
//
// Kernel: net/netfilter/xt_u32.c; include/uapi/linux/netfilter/xt_u32.h, struct
// xt_u32.
type xtU32 struct {
	tests  []xtU32Test
	invert bool
}

type xtU32Test struct {
	numbers   []uint32
	operators []uint8 // before each number; that of the first is none
	spans     [][2]uint32
}

// xtU32Most is how many tests there are room for, and numbers and spans of one.
const xtU32Most = 11

// The operators.
const (
	xtU32And = iota
	xtU32Left
	xtU32Right
	xtU32At
)

func decodeXtU32(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtU32{}
	for range xtU32Most {
		var t xtU32Test
		for range xtU32Most {
			t.numbers, t.operators = append(t.numbers, r.u32()), append(t.operators, r.u8())
		}
		for range xtU32Most {
			t.spans = append(t.spans, [2]uint32{r.u32(), r.u32()})
		}
		numbers, spans := int(r.u8()), int(r.u8())
		r.align(4)
		if numbers > xtU32Most || spans > xtU32Most {
			return nil, fmt.Errorf("%d numbers and %d spans", numbers, spans)
		}
		t.numbers, t.operators, t.spans = t.numbers[:numbers], t.operators[:numbers], t.spans[:spans]
		m.tests = append(m.tests, t)
	}
	tests := int(r.u8())
	m.invert = r.u8() != 0
	if err := r.end(); err != nil {
		return nil, err
	}
	if tests == 0 || tests > xtU32Most {
		return nil, fmt.Errorf("%d tests", tests)
	}
	m.tests = m.tests[:tests]
	for _, t := range m.tests {
		if len(t.numbers) == 0 || len(t.spans) == 0 {
			return nil, fmt.Errorf("a test without a number or a span")
		}
		for _, o := range t.operators {
			if o > xtU32At {
				return nil, fmt.Errorf("an operator %d", o)
			}
		}
	}
	return m, nil
}

func (m *xtU32) String() string {
	var b strings.Builder
	b.WriteString("u32")
	for _, t := range m.tests {
		fmt.Fprintf(&b, " %d", t.numbers[0])
		for i, n := range t.numbers[1:] {
			fmt.Fprintf(&b, "%s%d", []string{"&", "<<", ">>", "@"}[t.operators[i+1]], n)
		}
		separator := "="
		for _, s := range t.spans {
			fmt.Fprintf(&b, "%s%d:%d", separator, s[0], s[1])
			separator = ","
		}
	}
	return b.String()
}

func (m *xtU32) negated() bool { return m.invert }

func (m *xtU32) holds(x *execution) (match, known bool) {
	for i := range m.tests {
		if !m.tests[i].holds(x.flight.Data) {
			return false, true
		}
	}
	return true, true
}

func (t *xtU32Test) holds(data []byte) bool {
	base := uint64(0)
	number, ok := wordAt(data, uint64(t.numbers[0]))
	for i := 1; i < len(t.numbers) && ok; i++ {
		n := t.numbers[i]
		switch t.operators[i] {
		case xtU32And:
			number &= n
		case xtU32Left:
			number <<= n
		case xtU32Right:
			number >>= n
		case xtU32At:
			base += uint64(number)
			number, ok = wordAt(data, base+uint64(n))
		}
	}
	if !ok {
		return false
	}
	for _, s := range t.spans {
		if s[0] <= number && number <= s[1] {
			return true
		}
	}
	return false
}

// symbolic is where all tests hold, when each reads at a known distance from the
// network header or from the end of that of IPv4.
func (m *xtU32) symbolic(x *symbolicRun) (bdd.Ref, bool) {
	all := bdd.True
	for i := range m.tests {
		holds, ok := m.tests[i].symbolic(x)
		if !ok {
			return 0, false
		}
		all = x.space.And(all, holds)
	}
	return all, true
}

func (t *xtU32Test) symbolic(x *symbolicRun) (bdd.Ref, bool) {
	s := x.space
	first := 0
	number, there, ok := s.Packet(int(t.numbers[0]), 4)
	const skip = 3
	header := slices.Equal(t.numbers[:min(skip, len(t.numbers))], []uint32{0, 22, 0x3c}) && len(t.numbers) > skip &&
		slices.Equal(t.operators[1:skip+1], []uint8{xtU32Right, xtU32And, xtU32At})
	if header && s.Version == 4 {
		first = skip
		number, ok = s.Bytes(symbolic.Transport, int(t.numbers[skip]), 4)
		there = x.reaches(int(t.numbers[skip]) + 4)
	}
	if !ok {
		return 0, false
	}
	number = x.now(number)
	for i := first + 1; i < len(t.numbers); i++ {
		n := t.numbers[i]
		moved := symbolic.Constant(0, 32)
		for bit := range moved {
			from := bit
			switch t.operators[i] {
			case xtU32And:
				if n>>(31-bit)&1 == 0 {
					continue
				}
			case xtU32Left:
				from += int(min(n, 32))
			case xtU32Right:
				from -= int(min(n, 32))
			default:
				return 0, false
			}
			if from >= 0 && from < len(number) {
				moved[bit] = number[from]
			}
		}
		number = moved
	}
	within := bdd.False
	for _, span := range t.spans {
		if span[0] <= span[1] {
			low, high := x.atLeast(number, uint64(span[0])), x.atLeast(number, uint64(span[1])+1)
			if span[1] == 1<<32-1 {
				high = bdd.False
			}
			within = s.Or(within, s.Diff(low, high))
		}
	}
	return s.And(there, within), true
}

// wordAt reads four bytes; ok is false where the packet ends before.
func wordAt(data []byte, at uint64) (number uint32, ok bool) {
	if at+4 > uint64(len(data)) {
		return 0, false
	}
	return binary.BigEndian.Uint32(data[at:]), true
}
