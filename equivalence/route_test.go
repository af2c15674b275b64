package equivalence

import (
	"net/netip"
	"testing"

	"nftmigrate/packet"
)

// A fake machine accepts everything and counts what its stages see.
type fake struct {
	hooks []packet.Hook
	seen  []packet.Hook
	run   func(f *packet.Flight) packet.Verdict
}

func (m *fake) Stages() (stages []packet.Stage) {
	for _, h := range m.hooks {
		stages = append(stages, packet.Stage{Hook: h, Run: func(f *packet.Flight) packet.Verdict {
			m.seen = append(m.seen, f.Hook)
			if m.run != nil {
				return m.run(f)
			}
			return packet.Accept
		}})
	}
	return stages
}
func (m *fake) NeedsConntrack(int) bool          { return false }
func (m *fake) Suggestions() []packet.Suggestion { return nil }
func (m *fake) Reset()                           { m.seen = nil }

var allHooks = []packet.Hook{packet.Prerouting, packet.Input, packet.Forward, packet.Output, packet.Postrouting}

func TestRoute(t *testing.T) {
	addr := netip.MustParseAddr
	const dropped, delivered, forwarded, sent = packet.Prerouting, packet.Input, packet.Postrouting, packet.Postrouting
	tests := []struct {
		name   string
		spec   packet.Spec
		accept bool
		last   packet.Hook
		hooks  int
	}{
		{"delivered", packet.Spec{In: "eth0", Proto: packet.UDP}, true, delivered, 2},
		{"forwarded", packet.Spec{In: "eth0", Dst: addr("198.51.100.9"), Proto: packet.UDP}, true, forwarded, 3},
		{"sent", packet.Spec{Dst: addr("198.51.100.9"), Proto: packet.UDP}, true, sent, 2},
		{"loopback source from outside", packet.Spec{In: "eth0", Src: addr("127.0.0.5"), Proto: packet.UDP}, false, dropped, 1},
		{"multicast source", packet.Spec{In: "eth0", Src: addr("224.0.0.5"), Proto: packet.UDP}, false, dropped, 1},
		{"broadcast source", packet.Spec{In: "eth1", Src: addr("192.0.2.255"), Proto: packet.UDP}, true, delivered, 2},
		{"part of a datagram for the host", packet.Spec{In: "eth0", Proto: packet.UDP, FragmentOffset: 4, Payload: make([]byte, 8)}, false, dropped, 1},
		{"part of a datagram for others", packet.Spec{In: "eth0", Dst: addr("198.51.100.9"), Proto: packet.UDP, FragmentOffset: 4, Payload: make([]byte, 8)}, true, forwarded, 3},
		{"last hop", packet.Spec{In: "eth0", Dst: addr("198.51.100.9"), Proto: packet.UDP, TTL: 1}, false, dropped, 1},
		{"frame for another host", packet.Spec{In: "eth0", Proto: packet.UDP, PktType: packet.TypeOtherHost}, false, dropped, 0},
		{"too long for the next device", packet.Spec{In: "eth0", Dst: addr("198.51.100.9"), Proto: packet.UDP, DontFrag: true, Length: 2000}, false, dropped, 1},
		{"may be cut up", packet.Spec{In: "eth0", Dst: addr("198.51.100.9"), Proto: packet.UDP, Length: 2000}, true, forwarded, 3},
		{"many hosts beyond the host", packet.Spec{Src: addr("192.0.2.1"), Dst: addr("224.0.0.9"), Proto: packet.UDP, TTL: 1}, true, sent, 2},
		{"many hosts without the last hop", packet.Spec{Src: addr("192.0.2.1"), Dst: addr("224.0.0.9"), Proto: packet.UDP, TTL: 7}, false, packet.Output, 1},
		{"reserved scope", packet.Spec{In: "eth0", Version: 6, Dst: addr("ff00::1"), Proto: packet.UDP}, false, dropped, 0},
		{"link-local source to another link", packet.Spec{In: "eth1", Src: addr("fe80::5"), Dst: addr("2001:db8::9"), Proto: packet.UDP}, false, dropped, 1},
		{"link-local source to its link", packet.Spec{In: "eth0", Src: addr("fe80::5"), Dst: addr("2001:db8::9"), Proto: packet.UDP}, true, forwarded, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.spec.Packet()
			if err != nil {
				t.Fatal(err)
			}
			m := &fake{hooks: allHooks, run: func(f *packet.Flight) packet.Verdict {
				if f.Hook == packet.Output && f.Data[8] == 7 {
					f.Data[8] = 0 // as a rule may
				}
				return packet.Accept
			}}
			f := NewWalker(m, packet.DefaultHost([]string{"eth0", "eth1"})).Run(p)
			if accepted := f.Verdict == packet.Accept; accepted != tt.accept || f.Last != tt.last || len(m.seen) != tt.hooks {
				t.Errorf("accepted %v, last %v, hooks %v; want %v, %v, %d hooks", accepted, f.Last, m.seen, tt.accept, tt.last, tt.hooks)
			}
		})
	}
}

// TestCheckShrinks wants the one thing that two machines tell apart, found and
// made small, and the same both times.
func TestCheckShrinks(t *testing.T) {
	drop := func(f *packet.Flight) packet.Verdict {
		if len(f.Data) > 22 && f.Data[0]>>4 == 4 && f.Data[9] == packet.UDP {
			return packet.Drop
		}
		return packet.Accept
	}
	check := func() *Report {
		r, err := Check(&fake{hooks: allHooks[:1]}, &fake{hooks: allHooks[:1], run: drop}, Options{Packets: 500, Versions: []int{4}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := check()
	if r.Word != Different || len(r.Differences) != 1 {
		t.Fatalf("%s with %d differences, want one", r.Word, len(r.Differences))
	}
	d := r.Differences[0]
	if len(d.Packet.Data) != 28 || len(d.Before) != 0 || d.Packet.Mark != 0 {
		t.Errorf("shrunk to %v with %d before, want a bare UDP packet", d.Packet, len(d.Before))
	}
	if again := check().Differences[0].Packet.String(); again != d.Packet.String() {
		t.Errorf("chose %s, and then %s", d.Packet, again)
	}
}

// TestWalkStatus: the core of NAT notes in the connection that it looked only
// where there is a chain of NAT (shown by TestKernelConfirms in
// equivalence/bugs).
func TestWalkStatus(t *testing.T) {
	p, err := packet.Spec{In: "eth0", Proto: packet.UDP, State: packet.New}.Packet()
	if err != nil {
		t.Fatal(err)
	}
	var status uint32
	look := func(f *packet.Flight) packet.Verdict {
		status = f.Tracking.Entry.Status
		return packet.Accept
	}
	for _, c := range []struct {
		hooks []packet.Hook
		want  uint32
	}{{nil, 0}, {[]packet.Hook{packet.Postrouting}, packet.StatusDstNATDone}} {
		m := natted{fake{hooks: []packet.Hook{packet.Input}, run: look}, c.hooks}
		NewWalker(&m, packet.DefaultHost([]string{"eth0"})).Run(p)
		if status != c.want {
			t.Errorf("chains of NAT at %v: status %#x at the input hook, want %#x", c.hooks, status, c.want)
		}
	}
}

// natted is a machine that also has chains of NAT.
type natted struct {
	fake
	hooks []packet.Hook
}

func (m *natted) Stages() []packet.Stage {
	stages := m.fake.Stages()
	for _, h := range m.hooks {
		stages = append(stages, packet.Stage{Hook: h, Kind: packet.NAT, Run: func(*packet.Flight) packet.Verdict { return packet.Accept }})
	}
	return stages
}
