package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
	"nftmigrate/internal/xtables"
)

// Ports of the packets: a quarter of them is wanted.
const (
	wantedPort   = 1000
	unwantedPort = 2000
	portCount    = 16
)

// observer counts packets before all rules and behind them, where they end.
const observer = `table inet observer {
	counter wanted_in { }
	counter unwanted_in { }
	counter wanted_out { }
	counter unwanted_out { }
	chain in { type filter hook prerouting priority -400; udp dport 1000-1015 counter name wanted_in; udp dport 2000-2015 counter name unwanted_in; }
	chain out { type filter hook input priority 400; udp dport 1000-1015 counter name wanted_out drop; udp dport 2000-2015 counter name unwanted_out drop; }
}
`

// wantedRules are rules of iptables that accept the wanted packets, one port each,
// and leave the others to the policy.
func wantedRules() string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for i := range portCount {
		fmt.Fprintf(&b, "-A INPUT -p udp -m udp --dport %d -j ACCEPT\n", wantedPort+i)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// wantedTable does the same with a map of verdicts, whose elements are gone for
// packets before its rules are when it is deleted.
func wantedTable() string {
	var elements []string
	for i := range portCount {
		elements = append(elements, fmt.Sprintf("%d : accept", wantedPort+i))
	}
	return "table inet firewall {\n\tmap ports { type inet_service : verdict; elements = { " + strings.Join(elements, ", ") + " } }\n" +
		"\tchain input { type filter hook input priority 0; policy drop; udp dport vmap @ports; }\n}\n"
}

// A road is a device on which packets arrive in a namespace.
type road struct {
	ns   *netns.NS
	fd   int
	stop atomic.Bool
	done chan error
}

// newRoad makes a TUN device with an address, and begins to send packets of UDP
// whose ports next sets.
func newRoad(t *testing.T, n *netns.NS, next func(packet []byte, i int)) *road {
	t.Helper()
	r := &road{ns: n, done: make(chan error, 1)}
	err := n.Do(func() (err error) {
		if r.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq("road")
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(r.fd, unix.TUNSETIFF, request)
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, n, "", "ip", "address", "add", "10.9.0.1/24", "dev", "road")
	run(t, n, "", "ip", "link", "set", "road", "up")
	go r.send(next)
	return r
}

// send writes packets until it is told to stop.
func (r *road) send(next func(packet []byte, i int)) {
	packet := make([]byte, 40)
	packet[0], packet[3], packet[8], packet[9] = 0x45, 40, 64, unix.IPPROTO_UDP
	copy(packet[12:], []byte{10, 9, 0, 2, 10, 9, 0, 1})
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(packet[24:], 20)
	for i := 0; !r.stop.Load(); i++ {
		next(packet, i)
		if _, err := unix.Write(r.fd, packet); err != nil {
			r.done <- err
			return
		}
	}
	r.done <- nil
}

// wanted makes one of four packets wanted.
func wanted(packet []byte, i int) {
	port := unwantedPort
	if i%4 == 0 {
		port = wantedPort
	}
	binary.BigEndian.PutUint16(packet[20:], 5000)
	binary.BigEndian.PutUint16(packet[22:], uint16(port+i/4%portCount))
}

// end stops the packets and returns what the observer counted.
func (r *road) end(t *testing.T) map[string]int {
	t.Helper()
	r.stop.Store(true)
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // for those under way
	unix.Close(r.fd)
	counted := map[string]int{}
	for _, m := range regexp.MustCompile(`counter (\w+) \{\s+packets (\d+)`).FindAllStringSubmatch(run(t, r.ns, "", "nft", "list", "counters"), -1) {
		counted[m[1]], _ = strconv.Atoi(m[2])
	}
	return counted
}

// enough is how many packets there must be at least for a run to say something.
const enough = 50_000

// TestTraffic switches from the old rules to a new table and restores, again and
// again, while packets arrive: none passes that must not, none is lost (G20). The
// last case does it in the wrong order, and the test must notice.
func TestTraffic(t *testing.T) {
	const duration = 3 * time.Second
	for _, c := range []struct {
		name, tool, part string
		empty            func(t *testing.T, n *netns.NS)
		early            bool // the old rules go before the new ones come
	}{
		{name: "legacy", tool: "iptables-legacy-restore", part: LegacyName(unix.NFPROTO_IPV4, "filter"), empty: emptyFilter},
		{name: "iptables-nft", tool: "iptables-nft-restore", part: TableName(nfnetlink.Table{Family: unix.NFPROTO_IPV4, Name: "filter"}), empty: emptyCompat},
		{name: "wrong order", tool: "iptables-legacy-restore", part: LegacyName(unix.NFPROTO_IPV4, "filter"), empty: emptyFilter, early: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNS(t)
			testkit.Need(t, testkit.TUN, testkit.Tool("ip"))
			run(t, n, wantedTable(), "nft", "-f", "-")
			table := nfnetlink.Table{Family: unix.NFPROTO_INET, Name: "firewall"}
			made := byTable(takeOf(t, n).Ruleset)[table]
			run(t, n, "", "nft", "delete", "table", "inet", "firewall")
			run(t, n, wantedRules(), c.tool)
			run(t, n, observer, "nft", "-f", "-")
			before := takeOf(t, n)
			what := What{Parts: []string{c.part, TableName(table)}, Lock: lockIn(t)}

			start := time.Now()
			r := newRoad(t, n, wanted)
			switches := 0
			for ; time.Since(start) < duration; switches++ {
				if c.early {
					c.empty(t, n)
				}
				comes(t, n, made)
				if !c.early {
					c.empty(t, n)
				}
				if _, err := before.Restore(context.Background(), n, what); err != nil {
					t.Error(err)
					break
				}
			}
			took := time.Since(start)
			counted := r.end(t)
			sent := counted["wanted_in"] + counted["unwanted_in"]
			dropped, passed := counted["wanted_in"]-counted["wanted_out"], counted["unwanted_out"]
			t.Logf("%d switches and back, %d packets, %.0f a second: %d wrongly dropped, %d wrongly passed",
				switches, sent, float64(sent)/took.Seconds(), dropped, passed)
			switch wrong := dropped != 0 || passed != 0; {
			case c.early && !wrong:
				t.Error("rules that went too early are not noticed")
			case !c.early && wrong:
				t.Errorf("%d packets wrongly dropped and %d wrongly passed, want 0", dropped, passed)
			}
			if sent < enough || switches < 10 {
				testkit.NotHere(t, "%d switches under %d packets say little", switches, sent)
			}
		})
	}
}

// comes brings a table in, complete before it has hooks.
func comes(t *testing.T, n *netns.NS, messages []netlink.Message) {
	t.Helper()
	err := n.Do(func() error {
		c, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := nfnetlink.Send(c, nfnetlink.Replay(withFlags(messages, asleep)), nfnetlink.Options{}); err != nil {
			return err
		}
		return nfnetlink.Send(c, []netlink.Message{tableMessage(unix.NFT_MSG_NEWTABLE, netlink.Create, nfnetlink.TableOf(messages[0]), 0)}, nfnetlink.Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func emptyLegacy(t *testing.T, n *netns.NS, name string) {
	t.Helper()
	c, err := xtables.Dial(n)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table, err := c.Read(unix.NFPROTO_IPV4, name)
	if err == nil {
		err = c.Replace(xtables.Policies(table, xtables.Accept), table)
	}
	if err == nil {
		err = c.Replace(xtables.Empty(table), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func emptyFilter(t *testing.T, n *netns.NS) {
	t.Helper()
	emptyLegacy(t, n, "filter")
}

func emptyCompat(t *testing.T, n *netns.NS) {
	t.Helper()
	run(t, n, "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n", "iptables-nft-restore")
}

// natObserver counts packets where they end, by the port they have by then.
const natObserver = `table inet observer {
	counter in { }
	counter translated { }
	counter untranslated { }
	chain in { type filter hook prerouting priority -400; udp dport 3000 counter name in; }
	chain out { type filter hook input priority 400; udp dport 4000 counter name translated drop; udp dport 3000 counter name untranslated drop; }
}
`

// TestTrafficNAT does the same with a translation of addresses: connections that
// are there keep theirs, and new ones get it (G19). In the wrong order they do not,
// and the test must notice.
func TestTrafficNAT(t *testing.T) {
	t.Run("right order", func(t *testing.T) { trafficNAT(t, 3*time.Second, false) })
	t.Run("wrong order", func(t *testing.T) { trafficNAT(t, time.Second, true) })
}

// trafficNAT runs for a while; with early, the old rules go before the new ones come.
func trafficNAT(t *testing.T, duration time.Duration, early bool) {
	n := newNS(t)
	testkit.Need(t, testkit.TUN, testkit.Tool("ip"))
	run(t, n, "table ip firewall {\n\tchain nat { type nat hook prerouting priority -100; udp dport 3000 redirect to :4000; }\n}\n", "nft", "-f", "-")
	table := nfnetlink.Table{Family: unix.NFPROTO_IPV4, Name: "firewall"}
	made := byTable(takeOf(t, n).Ruleset)[table]
	run(t, n, "", "nft", "delete", "table", "ip", "firewall")
	run(t, n, "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport 3000 -j REDIRECT --to-ports 4000\nCOMMIT\n", "iptables-legacy-restore")
	run(t, n, natObserver, "nft", "-f", "-")
	before := takeOf(t, n)
	what := What{Parts: []string{LegacyName(unix.NFPROTO_IPV4, "nat"), TableName(table)}, Lock: lockIn(t)}

	start := time.Now()
	// 64 connections that stay; one packet of 64 begins another.
	r := newRoad(t, n, func(packet []byte, i int) {
		port := 5000 + i%64
		if i%64 == 0 {
			port = 10_000 + i/64%50_000
		}
		binary.BigEndian.PutUint16(packet[20:], uint16(port))
		binary.BigEndian.PutUint16(packet[22:], 3000)
	})
	switches := 0
	for ; time.Since(start) < duration; switches++ {
		if early {
			emptyLegacy(t, n, "nat")
		}
		comes(t, n, made)
		if !early {
			emptyLegacy(t, n, "nat")
		}
		if _, err := before.Restore(context.Background(), n, what); err != nil {
			t.Error(err)
			break
		}
	}
	took := time.Since(start)
	counted := r.end(t)
	t.Logf("%d switches and back, %d packets, %.0f a second: %v", switches, counted["in"], float64(counted["in"])/took.Seconds(), counted)
	switch wrong := counted["untranslated"] != 0 || counted["translated"] != counted["in"]; {
	case early && !wrong:
		t.Error("rules that went too early are not noticed")
	case !early && wrong:
		t.Errorf("of %d packets %d were translated and %d were not, want all to be", counted["in"], counted["translated"], counted["untranslated"])
	}
	if !early && counted["in"] < enough || switches < 5 {
		testkit.NotHere(t, "%d switches under %d packets say little", switches, counted["in"])
	}
}

// TestTrafficReplaced does the same where the new table has the name of the old one,
// so that there is no other that decides meanwhile.
func TestTrafficReplaced(t *testing.T) {
	const duration = 3 * time.Second
	n, other := newNS(t), newNS(t)
	testkit.Need(t, testkit.TUN, testkit.Tool("ip"))
	text := strings.NewReplacer(" : accept", "", "map ports { type inet_service : verdict;", "set some { type inet_service;", "udp dport vmap @ports;", "udp dport @some accept;").Replace(wantedTable())
	run(t, other, text, "nft", "-f", "-")
	table := nfnetlink.Table{Family: unix.NFPROTO_INET, Name: "firewall"}
	batch := apply.Batch{Messages: append([]netlink.Message{tableMessage(unix.NFT_MSG_DELTABLE, 0, table, 0)}, nfnetlink.Replay(takeOf(t, other).Ruleset)...)}
	run(t, n, wantedTable(), "nft", "-f", "-")
	run(t, n, observer, "nft", "-f", "-")
	before := takeOf(t, n)
	ctx := context.Background()

	start := time.Now()
	r := newRoad(t, n, wanted)
	switches := 0
	for ; time.Since(start) < duration; switches++ {
		if _, err := apply.Switch(ctx, n, batch, apply.Options{}); err != nil {
			t.Error(err)
			break
		}
		if _, err := before.Restore(ctx, n, What{Parts: []string{TableName(table)}}); err != nil {
			t.Error(err)
			break
		}
	}
	took := time.Since(start)
	counted := r.end(t)
	sent := counted["wanted_in"] + counted["unwanted_in"]
	t.Logf("%d switches and back, %d packets, %.0f a second: %v", switches, sent, float64(sent)/took.Seconds(), counted)
	if counted["wanted_out"] != counted["wanted_in"] || counted["unwanted_out"] != 0 {
		t.Errorf("%d packets wrongly dropped and %d wrongly passed, want 0", counted["wanted_in"]-counted["wanted_out"], counted["unwanted_out"])
	}
	if sent < enough || switches < 5 {
		testkit.NotHere(t, "%d switches under %d packets say little", switches, sent)
	}
}
