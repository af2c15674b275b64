package predicate

import (
	"fmt"
	"net/netip"
)

// Segment is "--srh-psid", "--srh-nsid" and "--srh-lsid": a segment of a segment
// routing header under a mask. Step leads from the number of segments left to its
// place; 0 is the first place whatever is left. There is no previous segment before
// the first was reached, and no next one behind the last.
//
// Kernel: net/ipv6/netfilter/ip6t_srh.c.
type Segment struct {
	Step       int
	Addr, Mask netip.Addr
	Negate     bool
}

var _ Instance = Segment{}

// Identity is "": there is nothing to share.
func (Segment) Identity() string { return "" }

// Describe says which segment.
func (s Segment) Describe() string {
	return fmt.Sprintf("segment at %d is %v under %v, negated %v", s.Step, s.Addr, s.Mask, s.Negate)
}

// Keys is none.
func (Segment) Keys() []Field { return nil }

// Ask looks at the segment.
func (s Segment) Ask(r Reader, _ string) Truth {
	const routing, leftAt, lastAt, before, size = 43, 3, 4, 8, 16
	at := func(offset int) (int, bool) {
		b, there := r.Field(Field{ID: HeaderByte, Arg: Header(routing, offset)})
		return int(b.Lo), there == Yes
	}
	place := 0
	if s.Step != 0 {
		left, _ := at(leftAt)
		last, there := at(lastAt)
		if !there || s.Step > 0 && left == last || s.Step < 0 && left == 0 {
			return No
		}
		place = left + s.Step
	}
	want, mask := s.Addr.As16(), s.Mask.As16()
	equal := true
	for i := range size {
		got, there := at(before + size*place + i)
		if !there {
			return No
		}
		equal = equal && byte(got)&mask[i] == want[i]&mask[i]
	}
	return Of(equal != s.Negate)
}

// SegmentsLeft holds for a segment routing header with no more segments left than it
// has.
//
// Kernel: net/ipv6/netfilter/ip6t_srh.c.
type SegmentsLeft struct{}

var _ Instance = SegmentsLeft{}

// Identity is "": there is nothing to share.
func (SegmentsLeft) Identity() string { return "" }

// Describe says what is compared.
func (SegmentsLeft) Describe() string { return "segments left within the last entry" }

// Keys is none.
func (SegmentsLeft) Keys() []Field { return nil }

// Ask compares the two fields.
func (SegmentsLeft) Ask(r Reader, _ string) Truth {
	const routing, leftAt, lastAt = 43, 3, 4
	left, _ := r.Field(Field{ID: HeaderByte, Arg: Header(routing, leftAt)})
	last, there := r.Field(Field{ID: HeaderByte, Arg: Header(routing, lastAt)})
	if there != Yes {
		return No
	}
	if last.Less(left) {
		declare(r, "srh-segments-left")
		return No
	}
	return Yes
}
