package extension

import (
	"bytes"
	"encoding/binary"
	"testing"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestShiftedPorts sends packets to ports all over the range through both
// engines: the rule says nothing of ports, and the shift goes round.
func TestShiftedPorts(t *testing.T) {
	run := natEngines(t, "*nat\n-A PREROUTING -p udp -j DNAT --to-destination 198.51.100.9:10000-10099/2000\nCOMMIT\n")
	for _, n := range []uint16{0, 1, 63, 64, 1999, 2000, 2099, 2100, 10050, 32768, 65499, 65500, 65535} {
		a, b := run(packet.Spec{Proto: packet.UDP, SrcPort: 4000 + n%1000, DstPort: n, In: "eth0", State: packet.New})
		want := 10000 + (n-2000)%100
		if !bytes.Equal(a.Data, b.Data) || port(a, 22) != want {
			t.Errorf("port %d becomes\n%x in xtables,\n%x in nf_tables, want %d", n, a.Data, b.Data, want)
		}
	}
}

// TestPortTaken shows the declared deviation dnat-port-taken.
func TestPortTaken(t *testing.T) {
	run := natEngines(t, "*nat\n-A PREROUTING -p udp -j DNAT --to-destination 198.51.100.9:10000-10001/2000\nCOMMIT\n")
	first := packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: 22, In: "eth0", State: packet.New}
	second := first
	second.DstPort = 24
	if a, b := run(first); a.Verdict == packet.Drop || b.Verdict == packet.Drop {
		t.Fatalf("the first connection: %v in xtables, %v in nf_tables", a.Verdict, b.Verdict)
	}
	a, b := run(second)
	from, to := port(a, 20), port(a, 22)
	if from != 4000 || to != 10001 {
		t.Errorf("the second connection goes from port %d to %d in xtables", from, to)
	}
	if from, to = port(b, 20), port(b, 22); from == 4000 || to != 10000 {
		t.Errorf("the second connection goes from port %d to %d in nf_tables; the deviation does not show", from, to)
	}
}

// port reads a port of a datagram without IP options, 0 when it is shorter.
func port(f packet.Fate, at int) uint16 {
	if len(f.Data) < at+2 {
		return 0
	}
	return binary.BigEndian.Uint16(f.Data[at:])
}

// natEngines loads both engines of the kernel with rules of IPv4 and returns what
// sends a packet through them; connections stay.
func natEngines(t *testing.T, text string) func(packet.Spec) (xtables, nftables packet.Fate) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"))
	_, batch := translated(t, text, false)
	devices := packet.DefaultHost([]string{"eth0"})
	xtables, err := kernel.NewXtables(devices, []byte(text), []byte("*filter\nCOMMIT\n"), kernel.Options{Flow: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { xtables.Close() })
	nftables, err := kernel.NewNftables(devices, batch.Messages, kernel.Options{Flow: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nftables.Close() })
	return func(s packet.Spec) (a, b packet.Fate) {
		t.Helper()
		p, err := s.Packet()
		if err != nil {
			t.Fatal(err)
		}
		if a, err = xtables.Run(p); err != nil {
			t.Fatal(err)
		}
		if b, err = nftables.Run(p); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}
