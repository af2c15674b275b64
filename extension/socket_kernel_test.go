package extension

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestSocket sends packets to sockets of the namespaces through both engines of the
// kernel: to one of an address, to one of any address, to a transparent one, and to
// none.
func TestSocket(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	const rules = `*mangle
-A PREROUTING -m socket --restore-skmark
-A PREROUTING -m socket -j MARK --or-mark 0x1
-A PREROUTING -m socket --nowildcard -j MARK --or-mark 0x2
-A PREROUTING -m socket --transparent -j MARK --or-mark 0x4
-A PREROUTING -m socket --transparent --nowildcard -j MARK --or-mark 0x8
COMMIT
`
	both := engines(t, rules)
	for _, m := range both {
		for _, s := range []struct {
			address string
			options map[int]int
		}{
			{"192.0.2.1:9", map[int]int{unix.SO_MARK: 0x100}},
			{"0.0.0.0:10", map[int]int{unix.SO_MARK: 0x200}},
			{"192.0.2.1:11", map[int]int{unix.SO_MARK: 0x400, -1: 1}},
			{"0.0.0.0:12", map[int]int{-1: 1}},
		} {
			err := m.Namespace().Do(func() error {
				config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
					var failed error
					err := c.Control(func(fd uintptr) {
						for option, value := range s.options {
							level := unix.SOL_SOCKET
							if option == -1 {
								level, option = unix.SOL_IP, unix.IP_TRANSPARENT
							}
							if err := unix.SetsockoptInt(int(fd), level, option, value); err != nil {
								failed = err
							}
						}
					})
					if err == nil {
						err = failed
					}
					return err
				}}
				conn, err := config.ListenPacket(t.Context(), "udp4", s.address)
				if err == nil {
					t.Cleanup(func() { conn.Close() })
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, want := range []uint32{0x100 | 0x1 | 0x2, 0x2, 0x400 | 0x1 | 0x2 | 0x4 | 0x8, 0x2 | 0x8, 0} {
		p, err := packet.Spec{Proto: packet.UDP, SrcPort: 4000, DstPort: uint16(9 + i), In: "eth0", State: packet.New}.Packet()
		if err != nil {
			t.Fatal(err)
		}
		both.mark(t, i, p, want)
	}
}
