package symbolic

import (
	"slices"

	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// A Situation is where a stage stands: what is true of every packet that enters
// it.
type Situation struct {
	Hook packet.Hook
	// Early: connection tracking has not looked yet.
	Early bool
	// Tracked: the host tracks connections, so that fragments are put together
	// before the first rule.
	Tracked bool
	// Path: the packet is at the first hook of a path that leads to a device.
	Path bool
	// Start: the functions speak of the packet as it began its path.
	Start bool
	// NAT: the stage sees packets that start a connection.
	NAT bool
	// Accepts says whether the deviation of a code is accepted, so that packets
	// that only it tells apart need not be looked at.
	Accepts func(code string) bool
}

// An Assumption is a restriction of the packets that a proof speaks of, beyond
// what cannot be otherwise.
type Assumption string

// Domain is the class of packets that can enter a stage in a situation, as far
// as the given functions depend on it, with what was assumed.
func (s *Space) Domain(at Situation, functions ...bdd.Ref) (bdd.Ref, []Assumption) {
	d := &domain{space: s, at: at, holds: bdd.True, used: map[Group]bool{}}
	for _, f := range functions {
		for _, l := range s.Support(f) {
			if g, bit, ok := GroupOf(l); ok {
				d.used[g] = true
				d.offset = d.offset || g == Transport && bit/4 == dataOffset
			} else {
				d.answers = append(d.answers, l)
			}
		}
	}
	d.headers()
	if s.Version == 6 && s.authAsked {
		d.assumed = append(d.assumed, assumeAuth)
	}
	if slices.ContainsFunc(d.answers, func(l bdd.Level) bool { _, back := s.WayBackBit(l); return back }) {
		d.used[Source], d.used[SourceType] = true, true
	}
	for _, rule := range domainRules {
		if slices.ContainsFunc(rule.about, func(g Group) bool { return d.used[g] }) {
			rule.restrict(d)
			if rule.assumption != "" {
				d.assumed = append(d.assumed, rule.assumption)
			}
		}
	}
	d.bounded()
	d.waysBack()
	return d.holds, d.assumed
}

type domain struct {
	space   *Space
	at      Situation
	holds   bdd.Ref
	used    map[Group]bool
	offset  bool // the functions depend on the data offset of TCP
	answers []bdd.Level
	assumed []Assumption
}

func (d *domain) require(f bdd.Ref) { d.holds = d.space.And(d.holds, f) }

func (d *domain) implies(f, g bdd.Ref) { d.require(d.space.Or(d.space.Not(f), g)) }

func (d *domain) is(g Group, n uint64) bdd.Ref { return d.space.Number(d.space.Variables(g), n) }

// headers restricts packets to those of which the space speaks.
func (d *domain) headers() {
	s := d.space
	bytes := s.Variables(TransportBytes)
	switch {
	case s.Headers == CutHeaders:
		d.require(s.Not(s.And(s.whole(bytes), s.Bit(TransportFound))))
	case s.Headers == WholeHeaders && d.used[TransportBytes]:
		d.require(s.whole(bytes))
	}
}

// bounded restricts the answers of instances that have a bound.
func (d *domain) bounded() {
	s := d.space
	type place struct {
		slot Slot
		turn int
	}
	seen := map[place]bool{}
	for _, l := range d.answers {
		slot, turn, _, ok := s.instanceOf(l)
		if !ok || seen[place{slot, turn}] {
			continue
		}
		seen[place{slot, turn}] = true
		if a := s.slots[slot].instance.Assumption; a != "" && !slices.Contains(d.assumed, a) {
			d.assumed = append(d.assumed, a)
		}
		width, below := s.slots[slot].width, s.slots[slot].instance.Below
		if below == 0 {
			continue
		}
		// answer < below: some bit of below is set where the answer's is not,
		// and those above are equal.
		less := bdd.False
		for bit := width - 1; bit >= 0; bit-- {
			v := s.Var(s.answer(slot, turn, bit))
			if below>>(width-1-bit)&1 == 1 {
				less = s.Or(s.Not(v), less)
			} else {
				less = s.And(s.Not(v), less)
			}
		}
		d.require(less)
	}
}

// A domainRule restricts packets for the sake of some groups.
type domainRule struct {
	about      []Group
	restrict   func(d *domain)
	assumption Assumption
}

// The assumptions.
const (
	assumeAuth      Assumption = "no IPv6 authentication header: the engines look behind it differently (deviation ipv6-ah)"
	assumeOptions   Assumption = "the options of a TCP header are well formed"
	assumeBehind    Assumption = "two bytes or more stand behind the headers of IPv6 (deviation ipv6-header-end)"
	assumeFirst     Assumption = "no later fragments: a rule reads them as TCP headers (deviation tcpmss-reading)"
	assumeSocket    Assumption = "sockets have an owner (deviation owner-kernel-socket)"
	assumeDemux     Assumption = "arriving packets belong to no socket yet: there is no early demultiplexing"
	assumeCounted   Assumption = "a connection with counters has counted a packet (deviation connbytes-uncounted)"
	assumeMulticast Assumption = "what the host sends to a group and hears itself is not looked at"
	assumeLocal     Assumption = "the local table of routes is asked first, no other has local, broadcast, anycast or multicast routes, and no device is of a VRF"
	assumePosition  Assumption = "a header of hop-by-hop options stands right behind the IPv6 header (deviation hbh-position)"
	assumeLength    Assumption = "the length in the IP header is that of the packet"
)

var domainRules = []domainRule{
	{about: []Group{Hook}, restrict: func(d *domain) {
		d.require(d.is(Hook, uint64(d.at.Hook)))
	}},
	{about: []Group{InName, OutName}, restrict: (*domain).devices},
	{about: []Group{TransportFound}, restrict: func(d *domain) {
		if d.space.Version == 4 {
			d.require(d.space.Var(TransportFound.Level(0)))
		}
	}},
	{about: []Group{BehindAuth, Auth}, restrict: func(d *domain) {
		if d.space.Version == 4 || d.at.Accepts("ipv6-ah") {
			d.require(d.is(BehindAuth, 0))
		}
	}},
	{about: []Group{Protocol}, restrict: (*domain).protocol},
	{about: []Group{Fragment, MoreFragments}, restrict: func(d *domain) {
		// Tracking puts fragments together before the first rule, and IPv4 what it
		// delivers before the input hook (net/ipv4/ip_input.c, ip_local_deliver).
		if d.at.Tracked || d.space.Version == 4 && d.at.Hook == packet.Input {
			d.require(d.is(Fragment, 0))
			d.require(d.is(MoreFragments, 0))
		}
	}},
	{about: []Group{Tracking, Notrack, Template, Given, Helped, CTDirection, CTStatus}, restrict: (*domain).tracking},
	{about: []Group{Transport}, restrict: (*domain).shortTCP},
	{about: []Group{TransportBytes}, restrict: (*domain).named},
	{about: []Group{CTExpires}, restrict: func(d *domain) {
		status := d.space.Bits(CTStatus)
		confirmed := status[len(status)-4] // IPS_CONFIRMED is bit 3
		d.implies(d.space.Not(confirmed), d.is(CTExpires, 0))
	}},
	{about: []Group{CTProtocol}, restrict: func(d *domain) {
		// The first packet of a connection makes the entry of its own protocol
		// (net/netfilter/nf_conntrack_core.c, nf_ct_get_tuplepr).
		s, same := d.space, bdd.True
		of, own := s.Bits(Protocol), s.Bits(CTProtocol)
		for i := range own {
			same = s.And(same, s.Not(s.Xor(of[i], own[i])))
		}
		d.implies(s.And(d.is(Tracking, uint64(packet.New)), s.Unconfirmed()), same)
	}},
	{about: []Group{CTPacketsBoth, CTAccounting}, restrict: func(d *domain) {
		if d.at.Accepts("connbytes-uncounted") {
			d.implies(d.space.Bit(CTAccounting), d.space.Not(d.is(CTPacketsBoth, 0)))
			d.assumed = append(d.assumed, assumeCounted)
		}
	}},
	{about: []Group{CTPacketsOrig, CTPacketsRepl, CTPacketsBoth}, restrict: func(d *domain) {
		// Both directions together count nothing only when neither does.
		for _, g := range []Group{CTPacketsOrig, CTPacketsRepl} {
			d.implies(d.is(CTPacketsBoth, 0), d.is(g, 0))
		}
	}},
	{about: []Group{CTOrigSrcPort, CTOrigDstPort, CTReplSrcPort, CTReplDstPort}, restrict: (*domain).ports},
	{about: []Group{SourceType, SourceTypeIn, SourceTypeOut}, restrict: func(d *domain) {
		d.types(Source, SourceType, SourceTypeIn, SourceTypeOut)
	}},
	{about: []Group{DestinationType, DestinationTypeIn, DestinationTypeOut}, restrict: func(d *domain) {
		d.types(Destination, DestinationType, DestinationTypeIn, DestinationTypeOut)
	}},
	{about: []Group{ClockSecond, ClockDay}, restrict: func(d *domain) {
		s := d.space
		d.require(s.Not(s.atLeast(s.Bits(ClockSecond), 86400)))
		d.require(s.Not(s.atLeast(s.Bits(ClockDay), 7)))
	}},
	{about: []Group{HasLink, Link, InType}, restrict: (*domain).link},
	{about: []Group{HasSocket, HasFile, UID, GID, SocketClass}, restrict: func(d *domain) {
		s := d.space
		d.implies(s.Bit(HasFile), s.Bit(HasSocket))
		d.implies(s.hasDevice(InName), s.Not(s.Bit(HasSocket)))
		if d.at.Hook != packet.Output && d.at.Hook != packet.Postrouting {
			d.assumed = append(d.assumed, assumeDemux)
		}
		if d.at.Accepts("owner-kernel-socket") {
			d.implies(s.Bit(HasSocket), s.Bit(HasFile))
			d.assumed = append(d.assumed, assumeSocket)
		}
	}},
	{about: []Group{Chunk, ChunksCut}, restrict: (*domain).chunks},
	{about: []Group{TransformsIn, TransformsOut}, restrict: func(d *domain) {
		s := d.space
		for _, g := range []Group{TransformsIn, TransformsOut} {
			d.require(s.Not(s.atLeast(s.Bits(g), MostTransforms+1)))
		}
		// What the host itself sends came through none.
		d.implies(s.Not(s.hasDevice(InName)), d.is(TransformsIn, 0))
	}},
	{about: []Group{PacketType}, assumption: assumeMulticast, restrict: func(d *domain) {
		if d.at.Hook == packet.Output {
			d.require(d.is(PacketType, packet.TypeHost))
			return
		}
		s := d.space
		d.require(s.Or(s.hasDevice(InName), d.is(PacketType, packet.TypeHost)))
		d.require(s.Or(s.Or(d.is(PacketType, packet.TypeHost), d.is(PacketType, packet.TypeBroadcast)), d.is(PacketType, packet.TypeMulticast)))
	}},
	{about: []Group{TCPOption, MSS}, assumption: assumeOptions, restrict: func(*domain) {}},
	{about: []Group{TransportFound, TransportBytes}, restrict: func(d *domain) {
		if d.space.Version == 6 && d.at.Accepts("ipv6-header-end") {
			d.require(d.space.Bit(TransportFound))
			d.require(d.space.Not(d.is(TransportBytes, 0)))
			d.require(d.space.Not(d.is(TransportBytes, 1)))
			d.assumed = append(d.assumed, assumeBehind)
		}
	}},
	{about: []Group{Fragment, TCPOption, MSS}, restrict: func(d *domain) {
		if d.at.Accepts("tcpmss-reading") {
			d.require(d.is(Fragment, 0))
			d.assumed = append(d.assumed, assumeFirst)
		}
	}},
	{about: []Group{NetworkRest}, restrict: func(d *domain) {
		s, w := d.space, make(Word, 4)
		for bit := range w {
			w[bit] = s.Var(NetworkRest.Level(bit))
		}
		d.require(s.Number(w, uint64(s.Version)))
	}},
	{about: []Group{HeaderWords}, restrict: func(d *domain) {
		d.require(d.space.atLeast(d.space.Bits(HeaderWords), headerIPv4/4))
	}},
	{about: []Group{NextHeader}, restrict: (*domain).nextHeader},
	{about: []Group{Length}, assumption: assumeLength, restrict: func(d *domain) {
		// A packet has at most 65,535 bytes, in IPv6 with its header 40 more.
		s, w := d.space, d.space.Bits(Length)
		for _, bit := range w[:len(w)-17] {
			d.require(s.Not(bit))
		}
		if s.Version == 4 {
			d.require(s.Not(w[len(w)-17]))
		}
	}},
}

// chunks: a walk that is not cut has found one, and needs the bytes of one.
func (d *domain) chunks() {
	s, some := d.space, bdd.False
	for _, bit := range s.Variables(Chunk) {
		some = s.Or(some, bit)
	}
	d.require(s.Or(s.Bit(ChunksCut), some))
	const header, chunk = 12, 4
	d.implies(some, s.atLeast(s.Bits(TransportBytes), header+chunk))
}

// devices are those that a packet has at a hook.
//
// Kernel: net/ipv4/ip_input.c, ip_forward.c, ip_output.c: NF_HOOK.
func (d *domain) devices() {
	s := d.space
	in, out := s.hasDevice(InName), s.hasDevice(OutName)
	switch d.at.Hook {
	case packet.Prerouting, packet.Input:
		d.require(in)
		if d.at.Path {
			d.require(out)
		} else {
			d.require(s.Not(out))
		}
	case packet.Forward:
		d.require(s.And(in, out))
	case packet.Output:
		d.require(s.Diff(out, in))
	case packet.Postrouting:
		d.require(out)
	}
	for _, g := range []Group{InName, OutName} {
		known := bdd.False
		for class := range s.names.list {
			known = s.Or(known, d.is(g, uint64(class)))
		}
		d.require(known)
	}
}

// protocol leaves out the numbers of extension headers, behind which the
// protocol stands (RFC 8200 section 4).
func (d *domain) protocol() {
	if d.space.Version == 4 {
		return
	}
	for _, header := range []uint64{packet.HopByHop, packet.Routing, packet.Fragment, packet.DestOpts, packet.AH} {
		d.implies(d.space.Bit(TransportFound), d.space.Not(d.is(Protocol, header)))
	}
	// A header that was not found has no number.
	d.implies(d.space.Not(d.space.Bit(TransportFound)), d.is(Protocol, 0))
}

// tracking is what goes together of a connection.
//
// Kernel: net/netfilter/nf_conntrack_core.c, resolve_normal_ct and
// nf_conntrack_in.
func (d *domain) tracking() {
	s := d.space
	if d.at.Early || !d.at.Tracked {
		d.require(d.is(Tracking, 0))
	} else {
		for _, none := range []uint64{0, 6, 7} {
			d.require(s.Not(d.is(Tracking, none)))
		}
		d.implies(s.Bit(Notrack), d.is(Tracking, uint64(packet.Untracked)))
	}
	if d.at.Start {
		d.require(s.Not(s.Bit(Notrack)))
		d.require(s.Not(s.Bit(Template)))
		d.require(d.is(Given, 0))
		d.require(s.Not(s.Bit(Helped)))
	}
	if d.at.NAT {
		d.require(s.Or(d.is(Tracking, uint64(packet.New)), d.is(Tracking, uint64(packet.Related))))
	}
	reply := s.Bit(CTDirection)
	d.implies(reply, s.entry())
	d.implies(d.is(Tracking, uint64(packet.New)), s.Not(reply))
	if d.used[CTStatus] {
		// Bits above those that the kernel has, IPS_HW_OFFLOAD being the last.
		const bits = 16
		status := s.Bits(CTStatus)
		for _, bit := range status[:len(status)-bits] {
			d.require(s.Not(bit))
		}
	}
}

// dataOffset is which 4 bits of a TCP header are its length.
const dataOffset = 24

// shortTCP is that tracking takes no connection from a TCP header that claims to
// be shorter than it can be.
//
// Kernel: net/netfilter/nf_conntrack_proto_tcp.c, tcp_error.
func (d *domain) shortTCP() {
	s := d.space
	if !d.offset || d.at.Early || !d.at.Tracked {
		return
	}
	w := make(Word, 4)
	for i := range w {
		w[i] = s.Var(Transport.Level(4*dataOffset + i))
	}
	const least = 5
	short := s.And(d.is(Protocol, packet.TCP), s.Not(s.atLeast(w, least)))
	d.implies(s.And(short, s.Bit(TransportFound)), s.Or(d.is(Tracking, uint64(packet.Invalid)), d.is(Tracking, uint64(packet.Untracked))))
}

// named is that what comes to nat chains has its ports: without them there is no
// connection.
//
// Kernel: net/netfilter/nf_conntrack_core.c, nf_ct_get_tuple.
func (d *domain) named() {
	if !d.at.NAT {
		return
	}
	const ports = 4
	for _, proto := range []uint64{packet.TCP, packet.UDP, packet.DCCP, packet.SCTP, packet.UDPLite} {
		d.implies(d.is(Protocol, proto), d.space.atLeast(d.space.Variables(TransportBytes), ports))
	}
}

// portProtocols are those of which a connection is told by ports or what stands
// for them; of others the ports are 0. An ICMP error belongs to a connection of
// another protocol.
//
// Kernel: net/netfilter/nf_conntrack_core.c, nf_ct_get_tuple.
var portProtocols = []uint64{packet.ICMP, packet.TCP, packet.UDP, packet.DCCP, protoGRE, packet.ICMPv6, packet.SCTP, packet.UDPLite}

const protoGRE = 47

func (d *domain) ports() {
	s, has := d.space, bdd.False
	for _, proto := range portProtocols {
		has = s.Or(has, d.is(Protocol, proto))
	}
	for _, g := range []Group{CTOrigSrcPort, CTOrigDstPort, CTReplSrcPort, CTReplDstPort} {
		if d.used[g] {
			d.require(s.Or(has, d.is(g, 0)))
		}
	}
}

// types are those that routing can give an IPv4 address: it looks into the local
// table only, where routes that refuse are taken for none. Groups and the two
// broadcast addresses without a network have theirs whatever the tables say. By a device, an address has the type that it has over
// all, or is like any other.
//
// Kernel: net/ipv4/fib_frontend.c, __inet_dev_addr_type.
func (d *domain) types(address, all Group, by ...Group) {
	if d.space.Version != 4 {
		return
	}
	s := d.space
	bits := s.Bits(address)
	many := s.And(s.And(bits[0], bits[1]), s.And(bits[2], s.Not(bits[3]))) // 224.0.0.0/4
	every := bdd.True
	for _, bit := range bits {
		every = s.And(every, bit)
	}
	every = s.Or(every, s.Number(bits, 0)) // 255.255.255.255 and 0.0.0.0
	for _, g := range append([]Group{all}, by...) {
		if !d.used[g] {
			continue
		}
		known := bdd.False
		for kind := packet.Unicast; kind <= packet.Multicast; kind++ {
			known = s.Or(known, d.is(g, uint64(kind)))
		}
		d.require(known)
		d.require(s.Not(s.Xor(many, d.is(g, uint64(packet.Multicast)))))
		d.implies(every, d.is(g, uint64(packet.Broadcast)))
		if g == all || !d.used[all] {
			continue
		}
		same := bdd.True
		for i, bit := range s.Bits(g) {
			same = s.And(same, s.Not(s.Xor(bit, s.Bits(all)[i])))
		}
		d.require(s.Or(same, d.is(g, uint64(packet.Unicast))))
	}
}

// link says which packets come with an Ethernet header.
func (d *domain) link() {
	s := d.space
	has := s.Bit(HasLink)
	d.implies(has, s.hasDevice(InName))
	if d.at.Hook != packet.Postrouting && d.at.Hook != packet.Output {
		// Linux: ARPHRD_ETHER.
		d.implies(has, d.is(InType, 1))
		d.implies(d.is(InType, 1), has)
	}
}
