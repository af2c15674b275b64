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

func (a *attributes) bytes(kind uint16, data ...byte) { a.raw(kind, string(data)) }

func (a *attributes) u32(kind uint16, v uint32) {
	a.bytes(kind, binary.BigEndian.AppendUint32(nil, v)...)
}

func (a *attributes) u64(kind uint16, v uint64) {
	a.bytes(kind, binary.BigEndian.AppendUint64(nil, v)...)
}

// text appends a string with its final NUL.
func (a *attributes) text(kind uint16, s string) { a.raw(kind, s+"\x00") }

func (a *attributes) nested(kind uint16, inner attributes) { a.raw(kind|nestedFlag, string(inner)) }

func (a *attributes) raw(kind uint16, data string) {
	length := 4 + len(data)
	b := binary.NativeEndian.AppendUint16(*a, uint16(length))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	*a = b
}

// checkAttribute refuses data that an attribute's length field cannot hold.
func checkAttribute(what string, length int) error {
	if length+4 > maxAttribute {
		return fmt.Errorf("encode %s: %d bytes do not fit an attribute", what, length)
	}
	return nil
}
