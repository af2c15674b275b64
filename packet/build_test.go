package packet

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func build(t *testing.T, s Spec) *Packet {
	t.Helper()
	p, err := s.Packet()
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return p
}

// TestPacketBytes compares with bytes that were put together by hand from the
// RFCs, checksums included.
func TestPacketBytes(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		name string
		spec Spec
		want string
	}{
		{
			"icmp echo request", Spec{Src: a, Dst: b, Proto: ICMP, Type: 8, SrcPort: 0x1234},
			"4500001c000000004001" + "f692" + "c000024dc0000201" + "0800e5ca12340001",
		},
		{
			"fragment of 8 bytes at 16, more to come",
			Spec{Src: a, Dst: b, Proto: UDP, FragmentOffset: 2, MoreFragments: true, Payload: []byte("abcdefgh")},
			"4500001c000020024011" + "d680" + "c000024dc0000201" + "6162636465666768",
		},
		{
			"one padded option, no transport", Spec{Src: a, Dst: b, Proto: 253, TTL: -1, IPOptions: []byte{7, 3, 4}},
			"46000018" + "00000000" + "00fd" + "2998" + "c000024dc0000201" + "07030400",
		},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(build(t, tt.spec).Data); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// onesComplement sums the way RFC 1071 describes, apart from the code under
// test.
func onesComplement(b []byte) uint16 {
	var sum uint64
	for i, c := range b {
		if i%2 == 0 {
			sum += uint64(c) << 8
		} else {
			sum += uint64(c)
		}
	}
	return uint16(sum % 0xffff)
}

func TestChecksumsAreRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		s := Spec{
			Version: 4 + 2*(i%2), Proto: []uint8{TCP, UDP, ICMP, ICMPv6, UDPLite, DCCP}[random.IntN(6)],
			SrcPort: uint16(random.Uint32()), DstPort: uint16(random.Uint32()), TCPFlags: uint8(random.Uint32()),
			Payload: make([]byte, random.IntN(40)), TTL: random.IntN(256), TOS: uint8(random.Uint32()),
		}
		for j := range s.Payload {
			s.Payload[j] = uint8(random.Uint32())
		}
		if s.Version == 6 {
			s.Headers = []Extension{{Proto: DestOpts}, {Proto: AH, Body: make([]byte, 10)}}
		}
		data := build(t, s).Data
		checkSums(t, data, s.Proto)
		other := netip.AddrFrom4([4]byte{10, 1, 2, uint8(i)})
		if s.Version == 6 {
			other = netip.MustParseAddr("fd00::1:2")
		}
		RewriteAddr(data, i%3 == 0, other)
		RewritePort(data, i%5 == 0, uint16(random.Uint32()))
		if s.Proto != DCCP { // whose checksum the kernel does not adapt
			checkSums(t, data, s.Proto)
		}
		fixed := bytes.Clone(data)
		FixChecksums(fixed)
		checkSums(t, fixed, s.Proto)
	}
}

func checkSums(t *testing.T, data []byte, proto uint8) {
	t.Helper()
	if data[0]>>4 == 4 && onesComplement(data[:20]) != 0 {
		t.Fatalf("header checksum of %x", data)
	}
	l, ok := locate(data)
	if !ok || l.proto != proto {
		t.Fatalf("no transport header of %d in %x", proto, data)
	}
	covered := bytes.Clone(data[l.start:])
	if proto != ICMP || data[0]>>4 == 6 {
		addrs := data[12:20]
		if data[0]>>4 == 6 {
			addrs = data[8:40]
		}
		n := len(covered)
		covered = append(covered, make([]byte, n%2)...)
		covered = append(covered, addrs...)
		covered = append(covered, 0, proto, byte(n>>8), byte(n))
	}
	if onesComplement(covered) != 0 {
		t.Fatalf("transport checksum of protocol %d in %x", proto, data)
	}
}

func TestWrongChecksumStaysWrong(t *testing.T) {
	p := build(t, Spec{Proto: TCP, BadChecksum: true})
	fixed := bytes.Clone(p.Data)
	FixChecksums(fixed)
	if bytes.Equal(fixed, p.Data) {
		t.Fatal("BadChecksum made a right one")
	}
	RewriteAddr(p.Data, true, netip.MustParseAddr("10.0.0.1"))
	RewriteAddr(fixed, true, netip.MustParseAddr("10.0.0.1"))
	if bytes.Equal(fixed, p.Data) {
		t.Fatal("a rewrite repaired a wrong checksum")
	}
}

func TestUDPWithoutChecksumStaysWithout(t *testing.T) {
	p := build(t, Spec{Proto: UDP, SrcPort: 1, DstPort: 2})
	p.Data[26], p.Data[27] = 0, 0
	RewriteAddr(p.Data, false, netip.MustParseAddr("10.0.0.1"))
	RewritePort(p.Data, false, 99)
	if p.Data[26] != 0 || p.Data[27] != 0 {
		t.Errorf("checksum %x, want none", p.Data[26:28])
	}
}

// TestMalformedBytes feeds every cut of several packets, and noise, to all that
// reads bytes.
func TestMalformedBytes(t *testing.T) {
	specs := []Spec{
		{Proto: TCP, MSS: 1460, IPOptions: []byte{1, 1, 1}},
		{Version: 6, Proto: UDP, Fragmented: true, Headers: []Extension{{Proto: HopByHop}, {Proto: Routing, Body: make([]byte, 22)}, {Proto: AH}}},
		{Version: 6, Proto: SCTP, FragmentOffset: 3, Headers: []Extension{{Proto: DestOpts}}},
		{Proto: ICMP, Type: 8},
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, s := range specs {
		whole := build(t, s).Data
		for n := range len(whole) + 1 {
			for range 20 {
				data := bytes.Clone(whole[:n])
				for range random.IntN(4) {
					if n > 0 {
						data[random.IntN(n)] = uint8(random.Uint32())
					}
				}
				p := &Packet{Data: data}
				if p.String() == "" {
					t.Fatal("no words")
				}
				FixChecksums(data)
				RewriteAddr(data, true, netip.MustParseAddr("10.9.8.7"))
				RewriteAddr(data, false, netip.MustParseAddr("fd00::7"))
				RewritePort(data, true, 7)
				Endpoints(data)
			}
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	for _, s := range []Spec{
		{Version: 5},
		{Version: 4, Src: netip.MustParseAddr("::1")},
		{Proto: TCP, Length: 30},
		{Proto: UDP, Payload: make([]byte, 70000)},
		{Proto: UDP, Length: 70000},
	} {
		if p, err := s.Packet(); err == nil {
			t.Errorf("%+v gave %d bytes", s, len(p.Data))
		}
	}
}

func TestTracking(t *testing.T) {
	p := build(t, Spec{Proto: ICMP, Type: 0, SrcPort: 9, State: Established, Reply: true})
	e := p.Tracking.Entry
	if e == nil || e.Original.Src != netip.MustParseAddr("192.0.2.1") || e.Original.DstPort != 8<<8 || e.Reply.DstPort != 0 {
		t.Errorf("entry of an echo reply: %+v", e)
	}
	for _, s := range []State{0, Invalid, Untracked} {
		if p := build(t, Spec{State: s}); p.Tracking.Entry != nil {
			t.Errorf("state %v has an entry", s)
		}
	}
}
