package nftsim

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func init() { register("exthdr", decodeExthdr) }

// ExthdrLoad loads from an IPv6 extension header or a TCP option. It breaks
// the rule when there is none; with Present, it loads whether there is one.
//
// Kernel: net/netfilter/nft_exthdr.c, nft_exthdr_ipv6_eval and
// nft_exthdr_tcp_eval.
type ExthdrLoad struct {
	TCP         bool // an option, else an extension header
	Type        uint8
	Offset, Len int
	Present     bool
	To          Register
}

// ExthdrWrite overwrites 2 or 4 bytes of a TCP option and corrects the
// checksum. It never raises a maximum segment size, and does nothing when the
// option is missing.
//
// Kernel: net/netfilter/nft_exthdr.c, nft_exthdr_tcp_set_eval.
type ExthdrWrite struct {
	Type        uint8
	Offset, Len int
	From        Register
}

// ExthdrReset overwrites a TCP option with padding and corrects the checksum.
// It does nothing when the option is missing.
//
// Kernel: net/netfilter/nft_exthdr.c, nft_exthdr_tcp_strip_eval.
type ExthdrReset struct{ Type uint8 }

// Operations of exthdr, as far as they are modelled.
const (
	exthdrIPv6 = 0
	exthdrTCP  = 1
	exthdrSCTP = 3
)

const exthdrSourceRegister = 7

func decodeExthdr(_ *scope, data []byte) (Instruction, error) {
	var kind uint8
	var offset, length, flags, op uint32
	var to, from Register
	loads, writes := false, false
	err := decodeNest("exthdr", data,
		need(unix.NFTA_EXTHDR_TYPE, decodeU8(&kind)), may(unix.NFTA_EXTHDR_OFFSET, decodeU32(&offset)),
		may(unix.NFTA_EXTHDR_LEN, decodeU32(&length)), may(unix.NFTA_EXTHDR_FLAGS, decodeU32(&flags)),
		may(unix.NFTA_EXTHDR_OP, decodeU32(&op)),
		may(unix.NFTA_EXTHDR_DREG, func(ad *netlink.AttributeDecoder) error {
			loads = true
			return decodeRegister(&to)(ad)
		}),
		may(exthdrSourceRegister, func(ad *netlink.AttributeDecoder) error {
			writes = true
			return decodeRegister(&from)(ad)
		}))
	if err != nil {
		return nil, err
	}
	if op == exthdrSCTP && loads && flags == unix.NFT_EXTHDR_F_PRESENT && length == 1 && offset == 0 {
		return &ChunkLoad{Type: kind, To: to}, to.span(1)
	}
	if op != exthdrIPv6 && op != exthdrTCP {
		return nil, notModelled{fmt.Sprintf("exthdr operation %d", op)}
	}
	if rest := flags &^ unix.NFT_EXTHDR_F_PRESENT; rest != 0 {
		return nil, notModelled{fmt.Sprintf("exthdr flag %#x", rest)}
	}
	if offset > maxOffset || length > maxOffset || loads && writes {
		return nil, fmt.Errorf("%d bytes at %d", length, offset)
	}
	switch {
	case loads:
		i := &ExthdrLoad{TCP: op == exthdrTCP, Type: kind, Offset: int(offset), Len: int(length), Present: flags != 0, To: to}
		return i, to.span(i.Len)
	case op != exthdrTCP:
		return nil, fmt.Errorf("extension headers cannot be written")
	case writes:
		if length != 2 && length != 4 || flags != 0 {
			return nil, fmt.Errorf("writing %d bytes of an option", length)
		}
		return &ExthdrWrite{Type: kind, Offset: int(offset), Len: int(length), From: from}, from.span(int(length))
	}
	return &ExthdrReset{Type: kind}, nil
}

func (i *ExthdrLoad) String() string {
	op, present := "ipv6", ""
	if i.TCP {
		op = "tcpopt"
	}
	if i.Present {
		present = "present "
	}
	return fmt.Sprintf("[ exthdr load %s %db @ %d + %d %s=> reg %s ]", op, i.Len, i.Type, i.Offset, present, i.To)
}

func (i *ExthdrWrite) String() string {
	return fmt.Sprintf("[ exthdr write tcpopt reg %s => %db @ %d + %d ]", i.From, i.Len, i.Type, i.Offset)
}

func (i *ExthdrReset) String() string { return fmt.Sprintf("[ exthdr reset tcpopt %d ]", i.Type) }

func (i *ExthdrLoad) loads() (Register, int) { return i.To, i.Len }

func (i *ExthdrLoad) exec(x *execution) result {
	value, found := i.find(x)
	if i.Present && (i.TCP || x.header.version == 6) {
		there := uint8(0)
		if found {
			there = 1
		}
		x.regs.storeU8(i.To, there)
		return proceed
	}
	if !found || value == nil {
		return breaks
	}
	x.regs.store(i.To, value)
	return proceed
}

// find returns the bytes to load, nil when the packet ends before, and whether
// the header or option is there.
func (i *ExthdrLoad) find(x *execution) ([]byte, bool) {
	data := x.flight.Data
	if i.TCP {
		h, at, n := x.option(i.Type)
		if n == 0 || at+n > len(h) || i.Offset+i.Len > n {
			return nil, false
		}
		return h[at+i.Offset : at+i.Offset+i.Len], true
	}
	if x.header.version != 6 || len(data) < ipv6Len {
		return nil, false
	}
	f, ok := findHeader6(data, int(i.Type), false)
	at := f.offset + i.Offset
	if !ok || at+i.Len > len(data) {
		return nil, ok
	}
	return data[at : at+i.Len], true
}

// tcpHeader returns the TCP header with its options, or nil when the packet
// has none that is complete.
//
// Kernel: net/netfilter/nft_exthdr.c, nft_tcp_header_pointer.
func (x *execution) tcpHeader() []byte {
	h, data := x.header, x.flight.Data
	if !h.hasProto || h.proto != protoTCP || h.fragment != 0 || h.offset+tcpLen > len(data) {
		return nil
	}
	n := int(data[h.offset+12]>>4) * 4
	if n < tcpLen || h.offset+n > len(data) {
		return nil
	}
	return data[h.offset : h.offset+n]
}

// option finds the first TCP option of a kind. It returns the TCP header, the
// offset of the option in it and its length as the option claims, which can
// reach beyond the header; 0 when there is none.
func (x *execution) option(kind uint8) (header []byte, at, n int) {
	header = x.tcpHeader()
	for at = tcpLen; at < len(header)-1; at += n {
		// End and no-operation are single bytes; a length of 0 is taken for 1.
		if n = 1; header[at] > 1 && header[at+1] != 0 {
			n = int(header[at+1])
		}
		if header[at] == kind {
			return header, at, n
		}
	}
	return header, 0, 0
}

// optionMSS is the TCP option of the maximum segment size.
const optionMSS = 2

// tcpSum is the offset of the checksum in a TCP header.
const tcpSum = 16

func (i *ExthdrWrite) exec(x *execution) result {
	h, at, n := x.option(i.Type)
	switch {
	case h == nil:
		return breaks
	case n == 0:
		return proceed
	case at+n > len(h) || i.Offset+i.Len > n:
		return breaks
	}
	old, fresh := h[at+i.Offset:at+i.Offset+i.Len], x.regs.load(i.From, i.Len)
	if i.Len == 2 && i.Type == optionMSS && binary.BigEndian.Uint16(old) <= binary.BigEndian.Uint16(fresh) {
		return proceed
	}
	writeSummed(h, at+i.Offset, fresh)
	return proceed
}

func (i *ExthdrReset) exec(x *execution) result {
	h, at, n := x.option(i.Type)
	switch {
	case h == nil:
		return breaks
	case n == 0:
		return proceed
	case at+n > len(h):
		return x.decide(Verdict{Code: VerdictDrop})
	}
	const noOperation = 1
	for k := range n {
		writeSummed(h, at+k, []byte{noOperation})
	}
	return proceed
}

// writeSummed overwrites bytes of a TCP header and corrects its checksum for
// the place in which they are.
func writeSummed(h []byte, at int, fresh []byte) {
	first, last := at&^1, (at+len(fresh)+1)&^1
	before := sum(h[first:min(last, len(h))])
	copy(h[at:], fresh)
	after := sum(h[first:min(last, len(h))])
	s := fold(uint32(^binary.BigEndian.Uint16(h[tcpSum:])) + (^before & 0xffff) + after)
	binary.BigEndian.PutUint16(h[tcpSum:], ^uint16(s))
}
