package nftgen

import (
	"encoding/binary"
	"fmt"
)

// Flag of nested attributes and the longest attribute, header included.
//
// Kernel: include/uapi/linux/netlink.h, struct nlattr.
const (
	nestedFlag   = 0x8000
	maxAttribute = 0xffff
)

// attributes are netlink attributes under construction, in network byte order
// as nf_tables reads them.
type attributes []byte

func (a *attributes) bytes(kind uint16, data ...byte) {
	a.header(kind, len(data))
	*a = append(*a, data...)
	a.pad()
}

func (a *attributes) u16(kind uint16, v uint16) { a.bytes(kind, byte(v>>8), byte(v)) }

func (a *attributes) u32(kind uint16, v uint32) {
	a.header(kind, 4)
	*a = binary.BigEndian.AppendUint32(*a, v)
}

func (a *attributes) u64(kind uint16, v uint64) {
	a.header(kind, 8)
	*a = binary.BigEndian.AppendUint64(*a, v)
}

// text appends a string with its final NUL.
func (a *attributes) text(kind uint16, s string) {
	a.header(kind, len(s)+1)
	*a = append(append(*a, s...), 0)
	a.pad()
}

func (a *attributes) nested(kind uint16, inner attributes) { a.bytes(kind|nestedFlag, inner...) }

func (a *attributes) header(kind uint16, length int) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(4+length))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
}

func (a *attributes) pad() {
	for len(*a)%4 != 0 {
		*a = append(*a, 0)
	}
}

// checkAttribute refuses data that an attribute's length field cannot hold.
func checkAttribute(what string, length int) error {
	if length+4 > maxAttribute {
		return fmt.Errorf("encode %s: %d bytes do not fit an attribute", what, length)
	}
	return nil
}
