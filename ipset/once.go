package ipset

import (
	"encoding/binary"
	"slices"
)

// look makes the index of a set that has none yet, before the first look into it.
func (r *Reader) look(s *Set) {
	if s.deferred {
		r.settle(s)
		s.makeIndex()
	}
}

// settle finds out whether an element is twice in a set of which that is not known.
func (r *Reader) settle(s *Set) {
	if s.deferred {
		s.deferred = false
		r.twice = r.twice || !s.allOnce()
	}
}

// allOnce reports whether no set got an element that it had.
func (r *Reader) allOnce() bool {
	for _, s := range r.sets.List {
		r.settle(s)
	}
	return !r.twice
}

// allOnce reports whether no element of a set is there twice. None was deleted,
// and each is an address or network of IPv4.
func (s *Set) allOnce() bool {
	keys := make([]uint64, len(s.at))
	sorted := true
	for i := range keys {
		record := s.record(i)
		keys[i] = uint64(binary.BigEndian.Uint32(record)) << 8
		if s.parts[0] == Net {
			keys[i] |= uint64(record[4])
		}
		sorted = sorted && (i == 0 || keys[i-1] < keys[i])
	}
	if sorted {
		return true
	}
	keys = sortKeys(keys)
	for i := 1; i < len(keys); i++ {
		if keys[i-1] == keys[i] {
			return false
		}
	}
	return true
}

// keyBits is how many bits of keys are used.
const keyBits = 40

// sortKeys sorts keys by counting, some of their bits at a time, and returns the
// slice that has them then.
func sortKeys(keys []uint64) []uint64 {
	const digit, few = 10, 4096
	if len(keys) < few {
		slices.Sort(keys)
		return keys
	}
	other := make([]uint64, len(keys))
	for shift := 0; shift < keyBits; shift += digit {
		var starts [1 << digit]int
		for _, k := range keys {
			starts[k>>shift&(1<<digit-1)]++
		}
		sum := 0
		for i, n := range starts {
			starts[i] = sum
			sum += n
		}
		for _, k := range keys {
			at := &starts[k>>shift&(1<<digit-1)]
			other[*at] = k
			*at++
		}
		keys, other = other, keys
	}
	return keys
}
