package transaction

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
)

func TestParseConnections(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Log("the text below is of a little-endian machine")
		return
	}
	const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 010200C0:0016 0700000A:C350 01 00000000:00000000 02:000A 0 0 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:0000 0 0 0
   2: 0000000000000000FFFF0000010200C0:0016 0000000000000000FFFF00000800000A:C351 01 00000000:00000000
   3: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:C352 01 00000000:00000000
`
	got, err := parseConnections(bufio.NewScanner(strings.NewReader(text)), stateEstablished)
	if err != nil {
		t.Fatal(err)
	}
	end := netip.MustParseAddrPort
	want := []Connection{
		{end("192.0.2.1:22"), end("10.0.0.7:50000")},
		{end("192.0.2.1:22"), end("10.0.0.8:50001")},
		{end("[2001:db8::1]:22"), end("[2001:db8::2]:50002")},
	}
	if !slices.Equal(got, want) {
		t.Errorf("connections %v, want %v", got, want)
	}
	for _, bad := range []string{"head\nx\n", "head\n0: zz:0016 0:0 01\n", "head\n0: 010200C0:99999 0700000A:C350 01\n", "head\n0: 010200C0 0700000A:C350 01\n"} {
		if _, err := parseConnections(bufio.NewScanner(strings.NewReader(bad)), stateEstablished); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}

// TestEstablished holds the list against a connection of this process.
func TestEstablished(t *testing.T) {
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	list, err := Established(ns)
	want := Connection{netip.MustParseAddrPort(server.LocalAddr().String()), netip.MustParseAddrPort(server.RemoteAddr().String())}
	if err != nil || !slices.Contains(list, want) {
		t.Errorf("connections %v (%v), want %v among them", list, err, want)
	}
}
