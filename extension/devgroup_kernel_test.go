package extension

import (
	"testing"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestDevgroup sends packets by devices of several groups through both engines of
// the kernel.
func TestDevgroup(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	const rules = `*mangle
-A PREROUTING -m devgroup --src-group 5 -j MARK --or-mark 0x1
-A PREROUTING -m devgroup ! --src-group 5 -j MARK --or-mark 0x2
-A PREROUTING -m devgroup --src-group 0x15/0x1f -j MARK --or-mark 0x4
-A PREROUTING -m devgroup ! --src-group 0xf5/0xf -j MARK --or-mark 0x8
-A PREROUTING -m devgroup --src-group default -j MARK --or-mark 0x10
COMMIT
`
	_, batch := translated(t, rules, false)
	host := packet.DefaultHost([]string{"eth0", "eth1", "eth2"})
	for name, group := range map[string]uint32{"eth0": 5, "eth1": 0x35} {
		host.Device(name).Group = group
	}
	xtables, err := kernel.NewXtables(host, []byte(rules), []byte("*filter\nCOMMIT\n"), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer xtables.Close()
	nftables, err := kernel.NewNftables(host, batch.Messages, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nftables.Close()
	for device, want := range map[string]uint32{"eth0": 0x1, "eth1": 0x2 | 0x4, "eth2": 0x2 | 0x8 | 0x10} {
		d := host.Device(device)
		own := d.Addrs[0].Addr()
		p, err := packet.Spec{Proto: packet.UDP, Src: own.Next().Next(), Dst: own, SrcPort: 4000, DstPort: 9, In: device, State: packet.New}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string]*kernel.Machine{"xtables": xtables, "nf_tables": nftables} {
			fate, err := m.Run(p)
			if err != nil {
				t.Fatal(err)
			}
			if fate.Mark != want {
				t.Errorf("%s: %s sets mark %#x, want %#x", device, name, fate.Mark, want)
			}
		}
	}
}
