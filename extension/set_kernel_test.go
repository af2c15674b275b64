package extension_test

import (
	"testing"

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
	known, list := ipset.Parse(diag.NewSource("sets", []byte(sets)))
	rules, more := iptables.Parse(diag.NewSource("rules.v4", []byte(text)), iptables.IPv4, extension.Registry)
	if list = append(list, more...); list.HasErrors() {
		t.Fatal(list)
	}
	result, list := translate.Translate(rules, nil, translate.Options{Sets: known})
	if result == nil || len(result.Deviations) != 1 || result.Deviations[0].Code != "ipset-size" {
		t.Fatalf("the translation declares %v", list)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		t.Fatal(err)
	}
	host := packet.DefaultHost([]string{"eth0"})
	xtables, err := kernel.NewXtables(host, []byte(text), nil, kernel.Options{Sets: []byte(sets)})
	if err != nil {
		t.Fatal(err)
	}
	defer xtables.Close()
	nftables, err := kernel.NewNftables(host, batch.Messages, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nftables.Close()
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
