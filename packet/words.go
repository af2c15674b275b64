package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

var protocolNames = map[uint8]string{
	ICMP: "icmp", TCP: "tcp", UDP: "udp", ESP: "esp", AH: "ah", ICMPv6: "icmpv6",
	SCTP: "sctp", UDPLite: "udplite", DCCP: "dccp",
}

var flagNames = [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"}

var typeNames = [...]string{"host", "broadcast", "multicast", "otherhost"}

// String says in words what the packet is:
//
//	in eth0 10.0.0.7:4000 > 192.0.2.1:22 tcp syn, ct new
func (p *Packet) String() string {
	var b strings.Builder
	if p.Path == Leaving {
		b.WriteString("local ")
	} else {
		fmt.Fprintf(&b, "in %s ", p.In)
	}
	b.WriteString(describe(p.Data))
	p.circumstances(&b)
	return b.String()
}

func (p *Packet) circumstances(b *strings.Builder) {
	if p.Link != nil {
		fmt.Fprintf(b, ", mac %v", net.HardwareAddr(p.Link.Src[:]))
	}
	if p.Type != TypeHost && int(p.Type) < len(typeNames) {
		fmt.Fprintf(b, ", to %s", typeNames[p.Type])
	}
	if t := p.Tracking; t.State != 0 {
		fmt.Fprintf(b, ", ct %v", t.State)
		if t.Reply {
			b.WriteString(" reply")
		}
		if t.Entry != nil && t.Entry.Mark != 0 {
			fmt.Fprintf(b, " mark %#x", t.Entry.Mark)
		}
		if t.Entry != nil && t.Entry.Secmark != 0 {
			fmt.Fprintf(b, " security mark %#x", t.Entry.Secmark)
		}
	}
	if p.Mark != 0 {
		fmt.Fprintf(b, ", mark %#x", p.Mark)
	}
	if p.Secmark != 0 {
		fmt.Fprintf(b, ", security mark %#x", p.Secmark)
	}
	if p.Priority != 0 {
		fmt.Fprintf(b, ", priority %#x", p.Priority)
	}
	if p.Clock != 0 {
		fmt.Fprintf(b, ", at %s", p.Wall().Format(clockLayout))
	}
	if p.Socket != nil && p.Socket.Class != 0 {
		fmt.Fprintf(b, ", class %d", p.Socket.Class)
	}
	if p.CPU != 0 {
		fmt.Fprintf(b, ", cpu %d", p.CPU)
	}
	if s := p.Socket; s != nil {
		if s.NoFile {
			b.WriteString(", kernel socket")
		} else {
			fmt.Fprintf(b, ", uid %d gid %d", s.UID, s.GID)
			if len(s.Groups) > 0 {
				fmt.Fprintf(b, " groups %d", s.Groups)
			}
		}
	}
	if p.Time != 0 {
		fmt.Fprintf(b, ", at %gs", float64(p.Time)/1e9)
	}
}

// describe says what the bytes are.
func describe(data []byte) string {
	l, ok := locate(data)
	src, dst, addressed := addresses(data)
	switch {
	case !addressed:
		return fmt.Sprintf("%d bytes without a whole IP header", len(data))
	case !ok:
		return fmt.Sprintf("%v > %v malformed, %d bytes", src, dst, len(data))
	}
	segment := data[l.start:]
	name := protocolNames[l.proto]
	if name == "" {
		name = fmt.Sprintf("protocol %d", l.proto)
	}
	var b strings.Builder
	if ported(l.proto) && l.offset == 0 && len(segment) >= 4 {
		fmt.Fprintf(&b, "%v > %v %s",
			netip.AddrPortFrom(src, binary.BigEndian.Uint16(segment)),
			netip.AddrPortFrom(dst, binary.BigEndian.Uint16(segment[2:])), name)
	} else {
		fmt.Fprintf(&b, "%v > %v %s", src, dst, name)
	}
	if l.offset == 0 {
		describeTransport(&b, l.proto, segment)
	}
	if l.fragment {
		fmt.Fprintf(&b, " fragment at %d", int(l.offset)*8)
		if l.more {
			b.WriteString(" more")
		}
	}
	describeNetwork(&b, data)
	return b.String()
}

func describeTransport(b *strings.Builder, proto uint8, segment []byte) {
	switch proto {
	case TCP:
		if len(segment) < 20 {
			fmt.Fprintf(b, " truncated to %d bytes", len(segment))
			return
		}
		var flags []string
		for i, name := range flagNames {
			if segment[13]&(1<<i) != 0 {
				flags = append(flags, name)
			}
		}
		if len(flags) == 0 {
			flags = []string{"none"}
		}
		b.WriteString(" " + strings.Join(flags, ","))
		size := int(segment[12]>>4) * 4
		if size < 20 || size > len(segment) {
			fmt.Fprintf(b, " claiming %d header bytes of %d", size, len(segment))
		} else if size > 20 {
			fmt.Fprintf(b, " options %x", segment[20:size])
		}
	case ICMP, ICMPv6:
		if len(segment) < 2 {
			b.WriteString(" truncated")
			return
		}
		fmt.Fprintf(b, " type %d", segment[0])
		if segment[1] != 0 {
			fmt.Fprintf(b, "/%d", segment[1])
		}
	case UDP:
		if len(segment) < 8 {
			fmt.Fprintf(b, " truncated to %d bytes", len(segment))
		}
	}
}

// describeNetwork names what is unusual about the IP header.
func describeNetwork(b *strings.Builder, data []byte) {
	ttl, tos, word, usual := data[8], data[1], "ttl", 20
	if data[0]>>4 == 6 {
		ttl, tos, word, usual = data[7], data[0]<<4|data[1]>>4, "hop limit", 40
	}
	if ttl != 64 {
		fmt.Fprintf(b, " %s %d", word, ttl)
	}
	if tos != 0 {
		fmt.Fprintf(b, " tos %#x", tos)
	}
	if usual == 20 {
		if size := int(data[0]&15) * 4; size > 20 {
			fmt.Fprintf(b, " ip options %x", data[20:size])
		}
	} else {
		for next, at := data[6], 40; isExtension(next); {
			fmt.Fprintf(b, " header %d", next)
			if next == Fragment && binary.BigEndian.Uint16(data[at+2:]) >= 8 {
				break
			}
			size := (int(data[at+1]) + 1) * 8
			switch next {
			case AH:
				size = (int(data[at+1]) + 2) * 4
			case Fragment:
				size = 8
			}
			next, at = data[at], at+size
		}
	}
	fmt.Fprintf(b, " length %d", len(data))
}

func addresses(data []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(data[12:])), netip.AddrFrom4([4]byte(data[16:])), true
	case len(data) >= 40 && data[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(data[8:])), netip.AddrFrom16([16]byte(data[24:])), true
	}
	return src, dst, false
}

func ported(proto uint8) bool {
	switch proto {
	case TCP, UDP, UDPLite, SCTP, DCCP:
		return true
	}
	return false
}
