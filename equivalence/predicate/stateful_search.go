package predicate

import "fmt"

// Search is "-m string": whether bytes are in the packet, from one place on and
// all of them before another, counted from the network header. Letters are equal in
// either case with AnyCase: those of Latin-1, of which two have no other case.
//
// Kernel: net/netfilter/xt_string.c; net/core/skbuff.c, skb_find_text;
// lib/ts_kmp.c; lib/ctype.c.
type Search struct {
	Pattern  string
	AnyCase  bool
	From, To int
}

var _ Instance = Search{}

// searchPlaces is up to how many places a search is spelt out.
const searchPlaces = 64

// Predicate is the search as tests of bytes, where it has few places.
func (s Search) Predicate() Predicate {
	last := s.To - len(s.Pattern)
	if last-s.From >= searchPlaces {
		return Stateful{Instance: s}
	}
	var any Any
	for at := s.From; at <= last; at++ {
		var all All
		for i := range len(s.Pattern) {
			b, mask := uint64(s.Pattern[i]), uint64(0xff)
			if other, ok := otherCase(s.Pattern[i]); ok && s.AnyCase {
				mask &^= b ^ uint64(other)
				b &= mask
			}
			all = append(all, Masked{Field: Field{ID: PacketByte, Arg: uint32(at + i)}, Mask: Number(mask), Value: Number(b)})
		}
		any = append(any, all)
	}
	return any
}

// otherCase is a letter in the other case; ok is false for what has none.
func otherCase(c byte) (other byte, ok bool) {
	const (
		times, divided = 0xd7, 0xf7 // the signs among the letters of Latin-1
		apart          = 'a' - 'A'
	)
	switch {
	case c == times || c == divided:
		return c, false
	case 'a' <= c && c <= 'z', c >= 0xe0:
		return c - apart, true
	case 'A' <= c && c <= 'Z', c >= 0xc0:
		return c + apart, true
	}
	return c, false
}

// Identity is "": there is nothing to share.
func (Search) Identity() string { return "" }

// Describe says what is looked for.
func (s Search) Describe() string { return fmt.Sprintf("%q at %d to %d", s.Pattern, s.From, s.To) }

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
			other, both := otherCase(s.Pattern[equal])
			if b != s.Pattern[equal] && !(s.AnyCase && both && b == other) {
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
