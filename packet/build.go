package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Protocol numbers that the builder knows the headers of.
//
// Source: IANA, "Assigned Internet Protocol Numbers".
const (
	HopByHop  = 0
	ICMP      = 1
	TCP       = 6
	UDP       = 17
	Routing   = 43
	Fragment  = 44
	ESP       = 50
	AH        = 51
	ICMPv6    = 58
	NoNext    = 59
	DestOpts  = 60
	SCTP      = 132
	UDPLite   = 136
	DCCP      = 33
	maxLength = 0xffff
)

// TCP flags, byte 13 of the header (RFC 9293 section 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// An Extension is an IPv6 extension header. Body is what follows its next
// header and length bytes; it is padded with zeros to the unit of the header
// (8 bytes, 4 for AH), so that an empty body is the shortest header.
type Extension struct {
	Proto uint8
	Body  []byte
	// Reserved is the second byte of a fragment header.
	Reserved uint8
}

// A Spec says what a packet is, for [Spec.Packet] to build its bytes. Zero
// values are the ordinary case.
type Spec struct {
	// Version is 4 or 6; 0 is that of the addresses.
	Version int
	// Src and Dst, when not valid, are 192.0.2.77 > 192.0.2.1, or
	// 2001:db8::77 > 2001:db8::1.
	Src, Dst netip.Addr
	Proto    uint8

	// SrcPort and DstPort are those of TCP, UDP, UDP-Lite, SCTP and DCCP.
	// SrcPort is also the identifier of ICMP.
	SrcPort, DstPort uint16
	TCPFlags         uint8
	Seq, Ack         uint32
	Window, Urgent   uint16 // a window of 0 is the largest
	MSS              uint16 // adds TCP option 2 when not 0
	TCPOptions       []byte // after the MSS; padded with zeros to 4 bytes
	DataOffset       uint8  // what TCP or DCCP claims, in 4 bytes; 0 is the true one, 16 is 0
	Reserved         uint8  // what stands between the data offset of TCP and the flags, 4 bits
	Type, Code       uint8  // of ICMP and ICMPv6; Type is also that of DCCP
	SPI              uint32 // of AH and ESP
	Payload          []byte
	// Length, when not 0, is the length of the whole packet: the payload is
	// padded with zeros.
	Length int

	TTL       int // or hop limit; 0 is 64, a negative number is 0
	TOS       uint8
	ID        uint16 // identification of IPv4
	FlowLabel uint32 // of IPv6, 20 bits
	DontFrag  bool
	IPOptions []byte      // IPv4, padded with zeros to 4 bytes
	Headers   []Extension // IPv6, in order

	// Fragmented puts the packet in a fragment even at offset 0 without more
	// to come, which only IPv6 can tell. FragmentOffset is in units of 8
	// bytes; a later fragment holds the payload alone.
	Fragmented     bool
	FragmentOffset uint16
	MoreFragments  bool
	FragmentID     uint32 // IPv6

	// Truncate ends the packet after Keep bytes behind the IP headers; the
	// length in the IP header agrees.
	Truncate bool
	Keep     int
	// BadChecksum makes the transport checksum wrong.
	BadChecksum bool

	// In is the device it arrives on; "" is a packet of a local socket.
	In string
	// Out is the device by which it should leave. The bytes do not depend on
	// it: whoever chooses packets picks a destination that is routed there.
	Out      string
	Link     *Link
	PktType  uint8
	Mark     uint32
	Priority uint32
	CPU      uint32
	Clock    int64 // as in Packet
	Socket   *Socket
	Time     int64
	Random   []uint32

	// State is what connection tracking finds. For New, Established and
	// Related an entry is made from the addresses, ports and Reply, with
	// ConnMark and Status; a Status of 0 means what the state implies. It has
	// counters when any of Packets and Bytes, by direction, is not 0.
	State    State
	Reply    bool
	ConnMark uint32
	// ConnSecmark is the security mark of the entry, and Secmark that of the packet.
	ConnSecmark, Secmark uint32
	Status               uint32
	Packets              [2]uint64
	Bytes                [2]uint64
	// Entry, when not nil, is the entry instead of the one that is made.
	Entry *Entry
}

var errLength = errors.New("the length is smaller than the headers")

// Packet builds the bytes and the circumstances.
func (s Spec) Packet() (*Packet, error) {
	data, err := s.bytes()
	if err != nil {
		return nil, fmt.Errorf("build packet: %w", err)
	}
	p := &Packet{
		Data: data, In: s.In, Link: s.Link, Type: s.PktType, Mark: s.Mark, Secmark: s.Secmark, Priority: s.Priority, CPU: s.CPU, Clock: s.Clock,
		Socket: s.Socket, Time: s.Time, Random: s.Random,
	}
	if s.In == "" {
		p.Path = Leaving
	}
	p.Tracking = s.tracking()
	return p, nil
}

// resolve fills in the version and the addresses.
func (s *Spec) resolve() error {
	if s.Version == 0 {
		s.Version = 4
		if s.Src.Is6() || s.Dst.Is6() {
			s.Version = 6
		}
	}
	src, dst := "192.0.2.77", "192.0.2.1"
	switch s.Version {
	case 4:
	case 6:
		src, dst = "2001:db8::77", "2001:db8::1"
	default:
		return fmt.Errorf("there is no IP version %d", s.Version)
	}
	if !s.Src.IsValid() {
		s.Src = netip.MustParseAddr(src)
	}
	if !s.Dst.IsValid() {
		s.Dst = netip.MustParseAddr(dst)
	}
	if s.Src.Is4() != (s.Version == 4) || s.Dst.Is4() != (s.Version == 4) {
		return fmt.Errorf("%v > %v are not both IPv%d", s.Src, s.Dst, s.Version)
	}
	return nil
}

func (s Spec) bytes() ([]byte, error) {
	if err := s.resolve(); err != nil {
		return nil, err
	}
	head := s.network()
	var body []byte
	if s.FragmentOffset == 0 {
		body = s.transport()
	}
	start := len(head)
	data := append(append(head, body...), s.Payload...)
	if s.Length != 0 {
		if s.Length < len(data) {
			return nil, fmt.Errorf("%w: %d bytes of %d", errLength, len(data), s.Length)
		}
		data = append(data, make([]byte, min(s.Length, maxLength+40)-len(data))...)
	}
	if s.Truncate && s.Keep >= 0 && start+s.Keep < len(data) {
		data = data[:start+s.Keep]
	}
	claimed := len(data)
	at := 2
	if s.Version == 6 {
		claimed, at = claimed-40, 4
	}
	if claimed > maxLength {
		return nil, fmt.Errorf("%d bytes do not fit into an IP packet", len(data))
	}
	binary.BigEndian.PutUint16(data[at:], uint16(claimed))
	if s.FragmentOffset == 0 {
		s.lengths(data[start:])
	}
	FixChecksums(data)
	if field := checksumField(s.Proto); s.BadChecksum && field >= 0 && s.FragmentOffset == 0 && start+field+2 <= len(data) {
		data[start+field] ^= 0x55
	}
	return data, nil
}

func (s Spec) hopLimit() uint8 {
	switch {
	case s.TTL < 0:
		return 0
	case s.TTL == 0:
		return 64
	}
	return uint8(min(s.TTL, 255))
}

func (s Spec) fragmented() bool { return s.Fragmented || s.FragmentOffset != 0 || s.MoreFragments }

// network returns the IP header with its options or extension headers.
func (s Spec) network() []byte {
	if s.Version == 6 {
		return s.network6()
	}
	options := pad(s.IPOptions, 4)
	if len(options) > 40 {
		options = options[:40]
	}
	b := make([]byte, 20, 80)
	b[0] = 4<<4 | uint8(5+len(options)/4)
	b[1] = s.TOS
	binary.BigEndian.PutUint16(b[4:], s.ID)
	frag := s.FragmentOffset & 0x1fff
	if s.MoreFragments {
		frag |= 0x2000
	}
	if s.DontFrag {
		frag |= 0x4000
	}
	binary.BigEndian.PutUint16(b[6:], frag)
	b[8], b[9] = s.hopLimit(), s.Proto
	copy(b[12:], s.Src.AsSlice())
	copy(b[16:], s.Dst.AsSlice())
	return append(b, options...)
}

func (s Spec) network6() []byte {
	b := make([]byte, 40, 120)
	binary.BigEndian.PutUint32(b, 6<<28|uint32(s.TOS)<<20|s.FlowLabel&(1<<20-1))
	b[7] = s.hopLimit()
	copy(b[8:], s.Src.AsSlice())
	copy(b[24:], s.Dst.AsSlice())

	headers := append([]Extension(nil), s.Headers...)
	if s.fragmented() {
		// A later fragment starts behind the fragment header; what it is a
		// part of is told by the next header field alone.
		at := 0
		for at < len(headers) && (headers[at].Proto == HopByHop || headers[at].Proto == Routing) {
			at++
		}
		body := make([]byte, 6)
		frag := s.FragmentOffset << 3
		if s.MoreFragments {
			frag |= 1
		}
		binary.BigEndian.PutUint16(body, frag)
		binary.BigEndian.PutUint32(body[2:], s.FragmentID)
		headers = append(headers[:at:at], append([]Extension{{Proto: Fragment, Body: body}}, headers[at:]...)...)
	}
	next := 6 // where the protocol of what follows is written
	for i, h := range headers {
		b[next] = h.Proto
		if i > 0 && headers[i-1].Proto == Fragment && s.FragmentOffset != 0 {
			return b
		}
		next = len(b)
		b = append(b, h.bytes()...)
	}
	b[next] = s.Proto
	return b
}

// bytes returns the header with a next header of 0.
func (h Extension) bytes() []byte {
	b := append([]byte{0, 0}, h.Body...)
	switch h.Proto {
	case AH:
		b = pad(b, 4)
		for len(b) < 12 {
			b = append(b, 0)
		}
		b[1] = uint8(len(b)/4 - 2)
	case Fragment:
		b = pad(b, 8)[:8]
		b[1] = h.Reserved // not a length
	default:
		b = pad(b, 8)
		b[1] = uint8(len(b)/8 - 1)
	}
	return b
}

// pad returns a copy of b with zeros up to a multiple of unit.
func pad(b []byte, unit int) []byte {
	n := (len(b) + unit - 1) / unit * unit
	return append(b[:len(b):len(b)], make([]byte, n-len(b))...)
}

// transport returns the transport header; lengths that depend on the payload
// are filled in later.
func (s Spec) transport() []byte {
	build, ok := transports[s.Proto]
	if !ok {
		return nil
	}
	return build(s)
}

var transports = map[uint8]func(s Spec) []byte{
	TCP:     Spec.tcp,
	UDP:     func(s Spec) []byte { return s.ports(8) },
	UDPLite: func(s Spec) []byte { return s.ports(8) },
	SCTP:    func(s Spec) []byte { return s.ports(12) },
	DCCP: func(s Spec) []byte {
		b := s.ports(16)
		b[4] = 4
		if s.DataOffset != 0 {
			b[4] = s.DataOffset
		}
		b[8] = s.Type<<1 | 1 // long sequence numbers
		return b
	},
	ICMP:   Spec.icmp,
	ICMPv6: Spec.icmp,
	ESP: func(s Spec) []byte {
		b := binary.BigEndian.AppendUint32(nil, s.SPI)
		return binary.BigEndian.AppendUint32(b, 1)
	},
	AH: func(s Spec) []byte {
		b := []byte{NoNext, 4, 0, 0}
		b = binary.BigEndian.AppendUint32(b, s.SPI)
		b = binary.BigEndian.AppendUint32(b, 1)
		return append(b, make([]byte, 12)...)
	},
}

func (s Spec) ports(size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint16(b, s.SrcPort)
	binary.BigEndian.PutUint16(b[2:], s.DstPort)
	return b
}

func (s Spec) tcp() []byte {
	b := s.ports(20)
	binary.BigEndian.PutUint32(b[4:], s.Seq)
	binary.BigEndian.PutUint32(b[8:], s.Ack)
	var options []byte
	if s.MSS != 0 {
		options = append(options, 2, 4, uint8(s.MSS>>8), uint8(s.MSS))
	}
	options = pad(append(options, s.TCPOptions...), 4)
	if len(options) > 40 {
		options = options[:40]
	}
	b[12] = uint8(5+len(options)/4) << 4
	if s.DataOffset != 0 {
		b[12] = s.DataOffset << 4
	}
	b[12] |= s.Reserved & 15
	b[13] = s.TCPFlags
	window := s.Window
	if window == 0 {
		window = 0xffff
	}
	binary.BigEndian.PutUint16(b[14:], window)
	binary.BigEndian.PutUint16(b[18:], s.Urgent)
	return append(b, options...)
}

func (s Spec) icmp() []byte {
	b := make([]byte, 8)
	b[0], b[1] = s.Type, s.Code
	binary.BigEndian.PutUint16(b[4:], s.SrcPort)
	binary.BigEndian.PutUint16(b[6:], 1)
	return b
}

// lengths fills in the lengths that UDP and UDP-Lite carry.
func (s Spec) lengths(transport []byte) {
	if (s.Proto == UDP || s.Proto == UDPLite) && len(transport) >= 6 {
		binary.BigEndian.PutUint16(transport[4:], uint16(len(transport)))
	}
}

// account gives an entry counters, when any are asked for: at least a packet in
// the direction that opened the connection, bytes where there are packets, and
// packets where there are bytes. No counter is near the end of its range, where
// sums would turn over.
func (e *Entry) account(packets, bytes [2]uint64) {
	if packets == [2]uint64{} && bytes == [2]uint64{} {
		return
	}
	const header, most = 20, 1 << 56
	packets[0] = max(packets[0], 1)
	for d := range packets {
		packets[d], bytes[d] = min(packets[d], most), min(bytes[d], most)
		if bytes[d] > 0 {
			packets[d] = max(packets[d], 1)
		}
		if packets[d] > 0 && bytes[d] == 0 {
			bytes[d] = header * packets[d]
		}
	}
	e.Accounting, e.Packets, e.Bytes = true, packets, bytes
}

// tracking makes what connection tracking will find.
func (s Spec) tracking() Tracking {
	t := Tracking{State: s.State, Reply: s.Reply}
	if s.State != New && s.State != Established && s.State != Related {
		return t
	}
	if s.Entry != nil {
		e := *s.Entry
		t.Entry = &e
		return t
	}
	if s.resolve() != nil {
		return t
	}
	e := &Entry{Status: s.Status, Mark: s.ConnMark, Secmark: s.ConnSecmark, Protocol: s.Proto, Expires: 300}
	e.account(s.Packets, s.Bytes)
	one := Tuple{Src: s.Src, Dst: s.Dst, SrcPort: s.SrcPort, DstPort: s.DstPort}
	two := Tuple{Src: s.Dst, Dst: s.Src, SrcPort: s.DstPort, DstPort: s.SrcPort}
	switch s.Proto {
	case TCP, UDP, UDPLite, SCTP: // not DCCP, since Linux 6.17
	case ICMP, ICMPv6:
		one.DstPort = uint16(s.Type)<<8 | uint16(s.Code)
		two.SrcPort = s.SrcPort
		two.DstPort = uint16(answer(s.Proto, s.Type))<<8 | uint16(s.Code)
	default:
		one.SrcPort, one.DstPort, two.SrcPort, two.DstPort = 0, 0, 0, 0
	}
	e.Original, e.Reply = one, two
	if s.Reply {
		e.Original, e.Reply = two, one
	}
	if e.Status == 0 {
		switch s.State {
		case Established:
			e.Status = StatusSeenReply | StatusConfirmed | StatusAssured
		case Related:
			e.Status = StatusExpected
			// An ICMP error belongs to the connection that it is about.
			if s.Proto != ICMP && s.Proto != ICMPv6 {
				e.Helper = "ftp"
			}
		}
	}
	t.Entry = e
	return t
}

// answer returns the ICMP type that answers a query, or is answered by it.
//
// Kernel: net/netfilter/nf_conntrack_proto_icmp.c and _icmpv6.c, invmap.
func answer(proto, kind uint8) uint8 {
	pairs := [][2]uint8{{8, 0}, {13, 14}, {15, 16}, {17, 18}}
	if proto == ICMPv6 {
		pairs = [][2]uint8{{128, 129}, {139, 140}}
	}
	for _, p := range pairs {
		switch kind {
		case p[0]:
			return p[1]
		case p[1]:
			return p[0]
		}
	}
	return kind
}
