package predicate

import (
	"fmt"
	"math/bits"
)

// Search is "-m string": whether bytes are in the packet, from one place on and
// all of them before another, counted from the network header. Letters are equal in
// either case with AnyCase, as [folded] has it.
//
// Kernel: net/netfilter/xt_string.c; net/core/skbuff.c, skb_find_text;
// lib/ts_kmp.c; lib/ctype.c.
type Search struct {
	Pattern  string
	AnyCase  bool
	From, To int
}

var _ Content = Search{}

// Content marks the type.
func (Search) Content() {}

// searchPlaces is up to how many places a search is spelt out, and searchReach
// within how many bytes: more are no tests, but a search.
const (
	searchPlaces = 64
	searchReach  = 256
)

// Predicate is the search as tests of bytes, where it has few places.
func (s Search) Predicate() Predicate {
	last := s.To - len(s.Pattern)
	if last-s.From >= searchPlaces || last >= s.From && s.To > searchReach {
		return Stateful{Instance: s}
	}
	var any Any
	for at := s.From; at <= last; at++ {
		var all All
		for i := range len(s.Pattern) {
			b, mask := uint64(s.Pattern[i]), uint64(0xff)
			if list := spellings(s.Pattern[i]); s.AnyCase && len(list) == 2 {
				// They differ in one bit, or are two values.
				if mask &^= uint64(list[0] ^ list[1]); bits.OnesCount64(mask) != 7 {
					either := In{Field: Field{ID: PacketByte, Arg: uint32(at + i)}}
					for _, b := range list {
						either.Spans = append(either.Spans, Span{Low: Number(uint64(b)), High: Number(uint64(b))})
					}
					all = append(all, either)
					continue
				}
				b &= mask
			}
			all = append(all, Masked{Field: Field{ID: PacketByte, Arg: uint32(at + i)}, Mask: Number(mask), Value: Number(b)})
		}
		any = append(any, all)
	}
	return any
}

// folded is a letter as a capital, and any other byte as it is: the kernel takes
// 0xbf for the capital of the sharp s, and the sharp s for that of 0xff.
func folded(c byte) byte {
	const divided, sharp, apart = 0xf7, 0xdf, 'a' - 'A'
	if 'a' <= c && c <= 'z' || c >= sharp && c != divided {
		return c - apart
	}
	return c
}

// spellings are the bytes that are equal to one in either case.
func spellings(c byte) []byte {
	var list []byte
	for b := range 256 {
		if folded(byte(b)) == folded(c) {
			list = append(list, byte(b))
		}
	}
	return list
}

// Identity is "": there is nothing to share.
func (Search) Identity() string { return "" }

// Describe says what is looked for.
func (s Search) Describe() string {
	if s.AnyCase {
		return fmt.Sprintf("search for %q in any case, from %d to %d", s.Pattern, s.From, s.To)
	}
	return fmt.Sprintf("search for %q from %d to %d", s.Pattern, s.From, s.To)
}

// Keys is none.
func (Search) Keys() []Field { return nil }

// Ask looks at every place.
func (s Search) Ask(r Reader, _ string) Truth {
	at := func(place int) (byte, bool) {
		b, there := r.Field(Field{ID: PacketByte, Arg: uint32(place)})
		return byte(b.Lo), there == Yes
	}
	for place := s.From; place+len(s.Pattern) <= s.To; place++ {
		if _, there := at(place + len(s.Pattern) - 1); !there {
			return No
		}
		equal := 0
		for equal < len(s.Pattern) {
			b, _ := at(place + equal)
			if b != s.Pattern[equal] && !(s.AnyCase && folded(b) == folded(s.Pattern[equal])) {
				break
			}
			equal++
		}
		if equal == len(s.Pattern) {
			return Yes
		}
	}
	return No
}
