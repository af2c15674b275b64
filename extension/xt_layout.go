package extension

import "encoding/binary"

// An xtLayout writes the structure of an extension of xtables as a compiler lays
// it out on 64 bits: each member at a multiple of its size, in the byte order of
// the host. Members that only the kernel uses are zero.
type xtLayout struct{ data []byte }

// align fills up to a multiple.
func (l *xtLayout) align(to int) {
	for len(l.data)%to != 0 {
		l.data = append(l.data, 0)
	}
}

func (l *xtLayout) u8(n uint8) { l.data = append(l.data, n) }

func (l *xtLayout) u16(n uint16) {
	l.align(2)
	l.data = binary.NativeEndian.AppendUint16(l.data, n)
}

func (l *xtLayout) u32(n uint32) {
	l.align(4)
	l.data = binary.NativeEndian.AppendUint32(l.data, n)
}

func (l *xtLayout) u64(n uint64) {
	l.align(8)
	l.data = binary.NativeEndian.AppendUint64(l.data, n)
}

// text writes a string into a field of a length, filled up with zeros.
func (l *xtLayout) text(s string, length int) {
	field := make([]byte, length)
	copy(field, s)
	l.data = append(l.data, field...)
}

// pointer writes the place of a pointer that the kernel fills.
func (l *xtLayout) pointer() { l.u64(0) }
