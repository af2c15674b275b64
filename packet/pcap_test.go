package packet

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestPcap(t *testing.T) {
	a := build(t, Spec{Proto: TCP, TCPFlags: SYN, Time: 1_500_000_001})
	b := build(t, Spec{Version: 6, Proto: UDP, Time: 2_000_000_000})
	var file bytes.Buffer
	if err := WritePcap(&file, []*Packet{a, b}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPcap(bytes.NewReader(file.Bytes()))
	if err != nil || len(got) != 2 {
		t.Fatalf("read %d packets, %v", len(got), err)
	}
	for i, want := range []*Packet{a, b} {
		if !bytes.Equal(got[i].Data, want.Data) || got[i].Time != want.Time {
			t.Errorf("packet %d: %v, want %v", i, got[i], want)
		}
	}
	for n := range file.Len() {
		ReadPcap(bytes.NewReader(file.Bytes()[:n]))
	}
}

// TestPcapEthernet reads a big-endian capture in microseconds, with a VLAN tag,
// padding, and a frame that is not IP.
func TestPcapEthernet(t *testing.T) {
	ip := build(t, Spec{Proto: ICMP, Type: 8}).Data
	frame := append([]byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 0x81, 0, 0, 5, 8, 0}, ip...)
	frame = append(frame, 0, 0, 0, 0)
	arp := append([]byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6}, make([]byte, 28)...)
	file := make([]byte, 24)
	binary.BigEndian.PutUint32(file, pcapMicro)
	binary.BigEndian.PutUint32(file[20:], linkEthernet)
	for _, f := range [][]byte{arp, frame} {
		record := make([]byte, 16)
		binary.BigEndian.PutUint32(record[4:], 7)
		binary.BigEndian.PutUint32(record[8:], uint32(len(f)))
		file = append(append(file, record...), f...)
	}
	got, err := ReadPcap(bytes.NewReader(file))
	if err != nil || len(got) != 1 {
		t.Fatalf("read %d packets, %v", len(got), err)
	}
	p := got[0]
	if !bytes.Equal(p.Data, ip) || p.Link.Src != [6]byte{2, 0, 0, 0, 0, 9} || p.Type != TypeBroadcast || p.Time != 7000 {
		t.Errorf("got %v, link %v, type %d, time %d", p, p.Link, p.Type, p.Time)
	}
	if _, err := ReadPcap(bytes.NewReader([]byte("not a capture, but long enough for one"))); err == nil {
		t.Error("a text is read as a capture")
	}
}
