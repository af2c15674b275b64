package predicate

import "math/bits"

// jenkins is Bob Jenkins' hash of up to three numbers, as they come, with what
// their count and a seed begin with.
//
// Kernel: include/linux/jhash.h, jhash_nwords and jhash2.
func jenkins(seed uint32, words ...uint32) uint32 {
	const golden = 0xdeadbeef
	var w [3]uint32
	copy(w[:], words)
	start := golden + uint32(len(words))*4 + seed
	a, b, c := start+w[0], start+w[1], start+w[2]
	turn := func(x, y *uint32, by int) {
		*x ^= *y
		*x -= bits.RotateLeft32(*y, by)
	}
	turn(&c, &b, 14)
	turn(&a, &c, 11)
	turn(&b, &a, 25)
	turn(&c, &b, 16)
	turn(&a, &c, 4)
	turn(&b, &a, 14)
	turn(&c, &b, 24)
	return c
}

// scaled is a number below a limit in the proportion of a hash to all hashes.
//
// Kernel: include/linux/kernel.h, reciprocal_scale.
func scaled(hash, below uint32) uint32 { return uint32(uint64(hash) * uint64(below) >> 32) }
