package extension

import (
	"net/netip"
	"testing"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestRpfilterRoutes shows the deviation rpfilter-several-routes: of two IPv6
// routes to a network xtables accepts either, nf_tables one.
func TestRpfilterRoutes(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip"))
	const rules = "*mangle\n-A PREROUTING -m rpfilter -j MARK --set-mark 1\nCOMMIT\n"
	host := packet.DefaultHost([]string{"eth0", "eth1"})
	network := netip.MustParsePrefix("2001:db9::/32")
	host.Routes = append(host.Routes, packet.Route{To: network, Device: "eth0", Via: netip.MustParseAddr("2001:db8::fe"), Type: packet.Unicast})
	xtables, err := kernel.NewXtables(host, nil, []byte(rules), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer xtables.Close()
	_, batch := translated(t, rules, true)
	nftables, err := kernel.NewNftables(host, batch.Messages, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nftables.Close()
	for _, m := range []*kernel.Machine{xtables, nftables} {
		second := m.Namespace().Command("ip", "route", "add", network.String(), "via", "2001:db8:1::fe", "dev", "eth1", "metric", "4096", "onlink")
		if out, err := second.CombinedOutput(); err != nil {
			t.Fatalf("add a second route: %v: %s", err, out)
		}
	}
	var marks [2][2]uint32
	for i, device := range []string{"eth0", "eth1"} {
		// To neither of the host's own addresses, by which nf_tables would choose.
		p, err := packet.Spec{
			Src: netip.MustParseAddr("2001:db9::7"), Dst: netip.MustParseAddr("2001:db8:2::7"),
			Proto: packet.UDP, SrcPort: 4000, DstPort: 9, In: device, State: packet.New,
		}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		for k, m := range []*kernel.Machine{xtables, nftables} {
			fate, err := m.Run(p)
			if err != nil {
				t.Fatal(err)
			}
			marks[k][i] = fate.Mark
		}
	}
	if marks[0] != [2]uint32{1, 1} {
		t.Errorf("xtables marks %v, want both", marks[0])
	}
	if marks[1] != [2]uint32{1, 0} && marks[1] != [2]uint32{0, 1} {
		t.Errorf("nf_tables marks %v, want one", marks[1])
	}
}
