package extension

import (
	"fmt"
	"math"
	"strings"

	"nftmigrate/translate"
)

var _ translate.Keeper = (*rtMatch)(nil)

// words are what the match asks.
func (m *rtMatch) words() string {
	words := []string{"routing header"}
	say := func(negated bool, format string, values ...any) {
		text := fmt.Sprintf(format, values...)
		if negated {
			text = "not " + text
		}
		words = append(words, text)
	}
	if m.Type.Present {
		say(m.Type.Negated, "of type %d", m.Type.Value)
	}
	if m.Segments.Present {
		say(m.Segments.Negated, "%d-%d segments left", m.Segments.Value.Low, m.Segments.Value.High)
	}
	if m.Length.Present {
		say(m.Length.Negated, "%d bytes long", m.Length.Value)
	}
	if m.Reserved.Present {
		say(false, "nothing in what is reserved")
	}
	for _, a := range m.Addresses.Value {
		say(false, "over %v", a)
	}
	if m.NotStrict.Present {
		say(false, "and others among them")
	}
	return strings.Join(words, ", ")
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter_ipv6/ip6t_rt.h, struct ip6t_rt.
func (m *rtMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const most = 16 // addresses
	var flags, invert uint8
	for bit, o := range []struct{ given, negated bool }{
		{m.Type.Present, m.Type.Negated}, {m.Segments.Present, m.Segments.Negated}, {m.Length.Present, m.Length.Negated},
		{m.Reserved.Present, false}, {m.Addresses.Present, false}, {m.NotStrict.Present, false},
	} {
		if o.given {
			flags |= 1 << bit
		}
		if o.negated {
			invert |= 1 << bit
		}
	}
	low, high := uint32(0), uint32(math.MaxUint32)
	if m.Segments.Present {
		low, high = uint32(m.Segments.Value.Low), uint32(m.Segments.Value.High)
	}
	var info xtLayout
	for _, n := range []uint32{uint32(m.Type.Value), low, high, uint32(m.Length.Value)} {
		info.u32(n)
	}
	info.u8(flags)
	info.u8(invert)
	info.align(4)
	for i := range most {
		var a [16]byte
		if i < len(m.Addresses.Value) {
			a = m.Addresses.Value[i].As16()
		}
		info.data = append(info.data, a[:]...)
	}
	info.u8(uint8(len(m.Addresses.Value)))
	info.align(4)
	return translate.Kept{Name: "rt", Info: info.data}, nil
}
