package extension_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/extension"
	"nftmigrate/internal/testkit"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/packet"
	"nftmigrate/translate"
)

// TestSetSize shows the declared deviation ipset-size: a full ipset takes no
// element more, while of its two sets in nftables one has room.
func TestSetSize(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ipset"))
	const (
		sets = "create s hash:ip maxelem 2 timeout 600\nadd s 10.0.0.1 timeout 0\nadd s 10.0.0.2 timeout 300\n"
		text = "*filter\n-A INPUT -s 10.0.0.1 -j SET --add-set s src --timeout 0\n-A INPUT -j SET --add-set s src\n-A INPUT -m set --match-set s src -j DROP\nCOMMIT\n"
	)
	xtables, nftables, result := setEngines(t, sets, text)
	if len(result.Deviations) != 1 || result.Deviations[0].Code != "ipset-size" {
		t.Fatalf("the translation declares %v", result.Deviations)
	}
	p, err := packet.Spec{Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4000, DstPort: 22, In: "eth0", State: packet.New}.Packet()
	if err != nil {
		t.Fatal(err)
	}
	a, err := xtables.Run(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := nftables.Run(p)
	if err != nil {
		t.Fatal(err)
	}
	if a.Verdict == packet.Drop || b.Verdict != packet.Drop {
		t.Errorf("xtables: %v, nf_tables: %v; the deviation does not show", a.Verdict, b.Verdict)
	}
}

// setEngines loads both engines of the kernel with sets and rules.
func setEngines(t *testing.T, sets, text string) (xtables, nftables *kernel.Machine, result *translate.Result) {
	t.Helper()
	known, list := ipset.Parse(diag.NewSource("sets", []byte(sets)))
	rules, more := iptables.Parse(diag.NewSource("rules.v4", []byte(text)), iptables.IPv4, extension.Registry)
	if list = append(list, more...); list.HasErrors() {
		t.Fatal(list)
	}
	result, list = translate.Translate(rules, nil, translate.Options{Sets: known})
	if result == nil {
		t.Fatal(list)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	host := packet.DefaultHost([]string{"eth0"})
	if xtables, err = kernel.NewXtables(host, []byte(text), nil, kernel.Options{Sets: []byte(sets)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { xtables.Close() })
	if nftables, err = kernel.NewNftables(host, batch.Messages, kernel.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nftables.Close() })
	return xtables, nftables, result
}

// TestSetExpiry waits for elements to expire in both engines: of networks that
// overlap, an address lasts as long as the one that lasts longest, and what lasts
// stays.
func TestSetExpiry(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ipset"))
	const (
		sets = "create hosts hash:ip timeout 60\nadd hosts 192.0.2.10 timeout 3\nadd hosts 192.0.2.11 timeout 0\nadd hosts 192.0.2.12\n" +
			"create nets hash:net timeout 60\nadd nets 192.0.2.32/27 timeout 3\nadd nets 192.0.2.48/28\nadd nets 192.0.2.64/27\nadd nets 192.0.2.80/28 timeout 3\n"
		text = "*filter\n-A INPUT -m set --match-set hosts src -j DROP\n-A INPUT -m set --match-set nets src -j DROP\nCOMMIT\n"
	)
	xtables, nftables, _ := setEngines(t, sets, text)
	hosts := []int{10, 11, 12, 13, 33, 49, 65, 81}
	see := func() (dropped [2]string) {
		for _, n := range hosts {
			p, err := packet.Spec{Proto: packet.TCP, TCPFlags: packet.SYN, Src: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), SrcPort: 4000, DstPort: 22, In: "eth0", State: packet.New}.Packet()
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range []*kernel.Machine{xtables, nftables} {
				fate, err := m.Run(p)
				if err != nil {
					t.Fatal(err)
				}
				if fate.Verdict == packet.Drop {
					dropped[i] += fmt.Sprint(n, " ")
				}
			}
		}
		return dropped
	}
	for _, want := range []string{"10 11 12 33 49 65 81 ", "11 12 49 65 81 "} {
		if got := see(); got != [2]string{want, want} {
			t.Errorf("xtables and nf_tables drop %q, want %q", got, want)
		}
		time.Sleep(4 * time.Second)
	}
}
