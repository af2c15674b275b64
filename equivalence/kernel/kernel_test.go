package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

type message = netlink.Message

func needKernel(t testing.TB) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("nft"),
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
}

// testHost has eth0 (192.0.2.1, 2001:db8::1), eth1 (198.51.100.1,
// 2001:db8:1::1), and tun0, which is not Ethernet.
func testHost() *packet.Host {
	h := packet.DefaultHost([]string{"eth0", "eth1"})
	h.Devices = append(h.Devices, packet.Device{
		Name: "tun0", Index: 40, MTU: 1400, Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24")},
	})
	return h
}

func xtables(t testing.TB, v4, v6 string, o Options) *Machine {
	t.Helper()
	m, err := NewXtables(testHost(), []byte(v4), []byte(v6), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// compile turns the text of a ruleset into a batch, by the real nft.
func compile(t testing.TB, text string) []netlink.Message {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	cmd := ns.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	batch, err := readBack(ns)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func nftables(t testing.TB, text string, o Options) *Machine {
	t.Helper()
	m, err := NewNftables(testHost(), compile(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func build(t testing.TB, s packet.Spec) *packet.Packet {
	t.Helper()
	p, err := s.Packet()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
