package extension

import (
	"bytes"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// secmarkProbe gives some packets a security mark, which is how many packets their
// connection has had, and notes for each length of a packet which marks it and its
// connection have behind the rules.
const secmarkProbe = `table ip probe {
	set seen {
		typeof udp length . meta mark . ct mark
		size 100
		flags dynamic
	}
	chain give {
		type filter hook output priority -160
		udp length { 18, 38 } meta secmark set ct packets
	}
	chain see {
		type filter hook output priority 60
		meta l4proto udp meta mark set meta secmark ct mark set ct secmark add @seen { udp length . meta mark . ct mark }
	}
}
`

// TestSecmark sends packets with security marks, and without, through both engines
// of the kernel: a mark is copied only where there is none.
func TestSecmark(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("nft"), testkit.Tool("ip"), testkit.Tool("sysctl"))
	const rules = "*mangle\n-A OUTPUT -j CONNSECMARK --restore\nCOMMIT\n*security\n-A OUTPUT -j CONNSECMARK --save\nCOMMIT\n"
	_, batch := translated(t, rules, false)
	want := []string{"18.2.2", "27.0.0", "28.2.2", "29.2.2", "38.4.2"}
	for _, engine := range []string{"xtables", "nf_tables", "neither"} {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		run := func(input, name string, args ...string) string {
			c := ns.Command(name, args...)
			c.Stdin = strings.NewReader(input)
			c.Env = append(c.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
			return string(out)
		}
		run("", "ip", "link", "set", "lo", "up")
		run("", "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
		run(secmarkProbe, "nft", "-f", "-")
		switch engine {
		case "xtables":
			run(rules, "iptables-legacy-restore")
		case "nf_tables":
			err := ns.Do(func() error {
				conn, err := nfnetlink.Dial()
				if err != nil {
					return err
				}
				defer conn.Close()
				return nfnetlink.Send(conn, batch.Messages, nfnetlink.Options{})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := ns.Do(sendLengths); err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, m := range regexp.MustCompile(`(\d+) \. 0x0*(\d+) \. 0x0*(\d+)`).FindAllStringSubmatch(run("", "nft", "list", "set", "ip", "probe", "seen"), -1) {
			seen = append(seen, strings.Join(m[1:], "."))
		}
		slices.Sort(seen)
		if same := slices.Equal(seen, want); same != (engine != "neither") {
			t.Errorf("%s: length, mark and connection's mark are %q; with rules they are %q", engine, seen, want)
		}
	}
}

// sendLengths sends datagrams of one connection, each of another length.
func sendLengths() error {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := net.Dial("udp4", server.LocalAddr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	for _, n := range []int{19, 10, 20, 30, 21} {
		if _, err := client.Write(bytes.Repeat([]byte{'x'}, n)); err != nil {
			return err
		}
	}
	return nil
}
