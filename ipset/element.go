package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"nftmigrate/iptables"
)

// A pattern is the text of an element: one element, or spans of which each makes
// some.
type pattern struct {
	Element
	low, high [2]netip.Addr // of parts that are spans, else invalid
	ports     uint32        // last port of a span
}

// errOutside is why an element is not taken by a bitmap.
var errOutside = errors.New("it is outside of the range of the set")

// parsePattern reads the text of an element of a set.
func (s *Set) parsePattern(text string, p *pattern) error {
	*p = pattern{}
	n := 0
	for i, part := range s.parts {
		word := text
		if i < len(s.parts)-1 {
			var found bool
			if word, text, found = strings.Cut(text, ","); !found {
				if s.bitmap && part == IP { // a bitmap:ip,mac takes an address alone
					return s.parseAddress(word, p, &n)
				}
				return fmt.Errorf("an element of %s has %d parts, separated by commas", s.Type.Name, len(s.parts))
			}
		}
		var err error
		switch part {
		case IP:
			err = s.parseAddress(word, p, &n)
		case Net:
			err = s.parseNetwork(word, p, &n)
		case Port:
			err = s.parsePort(word, p)
		case MAC:
			err = p.parseMAC(word)
		case Mark:
			var v uint64
			v, err = iptables.ParseNumber(word, 0xffffffff)
			p.Mark = uint32(v)
			if s.Options.MarkMask != nil {
				p.Mark &= *s.Options.MarkMask
			}
		case Iface:
			p.Iface, p.Physdev = word, strings.HasPrefix(word, "physdev:")
			p.Iface = strings.TrimPrefix(p.Iface, "physdev:")
			if p.Iface == "" || len(p.Iface) > ifaceMax {
				err = fmt.Errorf("%q is not a name of a device, which has 1 to %d bytes", clip(p.Iface), ifaceMax)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// packPlain packs the text of an element that is one address or network of IPv4
// and nothing else, as nearly all are. ok is false for others, and for those with
// something wrong.
func (s *Set) packPlain(b []byte, text string) (packed []byte, ok bool) {
	o := &s.Options
	if len(s.parts) != 1 || s.addr != 4 || s.bitmap || o.Netmask != 0 || o.Bitmask.IsValid() {
		return b, false
	}
	switch s.parts[0] {
	case IP:
		v, ok := parseDotted(text)
		return append(binary.BigEndian.AppendUint32(b, v), 0), ok && v != 0
	case Net:
		bits := uint64(32)
		if n := strings.IndexByte(text, '/'); n >= 0 {
			var err error
			if bits, err = strconv.ParseUint(text[n+1:], 10, 8); err != nil || bits == 0 || bits > 32 || len(text)-n > 4 {
				return b, false
			}
			text = text[:n]
		}
		v, ok := parseDotted(text)
		v &= uint32(0xffffffff) << (32 - bits)
		return append(binary.BigEndian.AppendUint32(b, v), byte(bits), 0), ok
	}
	return b, false
}

// parseAddress reads an address, or where the set is one of IPv4 a network or a
// range that stands for its addresses.
func (s *Set) parseAddress(word string, p *pattern, n *int) error {
	i := *n
	*n++
	if a, ok := parseIPv4(word); ok && s.addr == 4 {
		p.Addr[i], p.low[i], p.high[i] = a, a, a
	} else {
		low, high, err := parseSpan(word, s.family())
		if err != nil {
			return err
		}
		if low != high && (s.addr == 16 || i > 0) {
			return fmt.Errorf("%q stands for several addresses, and one is taken here", clip(word))
		}
		p.Addr[i], p.low[i], p.high[i] = low, low, high
	}
	if s.bitmap {
		if number4(p.low[i]) < s.Options.Low || number4(p.high[i]) > s.Options.High {
			return errOutside
		}
	}
	p.Bits[i] = uint8(8 * s.addr)
	return nil
}

// parseNetwork reads a network, or a range that stands for several.
func (s *Set) parseNetwork(word string, p *pattern, n *int) error {
	i := *n
	*n++
	if strings.IndexByte(word, '-') >= 0 {
		low, high, err := parseSpan(word, s.family())
		if err == nil && s.addr == 16 {
			err = fmt.Errorf("%q is a range, which sets of IPv6 do not take", clip(word))
		}
		p.Addr[i], p.low[i], p.high[i] = low, low, high
		return err
	}
	a, bits, err := parseNet(word, s.family())
	if err != nil {
		return err
	}
	if bits == 0 && !s.takesAll() {
		return fmt.Errorf("%s takes no network of length 0; write the two of length 1", s.Type.Name)
	}
	p.Addr[i], p.Bits[i] = netip.PrefixFrom(a, bits).Masked().Addr(), uint8(bits)
	return nil
}

// takesAll reports whether a network can be all addresses.
//
// Kernel: net/netfilter/ipset/ip_set_hash_net*.c; tried of the types that the
// kernel at hand has.
func (s *Set) takesAll() bool {
	switch s.Type.Name {
	case "hash:net,iface", "hash:net,net", "hash:net,port,net":
		return true
	}
	return false
}

func (s *Set) family() uint8 {
	if s.addr == 16 {
		return 6
	}
	return 4
}

// withPorts are the protocols whose ports an element tells.
var withPorts = map[uint8]bool{6: true, 17: true, 132: true, 136: true}

// parsePort reads "[PROTOCOL:]PORT[-PORT]", of ICMP the name or the numbers of a
// type and code.
func (s *Set) parsePort(word string, p *pattern) error {
	name, rest, named := strings.Cut(word, ":")
	p.Proto = 6
	if named {
		var proto iptables.Protocol
		if err := proto.Set(name); err != nil || proto == 0 {
			return fmt.Errorf("%q is not a protocol", clip(name))
		}
		p.Proto = uint8(proto)
		word = rest
	}
	switch {
	case s.bitmap:
		p.Proto = 0
	case p.Proto == 1 || p.Proto == 58:
		if (p.Proto == 58) != (s.addr == 16) {
			return fmt.Errorf("%s is not a protocol of the family of the set", name)
		}
		v, err := parseICMP(p.Proto, word)
		p.Port, p.ports = v, uint32(v)
		return err
	case !withPorts[p.Proto]:
		if word != "0" {
			return fmt.Errorf("protocol %s has no ports that ipset reads; write %s:0", clip(name), clip(name))
		}
		return nil
	}
	low, high, span := strings.Cut(word, "-")
	a, err := iptables.ParsePort(low)
	b := a
	if err == nil && span {
		b, err = iptables.ParsePort(high)
	}
	p.Port, p.ports = min(a, b), uint32(max(a, b))
	if err == nil && s.bitmap && (uint32(p.Port) < s.Options.Low || p.ports > s.Options.High) {
		return errOutside
	}
	return err
}

func (p *pattern) parseMAC(word string) error {
	a, err := net.ParseMAC(word)
	if err != nil || len(a) != 6 || strings.IndexByte(word, ':') < 0 {
		return fmt.Errorf("%q is not an Ethernet address", clip(word))
	}
	p.MAC, p.HasMAC = [6]byte(a), true
	if p.MAC == [6]byte{} {
		return fmt.Errorf("the Ethernet address of zeros cannot be an element")
	}
	return nil
}

// icmpTypes are the names that ipset prints for types and codes of ICMP and
// ICMPv6.
//
// They are what "ipset save" of ipset 7.17 printed for all types and codes.
var icmpTypes = map[uint8][]struct {
	name string
	code uint16
}{
	1: {
		{"echo-reply", 0}, {"network-unreachable", 3 << 8}, {"host-unreachable", 3<<8 | 1}, {"protocol-unreachable", 3<<8 | 2},
		{"port-unreachable", 3<<8 | 3}, {"fragmentation-needed", 3<<8 | 4}, {"source-route-failed", 3<<8 | 5},
		{"network-unknown", 3<<8 | 6}, {"host-unknown", 3<<8 | 7}, {"network-prohibited", 3<<8 | 9}, {"host-prohibited", 3<<8 | 10},
		{"TOS-network-unreachable", 3<<8 | 11}, {"TOS-host-unreachable", 3<<8 | 12}, {"communication-prohibited", 3<<8 | 13},
		{"host-precedence-violation", 3<<8 | 14}, {"precedence-cutoff", 3<<8 | 15}, {"source-quench", 4 << 8},
		{"network-redirect", 5 << 8}, {"host-redirect", 5<<8 | 1}, {"TOS-network-redirect", 5<<8 | 2}, {"TOS-host-redirect", 5<<8 | 3},
		{"echo-request", 8 << 8}, {"router-advertisement", 9 << 8}, {"router-solicitation", 10 << 8},
		{"ttl-zero-during-transit", 11 << 8}, {"ttl-zero-during-reassembly", 11<<8 | 1}, {"ip-header-bad", 12 << 8},
		{"required-option-missing", 12<<8 | 1}, {"timestamp-request", 13 << 8}, {"timestamp-reply", 14 << 8},
		{"address-mask-request", 17 << 8}, {"address-mask-reply", 18 << 8},
		{"pong", 0}, {"ping", 8 << 8},
	},
	58: {
		{"no-route", 1 << 8}, {"communication-prohibited", 1<<8 | 1}, {"address-unreachable", 1<<8 | 3}, {"port-unreachable", 1<<8 | 4},
		{"packet-too-big", 2 << 8}, {"ttl-zero-during-transit", 3 << 8}, {"ttl-zero-during-reassembly", 3<<8 | 1}, {"bad-header", 4 << 8},
		{"unknown-header-type", 4<<8 | 1}, {"unknown-option", 4<<8 | 2}, {"echo-request", 128 << 8}, {"echo-reply", 129 << 8},
		{"router-solicitation", 133 << 8}, {"router-advertisement", 134 << 8}, {"neighbour-solicitation", 135 << 8},
		{"neighbour-advertisement", 136 << 8}, {"redirect", 137 << 8},
		{"neighbor-solicitation", 135 << 8}, {"neighbor-advertisement", 136 << 8}, {"ping", 128 << 8}, {"pong", 129 << 8},
	},
}

func parseICMP(proto uint8, word string) (uint16, error) {
	for _, t := range icmpTypes[proto] {
		if t.name == word {
			return t.code, nil
		}
	}
	kind, code, ok := strings.Cut(word, "/")
	if ok {
		a, err := iptables.ParseNumber(kind, 255)
		b, err2 := iptables.ParseNumber(code, 255)
		if err == nil && err2 == nil {
			return uint16(a<<8 | b), nil
		}
	}
	return 0, fmt.Errorf("%q is not a type of ICMP; write its name, or TYPE/CODE as numbers", clip(word))
}

// each calls yield for each element that a pattern stands for. ok is false when
// yield stopped it.
func (s *Set) each(p *pattern, yield func(e *Element) bool) (ok bool) {
	return s.eachAddr(p, 0, func() bool {
		if p.ports <= uint32(p.Port) {
			return yield(&p.Element)
		}
		first := p.Port
		defer func() { p.Port = first }()
		for port := uint32(first); port <= p.ports; port++ {
			p.Port = uint16(port)
			if !yield(&p.Element) {
				return false
			}
		}
		return true
	})
}

// eachAddr goes over the addresses and networks from the n-th on.
func (s *Set) eachAddr(p *pattern, n int, inner func() bool) bool {
	count := 0
	isNet := false
	for _, part := range s.parts {
		if part == IP || part == Net {
			if count == n {
				isNet = part == Net
			}
			count++
		}
	}
	if n >= count {
		return inner()
	}
	ok := true
	switch {
	case !p.low[n].IsValid(): // a network as it was written
		return s.eachAddr(p, n+1, inner)
	case isNet:
		networks(p.low[n], p.high[n], func(net netip.Prefix) bool {
			p.Addr[n], p.Bits[n] = net.Addr(), uint8(net.Bits())
			ok = s.eachAddr(p, n+1, inner)
			return ok
		})
		return ok
	}
	bits := 8 * s.addr
	if s.Options.Netmask != 0 {
		bits = int(s.Options.Netmask)
	}
	for a := p.low[n]; ; {
		p.Addr[n] = mask(a, bits, s.Options.Bitmask)
		if !s.eachAddr(p, n+1, inner) {
			return false
		}
		last := lastOf(netip.PrefixFrom(a, bits).Masked())
		if !last.Less(p.high[n]) {
			return true
		}
		a = last.Next()
	}
}
