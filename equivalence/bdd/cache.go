package bdd

import "math/bits"

const (
	minCache = 1 << 14
	maxCache = 1 << 22
)

// cache remembers results of operations, one for each hash: a newer result
// replaces an older one. It grows with use.
type cache struct {
	entries []entry // a power of two
	stores  int     // since the entries were made
}

// entry is one result. The key 0 marks an empty entry: no operation has this
// identity and False is no condition of a remembered choice.
type entry struct {
	key     uint32
	f, g, r Ref
}

func newCache() cache { return cache{entries: make([]entry, minCache)} }

func (c *cache) reset() {
	clear(c.entries)
	c.stores = 0
}

func (c *cache) place(key uint32, f, g Ref) *entry {
	return &c.entries[hash(key, f, g)&uint64(len(c.entries)-1)]
}

func (c *cache) get(key uint32, f, g Ref) (Ref, bool) {
	e := c.place(key, f, g)
	return e.r, e.key == key && e.f == f && e.g == g
}

func (c *cache) put(key uint32, f, g, r Ref) {
	if c.stores++; c.stores > len(c.entries) && len(c.entries) < maxCache {
		old := c.entries
		*c = cache{entries: make([]entry, 2*len(old))}
		for _, e := range old {
			if e.key != 0 {
				*c.place(e.key, e.f, e.g) = e
			}
		}
	}
	*c.place(key, f, g) = entry{key, f, g, r}
}

// hash mixes three numbers as wyhash does.
func hash(a uint32, b, c Ref) uint64 {
	hi, lo := bits.Mul64(uint64(b)<<32|uint64(c)^0xa0761d6478bd642f, uint64(a)*0x9e3779b97f4a7c15^0xe7037ed1a0b428db)
	return hi ^ lo
}
