package extension

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"nftmigrate/equivalence/kernel"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestConnbytes sends a flow through both engines of the kernel, whose counters
// the models are not told.
func TestConnbytes(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	const rules = `*filter
-A INPUT -m connbytes --connbytes 3 --connbytes-mode packets --connbytes-dir original -j MARK --or-mark 0x1
-A INPUT -m connbytes ! --connbytes 3 --connbytes-mode packets --connbytes-dir both -j MARK --or-mark 0x2
-A INPUT -m connbytes --connbytes 100:300 --connbytes-mode bytes --connbytes-dir original -j MARK --or-mark 0x4
-A INPUT -m connbytes ! --connbytes 100:300 --connbytes-mode bytes --connbytes-dir both -j MARK --or-mark 0x8
-A INPUT -m connbytes --connbytes :60 --connbytes-mode avgpkt --connbytes-dir original -j MARK --or-mark 0x10
-A INPUT -m connbytes --connbytes 0 --connbytes-mode packets --connbytes-dir reply -j MARK --or-mark 0x20
-A INPUT -m connbytes ! --connbytes 2:2 --connbytes-mode packets --connbytes-dir original -j MARK --or-mark 0x40
COMMIT
`
	engines := engines(t, rules)
	for i, want := range []struct {
		length int
		mark   uint32
	}{
		{60, 0x2 | 0x8 | 0x10 | 0x20},        // 60 bytes
		{60, 0x2 | 0x4 | 0x10 | 0x20 | 0x40}, // 120
		{150, 0x1 | 0x4 | 0x20},              // 270
		{31, 0x1 | 0x8 | 0x20},               // 301
	} {
		p, err := packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: 9, In: "eth0", State: packet.New, Length: want.length}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		engines.mark(t, i, p, want.mark)
	}
}

// TestDeviations shows each declared deviation of this package's matches and
// targets once in the kernel: packets to which xtables and the translation do
// something else. Where it shows nothing, the declaration is not true any more.
//
// nfacct-object is in TestNfacctObject, dnat-port-taken in TestPortTaken. owner-kernel-socket is not here: it takes
// a socket that the kernel has opened for itself; queue-reroute is not, because
// not every kernel has queues.
func TestDeviations(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	host := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	syn := packet.Spec{Proto: packet.TCP, TCPFlags: packet.SYN, SrcPort: 4000, DstPort: 22, In: "eth0", State: packet.New}
	from := func(n int) packet.Spec {
		s := syn
		s.Src = host(n)
		return s
	}
	dropped := func(f packet.Fate) bool { return f.Verdict == packet.Drop }

	tests := []struct {
		code, rules string
		// show returns whether the deviation was seen.
		show func(run func(packet.Spec) (xtables, nftables packet.Fate)) bool
	}{
		{"ct-expectation-events", "*raw\n-A PREROUTING -p udp --dport 69 -j CT --helper tftp --ctevents new\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				a, b := run(packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: 69, In: "eth0", State: packet.New, Payload: []byte("\x00\x01file\x00octet\x00")})
				return a.Announced && b.Announced && !a.Expects && b.Expects
			}},
		{"tcpmss-adds-option", "*mangle\n-A INPUT -p tcp --syn -j TCPMSS --set-mss 1200\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				a, b := run(syn)
				return len(a.Data) == len(b.Data)+4
			}},
		{"tcpoptstrip-odd", "*mangle\n-A PREROUTING -p tcp -j TCPOPTSTRIP --strip-options 5\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				twice, beyond := syn, syn
				twice.TCPOptions = []byte{5, 2, 5, 2}
				beyond.TCPOptions = []byte{1, 1, 5, 9}
				a, b := run(twice)
				c, d := run(beyond)
				return !bytes.Equal(a.Data, b.Data) && !dropped(c) && dropped(d)
			}},
		{"npt-no-error", "*mangle\n-A PREROUTING -d fd00:2::/64 -j DNPT --src-pfx fd00:2::/64 --dst-pfx 2001:db8:7::/64\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				unmapped := packet.Spec{Version: 6, Dst: netip.MustParseAddr("fd00:2::ffff:ffff:ffff:ffff"), Proto: packet.TCP, TCPFlags: packet.SYN, DstPort: 22, In: "eth0"}
				a, b := run(unmapped)
				return dropped(a) && dropped(b) && len(a.Events) == 1 && a.Events[0] == packet.Event(packet.RejectEvent{Type: 4}) && len(b.Events) == 0
			}},
		{"ecn-fragment", "*mangle\n-A PREROUTING -p tcp -j ECN --ecn-tcp-cwr 1\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				later := syn
				later.State, later.FragmentOffset, later.Payload = 0, 10, make([]byte, 24)
				later.Dst = netip.MustParseAddr("198.51.100.9") // so that nobody puts it together
				a, b := run(later)
				return len(a.Data) == 44 && a.Data[33] == 0x80 && b.Data[33] == 0
			}},
		{"tcpmss-reading", "*mangle\n-A PREROUTING -p tcp -m tcpmss --mss 1000:2000 -j MARK --or-mark 1\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				twice := syn
				twice.TCPOptions = []byte{2, 3, 0, 2, 4, 5, 0xb4, 0}
				a, b := run(twice)
				return a.Mark == 1 && b.Mark == 0
			}},
		{"tcpmss-loopback", "*mangle\n-A OUTPUT -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				own := netip.MustParseAddr("2001:db8::1")
				a, b := run(packet.Spec{
					Src: own, Dst: own, Proto: packet.TCP, TCPFlags: packet.SYN, MSS: 1400,
					State: packet.New, Socket: &packet.Socket{},
				})
				size := func(f packet.Fate) int {
					const option = 40 + 20 + 2
					if len(f.Data) < option+2 {
						return 0
					}
					return int(f.Data[option])<<8 | int(f.Data[option+1])
				}
				return size(a) == 1400 && size(b) == 536
			}},
		{"ipv6-ah", "*filter\n-A INPUT -p tcp -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				authenticated := packet.Spec{
					Version: 6, Headers: []packet.Extension{{Proto: packet.AH, Body: make([]byte, 10)}},
					Proto: packet.TCP, TCPFlags: packet.SYN, DstPort: 22, In: "eth0", State: packet.New,
				}
				a, b := run(authenticated)
				return dropped(a) && !dropped(b)
			}},
		{"recent-list-size", "*filter\n-A INPUT -m recent --rcheck -j DROP\n-A INPUT -m recent --set\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				for n := range 101 {
					run(from(100 + n))
				}
				a, b := run(from(100))
				return !dropped(a) && dropped(b)
			}},
		{"recent-ttl", "*filter\n-A INPUT -m recent --rcheck --rttl -j DROP\n-A INPUT -m recent --set\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				run(from(100))
				other := from(100)
				other.TTL = 9
				a, b := run(other)
				return !dropped(a) && dropped(b)
			}},
		{"recent-reap", "*filter\n-A INPUT -m mark --mark 1 -m recent --rcheck --seconds 1 --reap\n-A INPUT -m mark --mark 1 -j ACCEPT\n-A INPUT -m recent --rcheck -j DROP\n-A INPUT -m recent --set\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				run(from(100))
				time.Sleep(1200 * time.Millisecond)
				reap := from(100)
				reap.Mark = 1
				run(reap)
				a, b := run(from(100))
				return !dropped(a) && dropped(b)
			}},
		{"set-churn", "*filter\n-A INPUT -m recent --set\n-A INPUT -m recent --remove -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				// The kernel may collect, or move its table, in between.
				for round := range 20 {
					for range 100 {
						if a, b := run(from(round)); dropped(a) && !dropped(b) {
							return true
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				return false
			}},
		{"limit-resolution", "*filter\n-A INPUT -m limit --limit 7/minute -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				for range 4 {
					if a, b := run(syn); !dropped(a) || !dropped(b) {
						return false
					}
				}
				time.Sleep(1500 * time.Millisecond)
				a, b := run(syn)
				return dropped(a) && !dropped(b)
			}},
		{"limit-tick", "*filter\n-A INPUT -m limit --limit 5000/second --limit-burst 1 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				passed := [2]int{}
				for range 300 {
					a, b := run(syn)
					for i, f := range []packet.Fate{a, b} {
						if dropped(f) {
							passed[i]++
						}
					}
				}
				return passed[0] < passed[1]
			}},
		{"connlimit-established", "*filter\n-A INPUT -p tcp -m connlimit --connlimit-above 0 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				within := syn
				within.State, within.TCPFlags = packet.Established, packet.ACK
				a, b := run(within)
				return dropped(a) && !dropped(b)
			}},
		{"hashlimit-expiry", "*filter\n-A INPUT -m hashlimit --hashlimit-above 1/min --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name dev1 " +
			"--hashlimit-htable-expire 400 --hashlimit-htable-gcinterval 60000 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				run(syn)
				run(syn)
				time.Sleep(600 * time.Millisecond)
				a, b := run(syn)
				return dropped(a) && !dropped(b)
			}},
		{"hashlimit-table-size", "*filter\n-A INPUT -m hashlimit --hashlimit-upto 1/min --hashlimit-mode srcip --hashlimit-name dev2 " +
			"--hashlimit-htable-size 1 --hashlimit-htable-max 1\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				run(from(100))
				a, b := run(from(101))
				return dropped(a) && !dropped(b)
			}},
		{"hbh-position", "*filter\n-A INPUT -m hbh --hbh-opts 5:2 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				a, b := run(packet.Spec{
					Version: 6, Headers: []packet.Extension{{Proto: packet.DestOpts, Body: []byte{1, 4, 0, 0, 0, 0}}, {Proto: packet.HopByHop, Body: []byte{5, 2, 0, 0, 0, 0}}},
					Proto: packet.UDP, DstPort: 22, In: "eth0", State: packet.New,
				})
				return dropped(a) && !dropped(b)
			}},
		{"srh-segments-left", "*mangle\n-A PREROUTING -m srh -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				body := append([]byte{4, 2, 0, 0, 0, 0}, make([]byte, 16)...)
				a, b := run(packet.Spec{
					Version: 6, Headers: []packet.Extension{{Proto: packet.Routing, Body: body}}, Proto: packet.UDP, DstPort: 22, In: "eth0", State: packet.New,
				})
				return !dropped(a) && dropped(b)
			}},
		{"hashlimit-bytes", "*filter\n-A INPUT -m hashlimit --hashlimit-above 100b/s --hashlimit-mode srcip --hashlimit-name dev3 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				long := syn
				long.Length = 200
				a, b := run(long)
				return !dropped(a) && dropped(b)
			}},
		{"hashlimit-ah-ports", "*filter\n-A INPUT -m hashlimit --hashlimit-above 1/min --hashlimit-burst 1 --hashlimit-mode srcip,dstport --hashlimit-name dev4 " +
			"--hashlimit-htable-expire 60000 -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				authenticated := packet.Spec{Proto: packet.AH, SPI: 256, In: "eth0"}
				run(authenticated)
				authenticated.SPI = 257
				a, b := run(authenticated)
				return !dropped(a) && dropped(b)
			}},
		{"log-prefix-characters", "*filter\n-A INPUT -j LOG --log-prefix \"say \\\"no\\\"\"\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				a, b := run(syn)
				return slices.Contains(a.Events, packet.Event(packet.LogEvent{Prefix: `say "no"`, Level: 4, Group: -1})) &&
					slices.Contains(b.Events, packet.Event(packet.LogEvent{Prefix: `say 'no'`, Level: 4, Group: -1}))
			}},
		{"connbytes-uncounted", "*filter\n-A INPUT -m connbytes --connbytes 0 --connbytes-mode packets --connbytes-dir both -j DROP\nCOMMIT\n",
			func(run func(packet.Spec) (packet.Fate, packet.Fate)) bool {
				// Tracking ignores a SYN within a connection.
				within := syn
				within.State = packet.Established
				a, b := run(within)
				return dropped(a) && !dropped(b)
			}},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			v4, v6 := []byte(tt.rules), []byte("*filter\nCOMMIT\n")
			inIPv6 := tt.code == "ipv6-ah" || tt.code == "tcpmss-loopback" || tt.code == "hbh-position" || tt.code == "srh-segments-left" || tt.code == "npt-no-error"
			if inIPv6 {
				v4, v6 = v6, v4
			}
			_, batch := translated(t, tt.rules, inIPv6)
			devices := packet.DefaultHost([]string{"eth0"})
			xtables, err := kernel.NewXtables(devices, v4, v6, kernel.Options{Untracked: tt.code == "ecn-fragment"})
			if err != nil {
				t.Fatal(err)
			}
			defer xtables.Close()
			nftables, err := kernel.NewNftables(devices, batch.Messages, kernel.Options{Untracked: tt.code == "ecn-fragment"})
			if err != nil {
				t.Fatal(err)
			}
			defer nftables.Close()
			seen := tt.show(func(s packet.Spec) (a, b packet.Fate) {
				t.Helper()
				p, err := s.Packet()
				if err != nil {
					t.Fatal(err)
				}
				if a, err = xtables.Run(p); err != nil {
					t.Fatal(err)
				}
				if b, err = nftables.Run(p); err != nil {
					t.Fatal(err)
				}
				return a, b
			})
			if !seen {
				t.Errorf("the kernel does not show the deviation %s", tt.code)
			}
		})
	}
}
