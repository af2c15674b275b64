package nfnetlink

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// typeMask takes the flags for nesting and byte order off an attribute type.
const typeMask = 1<<14 - 1

// An Attr is one attribute: its type without flags, and its payload without
// padding.
type Attr struct {
	Type uint16
	Data []byte
}

// Attributes returns the attributes of an nf_tables message. What does not
// parse is left out; the kernel's own messages always parse.
func Attributes(m netlink.Message) []Attr {
	if len(m.Data) < headerLen {
		return nil
	}
	return parseAttributes(m.Data[headerLen:])
}

// Nested returns the attributes inside a payload.
func Nested(payload []byte) []Attr { return parseAttributes(payload) }

func parseAttributes(b []byte) []Attr {
	var attrs []Attr
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			break
		}
		attrs = append(attrs, Attr{
			Type: binary.NativeEndian.Uint16(b[2:]) & typeMask,
			Data: b[unix.SizeofNlAttr:length:length],
		})
		b = b[min(align(length), len(b)):]
	}
	return attrs
}

// Find returns the payload of the first attribute of a type, nil when there is
// none.
func Find(attrs []Attr, kind uint16) []byte {
	for _, a := range attrs {
		if a.Type == kind {
			if a.Data == nil {
				return []byte{}
			}
			return a.Data
		}
	}
	return nil
}

// FindString returns a payload as a string, without the zero byte at its end.
func FindString(attrs []Attr, kind uint16) string {
	data := Find(attrs, kind)
	for len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	return string(data)
}

// AppendAttr appends the wire form of an attribute. The kind may carry
// netlink.Nested. Payloads of more than 65,531 bytes do not fit the length
// field and must be split by the caller.
func AppendAttr(b []byte, kind uint16, payload []byte) []byte {
	length := unix.SizeofNlAttr + len(payload)
	b = binary.NativeEndian.AppendUint16(b, uint16(length))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, payload...)
	return append(b, make([]byte, align(length)-length)...)
}

// AppendUint32 appends an attribute that holds a big-endian number.
func AppendUint32(b []byte, kind uint16, value uint32) []byte {
	return AppendAttr(b, kind, binary.BigEndian.AppendUint32(nil, value))
}

// AppendString appends an attribute that holds a string with its zero byte.
func AppendString(b []byte, kind uint16, value string) []byte {
	return AppendAttr(b, kind, append([]byte(value), 0))
}

func appendAttrs(b []byte, attrs []Attr) []byte {
	for _, a := range attrs {
		b = AppendAttr(b, a.Type, a.Data)
	}
	return b
}
