package iptsim_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/kernel"
	"nftmigrate/extension"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

var (
	fuzzSeed     = flag.Uint64("seed", 1, "seed of the first random ruleset")
	fuzzRulesets = flag.Int("rulesets", 12, "random rulesets to run through the kernel")
	fuzzPackets  = flag.Int("packets", 600, "packets for each of them")
)

var hostOfFuzz = packet.DefaultHost([]string{"eth0", "eth1"})

// TestRandomAgainstKernel runs random packets through random rulesets, in
// legacy xtables of the kernel and in the machine, and compares their fates.
func TestRandomAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip6tables-legacy-restore"))
	compared, refused := 0, 0
	for i := range *fuzzRulesets {
		seed := *fuzzSeed + uint64(i)
		n, err := fuzzOne(t, seed)
		if err != nil {
			refused++
			t.Logf("seed %d: %v", seed, err)
		}
		compared += n
	}
	t.Logf("%d packets compared, %d rulesets refused", compared, refused)
	if refused*2 > *fuzzRulesets {
		t.Error("most rulesets are refused by the kernel")
	}
}

// fuzzOne makes a ruleset and packets of a seed; an error says that the kernel
// does not load the ruleset.
func fuzzOne(t *testing.T, seed uint64) (compared int, err error) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), version: 4 + 2*int(seed%2), stateless: seed%4 < 2}
	text := g.ruleset()
	rs, list := iptables.Parse(diag.NewSource("random", []byte(text)), iptables.Family(g.version), extension.Registry)
	if list.HasErrors() {
		t.Errorf("seed %d: %v\n%s", seed, list, text)
		return 0, nil
	}
	host := hostOfFuzz
	v4, v6 := []byte(text), []byte("*filter\nCOMMIT\n")
	if g.version == 6 {
		v4, v6 = v6, v4
	}
	real, err := kernel.NewXtables(host, v4, v6, kernel.Options{Untracked: g.stateless})
	if err != nil {
		return 0, err
	}
	defer real.Close()
	m := iptsim.New(rs)
	if m.NeedsConntrack(g.version) == g.stateless {
		t.Errorf("seed %d: stateless %v\n%s", seed, g.stateless, text)
	}
	walker := equivalence.NewWalker(m, host)
	walker.Trace = true
	for range *fuzzPackets {
		p, err := g.spec().Packet()
		if err != nil {
			t.Fatal(err)
		}
		want, err := real.Run(p)
		if errors.Is(err, kernel.ErrNotRunnable) {
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v: %v", seed, p, err)
		}
		if want.Observed.State != 0 {
			p.Tracking = want.Observed
		}
		got := walker.Run(p)
		if got.Verdict == packet.Undecided {
			t.Errorf("seed %d: %v: undecided %v", seed, p, got.Unknown)
			continue
		}
		compared++
		aspects := equivalence.Differ(shown(host, p, want), shown(host, p, got))
		if len(aspects) > 0 {
			t.Errorf("seed %d: %v: %v\nkernel:  %s\nmachine: %s\n%x\n%x\n%s\n%s", seed, p, aspects,
				equivalence.Describe(want), equivalence.Describe(got), want.Data, got.Data, stepText(got.Trace), text)
			return compared, nil
		}
	}
	return compared, nil
}

// shown keeps of a fate what the kernel shows: log messages, and the answers
// that the stack sends. The walker repairs checksums that were wrong from the
// start.
func shown(host *packet.Host, p *packet.Packet, f packet.Fate) packet.Fate {
	data := bytes.Clone(p.Data) // as a rule that rejects sees it
	f.Events = slices.DeleteFunc(slices.Clone(f.Events), func(e packet.Event) bool {
		switch e := e.(type) {
		case packet.LogEvent:
			return false
		case packet.RejectEvent:
			return !host.Answers(data, cmp.Or(p.In, f.Out), p.Type, e)
		case packet.NATEvent:
			if e.Min.IsValid() {
				packet.RewriteAddr(data, e.Destination, e.Min)
			}
		}
		return true
	})
	if f.Verdict != packet.Accept {
		f.Tracked = false
	}
	f.Data = bytes.Clone(f.Data)
	packet.FixChecksums(f.Data)
	return f
}

// A generator makes random rulesets and packets that have values in common.
// Where nothing of a ruleset asks for connections, fragments stay what they are.
type generator struct {
	*rand.Rand
	version   int
	stateless bool
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// chance is true one time in n.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

var tableHooks = []struct {
	table  string
	chains []string
}{
	{"raw", []string{"PREROUTING", "OUTPUT"}},
	{"mangle", []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}},
	{"filter", []string{"INPUT", "FORWARD", "OUTPUT"}},
	{"security", []string{"INPUT", "FORWARD", "OUTPUT"}},
	{"nat", []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}},
}

func (g *generator) ruleset() string {
	var b strings.Builder
	for _, t := range tableHooks {
		if t.table == "nat" && g.stateless || t.table != "filter" && g.chance(3) {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t.table)
		for _, c := range t.chains {
			policy := pick(g, "ACCEPT", "ACCEPT", "DROP")
			if t.table == "nat" {
				policy = "ACCEPT"
			}
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c, policy)
		}
		users := []string{"A", "B", "C"}
		for _, c := range users {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c)
		}
		for _, c := range t.chains {
			for range g.IntN(8) {
				b.WriteString(g.rule(t.table, c, users))
			}
			if t.table == "filter" && !g.stateless {
				fmt.Fprintf(&b, "-A %s -m conntrack --ctstate UNTRACKED -j LOG --log-prefix untracked\n", c)
			}
		}
		for i, c := range users {
			for range g.IntN(6) {
				b.WriteString(g.rule(t.table, c, users[i+1:]))
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func (g *generator) not() string {
	if g.chance(4) {
		return "! "
	}
	return ""
}

func (g *generator) rule(table, chain string, users []string) string {
	var b strings.Builder
	b.WriteString("-A " + chain)
	if g.chance(3) {
		fmt.Fprintf(&b, " %s%s %s", g.not(), pick(g, "-s", "-d"), g.network())
	}
	if in := chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD"; in && g.chance(5) {
		fmt.Fprintf(&b, " %s-i %s", g.not(), pick(g, "eth0", "eth1", "eth+", "lo"))
	}
	if out := chain == "FORWARD" || chain == "OUTPUT" || chain == "POSTROUTING"; out && g.chance(5) {
		fmt.Fprintf(&b, " %s-o %s", g.not(), pick(g, "eth0", "eth1", "eth+", "lo"))
	}
	proto := ""
	if g.chance(2) {
		proto = pick(g, "tcp", "tcp", "udp", "icmp")
		if proto == "icmp" && g.version == 6 {
			proto = "icmpv6"
		}
		fmt.Fprintf(&b, " -p %s", proto)
		b.WriteString(g.transport(proto))
	} else if g.chance(6) {
		fmt.Fprintf(&b, " ! -p %s", pick(g, "tcp", "udp", "50"))
	}
	if g.version == 4 && proto == "" && g.chance(8) {
		b.WriteString(" " + g.not() + "-f")
	}
	for range g.IntN(3) {
		b.WriteString(g.match(table, chain))
	}
	b.WriteString(g.action(table, chain, proto, users))
	return b.String() + "\n"
}

func (g *generator) network() string {
	if g.version == 4 {
		return pick(g, "192.0.2.0/24", "192.0.2.77", "192.0.2.1", "198.51.100.9/255.0.0.255", "198.51.100.0/25", "10.0.0.0/8", "0.0.0.0/0")
	}
	return pick(g, "2001:db8::/64", "2001:db8::77", "2001:db8:1::9/ffff::ff", "2001:db8::/32", "::/0", "fd00::/8")
}

func (g *generator) transport(proto string) string {
	port := func() string { return pick(g, "22", "53", "80", "1024:65535", "0:1023") }
	switch {
	case strings.HasPrefix(proto, "icmp") && g.chance(2):
		if g.version == 6 {
			return " -m icmp6 " + g.not() + "--icmpv6-type " + pick(g, "128", "1/4", "3", "129")
		}
		return " -m icmp " + g.not() + "--icmp-type " + pick(g, "8", "3/3", "any", "0", "3")
	case proto == "tcp" && g.chance(5):
		return " -m tcp " + g.not() + "--tcp-flags " + pick(g, "FIN,SYN,RST,ACK SYN", "SYN,RST SYN", "ALL NONE", "ACK ACK")
	case proto == "tcp" && g.chance(6):
		return " -m tcp " + g.not() + "--tcp-option " + pick(g, "2", "8", "4")
	case (proto == "tcp" || proto == "udp") && g.chance(2):
		return " -m " + proto + " " + g.not() + pick(g, "--dport ", "--sport ") + port()
	case (proto == "tcp" || proto == "udp") && g.chance(3):
		return " -m multiport " + g.not() + pick(g, "--dports ", "--sports ", "--ports ") + pick(g, "22,80", "53,1024:2000", "0:22")
	}
	return ""
}

func (g *generator) match(table, chain string) string {
	not := g.not()
	options := []string{
		" -m mark " + not + "--mark " + pick(g, "0x1", "0x10/0xf0", "0x0"),
		" -m length " + not + "--length " + pick(g, "40", "0:60", "61:1500"),
		" -m comment --comment x",
	}
	// Neighbour discovery of the kernel itself leaves through OUTPUT.
	if g.version == 4 || chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD" {
		options = append(options,
			" -m statistic --mode nth "+not+"--every "+pick(g, "2 --packet 0", "3 --packet 1", "5 --packet 4"),
			" -m limit --limit 1/hour --limit-burst "+pick(g, "1", "20"),
			" -m recent "+not+pick(g, "--set", "--rcheck", "--update", "--remove", "--rcheck --hitcount 3", "--update --hitcount 2", "--rcheck --rttl")+
				" --name "+pick(g, "one", "two")+" "+pick(g, "--rsource", "--rdest"))
	}
	if !g.stateless {
		options = append(options,
			" -m conntrack "+not+"--ctstate "+pick(g, "NEW", "ESTABLISHED,RELATED", "INVALID", "UNTRACKED", "NEW,INVALID"),
			" -m conntrack --ctdir "+pick(g, "ORIGINAL", "REPLY"),
			" -m conntrack "+not+"--ctproto "+pick(g, "6", "17"),
			" -m conntrack "+not+"--ctstatus "+pick(g, "NONE", "SEEN_REPLY", "ASSURED", "CONFIRMED,EXPECTED"),
			" -m conntrack "+not+"--ctorigsrc "+g.address().String(),
			" -m conntrack "+not+"--ctrepldstport "+pick(g, "22", "80:4000"),
			" -m connmark "+not+"--mark "+pick(g, "0x0", "0x10/0xf0", "0x5"))
	}
	if g.version == 4 {
		options = append(options,
			" -m ttl "+pick(g, not+"--ttl-eq 64", "--ttl-lt 64", "--ttl-gt 62"),
			" -m iprange "+not+"--src-range 192.0.2.70-192.0.2.80",
			" -m addrtype "+not+pick(g, "--src-type ", "--dst-type ")+pick(g, "LOCAL", "UNICAST", "BROADCAST,MULTICAST"))
	} else {
		options = append(options,
			" -m hl "+pick(g, not+"--hl-eq 64", "--hl-lt 64", "--hl-gt 62"),
			" -m iprange "+not+"--dst-range 2001:db8::70-2001:db8::80",
			" -m addrtype "+not+pick(g, "--src-type ", "--dst-type ")+pick(g, "LOCAL", "UNICAST", "MULTICAST", "UNREACHABLE"))
	}
	if chain == "PREROUTING" || chain == "INPUT" || chain == "FORWARD" {
		options = append(options, " -m mac "+not+"--mac-source 02:00:00:00:00:09", " -m pkttype "+not+"--pkt-type "+pick(g, "unicast", "broadcast", "multicast"))
	}
	if chain == "OUTPUT" || chain == "POSTROUTING" {
		options = append(options, " -m owner "+not+pick(g, "--uid-owner 1000", "--gid-owner 0-100", "--socket-exists"))
	}
	return options[g.IntN(len(options))]
}

func (g *generator) action(table, chain, proto string, users []string) string {
	if len(users) > 0 && g.chance(3) {
		return pick(g, " -j ", " -j ", " -g ") + users[g.IntN(len(users))]
	}
	if g.chance(6) {
		return ""
	}
	if table == "nat" {
		return g.translation(chain, proto)
	}
	if g.chance(2) {
		return " -j " + pick(g, "ACCEPT", "DROP", "RETURN")
	}
	if g.chance(3) {
		return " -j LOG --log-prefix \"" + pick(g, "one", "two ", "three") + "\" --log-level " + pick(g, "4", "6")
	}
	switch table {
	case "raw":
		return " -j CT --notrack"
	case "filter":
		if proto == "tcp" && g.chance(2) {
			return " -j REJECT --reject-with tcp-reset"
		}
		if builtin := iptables.IsBuiltin(table, chain); builtin && g.version == 4 {
			return " -j REJECT --reject-with " + pick(g, "icmp-port-unreachable", "icmp-admin-prohibited")
		} else if builtin {
			return " -j REJECT --reject-with " + pick(g, "icmp6-port-unreachable", "icmp6-adm-prohibited")
		}
		return " -j ACCEPT"
	case "mangle":
		if proto == "tcp" && g.chance(4) && chain == "FORWARD" {
			return " -m tcp --tcp-flags SYN,RST SYN -j TCPMSS " + pick(g, "--set-mss 1300", "--clamp-mss-to-pmtu", "--set-mss 500")
		}
		if g.stateless {
			return " -j " + pick(g, "MARK --set-xmark 0x1/0xffffffff", "MARK --set-xmark 0x10/0xf0", "MARK --set-xmark 0x3/0x0")
		}
		return " -j " + pick(g, "MARK --set-xmark 0x1/0xffffffff", "MARK --set-xmark 0x10/0xf0", "CONNMARK --set-xmark 0x15/0xff",
			"CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", "CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff")
	}
	return " -j RETURN"
}

// translation is a target of nat to one address and one port, which leaves the
// kernel no choice.
func (g *generator) translation(chain, proto string) string {
	if !iptables.IsBuiltin("nat", chain) {
		return " -j " + pick(g, "ACCEPT", "RETURN")
	}
	to, network := g.address().String(), pick(g, "10.7.0.0/16", "10.8.8.0/24")
	if g.version == 6 {
		network = pick(g, "fd07::/64", "fd08:1::/32")
	}
	port := ""
	if (proto == "tcp" || proto == "udp") && g.chance(2) {
		port = pick(g, ":8080", ":53")
		if g.version == 6 {
			to = "[" + to + "]"
		}
	}
	switch chain {
	case "POSTROUTING":
		if port == "" && g.chance(2) {
			return " -j " + pick(g, "MASQUERADE", "NETMAP --to "+network)
		}
		return " -j SNAT --to-source " + to + port
	case "INPUT":
		return " -j SNAT --to-source " + to + port
	}
	if port == "" && g.chance(2) {
		return " -j " + pick(g, "REDIRECT", "NETMAP --to "+network)
	}
	return " -j DNAT --to-destination " + to + port
}

func (g *generator) address() netip.Addr {
	if g.version == 4 {
		return netip.MustParseAddr(pick(g, "192.0.2.77", "192.0.2.1", "192.0.2.9", "198.51.100.9", "198.51.100.1", "10.1.2.3", "192.0.2.255", "203.0.113.5"))
	}
	return netip.MustParseAddr(pick(g, "2001:db8::77", "2001:db8::1", "2001:db8:1::9", "2001:db8:1::1", "fd00::3", "2001:db8:7::5"))
}

func routeOf(a netip.Addr) packet.RouteType {
	r, _ := hostOfFuzz.Lookup(a)
	return r.Type
}

func (g *generator) spec() packet.Spec {
	s := packet.Spec{
		Version: g.version, Src: g.address(), Dst: g.address(),
		Proto:   pick[uint8](g, packet.TCP, packet.TCP, packet.UDP, packet.UDP, packet.ICMP, packet.ICMPv6, packet.ESP, packet.SCTP, 253, packet.UDPLite),
		SrcPort: pick[uint16](g, 22, 53, 80, 4000, 1024, 0), DstPort: pick[uint16](g, 22, 53, 80, 1023, 1024, 9999),
		TCPFlags: pick[uint8](g, packet.SYN, packet.SYN, packet.SYN|packet.ACK, packet.ACK, packet.RST, 0, packet.FIN|packet.ACK),
		Type:     pick[uint8](g, 8, 0, 3, 128, 129, 1), Code: pick[uint8](g, 0, 0, 3, 4),
		TTL:     pick(g, 64, 64, 63, 62, 2),
		Payload: make([]byte, pick(g, 0, 0, 8, 100)),
		Mark:    pick[uint32](g, 0, 0, 1, 0x10),
	}
	if s.Proto == packet.TCP && s.TCPFlags&packet.SYN != 0 {
		s.MSS = pick[uint16](g, 0, 0, 1460, 400)
		s.TCPOptions = pick(g, nil, []byte{8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2}, []byte{1, 1, 4, 2})
		s.Payload = s.Payload[:min(len(s.Payload), pick(g, 0, 0, 8))]
	}
	if g.chance(12) {
		s.Truncate, s.Keep = true, g.IntN(20)
	}
	if g.chance(12) {
		s.BadChecksum = true
	}
	if g.version == 6 && g.chance(8) {
		s.Headers = []packet.Extension{{Proto: pick[uint8](g, packet.DestOpts, packet.DestOpts, packet.AH), Body: []byte{1, 0}}}
	}
	// IPv4 collects fragments for a local address before INPUT.
	if kind := routeOf(s.Dst); g.stateless && g.chance(4) && (g.version == 6 || kind == packet.Unicast) {
		s.Fragmented, s.FragmentOffset, s.MoreFragments = true, pick[uint16](g, 0, 0, 1, 2, 64), g.chance(2)
		s.Payload = make([]byte, pick(g, 8, 16, 24))
		s.IPOptions = pick(g, nil, nil, []byte{1, 1, 1, 1})
		if s.BadChecksum = false; s.FragmentOffset == 0 {
			s.Truncate = false
		}
	}
	if !g.stateless {
		s.State, s.Reply = pick(g, packet.New, packet.New, packet.Established, packet.Invalid), g.chance(2)
		s.ConnMark = pick[uint32](g, 0, 0x10, 5)
		if s.State != packet.Established {
			s.Reply, s.ConnMark = false, 0
		}
	}
	if g.chance(6) {
		s.Socket = &packet.Socket{UID: pick[uint32](g, 0, 1000), GID: pick[uint32](g, 0, 500)}
		s.Src = hostOfFuzz.Device("eth0").Addrs[s.Version/2-2].Addr()
	} else {
		s.In = pick(g, "eth0", "eth1")
		s.Link = &packet.Link{Src: [6]byte{2, 0, 0, 0, 0, pick[byte](g, 8, 9)}, Dst: hostOfFuzz.Device(s.In).MAC}
		s.PktType = pick[uint8](g, 0, 0, 0, packet.TypeBroadcast, packet.TypeMulticast)
		// Routing drops what comes from the host itself.
		for routeOf(s.Src) != packet.Unicast {
			s.Src = g.address()
		}
		switch s.PktType {
		case packet.TypeBroadcast:
			s.Link.Dst = [6]byte{255, 255, 255, 255, 255, 255}
		case packet.TypeMulticast:
			s.Link.Dst = [6]byte{1, 0, 0x5e, 0, 0, 1}
		}
	}
	return s
}
