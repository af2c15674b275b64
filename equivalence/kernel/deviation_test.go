package kernel

import (
	"net/netip"
	"testing"

	"nftmigrate/packet"
)

// TestInetTracksBoth: a rule about IPv4 connections makes the kernel track, and
// so collect the fragments of, both families when its table is one of both, and
// IPv4 alone when it is a rule of iptables.
func TestInetTracksBoth(t *testing.T) {
	needKernel(t)
	fragment := build(t, packet.Spec{
		Version: 6, Proto: packet.UDP, SrcPort: 1, DstPort: 2, In: "eth0", Fragmented: true, MoreFragments: true, Payload: make([]byte, 8),
		Src: netip.MustParseAddr("2001:db8::9"), Dst: netip.MustParseAddr("2001:db8::1"),
	})
	const rule = " chain i {\n type filter hook input priority 0\n ct state established accept\n }\n}"
	for name, c := range map[string]struct {
		m    *Machine
		want packet.Verdict
	}{
		"xtables": {xtables(t, "*filter\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n", "*filter\nCOMMIT\n", Options{Untracked: true}), packet.Accept},
		"ip":      {nftables(t, "table ip f {\n"+rule, Options{Untracked: true}), packet.Accept},
		"inet":    {nftables(t, "table inet f {\n"+rule, Options{Untracked: true}), packet.Drop},
	} {
		if f, err := c.m.Run(fragment); err != nil || f.Verdict != c.want {
			t.Errorf("%s: got %v at %v, %v, want %v", name, f.Verdict, f.Last, err, c.want)
		}
	}
}
