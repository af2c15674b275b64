package kernel

import (
	"net/netip"
	"testing"

	"nftmigrate/packet"
)

// TestAuthenticationHeader: ip6tables looks behind an authentication header for
// the protocol and the ports, nf_tables takes the header for the protocol.
func TestAuthenticationHeader(t *testing.T) {
	needKernel(t)
	p := build(t, packet.Spec{
		Version: 6, Proto: packet.TCP, DstPort: 22, In: "eth0",
		Src: netip.MustParseAddr("2001:db8::9"), Dst: netip.MustParseAddr("2001:db8::1"),
		Headers: []packet.Extension{{Proto: packet.AH, Body: make([]byte, 10)}},
	})
	x := xtables(t, "*filter\nCOMMIT\n", "*filter\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n", Options{})
	n := nftables(t, "table ip6 f {\n chain i {\n type filter hook input priority 0\n tcp dport 22 drop\n }\n}", Options{})
	for _, c := range []struct {
		name string
		m    *Machine
		want packet.Verdict
	}{{"xtables", x, packet.Drop}, {"nf_tables", n, packet.Accept}} {
		f, err := c.m.Run(p)
		if err != nil || f.Verdict != c.want || f.Last != packet.Input {
			t.Errorf("%s: got %v at %v, %v, want %v at input", c.name, f.Verdict, f.Last, err, c.want)
		}
	}
}
