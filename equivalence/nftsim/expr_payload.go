package nftsim

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func init() { register("payload", decodePayload) }

// A PayloadBase is the header that an offset counts from.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_payload_bases.
type PayloadBase uint32

var payloadBases = map[PayloadBase]string{
	unix.NFT_PAYLOAD_LL_HEADER: "link", unix.NFT_PAYLOAD_NETWORK_HEADER: "network",
	unix.NFT_PAYLOAD_TRANSPORT_HEADER: "transport", unix.NFT_PAYLOAD_INNER_HEADER: "inner",
}

// maxOffset is the largest offset and length of a load.
const maxOffset = 0xff

// PayloadLoad copies bytes of the packet into a register. It breaks the rule
// when the packet ends before.
//
// Kernel: net/netfilter/nft_payload.c, nft_payload_eval, and
// net/netfilter/nf_tables_core.c, nft_payload_fast_eval.
type PayloadLoad struct {
	Base        PayloadBase
	Offset, Len int
	To          Register
}

// PayloadWrite copies a register into the packet and keeps checksums right.
//
// Kernel: net/netfilter/nft_payload.c, nft_payload_set_eval.
type PayloadWrite struct {
	Base           PayloadBase
	Offset, Len    int
	From           Register
	ChecksumType   uint32 // NFT_PAYLOAD_CSUM_*
	ChecksumOffset int    // from the same base
	ChecksumFlags  uint32 // NFT_PAYLOAD_L4CSUM_PSEUDOHDR
}

func decodePayload(_ *scope, data []byte) (Instruction, error) {
	w := &PayloadWrite{}
	var to Register
	var offset, length, checksum uint32
	writes := false
	unknown := decodeNest("payload", data,
		may(unix.NFTA_PAYLOAD_DREG, decodeRegister(&to)),
		may(unix.NFTA_PAYLOAD_SREG, func(ad *netlink.AttributeDecoder) error {
			writes = true
			return decodeRegister(&w.From)(ad)
		}),
		need(unix.NFTA_PAYLOAD_BASE, decodeU32((*uint32)(&w.Base))), need(unix.NFTA_PAYLOAD_OFFSET, decodeU32(&offset)),
		need(unix.NFTA_PAYLOAD_LEN, decodeU32(&length)), may(unix.NFTA_PAYLOAD_CSUM_TYPE, decodeU32(&w.ChecksumType)),
		may(unix.NFTA_PAYLOAD_CSUM_OFFSET, decodeU32(&checksum)),
		may(unix.NFTA_PAYLOAD_CSUM_FLAGS, decodeU32(&w.ChecksumFlags)))
	if unknown != nil {
		return nil, unknown
	}
	if _, ok := payloadBases[w.Base]; !ok {
		return nil, notModelled{fmt.Sprintf("payload base %d", w.Base)}
	}
	if offset > maxOffset || length > maxOffset || checksum > maxOffset {
		return nil, fmt.Errorf("%d bytes at %d, checksum at %d", length, offset, checksum)
	}
	w.Offset, w.Len, w.ChecksumOffset = int(offset), int(length), int(checksum)
	if !writes {
		return &PayloadLoad{Base: w.Base, Offset: w.Offset, Len: w.Len, To: to}, to.span(w.Len)
	}
	if w.ChecksumType > unix.NFT_PAYLOAD_CSUM_INET {
		return nil, notModelled{fmt.Sprintf("checksum type %d", w.ChecksumType)}
	}
	if rest := w.ChecksumFlags &^ unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR; rest != 0 {
		return nil, notModelled{fmt.Sprintf("checksum flag %#x", rest)}
	}
	if w.Base == unix.NFT_PAYLOAD_LL_HEADER {
		return nil, notModelled{"writing the link header"}
	}
	return w, w.From.span(w.Len)
}

func (i *PayloadLoad) String() string {
	return fmt.Sprintf("[ payload load %db @ %s header + %d => reg %s ]", i.Len, payloadBases[i.Base], i.Offset, i.To)
}

func (i *PayloadWrite) String() string {
	return fmt.Sprintf("[ payload write reg %s => %db @ %s header + %d csum_type %d csum_off %d csum_flags 0x%x ]",
		i.From, i.Len, payloadBases[i.Base], i.Offset, i.ChecksumType, i.ChecksumOffset, i.ChecksumFlags)
}

func (i *PayloadLoad) loads() (Register, int) { return i.To, i.Len }

func (i *PayloadLoad) exec(x *execution) result {
	if i.Base == unix.NFT_PAYLOAD_LL_HEADER {
		return i.loadLink(x)
	}
	if i.fast() && x.header.hasProto {
		// The short way of the kernel does not look whether the packet is a
		// later fragment: it then reads the payload as if it were a header.
		at := i.Offset
		if i.Base == unix.NFT_PAYLOAD_TRANSPORT_HEADER {
			at += x.header.offset
		}
		if at+i.Len <= len(x.flight.Data) {
			x.regs.store(i.To, x.flight.Data[at:at+i.Len])
			return proceed
		}
	}
	at, r := x.base(i.Base)
	if r != proceed {
		return r
	}
	at += i.Offset
	if at+i.Len > len(x.flight.Data) {
		return breaks
	}
	x.regs.store(i.To, x.flight.Data[at:at+i.Len])
	return proceed
}

// fast says whether the kernel loads by its short way.
//
// Kernel: net/netfilter/nft_payload.c, nft_payload_select_ops.
func (i *PayloadLoad) fast() bool {
	aligned := i.Len == 1 || i.Len == 2 || i.Len == 4
	header := i.Base == unix.NFT_PAYLOAD_NETWORK_HEADER || i.Base == unix.NFT_PAYLOAD_TRANSPORT_HEADER
	return aligned && header && i.Offset%i.Len == 0
}

const ethernetLen = 14

// loadLink loads from the Ethernet header that the packet arrived with, and
// goes on into the network header.
func (i *PayloadLoad) loadLink(x *execution) result {
	link := x.flight.Packet.Link
	if link == nil {
		return breaks
	}
	frame := make([]byte, 0, ethernetLen+len(x.flight.Data))
	frame = append(frame, link.Dst[:]...)
	frame = append(frame, link.Src[:]...)
	frame = binary.BigEndian.AppendUint16(frame, etherTypes[x.header.version])
	frame = append(frame, x.flight.Data...)
	if i.Offset+i.Len > len(frame) {
		return breaks
	}
	x.regs.store(i.To, frame[i.Offset:i.Offset+i.Len])
	return proceed
}

// etherTypes are the EtherTypes by IP version.
var etherTypes = map[int]uint16{4: unix.ETH_P_IP, 6: unix.ETH_P_IPV6}

// base finds where a header starts.
func (x *execution) base(b PayloadBase) (int, result) {
	switch b {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		return 0, proceed
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		if !x.header.hasProto || x.header.fragment != 0 {
			return 0, breaks
		}
		return x.header.offset, proceed
	}
	return x.inner()
}

// inner finds the header behind the transport header.
//
// Kernel: net/netfilter/nft_payload.c, __nft_payload_inner_offset.
func (x *execution) inner() (int, result) {
	h := x.header
	if !h.hasProto || h.fragment != 0 {
		return 0, breaks
	}
	switch h.proto {
	case protoUDP:
		return h.offset + udpLen, proceed
	case protoTCP:
		if h.offset+tcpLen > len(x.flight.Data) {
			return 0, breaks
		}
		return h.offset + int(x.flight.Data[h.offset+12]>>4)*4, proceed
	case unix.IPPROTO_GRE, unix.IPPROTO_IPIP:
		return 0, x.unknown("the inner header of protocol %d is not modelled", h.proto)
	}
	return 0, breaks
}

const (
	udpLen = 8
	tcpLen = 20
)

func (i *PayloadWrite) exec(x *execution) result {
	base, r := x.base(i.Base)
	if r != proceed {
		return r
	}
	at, data := base+i.Offset, x.flight.Data
	if at+i.Len > len(data) {
		return breaks
	}
	value := x.regs.load(i.From, i.Len)
	old, fresh := sum(data[at:at+i.Len]), sum(value)
	if i.ChecksumType == unix.NFT_PAYLOAD_CSUM_INET && !replaceSum(data, base+i.ChecksumOffset, old, fresh) {
		return breaks
	}
	if i.ChecksumFlags != 0 {
		if l4, ok := x.transportSum(); ok && !replaceSum(data, l4, old, fresh) {
			return breaks
		}
	}
	copy(data[at:], value)
	return proceed
}

// transportSums are the places of the checksums in transport headers that
// cover the pseudo header, by protocol.
//
// Kernel: net/netfilter/nft_payload.c, nft_payload_l4csum_offset.
var transportSums = map[uint8]int{protoTCP: 16, protoUDP: 6, protoUDPLite: 6, protoICMPv6: 2}

// transportSum finds the checksum that must follow a change of the pseudo
// header. A UDP datagram can be without.
func (x *execution) transportSum() (int, bool) {
	h, data := x.header, x.flight.Data
	at, ok := transportSums[h.proto]
	if !ok || h.fragment != 0 {
		return 0, false
	}
	at += h.offset
	if h.proto == protoUDP && (h.offset+udpLen > len(data) || binary.BigEndian.Uint16(data[at:]) == 0) {
		return 0, false
	}
	return at, true
}

// sum adds up bytes as 16-bit numbers in ones' complement, RFC 1071.
func sum(b []byte) uint32 {
	s := uint32(0)
	for k, v := range b {
		if k%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
	}
	return fold(s)
}

func fold(s uint32) uint32 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// replaceSum corrects the checksum at an offset for bytes whose sum changes. A
// result of 0 becomes 0xffff, which is the same number and does not mean that
// there is no checksum. It returns false when there is no room for a checksum.
//
// Kernel: net/netfilter/nft_payload.c, nft_csum_replace.
func replaceSum(data []byte, at int, old, fresh uint32) bool {
	if at+2 > len(data) {
		return false
	}
	s := uint32(^binary.BigEndian.Uint16(data[at:]))
	s = fold(s + (^old & 0xffff) + fresh)
	check := ^uint16(s)
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(data[at:], check)
	return true
}
