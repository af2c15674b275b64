package equivalence

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"

	"nftmigrate/packet"
)

// A candidate is a packet with the spec that it was built from.
type candidate struct {
	spec   packet.Spec
	packet *packet.Packet
	reason string // why it was chosen, for the report
}

// A chooser chooses packets from what the rules of both sides tell apart: for
// each rule packets that satisfy all its tests, for each test packets that fail
// only it, the boundaries of each, and a random rest. The choice depends on
// nothing but suggestions, host and seed.
type chooser struct {
	host        *packet.Host
	suggestions []packet.Suggestion
	versions    []int
	rng         *rand.Rand
	settings    []packet.Setting // all, each once, sorted by name
	devices     []string
	local       map[int][]netip.Addr // by IP version
	remote      map[int][]netip.Addr
	clock       int64
}

func newChooser(host *packet.Host, suggestions []packet.Suggestion, versions []int, seed uint64) *chooser {
	c := &chooser{
		host: host, suggestions: suggestions, versions: versions,
		rng:   rand.New(rand.NewPCG(seed, 0x6e66746d)),
		local: make(map[int][]netip.Addr), remote: make(map[int][]netip.Addr),
	}
	c.collect()
	return c
}

// collect gathers the values that packets are made of.
func (c *chooser) collect() {
	for i := range c.host.Devices {
		d := &c.host.Devices[i]
		if !d.Loopback {
			c.devices = append(c.devices, d.Name)
		}
		for _, a := range d.Addrs {
			if d.Loopback {
				continue
			}
			v := version(a.Addr())
			c.local[v] = append(c.local[v], a.Addr())
			if next := a.Addr().Next(); a.Contains(next) {
				c.remote[v] = append(c.remote[v], next.Next().Next())
			}
		}
	}
	seen := make(map[string]bool)
	addrs := make(map[netip.Addr]bool)
	for _, s := range c.suggestions {
		for _, t := range s.Tests {
			for _, set := range append(append([]packet.Setting(nil), t.Hold...), t.Fail...) {
				if seen[set.Name] {
					continue
				}
				seen[set.Name] = true
				c.settings = append(c.settings, set)
				var probe packet.Spec
				set.Apply(&probe)
				for _, a := range []netip.Addr{probe.Src, probe.Dst} {
					if a.IsValid() && !addrs[a] {
						addrs[a] = true
						c.remote[version(a)] = append(c.remote[version(a)], a)
					}
				}
			}
		}
	}
	sort.Slice(c.settings, func(i, j int) bool { return c.settings[i].Name < c.settings[j].Name })
}

func version(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// all returns at least n candidates in the order in which they are to run.
func (c *chooser) all(n int) []candidate {
	out := make([]candidate, 0, n)
	add := func(s packet.Spec, reason string) {
		if p, ok := c.build(s); ok {
			out = append(out, p)
			out[len(out)-1].reason = reason
		}
	}
	// Rounds go through all suggestions, so that a small budget still visits
	// each rule. The first tries every boundary, unless there are so many rules
	// that the others would not be reached.
	const (
		rounds   = 4
		thorough = 512
	)
	first := 0
	if len(c.suggestions) > thorough {
		first = 1
	}
	for round := first; round < rounds && len(out) < 4*n; round++ {
		for _, s := range c.suggestions {
			for _, h := range s.Hooks {
				c.visit(s, h, round, add)
			}
		}
	}
	for len(out) < n {
		s := c.random()
		// Half of the random rest mixes values that the rules name.
		if len(c.settings) > 0 && c.rng.IntN(2) == 0 {
			for k := c.rng.IntN(5); k >= 0; k-- {
				c.settings[c.rng.IntN(len(c.settings))].Apply(&s)
			}
		}
		burst := 1
		if c.rng.IntN(40) == 0 {
			burst = 2 + c.rng.IntN(30)
		}
		for ; burst > 0; burst-- {
			add(s, "random")
		}
	}
	return out
}

// visit adds the packets of one suggestion at one hook: satisfied, and with
// each test failed alone.
func (c *chooser) visit(s packet.Suggestion, h packet.Hook, round int, add func(packet.Spec, string)) {
	satisfied := func() packet.Spec {
		spec := c.at(h)
		for _, t := range s.Tests {
			if len(t.Hold) > 0 {
				t.Hold[c.pick(round, len(t.Hold))].Apply(&spec)
			}
		}
		return spec
	}
	add(satisfied(), "satisfies "+s.Rule)
	add(satisfied(), "satisfies "+s.Rule)
	for i, t := range s.Tests {
		options := t.Fail
		if round > 0 && len(options) > 2 {
			options = []packet.Setting{options[c.rng.IntN(len(options))]}
		}
		for _, set := range options {
			spec := satisfied()
			set.Apply(&spec)
			// Settings that share properties with the failed one are redone in
			// their order, so that only this test is meant to fail.
			for j, other := range s.Tests {
				if j > i && len(other.Hold) > 0 {
					other.Hold[c.pick(round, len(other.Hold))].Apply(&spec)
				}
			}
			add(spec, "fails "+set.Name+" of "+s.Rule)
		}
		if round == 0 {
			for _, set := range t.Hold {
				spec := satisfied()
				set.Apply(&spec)
				add(spec, "boundary "+set.Name+" of "+s.Rule)
			}
		}
	}
}

// pick takes the first option in the first round, random ones later.
func (c *chooser) pick(round, n int) int {
	if round == 0 {
		return 0
	}
	return c.rng.IntN(n)
}

// at returns a random spec, whole and well formed, whose packet passes a hook.
// Packets that the engines treat unlike are left to the random rest: behind them
// the machines start anew, and a sequence that fills a state would be lost.
func (c *chooser) at(h packet.Hook) packet.Spec {
	s := c.random()
	s.Truncate, s.Keep, s.DataOffset = false, 0, 0
	s.Fragmented, s.FragmentOffset, s.MoreFragments = false, 0, false
	s.Headers = slices.DeleteFunc(s.Headers, func(e packet.Extension) bool { return e.Proto == packet.AH })
	v := s.Version
	if len(c.local[v]) == 0 || len(c.devices) == 0 {
		return s
	}
	switch h {
	case packet.Output:
		s.In = ""
		s.Src = c.local[v][c.rng.IntN(len(c.local[v]))]
	case packet.Postrouting:
		if c.rng.IntN(2) == 0 {
			s.In = ""
			s.Src = c.local[v][c.rng.IntN(len(c.local[v]))]
		} else if s.In == "" {
			s.In = c.devices[c.rng.IntN(len(c.devices))]
		}
	case packet.Input:
		if s.In == "" {
			s.In = c.devices[c.rng.IntN(len(c.devices))]
		}
		s.Dst = c.local[v][c.rng.IntN(len(c.local[v]))]
	case packet.Forward:
		if s.In == "" {
			s.In = c.devices[c.rng.IntN(len(c.devices))]
		}
		s.Dst = c.foreign(v)
	default:
		if s.In == "" {
			s.In = c.devices[c.rng.IntN(len(c.devices))]
		}
	}
	if s.In != "" {
		if c.host.Device(s.In) == nil {
			s.In = c.devices[c.rng.IntN(len(c.devices))]
		}
		s.Socket = nil
	}
	return s
}

// foreign returns an address that is routed to somebody else.
func (c *chooser) foreign(v int) netip.Addr {
	for range 8 {
		a := c.remote[v][c.rng.IntN(len(c.remote[v]))]
		if r, ok := c.host.Lookup(a); ok && r.Type == packet.Unicast {
			return a
		}
	}
	return c.remote[v][0]
}

var protocols = []uint8{packet.TCP, packet.TCP, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.UDP, 1, 1, packet.SCTP, packet.UDPLite, packet.DCCP, packet.ESP, packet.AH, 47, 2, 89, 4}

var flagSets = []uint8{0x02, 0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x01, 0x00, 0x29, 0x3f, 0x06, 0x03, 0x42, 0xc2, 0x20, 0x08}

var states = []packet.State{packet.New, packet.New, packet.New, packet.New, packet.Established, packet.Established, packet.Related, packet.Invalid, packet.Untracked}

// random returns a random spec: mostly ordinary traffic, with a share of
// fragments, extension headers and malformed headers.
func (c *chooser) random() packet.Spec {
	r := c.rng
	s := packet.Spec{Version: c.versions[r.IntN(len(c.versions))]}
	v := s.Version
	s.Src, s.Dst = c.anyAddr(v), c.anyAddr(v)
	s.Proto = protocols[r.IntN(len(protocols))]
	if s.Proto == 1 && v == 6 {
		s.Proto = packet.ICMPv6
	}
	s.SrcPort, s.DstPort = c.port(), c.port()
	s.TCPFlags = flagSets[r.IntN(len(flagSets))]
	if r.IntN(8) == 0 {
		s.TCPFlags = uint8(r.IntN(256))
	}
	if r.IntN(3) == 0 {
		s.MSS = uint16(500 + r.IntN(1200))
	}
	s.Type, s.Code = uint8(r.IntN(20)), 0
	if v == 6 && s.Proto == packet.ICMPv6 {
		s.Type = [...]uint8{1, 2, 3, 4, 128, 129, 130, 133, 134, 135, 136, 143}[r.IntN(12)]
	}
	if r.IntN(3) == 0 {
		s.Code = uint8(r.IntN(16))
	}
	s.TTL = 2 + r.IntN(250)
	s.TOS = uint8(r.IntN(256)) & 0xfc
	s.ID = uint16(r.IntN(1 << 16))
	s.Payload = make([]byte, r.IntN(64))
	s.State = states[r.IntN(len(states))]
	s.Reply = s.State == packet.Established && r.IntN(2) == 0
	if s.State == packet.Related && r.IntN(4) != 0 {
		c.relate(&s)
	}
	if r.IntN(4) == 0 {
		s.Mark = r.Uint32() >> (r.IntN(4) * 8)
	}
	if r.IntN(4) == 0 {
		s.ConnMark = r.Uint32() >> (r.IntN(4) * 8)
	}
	if len(c.devices) > 0 && r.IntN(3) != 0 {
		s.In = c.devices[r.IntN(len(c.devices))]
	} else {
		s.Src = c.local[v][r.IntN(len(c.local[v]))]
		if r.IntN(4) != 0 {
			s.Socket = &packet.Socket{UID: uint32(r.IntN(2) * r.IntN(70000)), GID: uint32(r.IntN(2) * r.IntN(70000))}
		}
	}
	if r.IntN(4) == 0 && s.In != "" {
		s.Dst = c.local[v][r.IntN(len(c.local[v]))]
	}
	s.Random = []uint32{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
	switch r.IntN(40) {
	case 0:
		s.Fragmented, s.MoreFragments = true, true
		s.Payload = make([]byte, 64)
	case 1:
		s.Fragmented, s.FragmentOffset = true, uint16(1+r.IntN(200))
		s.MoreFragments = r.IntN(2) == 0
		s.Payload = make([]byte, 64)
	case 2:
		s.Truncate, s.Keep = true, r.IntN(20)
	case 3:
		s.DataOffset = uint8(r.IntN(16))
	case 4, 5:
		if v == 6 {
			s.Headers = []packet.Extension{{Proto: [...]uint8{0, 60, 43, 51}[r.IntN(4)]}}
		} else {
			s.IPOptions = []byte{1, 1, 1, 0}
		}
	}
	return s
}

// relate makes a packet an ICMP error about a connection of its destination.
func (c *chooser) relate(s *packet.Spec) {
	about := packet.Spec{Version: s.Version, Src: s.Dst, Dst: s.Src, Proto: packet.TCP, SrcPort: s.DstPort, DstPort: s.SrcPort, TCPFlags: 0x10}
	if c.rng.IntN(2) == 0 {
		about.Proto = packet.UDP
	}
	p, err := about.Packet()
	if err != nil {
		return
	}
	s.Payload = p.Data
	s.Proto, s.Type = packet.ICMP, [...]uint8{3, 11, 12}[c.rng.IntN(3)]
	if s.Version == 6 {
		s.Proto, s.Type = packet.ICMPv6, uint8(1+c.rng.IntN(4))
	}
	s.Code = 0
}

func (c *chooser) anyAddr(v int) netip.Addr {
	if c.rng.IntN(4) != 0 {
		return c.remote[v][c.rng.IntN(len(c.remote[v]))]
	}
	if v == 4 {
		return netip.AddrFrom4([4]byte{uint8(1 + c.rng.IntN(223)), uint8(c.rng.IntN(256)), uint8(c.rng.IntN(256)), uint8(1 + c.rng.IntN(254))})
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for i := 4; i < 16; i++ {
		a[i] = uint8(c.rng.IntN(256))
	}
	return netip.AddrFrom16(a)
}

var ports = []uint16{22, 25, 53, 67, 80, 123, 443, 8080, 1024, 1023, 65535, 0, 1}

func (c *chooser) port() uint16 {
	if c.rng.IntN(2) == 0 {
		return ports[c.rng.IntN(len(ports))]
	}
	return uint16(c.rng.IntN(1 << 16))
}

// tick is the grid of the virtual clock: a whole number of jiffies for each
// CONFIG_HZ that distributions set (100, 250, 300, 1000). xtables counts
// jiffies where nf_tables counts nanoseconds, so that between the points of the
// grid the two round differently.
const tick = 20_000_000

// build turns a spec into a packet at the next moment of the clock. ok is false
// for specs that contradict themselves.
func (c *chooser) build(s packet.Spec) (candidate, bool) {
	s = c.place(s)
	switch {
	case c.rng.IntN(50) == 0:
		c.clock += int64(c.rng.IntN(12000)) * tick
	case c.rng.IntN(10) == 0:
		c.clock += int64(c.rng.IntN(300)) * tick
	case c.rng.IntN(3) == 0:
		c.clock += tick
	}
	c.clock += s.Time // a time that was set is a pause
	s.Time = c.clock
	p, err := s.Packet()
	if err != nil {
		return candidate{}, false
	}
	return candidate{spec: s, packet: p}, true
}

// place makes the parts of a spec agree that settings may have set apart.
func (c *chooser) place(s packet.Spec) packet.Spec {
	if s.Src.IsValid() && s.Dst.IsValid() && s.Src.Is4() != s.Dst.Is4() {
		if v := version(s.Src); v != s.Version {
			s.Src = c.anyAddr(s.Version)
		}
		if v := version(s.Dst); v != s.Version {
			s.Dst = c.anyAddr(s.Version)
		}
	}
	if s.Src.IsValid() {
		s.Version = version(s.Src)
	}
	if s.Version == 6 && s.Dst.IsValid() && s.Dst.IsUnspecified() {
		s.Dst = c.foreign(6) // what the stack does with "::" is its own matter
	}
	if s.Out != "" {
		if r, ok := c.host.Lookup(s.Dst); !ok || r.Device != s.Out {
			if d := c.host.Device(s.Out); d != nil {
				for _, a := range d.Addrs {
					if version(a.Addr()) == s.Version && a.Contains(a.Addr().Next()) {
						s.Dst = a.Addr().Next()
					}
				}
			}
		}
	}
	return c.link(s)
}

// link makes device, frame and packet type agree.
func (c *chooser) link(s packet.Spec) packet.Spec {
	if s.In == "" {
		s.Link, s.PktType = nil, packet.TypeHost
		if many(s.Dst) && s.TTL < 0 {
			s.TTL = 1 // some devices send it without a TTL, some do not
		}
		// No socket sends from an address of another link, or from none.
		if own := c.local[s.Version]; len(own) > 0 && (s.Src.IsLinkLocalUnicast() && s.Version == 6 || s.Src.IsUnspecified() || many(s.Src)) {
			s.Src = own[0]
		}
		return s
	}
	s.Socket = nil
	d := c.host.Device(s.In)
	// What goes to many hosts comes back from the loopback device only when a
	// socket asks for it, which is not the way of an arriving packet.
	if d != nil && d.Loopback && many(s.Dst) && len(c.devices) > 0 {
		s.In = c.devices[0]
		d = c.host.Device(s.In)
	}
	switch {
	case d == nil:
	case d.Loopback || !d.Ethernet:
		s.Link, s.PktType = nil, packet.TypeHost
	default:
		own := packet.Link{Src: [6]byte{2, 0, 0, 1, 0, 9}}
		if s.Link != nil {
			own.Src = s.Link.Src
		}
		own.Dst = d.MAC
		if s.PktType != packet.TypeHost {
			own.Dst = frames[s.PktType&3]
		}
		s.Link = &own
	}
	return s
}

// frames are Ethernet destinations by packet type.
var frames = [4][6]byte{
	packet.TypeBroadcast: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	packet.TypeMulticast: {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01},
	packet.TypeOtherHost: {0x02, 0xff, 0xff, 0xff, 0xff, 0xfe},
}

// many reports whether an address is that of several hosts.
func many(a netip.Addr) bool { return a.IsMulticast() || a == broadcast4 }
