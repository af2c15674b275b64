package extension

import (
	"testing"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestChosenEvents begins connections in both engines of the kernel, also such as
// another connection expected, and looks which of them listeners are told. The
// templates choose events both with that of the beginning and without: of an expected
// connection that is "related", of another one "new".
//
// Kernel: net/netfilter/nf_conntrack_core.c, init_conntrack and
// __nf_conntrack_confirm.
func TestChosenEvents(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	const rules = `*raw
-A PREROUTING -p udp --dport 9 -j CT --ctevents new
-A PREROUTING -p udp --dport 10 -j CT --ctevents related
-A PREROUTING -p udp --dport 11 -j CT --expevents new
-A PREROUTING -p udp --dport 12 -j CT --helper tftp --ctevents destroy
-A PREROUTING -p udp --dport 13 -j CT --helper tftp
-A PREROUTING -p udp --dport 13 -j CT --ctevents destroy
COMMIT
`
	engines := enginesWith(t, rules, kernel.Options{})
	for i, tt := range []struct {
		port              uint16
		unasked, expected bool // whether listeners are told
	}{
		{9, true, false}, {10, false, true}, {11, false, false}, {12, false, false}, {13, true, true}, {14, true, true},
	} {
		for _, state := range []packet.State{packet.New, packet.Related} {
			want := tt.unasked
			if state == packet.Related {
				want = tt.expected
			}
			p, err := packet.Spec{Proto: packet.UDP, SrcPort: uint16(4000 + 2*i + int(state)), DstPort: tt.port, In: "eth0", State: state}.Packet()
			if err != nil {
				t.Fatal(err)
			}
			for name, m := range engines {
				fate, err := m.Run(p)
				switch {
				case err != nil:
					t.Fatal(err)
				case fate.Observed.State != state:
					t.Errorf("port %d: %s: the packet is %v, want %v", tt.port, name, fate.Observed.State, state)
				case fate.Announced != want:
					t.Errorf("port %d, %v: %s: listeners are told %v, want %v", tt.port, state, name, fate.Announced, want)
				}
			}
		}
	}
}
