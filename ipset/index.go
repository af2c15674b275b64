package ipset

import (
	"bytes"
	"hash/maphash"
	"math/bits"
)

// An index finds elements by their key: a table of places in the packed data,
// probed one after the other. Its seed is random, so that no text can make it
// slow.
type index struct {
	seed maphash.Seed
	// slots have the place plus 1 in their lower half, 0 for an empty one, and the
	// upper half of the hash, so that most elements need not be looked at to see
	// that they are others.
	slots []uint64
}

const (
	slotPlace = 1<<32 - 1
	slotHash  = slotPlace << 32
)

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
// the slot where it is or would be, with its hash.
func (s *Set) find(r []byte) (place, slot int, hash uint64) {
	x := &s.index
	if len(x.slots) == 0 {
		x.seed = maphash.MakeSeed()
		x.slots = make([]uint64, 16)
	}
	hash = maphash.Bytes(x.seed, r[:s.keyLen()])
	mask := len(x.slots) - 1
	for slot = int(hash) & mask; ; slot = (slot + 1) & mask {
		n := x.slots[slot]
		if n == 0 {
			return -1, slot, hash
		}
		if n&slotHash == hash&slotHash && s.sameKey(s.record(int(n&slotPlace)-1), r) {
			return int(n&slotPlace) - 1, slot, hash
		}
	}
}

// indexed notes the element at a place in a slot that find returned.
func (s *Set) indexed(place, slot int, hash uint64) {
	s.index.slots[slot] = hash&slotHash | uint64(place+1)
	if 4*(place+1) > 3*len(s.index.slots) {
		s.grow()
	}
}

// grow makes the table larger: for as many elements as the kernel had room for,
// but not all at once.
func (s *Set) grow() {
	size := 2 * len(s.index.slots)
	if wanted := 1 << bits.Len32(s.Options.HashSize); wanted > size {
		size = min(wanted, 4*size)
	}
	s.fill(make([]uint64, size))
}

// makeIndex makes the table of a set that has elements and no table.
func (s *Set) makeIndex() {
	s.index.seed = maphash.MakeSeed()
	s.fill(make([]uint64, 16<<bits.Len(uint(len(s.at))/8)))
}

// fill makes a table of the elements in slots that are empty.
func (s *Set) fill(slots []uint64) {
	s.index.slots = slots
	mask := len(slots) - 1
	for i := range len(s.at) {
		hash := maphash.Bytes(s.index.seed, s.record(i)[:s.keyLen()])
		slot := int(hash) & mask
		for slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		slots[slot] = hash&slotHash | uint64(i+1)
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
	s.fill(make([]uint64, len(s.index.slots)))
}
