package nftsim

import (
	"encoding/binary"
	"math/bits"
)

// jhash hashes bytes as Bob Jenkins does: twelve at a time, each four of which are
// a number that begins with its least byte, and what is left to itself.
//
// Kernel: include/linux/jhash.h, jhash.
func jhash(key []byte, seed uint32) uint32 {
	a := 0xdeadbeef + uint32(len(key)) + seed
	b, c := a, a
	rotate := bits.RotateLeft32
	add := func() {
		var part [12]byte
		key = key[copy(part[:], key):]
		a += binary.LittleEndian.Uint32(part[0:])
		b += binary.LittleEndian.Uint32(part[4:])
		c += binary.LittleEndian.Uint32(part[8:])
	}
	for len(key) > 12 {
		add()
		a = (a - c) ^ rotate(c, 4)
		c += b
		b = (b - a) ^ rotate(a, 6)
		a += c
		c = (c - b) ^ rotate(b, 8)
		b += a
		a = (a - c) ^ rotate(c, 16)
		c += b
		b = (b - a) ^ rotate(a, 19)
		a += c
		c = (c - b) ^ rotate(b, 4)
		b += a
	}
	if len(key) == 0 {
		return c
	}
	add()
	c = (c ^ b) - rotate(b, 14)
	a = (a ^ c) - rotate(c, 11)
	b = (b ^ a) - rotate(a, 25)
	c = (c ^ b) - rotate(b, 16)
	a = (a ^ c) - rotate(c, 4)
	b = (b ^ a) - rotate(a, 14)
	c = (c ^ b) - rotate(b, 24)
	return c
}

// below is a number below a limit in the proportion of a hash to all hashes.
func below(hash, limit uint32) uint32 {
	high, _ := bits.Mul32(hash, limit)
	return high
}
