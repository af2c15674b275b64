package equivalence

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// A witness is a packet of a class, with the host on which it can be sent.
type witness struct {
	candidate
	host *packet.Host
}

// A start is an ordinary packet from which witnesses are made: only what a class
// asks for is changed.
type start struct {
	spec packet.Spec
	host *packet.Host
	hook packet.Hook // where it is looked at
	out  string      // device by which it leaves
	// usual are the values of its variables.
	usual func(bdd.Level) bool
}

// place is where packets are looked at.
type place struct {
	hook  packet.Hook
	early bool // connection tracking has not looked yet
}

// The devices of ordinary packets, when the rules name none.
const (
	nearDevice = "net0"
	farDevice  = "net1"
)

// starts are ordinary packets that pass a hook, by the ways that lead there.
func (p *prover) starts(hook packet.Hook, early bool) []start {
	at := place{hook, early}
	if list, ok := p.ordinary[at]; ok {
		return list
	}
	var list []start
	for _, st := range p.makeStarts(hook) {
		pkt, err := st.spec.Packet()
		if err != nil {
			continue
		}
		st.out, _ = st.host.Output(st.spec.Dst)
		st.usual = usually(p.space, p.space.Bind(st.flight(pkt, st.out, early)), st)
		list = append(list, st)
	}
	p.ordinary[at] = list
	return list
}

func (p *prover) makeStarts(hook packet.Hook) []start {
	var devices []string
	for _, name := range p.space.Names().Representatives() {
		if name != "" && name != "lo" && validDevice(name) {
			devices = append(devices, name)
		}
	}
	host := packet.DefaultHost(append(devices, nearDevice, farDevice))
	in, out := host.Devices[1], host.Devices[2]
	at := 0
	if p.space.Version == 6 {
		at = 1
	}
	own, far := in.Addrs[at].Addr(), out.Addrs[at].Addr().Next().Next()
	peer := own.Next().Next()
	arriving := packet.Spec{In: in.Name, Src: peer, Dst: own, Link: &packet.Link{Src: [6]byte{2, 0, 0, 1, 0, 9}, Dst: in.MAC}}
	passing := arriving
	passing.Dst = far
	leaving := packet.Spec{Src: out.Addrs[at].Addr(), Dst: far, Socket: &packet.Socket{}}
	ways := map[packet.Hook][]packet.Spec{
		packet.Prerouting: {arriving, passing}, packet.Input: {arriving}, packet.Forward: {passing},
		packet.Output: {leaving}, packet.Postrouting: {leaving, passing},
	}
	icmp, echo := uint8(packet.ICMP), uint8(8)
	if p.space.Version == 6 {
		icmp, echo = packet.ICMPv6, 128
	}
	var list []start
	for _, way := range ways[hook] {
		for _, proto := range []uint8{packet.TCP, packet.UDP, icmp} {
			s := way
			s.Version, s.Proto, s.State = p.space.Version, proto, packet.New
			s.SrcPort, s.DstPort, s.TCPFlags = 40000, 80, packet.SYN
			if proto == icmp {
				s.Type, s.SrcPort, s.DstPort = echo, 1, 0
			}
			if !p.tracked {
				s.State = 0
			}
			list = append(list, start{spec: s, host: host, hook: hook})
		}
	}
	return list
}

// given says of variables that nobody can choose what they are: of what arrives,
// the priority.
func (st start) given(l bdd.Level) (value, ok bool) {
	g, _, ok := symbolic.GroupOf(l)
	return st.usual(l), ok && st.spec.In != "" && g == symbolic.Priority
}

// flight is a packet as a stage of a hook would find it.
func (st start) flight(pkt *packet.Packet, out string, early bool) *packet.Flight {
	f := &packet.Flight{Packet: pkt, Host: st.host, Hook: st.hook, Data: pkt.Data, Mark: pkt.Mark, Secmark: pkt.Secmark, Priority: pkt.Priority}
	f.In = pkt.In
	if st.hook == packet.Forward || st.hook == packet.Output || st.hook == packet.Postrouting {
		f.Out = out
	}
	if !early {
		f.Tracking = pkt.Tracking
	}
	return f
}

// witnesses makes packets of a class of packets at a hook, the most ordinary
// first.
func (p *prover) witnesses(where bdd.Ref, hook packet.Hook, early bool) []witness {
	var list []witness
	for _, st := range p.starts(hook, early) {
		path, ok := p.space.Pick(p.space.Restrict(where, st.given), st.usual)
		if !ok {
			path, ok = p.space.Pick(where, st.usual)
		}
		if !ok {
			continue
		}
		b := &builder{space: p.space, start: st, path: path, usual: st.usual, translations: p.translations}
		if w, ok := b.build(st.out); ok {
			list = append(list, w)
			list = append(list, drawnOtherwise(w)...)
		}
	}
	// The fewer properties a class asks of it, the more ordinary the packet.
	slices.SortStableFunc(list, func(x, y witness) int { return len(x.reason) - len(y.reason) })
	return list
}

// A builder makes the packet of an assignment.
type builder struct {
	space *symbolic.Space
	start start
	path  map[bdd.Level]bool
	usual func(bdd.Level) bool
	spec  packet.Spec
	// translations are the hooks of the turns at which addresses are translated.
	translations map[int]packet.Hook
}

// number is the value of a group of up to 64 bits, and whether the class asks
// for anything of it.
func (b *builder) number(g symbolic.Group) (n uint64, asked bool) {
	for _, l := range b.space.Levels(g) {
		n <<= 1
		v, set := b.path[l]
		if set {
			asked = asked || v != b.usual(l)
		} else {
			v = b.usual(l)
		}
		if v {
			n |= 1
		}
	}
	return n, asked
}

// bytes is the value of whole bytes of a group.
func (b *builder) bytes(g symbolic.Group, offset, n int) (raw []byte, asked bool) {
	raw = make([]byte, n)
	for bit := range 8 * n {
		l := g.Level(8*offset + bit)
		v, set := b.path[l]
		if set {
			asked = asked || v != b.usual(l)
		} else {
			v = b.usual(l)
		}
		if v {
			raw[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	return raw, asked
}

func (b *builder) flag(g symbolic.Group) bool {
	n, _ := b.number(g)
	return n == 1
}

func (b *builder) address(g symbolic.Group) netip.Addr {
	raw, _ := b.bytes(g, 0, 16)
	if b.space.Version == 4 {
		return netip.AddrFrom4([4]byte(raw[12:]))
	}
	return netip.AddrFrom16([16]byte(raw))
}

// build makes packet and host. ok is false when no such packet can be built.
func (b *builder) build(out string) (witness, bool) {
	b.spec = b.start.spec
	b.header()
	b.transport()
	b.circumstances()
	b.addressTypes()
	b.connection()
	b.random()
	host := b.host(out)
	pkt, err := b.checksum()
	if err != nil {
		return witness{}, false
	}
	reason := ""
	for l, v := range b.path {
		if v != b.usual(l) {
			reason += "."
		}
	}
	return witness{candidate{spec: b.spec, packet: pkt, reason: reason}, host}, true
}

func (b *builder) header() {
	s := &b.spec
	s.Src, s.Dst = b.address(symbolic.Source), b.address(symbolic.Destination)
	proto, _ := b.number(symbolic.Protocol)
	s.Proto = uint8(proto)
	ttl, _ := b.number(symbolic.TTL)
	s.TTL = int(ttl)
	if ttl == 0 {
		s.TTL = -1
	}
	if b.start.hook == packet.Forward || b.start.hook == packet.Postrouting && s.In != "" {
		if _, asked := b.number(symbolic.TTL); asked {
			s.TTL++ // routing takes one off
		} else {
			s.TTL = 0
		}
	} else if _, asked := b.number(symbolic.TTL); !asked {
		s.TTL = 0
	}
	tos, _ := b.number(symbolic.TOS)
	s.TOS = uint8(tos)
	if n, asked := b.number(symbolic.Fragment); asked {
		s.Fragmented, s.FragmentOffset = true, uint16(n)
		s.Payload = make([]byte, 64)
	}
	if b.flag(symbolic.MoreFragments) {
		s.Fragmented, s.MoreFragments = true, true
		s.Payload = make([]byte, 64)
	}
	if n, asked := b.number(symbolic.Length); asked {
		s.Length = int(n)
	}
	if b.flag(symbolic.BehindAuth) {
		s.Headers = []packet.Extension{{Proto: packet.AH}}
	}
	if raw, asked := b.bytes(symbolic.NetworkRest, 0, 8); asked && b.space.Version == 4 {
		s.ID, s.DontFrag = binary.BigEndian.Uint16(raw[4:]), raw[6]&0x40 != 0
	} else if asked {
		s.FlowLabel = binary.BigEndian.Uint32(raw) & (1<<20 - 1)
	}
	const least = 5
	if words, asked := b.number(symbolic.HeaderWords); b.space.Version == 4 && asked && words > least {
		options, _ := b.bytes(symbolic.PacketBytes, 4*least, 4*int(words-least))
		s.IPOptions = options
	}
	b.extensions()
}

func (b *builder) transport() {
	s := &b.spec
	raw, asked := b.bytes(symbolic.Transport, 0, symbolic.TransportSize)
	if s.FragmentOffset != 0 {
		s.Payload = raw // there is no header in it
		return
	}
	switch s.Proto {
	case packet.TCP, packet.UDP, packet.UDPLite, packet.SCTP, packet.DCCP:
		s.SrcPort, s.DstPort = binary.BigEndian.Uint16(raw), binary.BigEndian.Uint16(raw[2:])
	case packet.ICMP, packet.ICMPv6:
		s.Type, s.Code = raw[0], raw[1]
		s.SrcPort = binary.BigEndian.Uint16(raw[4:])
	default:
		if asked {
			s.Payload = raw
		}
	}
	switch s.Proto {
	case packet.TCP:
		b.tcp(raw)
	case packet.SCTP:
		b.chunks()
	}
	n, asked := b.number(symbolic.TransportBytes)
	if said := int(binary.BigEndian.Uint16(raw[4:])); s.Proto == packet.UDP && b.asksBytes(4, 2) && !asked {
		n, asked = uint64(said), said >= 8
	}
	if asked {
		b.resize(int(n))
	}
}

// tcp fills in a TCP header: one that claims to be longer than its options has
// more of them.
func (b *builder) tcp(raw []byte) {
	s := &b.spec
	s.TCPFlags = raw[13]
	if s.Proto != b.start.spec.Proto {
		b.options()
		return
	}
	s.Seq, s.Ack = binary.BigEndian.Uint32(raw[4:]), binary.BigEndian.Uint32(raw[8:])
	s.Window, s.Urgent = binary.BigEndian.Uint16(raw[14:]), binary.BigEndian.Uint16(raw[18:])
	s.Reserved = raw[12] & 15
	b.options()
	const none, least = 16, 5
	words := raw[12] >> 4
	switch {
	case words == least:
		return
	case words == 0:
		s.DataOffset = none
		return
	case words < least:
		s.DataOffset = words
		return
	}
	for _, kind := range []byte{1, 0} {
		size := len(s.TCPOptions)
		if s.MSS != 0 {
			size += 4
		}
		if no, set := b.path[symbolic.TCPOption.Level(int(kind))]; (no || !set) && 4*int(words) >= 20+size {
			s.TCPOptions = append(s.TCPOptions, bytes.Repeat([]byte{kind}, 4*int(words)-20-size)...)
			return
		}
	}
	s.DataOffset = words
}

// options gives a TCP header the options that a class asks for.
func (b *builder) options() {
	s := &b.spec
	for kind := range 256 {
		if !b.path[symbolic.TCPOption.Level(kind)] {
			continue
		}
		switch kind {
		case 0, 1:
			s.TCPOptions = append(s.TCPOptions, byte(kind))
		case 2:
			mss, asked := b.number(symbolic.MSS)
			if s.MSS = uint16(mss); !asked {
				s.MSS = 1460
			}
		default:
			s.TCPOptions = append(s.TCPOptions, byte(kind), 2)
		}
	}
}

// resize makes a packet have so many bytes from its transport header on.
func (b *builder) resize(n int) {
	pkt, err := b.spec.Packet()
	if err != nil {
		return
	}
	f := b.start.flight(pkt, "", false)
	usual := b.space.Bind(f)
	now := 0
	for _, l := range b.space.Levels(symbolic.TransportBytes) {
		now <<= 1
		if usual(l) {
			now++
		}
	}
	switch {
	case n < now:
		b.spec.Truncate, b.spec.Keep = true, n
	case n > now:
		b.spec.Payload = append(slices.Clone(b.spec.Payload), make([]byte, n-now)...)
	}
}

// checksum makes the packet, with a word of it chosen so that the checksum of the
// transport header is what the class asks for: the acknowledgement of TCP, or
// data.
func (b *builder) checksum() (*packet.Packet, error) {
	s := &b.spec
	pkt, err := s.Packet()
	at, ok := map[uint8]int{packet.TCP: 16, packet.UDP: 6, packet.ICMP: 2, packet.ICMPv6: 2}[s.Proto]
	if err != nil || !ok || !b.asksBytes(at, 2) {
		return pkt, err
	}
	word := uint16(s.Ack)
	if s.Proto != packet.TCP {
		if len(s.Payload) < 2 || len(s.Payload)%2 != 0 {
			s.Payload = make([]byte, 2)
		}
		word = binary.BigEndian.Uint16(s.Payload[len(s.Payload)-2:])
		if pkt, err = s.Packet(); err != nil {
			return nil, err
		}
	}
	got := b.space.Bind(b.start.flight(pkt, "", false))
	var now, want uint16
	for bit := range 16 {
		l := symbolic.Transport.Level(8*at + bit)
		is := got(l)
		asked, set := b.path[l]
		if !set {
			asked = is
		}
		now, want = now<<1, want<<1
		if is {
			now |= 1
		}
		if asked {
			want |= 1
		}
	}
	// RFC 1624: what the sum grows by, the word grows by.
	sum := uint32(^want) + uint32(now) + uint32(word)
	sum = sum>>16 + sum&0xffff
	word = uint16(sum>>16 + sum)
	if s.Proto == packet.TCP {
		s.Ack = s.Ack&^0xffff | uint32(word)
	} else {
		binary.BigEndian.PutUint16(s.Payload[len(s.Payload)-2:], word)
	}
	return s.Packet()
}

func (b *builder) circumstances() {
	s := &b.spec
	mark, _ := b.number(symbolic.Mark)
	priority, _ := b.number(symbolic.Priority)
	kind, _ := b.number(symbolic.PacketType)
	secmark, _ := b.number(symbolic.Secmark)
	s.Mark, s.Secmark, s.PktType = uint32(mark), uint32(secmark), uint8(kind)
	cpu, _ := b.number(symbolic.CPU)
	s.CPU = uint32(cpu)
	b.clock()
	if s.In == "" {
		s.Priority, s.PktType = uint32(priority), packet.TypeHost
	}
	names := b.space.Names().Representatives()
	if class, _ := b.number(symbolic.InName); s.In != "" && int(class) < len(names) && names[class] != "" {
		s.In = names[class]
		if d := b.start.host.Device(s.In); d != nil && d.Ethernet {
			s.Link = &packet.Link{Src: s.Link.Src, Dst: d.MAC}
		} else {
			s.Link = nil
		}
	}
	if raw, asked := b.bytes(symbolic.Link, 6, 6); asked && s.Link != nil {
		s.Link.Src = [6]byte(raw)
	}
	if s.Link != nil && s.PktType != packet.TypeHost {
		s.Link.Dst = frames[s.PktType&3]
	}
	if s.In == "" {
		uid, _ := b.number(symbolic.UID)
		gid, _ := b.number(symbolic.GID)
		class, _ := b.number(symbolic.SocketClass)
		s.Socket = nil
		if b.flag(symbolic.HasSocket) {
			s.Socket = &packet.Socket{UID: uint32(uid), GID: uint32(gid), Class: uint32(class), NoFile: !b.flag(symbolic.HasFile)}
		}
	}
}

// host is one on which the packet takes the way of the start.
func (b *builder) host(out string) *packet.Host {
	h := &packet.Host{Forwarding: true, Routes: slices.Clone(b.start.host.Routes)}
	for _, d := range b.start.host.Devices {
		d.Addrs = slices.Clone(d.Addrs)
		h.Devices = append(h.Devices, d)
	}
	names := b.space.Names().Representatives()
	if class, asked := b.number(symbolic.OutName); asked && int(class) < len(names) && names[class] != "" {
		out = names[class]
	}
	s := &b.spec
	dst := s.Dst
	if len(h.Devices) < 2 || !dst.IsValid() {
		return h
	}
	b.route(h, out)
	b.wayBack(h)
	own := func(a netip.Addr, d *packet.Device) {
		if r, ok := h.Lookup(a); ordinary(a) && (!ok || r.Type != packet.Local && r.Type != packet.Anycast && r.Type != packet.Broadcast) {
			d.Addrs = append(d.Addrs, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	local := b.start.spec.In != "" && b.start.hook != packet.Forward && b.start.hook != packet.Postrouting
	if local {
		if r, ok := b.start.host.Lookup(b.start.spec.Dst); ok && r.Type == packet.Unicast {
			local = false // a start that is passed on
		}
	}
	if local {
		own(dst, &h.Devices[1])
		return h
	}
	if s.In == "" {
		own(s.Src, &h.Devices[1])
	}
	if r, ok := h.Lookup(dst); ordinary(dst) && h.Device(out) != nil && (!ok || r.Type == packet.Unicast && r.Device != out || r.Type == packet.Local) {
		disown(h, dst)
		h.Routes = append(h.Routes, packet.Route{To: netip.PrefixFrom(dst, dst.BitLen()), Device: out, Type: packet.Unicast})
	}
	return h
}
