package nfnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// headerLen is the size in bytes of struct nfgenmsg.
const headerLen = 4

// align rounds up to the alignment of messages and attributes.
func align(n int) int { return (n + 3) &^ 3 }

// appendMessage appends the wire form of a message. The length is set from the
// data.
func appendMessage(b []byte, m netlink.Message) []byte {
	length := unix.NLMSG_HDRLEN + len(m.Data)
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Type))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Flags))
	b = binary.NativeEndian.AppendUint32(b, m.Header.Sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // port: the kernel's to fill
	b = append(b, m.Data...)
	return append(b, make([]byte, align(length)-length)...)
}

// parseMessages splits a datagram. The messages share its memory.
func parseMessages(b []byte) ([]netlink.Message, error) {
	var messages []netlink.Message
	for len(b) > 0 {
		if len(b) < unix.NLMSG_HDRLEN {
			return nil, errors.New("parse netlink messages: header is cut")
		}
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.NLMSG_HDRLEN || length > len(b) {
			return nil, fmt.Errorf("parse netlink messages: length %d of %d bytes", length, len(b))
		}
		messages = append(messages, netlink.Message{
			Header: netlink.Header{
				Length:   uint32(length),
				Type:     netlink.HeaderType(binary.NativeEndian.Uint16(b[4:])),
				Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:])),
				Sequence: binary.NativeEndian.Uint32(b[8:]),
				PID:      binary.NativeEndian.Uint32(b[12:]),
			},
			Data: b[unix.NLMSG_HDRLEN:length:length],
		})
		b = b[min(align(length), len(b)):]
	}
	return messages, nil
}

// Marshal returns the wire form of messages, one after the other; it is what
// [Unmarshal] reads.
func Marshal(messages []netlink.Message) []byte {
	var b []byte
	for _, m := range messages {
		b = appendMessage(b, m)
	}
	return b
}

// Unmarshal splits the wire form of messages. They share the memory of b.
func Unmarshal(b []byte) ([]netlink.Message, error) { return parseMessages(b) }

// Flags of an error message, and attributes that follow it.
//
// Kernel: include/uapi/linux/netlink.h.
const (
	flagCapped  = 0x100 // NLM_F_CAPPED
	flagAckTLVs = 0x200 // NLM_F_ACK_TLVS
)

// parseError returns the error number of an error message and the offset of
// the guilty attribute in the request, or 0 when the kernel did not say. Error
// number 0 is an acknowledgement.
func parseError(m netlink.Message) (errno unix.Errno, offset int) {
	const place = 4 + unix.NLMSG_HDRLEN // after the error number and the request's header
	if len(m.Data) < place {
		return unix.EBADMSG, 0
	}
	errno = unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	if m.Header.Flags&flagAckTLVs == 0 {
		return errno, 0
	}
	rest := place
	if m.Header.Flags&flagCapped == 0 {
		rest = 4 + align(int(binary.NativeEndian.Uint32(m.Data[4:])))
	}
	if rest > len(m.Data) {
		return errno, 0
	}
	if value := Find(parseAttributes(m.Data[rest:]), unix.NLMSGERR_ATTR_OFFS); len(value) == 4 {
		offset = int(binary.NativeEndian.Uint32(value))
	}
	return errno, offset
}

// doneError returns the error number that ends a dump, 0 for none.
func doneError(m netlink.Message) unix.Errno {
	if len(m.Data) < 4 {
		return 0
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
}
