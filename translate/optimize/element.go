package optimize

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"nftmigrate/nftgen"
)

// Elements are the combinations of spans that lead to the verdicts of a group's items:
// one span for each field.
//
// They stand in buckets, by what they say of the fields where each has one number: only
// elements of one bucket can overlap. wide is the field where they do not have one
// number, or none, or many.
type elements struct {
	fields  []nftgen.Field
	wide    int
	spans   []span // of each element, one for each field
	items   []*item
	before  []int32 // the element before each in its bucket, or -1
	buckets []bucket
	slots   []slot             // a table of hashes
	sets    map[int32]*spanSet // of the wide field in buckets, once asked for
}

const (
	none = -1
	many = -2
)

// A slot has the hash of a bucket, so that others are told apart without looking at their
// elements, and its place in the list of buckets, from 1 on; 0 for none.
type slot struct {
	hash   uint32
	bucket int32
}

// A bucket is elements that can overlap.
type bucket struct{ first, last, count int32 }

func (e *elements) len() int { return len(e.items) }

// at returns the spans of an element.
func (e *elements) at(i int32) []span {
	n := len(e.fields)
	return e.spans[int(i)*n : (int(i)+1)*n : (int(i)+1)*n]
}

// spread appends the elements of an item.
func (e *elements) spread(list []span, it *item) []span {
	n := len(it.facts)
	for _, f := range it.facts {
		list = append(list, f.spans[0])
	}
	for field, f := range it.facts {
		size := len(list)
		for _, s := range f.spans[1:] {
			for at := 0; at < size; at += n {
				list = append(list, list[at:at+n]...)
				list[len(list)-n+field] = s
			}
		}
	}
	return list
}

// wideOf says in which field an element has more than one number, given what is so of
// others.
func (e *elements) wideOf(spans []span, wide int) int {
	for i := range spans {
		if spans[i].single() || i == wide {
			continue
		}
		if wide != none {
			return many
		}
		wide = i
	}
	return wide
}

// seeds make the hashes of a process unlike those of another, so that no input can be
// made of which all elements have one.
var seeds = [2]uint64{rand.Uint64(), rand.Uint64()}

// slot returns where the bucket of an element is in the table, or would be. Of elements
// with spans in many fields there is one bucket.
func (e *elements) slot(spans []span) *slot {
	h := seeds[0]
	if e.wide != many {
		for i := range spans {
			if i != e.wide {
				hi, lo := bits.Mul64(h^spans[i].low.lo, seeds[1]^spans[i].low.hi)
				h = hi ^ lo
			}
		}
	}
	short, mask := uint32(h), len(e.slots)-1
	for at := int(short) & mask; ; at = (at + 1) & mask {
		switch s := &e.slots[at]; {
		case s.bucket == 0:
			s.hash = short
			return s
		case s.hash == short && e.together(spans, e.at(e.buckets[s.bucket-1].first)):
			return s
		}
	}
}

// together reports whether two elements belong into one bucket.
func (e *elements) together(a, b []span) bool {
	if e.wide == many {
		return true
	}
	for i := range a {
		if i != e.wide && a[i].low != b[i].low {
			return false
		}
	}
	return true
}

// sort puts all elements into buckets anew.
func (e *elements) sort(wide int) {
	e.wide = wide
	e.buckets, e.before, e.sets, e.slots = e.buckets[:0], e.before[:0], nil, nil
	e.makeRoom()
	for i := range e.items {
		e.put(int32(i))
	}
}

// makeRoom makes the table large enough for another bucket.
func (e *elements) makeRoom() {
	old := e.slots
	e.slots = make([]slot, max(16, 2*len(old)))
	mask := len(e.slots) - 1
	for _, s := range old {
		if s.bucket == 0 {
			continue
		}
		at := int(s.hash) & mask
		for e.slots[at].bucket != 0 {
			at = (at + 1) & mask
		}
		e.slots[at] = s
	}
}

// add adds an element.
func (e *elements) add(spans []span, it *item) {
	e.spans, e.items = append(roomFor(e.spans, len(spans)), spans...), append(roomFor(e.items, 1), it)
	e.before = roomFor(e.before, 1)
	e.put(int32(len(e.items) - 1))
}

// roomFor returns a list with room for n more. It grows by its length, and not by a quarter
// as large lists do otherwise: that would be five times what is needed in the end.
func roomFor[T any](list []T, n int) []T {
	if len(list)+n <= cap(list) {
		return list
	}
	return slices.Grow(list, max(n, len(list)))
}

// put puts an element into its bucket.
func (e *elements) put(i int32) {
	spans := e.at(i)
	slot := e.slot(spans)
	if slot.bucket == 0 {
		if 4*(len(e.buckets)+1) > 3*len(e.slots) {
			e.makeRoom()
			slot = e.slot(spans)
		}
		e.buckets = append(roomFor(e.buckets, 1), bucket{i, i, 1})
		slot.bucket = int32(len(e.buckets))
		e.before = append(e.before, -1)
		return
	}
	b := &e.buckets[slot.bucket-1]
	e.before = append(e.before, b.last)
	b.last, b.count = i, b.count+1
	if set := e.sets[slot.bucket-1]; set != nil {
		set.add(spans[e.wide])
	}
}

// in lists the elements of a bucket, the last one first.
func (e *elements) in(list []int32, b bucket) []int32 {
	for i := b.last; i >= 0; i = e.before[i] {
		list = append(list, i)
	}
	return list
}

// nearMost is how many elements of a bucket are looked at.
const nearMost = 64

// shadowed reports whether one element takes all packets of another one that comes
// later. Of many elements that may, the last ones are looked at.
func (e *elements) shadowed(spans []span) bool {
	slot := e.slot(spans).bucket
	if slot == 0 {
		return false
	}
	most := nearMost
	if e.wide == many {
		most = e.len()
	}
	for i := e.buckets[slot-1].last; i >= 0 && most > 0; i, most = e.before[i], most-1 {
		if e.items[i].terminal() && contain(e.at(i), spans) {
			return true
		}
	}
	return false
}

// overlapsAny reports whether an element overlaps one that is there.
func (e *elements) overlapsAny(spans []span) bool {
	slot := e.slot(spans).bucket
	switch {
	case slot == 0:
		return false
	case e.wide == none:
		return true
	case e.wide == many:
		for i := e.buckets[slot-1].last; i >= 0; i = e.before[i] {
			if overlap(e.at(i), spans) {
				return true
			}
		}
		return false
	}
	set := e.sets[slot-1]
	if set == nil {
		if e.sets == nil {
			e.sets = make(map[int32]*spanSet)
		}
		set = newSpanSet()
		e.sets[slot-1] = set
		list := e.in(nil, e.buckets[slot-1])
		for _, i := range slices.Backward(list) {
			set.add(e.at(i)[e.wide])
		}
	}
	return set.overlaps(spans[e.wide])
}

// contain reports whether each span contains the other's of its field.
func contain(a, b []span) bool {
	for i := range a {
		if !a[i].contains(b[i]) {
			return false
		}
	}
	return true
}

// overlap reports whether all spans overlap the other's of their fields.
func overlap(a, b []span) bool {
	for i := range a {
		if !a[i].overlaps(b[i]) {
			return false
		}
	}
	return true
}
