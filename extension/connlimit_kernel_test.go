package extension

import (
	"net/netip"
	"testing"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestConnlimit opens connections through both engines of the kernel, whose table
// of connections the models do not have.
func TestConnlimit(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	const rules = `*filter
-A INPUT -p tcp -m connlimit --connlimit-upto 2 -j MARK --or-mark 0x1
-A INPUT -p tcp -m connlimit --connlimit-above 3 --connlimit-mask 24 -j MARK --or-mark 0x2
-A INPUT -p tcp -m connlimit --connlimit-above 4 --connlimit-daddr -j MARK --or-mark 0x4
-A INPUT -p tcp -m connlimit --connlimit-upto 1 --connlimit-mask 0 -j MARK --or-mark 0x8
COMMIT
`
	engines := engines(t, rules)
	for i, step := range []struct {
		host byte
		port uint16
		mark uint32
	}{
		{7, 1, 0x1 | 0x8}, {7, 1, 0x1 | 0x8}, {7, 2, 0x1}, {7, 3, 0}, {9, 1, 0x1 | 0x2}, {9, 2, 0x1 | 0x2 | 0x4}, {7, 1, 0x2 | 0x4},
	} {
		p, err := packet.Spec{
			Src: netip.AddrFrom4([4]byte{192, 0, 2, step.host}), Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: step.port, DstPort: 9,
			In: "eth0", State: packet.New,
		}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		engines.mark(t, i, p, step.mark)
	}
}

// bothEngines are the engines of one kernel, with rules and their translation.
type bothEngines map[string]*kernel.Machine

// engines loads rules of IPv4 and their translation, for packets that follow on
// each other.
func engines(t *testing.T, rules string) bothEngines {
	t.Helper()
	return enginesWith(t, rules, kernel.Options{Flow: true})
}

// enginesWith loads IPv4 rules and their translation into machines with options.
func enginesWith(t *testing.T, rules string, options kernel.Options) bothEngines {
	t.Helper()
	_, batch := translated(t, rules, false)
	devices := packet.DefaultHost([]string{"eth0"})
	both := bothEngines{}
	load := func(name string, m *kernel.Machine, err error) {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		both[name] = m
	}
	m, err := kernel.NewXtables(devices, []byte(rules), []byte("*filter\nCOMMIT\n"), options)
	load("xtables", m, err)
	m, err = kernel.NewNftables(devices, batch.Messages, options)
	load("nf_tables", m, err)
	return both
}

// mark runs the i-th packet through both engines, which must leave it a mark.
func (b bothEngines) mark(t *testing.T, i int, p *packet.Packet, want uint32) {
	t.Helper()
	for name, m := range b {
		fate, err := m.Run(p)
		if err != nil {
			t.Fatal(err)
		}
		if fate.Mark != want {
			t.Errorf("packet %d: %s sets mark %#x, want %#x", i+1, name, fate.Mark, want)
		}
	}
}
