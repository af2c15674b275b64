package ipset

import (
	"bytes"
	"hash/maphash"
)

// An index finds elements by their key: a table of places in the packed data,
// probed one after the other. Its seed is random, so that no text can make it
// slow.
type index struct {
	seed  maphash.Seed
	slots []int32 // place plus 1, 0 for an empty one
}

// keyLen is how many bytes of a packed element tell it from others: all but the
// flags, which [Set.sameKey] compares. An address of a bitmap:ip,mac is there
// once, with whatever Ethernet address.
func (s *Set) keyLen() int {
	if s.bitmap && len(s.parts) == 2 {
		return s.offset[1]
	}
	return s.stride - 1
}

func (s *Set) sameKey(a, b []byte) bool {
	n, flags := s.keyLen(), s.stride-1
	return bytes.Equal(a[:n], b[:n]) && (a[flags]^b[flags])&keyFlags == 0 && a[flags]&flagDead == 0
}

// find returns the place of the element with the key of a packed one, or -1, and
// the slot where it is or would be.
func (s *Set) find(r []byte) (place, slot int) {
	x := &s.index
	if len(x.slots) == 0 {
		x.seed = maphash.MakeSeed()
		x.slots = make([]int32, 16)
	}
	mask := len(x.slots) - 1
	for slot = int(maphash.Bytes(x.seed, r[:s.keyLen()])) & mask; ; slot = (slot + 1) & mask {
		n := x.slots[slot]
		if n == 0 {
			return -1, slot
		}
		if s.sameKey(s.record(int(n-1)), r) {
			return int(n - 1), slot
		}
	}
}

// indexed notes the element at a place in a slot that find returned.
func (s *Set) indexed(place, slot int) {
	s.index.slots[slot] = int32(place + 1)
	if 4*(place+1) > 3*len(s.index.slots) {
		s.grow()
	}
}

func (s *Set) grow() {
	x := &s.index
	x.slots = make([]int32, 2*len(x.slots))
	mask := len(x.slots) - 1
	for i := range len(s.at) {
		r := s.record(i)
		slot := int(maphash.Bytes(x.seed, r[:s.keyLen()])) & mask
		for x.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		x.slots[slot] = int32(i + 1)
	}
}

// compact takes deleted elements out.
func (s *Set) compact() {
	if s.dead == 0 {
		return
	}
	kept := 0
	for i := range len(s.at) {
		r := s.record(i)
		if r[s.stride-1]&flagDead != 0 {
			continue
		}
		copy(s.record(kept), r)
		s.at[kept] = s.at[i]
		if s.extra != nil {
			s.extra[kept] = s.extra[i]
		}
		kept++
	}
	s.data, s.at, s.dead = s.data[:kept*s.stride], s.at[:kept], 0
	if s.extra != nil {
		s.extra = s.extra[:kept]
	}
	s.index.slots = make([]int32, len(s.index.slots))
	mask := len(s.index.slots) - 1
	for i := range kept {
		slot := int(maphash.Bytes(s.index.seed, s.record(i)[:s.keyLen()])) & mask
		for s.index.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		s.index.slots[slot] = int32(i + 1)
	}
}
