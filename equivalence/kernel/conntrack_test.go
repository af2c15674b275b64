package kernel

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nftmigrate/packet"
)

const empty = "table inet f {\n chain i {\n type filter hook input priority 0\n }\n}"

// TestStates brings packets into each state and looks what the kernel found.
func TestStates(t *testing.T) {
	needKernel(t)
	m := nftables(t, `table inet f { chain r { type filter hook prerouting priority -300
  udp dport 99 notrack
 }
}`, Options{})
	ask := func(s packet.Spec, state packet.State, reply bool) packet.Spec {
		s.State, s.Reply = state, reply
		if s.Proto == packet.TCP && state != packet.New {
			s.TCPFlags = packet.ACK
		}
		return s
	}
	udp := packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, In: "eth0"}
	udp6 := with(udp, func(s *packet.Spec) { s.Version = 6 })
	echo := packet.Spec{Proto: packet.ICMP, Type: 8, SrcPort: 77, In: "eth0"}
	echo6 := packet.Spec{Version: 6, Proto: packet.ICMPv6, Type: 128, SrcPort: 77, In: "eth0"}
	out := packet.Spec{Proto: packet.UDP, Src: addr("192.0.2.1"), Dst: addr("192.0.2.77"), SrcPort: 1, DstPort: 2, ID: 1, Socket: root}
	// The host sent what these errors quote.
	sent := packet.Spec{Proto: packet.TCP, Src: addr("192.0.2.1"), Dst: addr("192.0.2.77"), SrcPort: 1, DstPort: 2, TCPFlags: packet.SYN}
	sent6 := packet.Spec{Proto: packet.UDP, Src: addr("2001:db8::1"), Dst: addr("2001:db8::77"), SrcPort: 1, DstPort: 2}
	for _, c := range []struct {
		name  string
		spec  packet.Spec
		state packet.State
		reply bool
	}{
		{"tcp new", syn(22), packet.New, false},
		{"tcp picked up", with(syn(22), func(s *packet.Spec) { s.TCPFlags = packet.ACK }), packet.New, false},
		{"tcp established", ask(syn(22), packet.Established, false), packet.Established, false},
		{"tcp reply", ask(syn(22), packet.Established, true), packet.Established, true},
		{"tcp rst of an established one", with(ask(syn(22), packet.Established, false), func(s *packet.Spec) { s.TCPFlags = packet.RST }), packet.Established, false},
		{"tcp reset of none", with(syn(22), func(s *packet.Spec) { s.TCPFlags = packet.RST }), packet.Invalid, false},
		{"tcp flags", with(syn(22), func(s *packet.Spec) { s.TCPFlags = packet.SYN | packet.FIN }), packet.Invalid, false},
		{"tcp checksum", with(syn(22), func(s *packet.Spec) { s.BadChecksum = true }), packet.Invalid, false},
		{"udp new", udp, packet.New, false},
		{"udp established", ask(udp, packet.Established, false), packet.Established, false},
		{"udp6 reply", ask(udp6, packet.Established, true), packet.Established, true},
		{"udp out", out, packet.New, false},
		{"udp out reply", ask(out, packet.Established, true), packet.Established, true},
		{"echo", echo, packet.New, false},
		{"echo established", ask(echo, packet.Established, false), packet.Established, false},
		{"echo reply without request", with(echo, func(s *packet.Spec) { s.Type = 0 }), packet.Invalid, false},
		{"echo reply", with(ask(echo, packet.Established, true), func(s *packet.Spec) { s.Type = 0 }), packet.Established, true},
		{"echo6 reply", with(ask(echo6, packet.Established, true), func(s *packet.Spec) { s.Type = 129 }), packet.Established, true},
		{"neighbour solicitation", with(echo6, func(s *packet.Spec) { s.Type = 135; s.TTL = 255; s.Payload = make([]byte, 16) }), packet.Untracked, false},
		{"error about a request", ask(quoting(3, 3, sent, "eth0"), packet.Related, true), packet.Related, true},
		{"error about a reply", ask(quoting(3, 3, sent, "eth0"), packet.Related, false), packet.Related, false},
		{"error about nothing known", quoting(3, 3, sent, "eth0"), packet.Invalid, false},
		{"error6", ask(quoting(1, 4, sent6, "eth0"), packet.Related, true), packet.Related, true},
		{"tcp expected", with(syn(22), func(s *packet.Spec) { s.State, s.ConnMark = packet.Related, 3 }), packet.Related, false},
		{"udp6 expected", ask(udp6, packet.Related, false), packet.Related, false},
		{"udp out expected", ask(out, packet.Related, false), packet.Related, false},
		{"sctp established", ask(packet.Spec{Proto: packet.SCTP, SrcPort: 1, DstPort: 2, In: "eth0", Payload: []byte{0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, packet.Established, false), packet.Established, false},
		{"gre established", ask(packet.Spec{Proto: 47, In: "eth0", Payload: make([]byte, 8)}, packet.Established, false), packet.Established, false},
		{"unknown protocol", ask(packet.Spec{Proto: 200, In: "eth0", Payload: make([]byte, 8)}, packet.Established, true), packet.Established, true},
		{"exempted", ask(udp, packet.Untracked, false), packet.Untracked, false},
		{"exempted on its way out", ask(out, packet.Untracked, false), packet.Untracked, false},
		{"udp new again", ask(udp, packet.New, false), packet.New, false},
		{"notrack", with(udp, func(s *packet.Spec) { s.DstPort = 99 }), packet.Untracked, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				p := build(t, c.spec)
				f, err := m.Run(p)
				if err != nil {
					t.Fatal(err)
				}
				if f.Observed.State != c.state || f.Observed.Reply != c.reply {
					t.Errorf("observed %v, reply %v; want %v, %v", f.Observed.State, f.Observed.Reply, c.state, c.reply)
				}
				tracked := c.state == packet.New || c.state == packet.Established || c.state == packet.Related
				if (f.Observed.Entry != nil) != tracked || f.Verdict == packet.Accept && f.Tracked != tracked {
					t.Errorf("entry %v, tracked %v", f.Observed.Entry, f.Tracked)
				}
				if p.Tracking.Entry != nil && tracked && p.Data[9] != packet.ICMP && p.Data[6] != packet.ICMPv6 {
					same := cmpopts.IgnoreFields(packet.Entry{}, "Status", "Expires")
					address := cmp.Comparer(func(a, b packet.Tuple) bool { return a == b })
					if d := cmp.Diff(p.Tracking.Entry, f.Observed.Entry, same, address); d != "" {
						t.Errorf("entry wanted and observed (-want +got):\n%s", d)
					}
				}
			}
		})
	}
}

// TestFlow lets packets meet the connections that earlier ones made.
func TestFlow(t *testing.T) {
	needKernel(t)
	reply := packet.Spec{Proto: packet.UDP, Src: addr("192.0.2.1"), Dst: addr("192.0.2.77"), SrcPort: 53, DstPort: 5000, ID: 1, Socket: root}
	request := packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, In: "eth0"}
	m := nftables(t, empty, Options{Flow: true})
	for i, c := range []struct {
		spec  packet.Spec
		state packet.State
		reply bool
	}{{request, packet.New, false}, {request, packet.New, false}, {reply, packet.Established, true}, {request, packet.Established, false}} {
		f, err := m.Run(build(t, c.spec))
		if err != nil {
			t.Fatal(err)
		}
		if f.Observed.State != c.state || f.Observed.Reply != c.reply || f.Observed.Entry == nil {
			t.Errorf("packet %d: observed %+v, want %v, reply %v", i, f.Observed, c.state, c.reply)
		}
	}
	if err := m.Forget(); err != nil {
		t.Fatal(err)
	}
	if f, err := m.Run(build(t, reply)); err != nil || f.Observed.State != packet.New {
		t.Errorf("after Forget: observed %v, %v, want new", f.Observed.State, err)
	}
	reply.State = packet.New
	if err := m.Prepare(build(t, with(request, func(s *packet.Spec) { s.State = packet.Established; s.ConnMark = 9 }))); err != nil {
		t.Fatal(err)
	}
	if f, err := m.Run(build(t, request)); err != nil || f.Observed.State != packet.Established || f.ConnMark != 9 {
		t.Errorf("after Prepare: observed %v, mark %d, %v, want established, 9", f.Observed.State, f.ConnMark, err)
	}
}

// TestFragments shows that tracking collects fragments and its absence lets
// them through one by one.
func TestFragments(t *testing.T) {
	needKernel(t)
	whole := packet.Spec{Proto: packet.UDP, SrcPort: 1, DstPort: 2, Length: 56, ID: 5, In: "eth0", Dst: addr("198.51.100.9")}
	data := build(t, whole).Data
	parts := func(id byte) []*packet.Packet {
		var out []*packet.Packet
		for i, cut := range [][2]int{{20, 36}, {36, 56}} {
			p := build(t, packet.Spec{Proto: packet.UDP, Length: 20 + cut[1] - cut[0], MoreFragments: i == 0,
				FragmentOffset: uint16(cut[0]-20) / 8, ID: uint16(id), In: "eth0", Dst: addr("198.51.100.9")})
			copy(p.Data[20:], data[cut[0]:cut[1]])
			out = append(out, p)
		}
		return out
	}
	for _, c := range []struct {
		options Options
		want    [2]string
		length  int
	}{
		{Options{}, [2]string{"drop prerouting", "accept postrouting by eth1, 192.0.2.77:1 > 198.51.100.9:2"}, 56},
		{Options{Untracked: true}, [2]string{"accept postrouting by eth1, 192.0.2.77:1 > 198.51.100.9:2, not tracked",
			"accept postrouting by eth1, not tracked"}, 40},
	} {
		for name, m := range map[string]*Machine{"nf_tables": nftables(t, empty, c.options), "xtables": xtables(t, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n", "*filter\nCOMMIT\n", c.options)} {
			for i, p := range parts(9) {
				f, err := m.Run(p)
				if err != nil {
					t.Fatal(err)
				}
				if got := describe(f); got != c.want[i] {
					t.Errorf("%s: %+v: fragment %d: got %s, want %s", name, c.options, i, got, c.want[i])
				}
				if i == 1 && len(f.Data) != c.length {
					t.Errorf("%s: %+v: %d bytes came out, want %d", name, c.options, len(f.Data), c.length)
				}
			}
		}
	}
}

// TestHotdrop: the tcp match of xtables drops a segment without ports, nf_tables
// passes over the rule.
func TestHotdrop(t *testing.T) {
	needKernel(t)
	short := build(t, packet.Spec{Proto: packet.TCP, Truncate: true, Keep: 2, In: "eth0"})
	x := xtables(t, "*filter\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n", "*filter\nCOMMIT\n", Options{})
	n := nftables(t, "table ip f {\n chain i {\n type filter hook input priority 0\n tcp dport 22 accept\n }\n}", Options{})
	for _, c := range []struct {
		m    *Machine
		want packet.Verdict
	}{{x, packet.Drop}, {n, packet.Accept}} {
		f, err := c.m.Run(short)
		if err != nil || f.Verdict != c.want || f.Observed.State != packet.Invalid {
			t.Errorf("got %v, %v, observed %v, want %v", f.Verdict, err, f.Observed.State, c.want)
		}
	}
}

// TestShortTCP: a TCP header that claims less than its 20 bytes is in no
// connection, not even in one that there is (symbolic.Space.Domain).
func TestShortTCP(t *testing.T) {
	needKernel(t)
	m := nftables(t, "table ip f {\n chain i {\n type filter hook input priority 0\n ct state new accept\n }\n}", Options{})
	for _, state := range []packet.State{packet.New, packet.Established} {
		for offset := uint8(1); offset <= 6; offset++ {
			s := packet.Spec{Proto: packet.TCP, TCPFlags: packet.SYN, TCPOptions: []byte{1, 1, 1, 1}, In: "eth0", State: state, DataOffset: offset}
			want := state
			if offset < 5 {
				want = packet.Invalid
			}
			if state == packet.Established {
				s.TCPFlags = packet.ACK
			}
			if offset == 1 {
				s.DataOffset = 16 // none
			}
			f, err := m.Run(build(t, s))
			if err != nil || f.Observed.State != want {
				t.Errorf("%v, offset %d: %v, observed %v, want %v", state, s.DataOffset, err, f.Observed.State, want)
			}
		}
	}
}

// TestDelivered: IPv4 puts together what it delivers, so that no fragment comes to
// the input hook and its rules see the length of the whole, with the header and
// the mark of the first fragment (symbolic.Space.Reassembled).
func TestDelivered(t *testing.T) {
	needKernel(t)
	const rules = `table ip f {
 chain p {
  type filter hook prerouting priority -450
  ip frag-off & 0x1fff == 0 meta mark set 1
  ip frag-off & 0x1fff != 0 meta mark set 2
 }
 chain i {
  type filter hook input priority 0
  ip frag-off & 0x3fff != 0 drop
  ip length != 60 drop
  udp dport 53 meta mark 1 accept
  drop
 }
}`
	m := nftables(t, rules, Options{Untracked: true})
	whole := packet.Spec{Proto: packet.UDP, SrcPort: 1, DstPort: 53, In: "eth0", ID: 7, Payload: make([]byte, 32)}
	data := build(t, whole).Data
	part := func(from, to int, more bool) *packet.Packet {
		s := whole
		s.FragmentOffset, s.MoreFragments, s.Payload = uint16(from/8), more, nil
		p := build(t, with(s, func(s *packet.Spec) { s.Payload = make([]byte, to-from-map[bool]int{true: 8}[from == 0]) }))
		copy(p.Data[20:], data[20+from:20+to])
		return p
	}
	for i, p := range []*packet.Packet{part(0, 24, true), part(24, 40, false)} {
		f, err := m.Run(p)
		if want := []packet.Verdict{packet.Drop, packet.Accept}[i]; err != nil || f.Verdict != want {
			t.Errorf("fragment %d: %v, %v at %v, want %v", i, err, f.Verdict, f.Last, want)
		}
	}
}

// TestRefreshed: rules see how long a connection lives on once tracking has seen
// the packet, and so it is told.
func TestRefreshed(t *testing.T) {
	needKernel(t)
	const due = 120 // net.netfilter.nf_conntrack_udp_timeout_stream
	x := xtables(t, "*filter\n-A INPUT -m conntrack --ctexpire 100:140 -j DROP\nCOMMIT\n", "*filter\nCOMMIT\n", Options{})
	n := nftables(t, "table ip f {\n chain i {\n type filter hook input priority 0\n ct expiration 100s-140s drop\n }\n}", Options{})
	for name, m := range map[string]*Machine{"xtables": x, "nf_tables": n} {
		for _, state := range []packet.State{packet.Established, packet.New} {
			p := build(t, packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, In: "eth0", State: state})
			want := packet.Accept
			if state == packet.Established {
				want = packet.Drop
			}
			f, err := m.Run(p)
			if err != nil || f.Verdict != want || f.Observed.Entry == nil || state == packet.Established && f.Observed.Entry.Expires != due {
				t.Errorf("%s: %v: %v, %v, observed %+v, want %v and %d s", name, state, f.Verdict, err, f.Observed.Entry, want, due)
			}
		}
	}
}

// TestFirm: a bucket that has refused a packet refuses it again, and is as full as
// if it had been asked once (symbolic.Instance.Firm).
func TestFirm(t *testing.T) {
	needKernel(t)
	const burst = 5
	for name, m := range map[string]*Machine{
		"xtables": xtables(t, "*filter\n:rate -\n-A INPUT -j rate\n-A INPUT -j rate\n-A INPUT -j DROP\n-A rate -m limit --limit 1/hour --limit-burst 5 -j ACCEPT\nCOMMIT\n", "*filter\nCOMMIT\n", Options{}),
		"nf_tables": nftables(t, `table inet f {
 chain rate { limit rate 1/hour burst 5 packets accept; }
 chain i { type filter hook input priority 0; jump rate; jump rate; drop; }
}`, Options{}),
	} {
		p := build(t, packet.Spec{Proto: packet.UDP, DstPort: 53, In: "eth0"})
		for i := range 3 * burst {
			want := packet.Accept
			if i >= burst {
				want = packet.Drop
			}
			if f, err := m.Run(p); err != nil || f.Verdict != want {
				t.Errorf("%s: packet %d: %v, %v, want %v", name, i, f.Verdict, err, want)
			}
		}
	}
}

// TestCounters: rules that ask for counters switch them on, and what they saw is
// told, for dropped packets too.
func TestCounters(t *testing.T) {
	needKernel(t)
	udp := packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, Length: 100, In: "eth0"}
	about := func(s packet.Spec) *packet.Packet { return build(t, s) }
	for name, m := range map[string]*Machine{
		"xtables":   xtables(t, "*filter\n-A INPUT -m connbytes --connbytes 1:1 --connbytes-mode packets --connbytes-dir both -p udp -m udp --dport 54 -j DROP\nCOMMIT\n", "*filter\nCOMMIT\n", Options{}),
		"nf_tables": nftables(t, "table inet f {\n chain i {\n type filter hook input priority 0\n udp dport 54 ct packets 1 drop\n }\n}", Options{}),
	} {
		for _, c := range []struct {
			p              *packet.Packet
			verdict        packet.Verdict
			packets, bytes [2]uint64
		}{
			{about(udp), packet.Accept, [2]uint64{1, 0}, [2]uint64{100, 0}},
			{about(with(udp, func(s *packet.Spec) { s.DstPort = 54 })), packet.Drop, [2]uint64{1, 0}, [2]uint64{100, 0}},
			{about(with(udp, func(s *packet.Spec) { s.State, s.Reply = packet.Established, true })), packet.Accept, [2]uint64{0, 1}, [2]uint64{0, 100}},
		} {
			f, err := m.Run(c.p)
			e := f.Observed.Entry
			if err != nil || f.Verdict != c.verdict || e == nil || !e.Accounting || e.Packets != c.packets || e.Bytes != c.bytes {
				t.Errorf("%s: %v: %v, %v, %+v, want %v, counters %v %v", name, c.p, f.Verdict, err, e, c.verdict, c.packets, c.bytes)
			}
		}
	}
}

// TestZoneOfDirection has rules look for connections in a zone of one direction:
// what was made before is not found, and what packets make is cleared away.
func TestZoneOfDirection(t *testing.T) {
	needKernel(t)
	m := nftables(t, `table inet t {
 chain c { type filter hook prerouting priority -300
  meta l4proto { udp, 47 } ct original zone set 7
 }
}`, Options{})
	fresh := packet.Spec{Proto: packet.UDP, SrcPort: 5000, DstPort: 53, In: "eth0"}
	for i := range 2 {
		if f, err := m.Run(build(t, fresh)); err != nil || f.Observed.State != packet.New {
			t.Errorf("packet %d: observed %v, %v, want new", i, f.Observed.State, err)
		}
	}
	met := packet.Spec{Proto: 47, In: "eth0", Payload: make([]byte, 8), State: packet.Established}
	if f, err := m.Run(build(t, met)); !errors.Is(err, ErrNotRunnable) || f.Verdict != packet.Drop {
		t.Errorf("established elsewhere: %v, %v, want one that is not run", f.Verdict, err)
	}
	met.Proto, met.Payload = 50, make([]byte, 8)
	if f, err := m.Run(build(t, met)); err != nil || f.Observed.State != packet.Established {
		t.Errorf("established here: observed %v, %v", f.Observed.State, err)
	}
}
