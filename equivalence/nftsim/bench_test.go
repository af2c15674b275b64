package nftsim_test

import (
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/packet"
)

// BenchmarkRules runs a packet through 1000 rules that compare a port.
func BenchmarkRules(b *testing.B) {
	var rules []netlink.Message
	for port := range uint16(1000) {
		rules = append(rules, rule("c", append(tcpPort(port+1000), drop)...))
	}
	m := mustDecode(b, forward(rules...))
	p, err := packet.Spec{Proto: packet.TCP, DstPort: 22, In: "eth0"}.Packet()
	if err != nil {
		b.Fatal(err)
	}
	host := packet.DefaultHost([]string{"eth0", "eth1"})
	run := m.Stages()[0].Run
	for b.Loop() {
		f := packet.Flight{Packet: p, Host: host, Hook: packet.Forward, Data: p.Data, In: "eth0", Out: "eth1"}
		if run(&f) != packet.Accept {
			b.Fatal("dropped")
		}
	}
}

// BenchmarkDecode decodes 1000 rules.
func BenchmarkDecode(b *testing.B) {
	var rules []netlink.Message
	for port := range uint16(1000) {
		rules = append(rules, rule("c", append(tcpPort(port+1000), drop)...))
	}
	batch := forward(rules...)
	for b.Loop() {
		mustDecode(b, batch)
	}
}
