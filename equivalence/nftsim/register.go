package nftsim

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A Register is a place in the register file, counted in words of 32 bits. The
// first four words are the verdict register.
//
// Kernel: include/net/netfilter/nf_tables.h, struct nft_regs.
type Register uint8

const (
	wordSize      = 4
	registerBytes = 20 * wordSize
	// firstData is the first register that holds data.
	firstData Register = 4
)

// String returns the number that nft prints: 1 to 4 for the old registers of
// 16 bytes, 9 and up for the words between them.
//
// Kernel: net/netfilter/nf_tables_api.c, nft_dump_register.
func (r Register) String() string {
	if r%4 == 0 {
		return fmt.Sprint(uint8(r / 4))
	}
	return fmt.Sprint(uint8(r) + 4)
}

// span says whether n bytes from a data register on exist.
//
// Kernel: net/netfilter/nf_tables_api.c, nft_validate_register_load and
// nft_validate_register_store.
func (r Register) span(n int) error {
	if r < firstData {
		return fmt.Errorf("register %s holds no data", r)
	}
	if n <= 0 || int(r)*wordSize+n > registerBytes {
		return fmt.Errorf("%d bytes at register %s", n, r)
	}
	return nil
}

// registers are the registers of a run. Their words are in host byte order
// where the kernel stores numbers, and as on the wire where it copies bytes.
type registers [registerBytes]byte

// load returns n bytes of the registers, not a copy.
func (r *registers) load(from Register, n int) []byte {
	return r[int(from)*wordSize : int(from)*wordSize+n]
}

// store copies bytes, and fills up the last word with zeros.
func (r *registers) store(to Register, b []byte) {
	at := int(to) * wordSize
	n := copy(r[at:], b)
	for ; n%wordSize != 0; n++ {
		r[at+n] = 0
	}
}

func (r *registers) storeU8(to Register, v uint8) { r.store(to, []byte{v}) }

func (r *registers) storeU16(to Register, v uint16) {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	r.store(to, b[:])
}

func (r *registers) storeU32(to Register, v uint32) {
	binary.NativeEndian.PutUint32(r[int(to)*wordSize:], v)
}

func (r *registers) storeU64(to Register, v uint64) {
	binary.NativeEndian.PutUint64(r[int(to)*wordSize:], v)
}

func (r *registers) u32(from Register) uint32 {
	return binary.NativeEndian.Uint32(r[int(from)*wordSize:])
}

// words spells bytes as nft does: as numbers of 32 bits in host byte order.
func words(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i += wordSize {
		var w [wordSize]byte
		copy(w[:], b[i:])
		if i > 0 {
			s.WriteByte(' ')
		}
		fmt.Fprintf(&s, "0x%08x", binary.NativeEndian.Uint32(w[:]))
	}
	return s.String()
}
