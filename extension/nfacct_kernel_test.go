package extension

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestNfacctObject shows the deviation nfacct-object: what xtables counts in an
// accounting object, nf_tables counts in a counter of the table.
func TestNfacctObject(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("nft"))
	const rules = "*filter\n-A INPUT -p udp -m nfacct --nfacct-name seen\nCOMMIT\n"
	devices := packet.DefaultHost([]string{"eth0"})
	xtables, err := kernel.NewXtables(devices, []byte(rules), nil, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer xtables.Close()
	_, batch := translated(t, rules, false)
	nftables, err := kernel.NewNftables(devices, batch.Messages, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nftables.Close()
	p, err := packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: 9, In: "eth0", State: packet.New}.Packet()
	if err != nil {
		t.Fatal(err)
	}
	const packets = 3
	for range packets {
		for _, m := range []*kernel.Machine{xtables, nftables} {
			if _, err := m.Run(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := accounted(t, xtables, "seen"); got != packets {
		t.Errorf("the accounting object has %d packets, want %d", got, packets)
	}
	out, err := nftables.Namespace().Command("nft", "list", "counters").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "packets 3 bytes") {
		t.Errorf("the counters are %v\n%s\nwant one with 3 packets", err, out)
	}
}

// accounted returns the packets of an accounting object in the namespace of a
// machine.
//
// Kernel: net/netfilter/nfnetlink_acct.c, nfnl_acct_get.
func accounted(t *testing.T, m *kernel.Machine, name string) uint64 {
	t.Helper()
	var count uint64
	err := m.Namespace().Do(func() error {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		replies, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_ACCT<<8 | 1, Flags: netlink.Request | netlink.Dump}, // NFNL_MSG_ACCT_GET
			Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
		})
		if err != nil {
			return err
		}
		for _, r := range replies {
			found := false
			ad, err := netlink.NewAttributeDecoder(r.Data[4:])
			if err != nil {
				return err
			}
			ad.ByteOrder = binary.BigEndian
			var packets uint64
			for ad.Next() {
				switch ad.Type() {
				case 1: // NFACCT_NAME
					found = ad.String() == name
				case 2: // NFACCT_PKTS
					packets = ad.Uint64()
				}
			}
			if found {
				count = packets
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
