package kernel

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// attr returns the wire form of an attribute whose payload is the parts joined.
func attr(kind uint16, parts ...[]byte) []byte {
	var payload []byte
	for _, p := range parts {
		payload = append(payload, p...)
	}
	return nfnetlink.AppendAttr(nil, kind, payload)
}

// join returns the attributes one after the other.
func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func ne32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func text(s string) []byte { return append([]byte(s), 0) }

// uint32BE returns a big-endian number, 0 when the payload is not one.
func uint32BE(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// uint16BE returns a big-endian number, 0 when the payload is not one.
func uint16BE(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// attributes goes through the attributes of a payload by type, without making
// anything: reports are read by the million.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.SizeofNlAttr || length > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, b[unix.SizeofNlAttr:length]) {
				return
			}
			b = b[min((length+3)&^3, len(b)):]
		}
	}
}

// attributeOf returns the payload of the first attribute of a type, nil when
// there is none.
func attributeOf(b []byte, kind uint16) []byte {
	for k, data := range attributes(b) {
		if k == kind {
			return data
		}
	}
	return nil
}

// uint64BE returns a big-endian number, 0 when the payload is not one.
func uint64BE(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
