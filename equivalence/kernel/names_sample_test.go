package kernel_test

import (
	"net/netip"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A sample is a packet of a row.
type sample struct {
	packet.Spec
	// entry changes the connection that the packet wishes to meet.
	entry func(e *packet.Entry)
	// types are what the routing tables say of its addresses, which Bind does not
	// know.
	types map[symbolic.Group]packet.RouteType
	// hotdrop says that xtables drops it inside the match and nf_tables does not
	// (docs/deviations.md).
	hotdrop bool
}

// host is what all rows are run on.
func host() *packet.Host {
	h := packet.DefaultHost([]string{"eth0", "eth1", "eth10", "wan0"})
	h.Device("eth1").Group, h.Device("wan0").Group = 5, 0x01010105
	return h
}

// neighbour is the source of frames.
var neighbour = [6]byte{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}

// due are the seconds that tracking gives a connection with each of its packets,
// by protocol. Who wishes the same knows what rules see.
//
// Kernel: Documentation/networking/nf_conntrack-sysctl.rst.
var due = map[uint8]uint32{packet.UDP: 120, packet.TCP: 5 * 24 * 3600, packet.ICMP: 30, packet.ICMPv6: 30, 253: 600}

// make builds the packet. One that arrives on an Ethernet device has a link
// header.
func (s *sample) make(h *packet.Host) (*packet.Packet, error) {
	if d := h.Device(s.In); d != nil && d.Ethernet && s.Link == nil {
		s.Link = &packet.Link{Src: neighbour, Dst: d.MAC}
		switch s.PktType {
		case packet.TypeBroadcast:
			s.Link.Dst = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		case packet.TypeMulticast:
			s.Link.Dst = [6]byte{0x33, 0x33, 0, 0, 0, 1}
		}
	}
	p, err := s.Packet()
	if err != nil {
		return nil, err
	}
	if e := p.Tracking.Entry; e != nil && s.State == packet.Established {
		e.Expires = due[s.Proto]
	}
	if s.entry != nil {
		s.entry(p.Tracking.Entry)
	}
	return p, nil
}

// A family is what differs between the rows of the two IP versions.
type family struct {
	version int
	ip      string // of nft
	// remote is who sends by eth0, local this host, away who is reached by eth10.
	remote, local, away netip.Addr
	hops                string // of nft
	icmp                uint8
}

func familyOf(version int) family {
	if version == 6 {
		return family{6, "ip6", addr("2001:db8::77"), addr("2001:db8::1"), addr("2001:db8:2::9"), "hoplimit", packet.ICMPv6}
	}
	return family{4, "ip", addr("192.0.2.77"), addr("192.0.2.1"), addr("203.0.113.9"), "ttl", packet.ICMP}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// by is one of two values, by the version.
func by[T any](f family, four, six T) T {
	if f.version == 6 {
		return six
	}
	return four
}

// with returns a copy of a sample with changes.
func (s sample) with(changes ...func(*sample)) sample {
	for _, change := range changes {
		change(&s)
	}
	return s
}

// udp is a datagram from remote to this host.
func (f family) udp(changes ...func(*sample)) sample {
	return sample{Spec: packet.Spec{
		Version: f.version, Src: f.remote, Dst: f.local, In: "eth0", ID: 1,
		Proto: packet.UDP, SrcPort: 4000, DstPort: 53, State: packet.New,
	}}.with(changes...)
}

// tcp is the first packet of a TCP connection.
func (f family) tcp(changes ...func(*sample)) sample {
	return f.udp(protocol(packet.TCP), func(s *sample) { s.TCPFlags = packet.SYN }).with(changes...)
}

// echo is an ICMP query.
func (f family) echo(changes ...func(*sample)) sample {
	return f.udp(protocol(f.icmp), func(s *sample) { s.Type = by[uint8](f, 8, 128) }).with(changes...)
}

// out is a datagram of a socket of this host.
func (f family) out(changes ...func(*sample)) sample {
	return f.udp(func(s *sample) {
		s.In, s.Src, s.Dst, s.Socket = "", f.local, f.remote, &packet.Socket{UID: 1000, GID: 100}
	}).with(changes...)
}

// Changes of samples.

func protocol(n uint8) func(*sample) {
	return func(s *sample) {
		s.Proto, s.Payload = n, nil
		if n != packet.TCP && n != packet.UDP && n != packet.ICMP && n != packet.ICMPv6 {
			s.Payload = make([]byte, 16)
		}
	}
}

func from(a netip.Addr) func(*sample) { return func(s *sample) { s.Src = a } }
func to(a netip.Addr) func(*sample)   { return func(s *sample) { s.Dst = a } }
func in(device string) func(*sample)  { return func(s *sample) { s.In = device } }
func sport(n uint16) func(*sample)    { return func(s *sample) { s.SrcPort = n } }
func dport(n uint16) func(*sample)    { return func(s *sample) { s.DstPort = n } }
func flags(n uint8) func(*sample)     { return func(s *sample) { s.TCPFlags = n } }
func length(n int) func(*sample)      { return func(s *sample) { s.Length, s.Payload = n, nil } }
func hops(n int) func(*sample)        { return func(s *sample) { s.TTL = n } }
func mark(n uint32) func(*sample)     { return func(s *sample) { s.Mark = n } }
func state(n packet.State) func(*sample) {
	return func(s *sample) { s.State = n }
}

// cut ends the packet so many bytes behind its IP headers.
func cut(n int) func(*sample) { return func(s *sample) { s.Truncate, s.Keep = true, n } }

func dropsHot(s *sample) { s.hotdrop = true }

func owner(uid, gid uint32) func(*sample) {
	return func(s *sample) { s.Socket = &packet.Socket{UID: uid, GID: gid} }
}

func mac(b [6]byte) func(*sample) {
	return func(s *sample) { s.Link = &packet.Link{Src: b, Dst: host().Device(s.In).MAC} }
}

func kind(n uint8) func(*sample) { return func(s *sample) { s.PktType = n } }

func icmpType(kind, code uint8) func(*sample) {
	return func(s *sample) { s.Type, s.Code = kind, code }
}

func options(b ...byte) func(*sample) { return func(s *sample) { s.TCPOptions = b } }

func typed(g symbolic.Group, n packet.RouteType) func(*sample) {
	return func(s *sample) {
		types := map[symbolic.Group]packet.RouteType{g: n}
		for k, v := range s.types {
			types[k] = v
		}
		s.types = types
	}
}

// each returns a sample, and a copy for each of so many bits.
func each(base sample, bits int, flip func(s *sample, bit int)) []sample {
	list := []sample{base}
	for bit := range bits {
		list = append(list, base.with(func(s *sample) { flip(s, bit) }))
	}
	return list
}

// many returns a sample of each change.
func many[T any](base sample, change func(T) func(*sample), values ...T) []sample {
	var list []sample
	for _, v := range values {
		list = append(list, base.with(change(v)))
	}
	return list
}

// flipped is an address with one bit changed, the first being 0.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	a, _ = netip.AddrFromSlice(b)
	return a
}

// ended is an address with another last byte.
func ended(a netip.Addr, last byte) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] = last
	a, _ = netip.AddrFromSlice(b)
	return a
}
