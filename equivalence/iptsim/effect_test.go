package iptsim_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"nftmigrate/iptables"
	"nftmigrate/packet"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestEffects runs packets through one table and looks at what it changed and
// what it said.
func TestEffects(t *testing.T) {
	out := func(f *packet.Flight) { f.Out = "eth1" }
	tests := []struct {
		name, table, rules string
		hook               packet.Hook
		words              string
		change             func(f *packet.Flight)
		want               string
	}{
		{"mark", "mangle", "-A PREROUTING -j MARK --set-xmark 0x10/0xf0", packet.Prerouting, ssh + " --mark 0xff", nil, "accept mark 0x1f"},
		{"marks in order", "mangle", "-A PREROUTING -j MARK --set-mark 1\n-A PREROUTING -m mark --mark 1 -j MARK --set-mark 2\n-A PREROUTING -m mark --mark 1 -j DROP",
			packet.Prerouting, ssh, nil, "accept mark 0x2"},
		{"save mark", "mangle", "-A PREROUTING -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xff", packet.Prerouting, ssh + " --mark 0x123 --ct-mark 0xabcd", nil, "accept mark 0x123 ctmark 0xab03"},
		{"restore mark", "mangle", "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf0", packet.Prerouting, ssh + " --mark 0x123 --ct-mark 0xabcd", nil, "accept mark 0x1c0 ctmark 0xabcd"},
		{"no connection to mark", "mangle", "-A PREROUTING -j CONNMARK --set-mark 1", packet.Prerouting, ssh + " --ct invalid", nil, "accept"},
		{"log and go on", "filter", ":INPUT DROP\n-A INPUT -j LOG --log-prefix \"a b\" --log-level 3 --log-uid\n-A INPUT -p tcp -j ACCEPT", packet.Input, ssh, nil,
			`accept; log prefix "a b" level 3 flags 0x8`},
		{"reject", "filter", "-A INPUT -j REJECT --reject-with icmp-host-prohibited", packet.Input, ssh, nil, "drop; reject with icmp type 3 code 10"},
		{"reset", "filter", "-A INPUT -p tcp -j REJECT --reject-with tcp-reset", packet.Input, ssh, nil, "drop; reject with tcp reset"},
		{"notrack once", "raw", "-A PREROUTING -j CT --notrack\n-A PREROUTING -j CT --notrack\n-A PREROUTING -m conntrack --ctstate UNTRACKED -j DROP",
			packet.Prerouting, ssh, func(f *packet.Flight) { f.Tracking = packet.Tracking{} }, "drop notrack; notrack"},
		{"before tracking all is invalid", "raw", "-A PREROUTING -m conntrack --ctstate INVALID -j DROP", packet.Prerouting, ssh, func(f *packet.Flight) { f.Tracking = packet.Tracking{} }, "drop"},

		{"dnat", "nat", "-A PREROUTING -p tcp -j DNAT --to-destination 10.9.0.1-10.9.0.4:80-90 --persistent", packet.Prerouting, web, nil, "accept dnat to 10.9.0.1-10.9.0.4 ports 80-90 flags 0x8"},
		{"snat", "nat", "-A POSTROUTING -j SNAT --to-source 203.0.113.9", packet.Postrouting, web, nil, "accept snat to 203.0.113.9"},
		{"the first nat rule is final", "nat", "-A POSTROUTING -j SNAT --to-source 203.0.113.9\n-A POSTROUTING -j MASQUERADE", packet.Postrouting, web, nil, "accept snat to 203.0.113.9"},
		{"masquerade on link", "nat", "-A POSTROUTING -j MASQUERADE", packet.Postrouting, "--in eth0 --udp 10.0.0.7:1-198.51.100.9:2", out, "accept snat to 198.51.100.1"},
		{"masquerade of 0.0.0.0", "nat", "-A POSTROUTING -j MASQUERADE", packet.Postrouting, "--in eth0 --udp 0.0.0.0:1-198.51.100.9:2", out, "accept"},
		{"redirect", "nat", "-A PREROUTING -p tcp -j REDIRECT --to-ports 8080", packet.Prerouting, "--in eth1 --tcp 10.0.0.7:1-8.8.8.8:80", nil, "accept dnat to 198.51.100.1 ports 8080-8080"},
		{"redirect of a local packet", "nat", "-A OUTPUT -p tcp -j REDIRECT --to-ports 8080", packet.Output, "--tcp 192.0.2.1:1-8.8.8.8:80", nil, "accept dnat to 127.0.0.1 ports 8080-8080"},
		{"netmap", "nat", "-A PREROUTING -d 10.7.0.0/16 -j NETMAP --to 192.168.0.0/16", packet.Prerouting, "--in eth1 --tcp 10.0.0.7:1-10.7.3.4:80", nil, "accept dnat to 192.168.3.4"},
		{"netmap of the source", "nat", "-A POSTROUTING -j NETMAP --to 192.168.0.0/24", packet.Postrouting, "--in eth1 --tcp 10.0.0.7:1-10.7.3.4:80", nil, "accept snat to 192.168.0.7"},
	}
	for _, tt := range tests {
		v, f := fly(t, machine(t, iptables.IPv4, tt.table, tt.rules), tt.hook, tt.words, tt.change)
		if got := summary(v, f); got != tt.want {
			t.Errorf("%s: %s, want %s\n%s", tt.name, got, tt.want, steps(f))
		}
	}
}

// summary says what a flight came to.
func summary(v packet.Verdict, f *packet.Flight) string {
	var b strings.Builder
	b.WriteString(v.String())
	if f.Mark != 0 {
		fmt.Fprintf(&b, " mark %#x", f.Mark)
	}
	if e := f.Tracking.Entry; e != nil && e.Mark != 0 {
		fmt.Fprintf(&b, " ctmark %#x", e.Mark)
	}
	if f.Notrack {
		b.WriteString(" notrack")
	}
	if f.NAT != nil {
		fmt.Fprintf(&b, " %v", *f.NAT)
	}
	for _, e := range f.Events {
		fmt.Fprintf(&b, "; %v", e)
	}
	return b.String()
}

// TestMSS checks lowering, adding and clamping of the MSS, and that the
// checksums stay right.
func TestMSS(t *testing.T) {
	const to6 = "--in eth0 --tcp [fd00::7]:4000-[2001:db8:1::9]:22"
	tests := []struct {
		name, args, words string
		want              string // options, or the outcome
	}{
		{"lower", "--set-mss 1300", ssh + " --mss 1460", "02040514"},
		{"never raise", "--set-mss 1300", ssh + " --mss 1200", "020404b0"},
		{"equal", "--set-mss 1300", ssh + " --mss 1300", "02040514"},
		{"behind other options", "--set-mss 1300", ssh + " --tcp-options 0101080a00000000000000000204ffff", "0101080a000000000000000002040514"},
		{"add", "--set-mss 500", ssh, "020401f4"},
		{"add before others, 536 at most", "--set-mss 1300", ssh + " --tcp-options 01010402", "02040218" + "01010402"},
		{"no room", "--set-mss 1300", ssh + " --tcp-options " + strings.Repeat("01", 40), strings.Repeat("01", 40)},
		{"data behind", "--set-mss 1300", ssh + " --payload 00", ""},
		{"clamp", "--clamp-mss-to-pmtu", ssh + " --mss 9000", "020405b4"},
		{"an option cut short", "--set-mss 1300", ssh + " --tcp-options 0103020401", "02040218" + "0103020401000000"},
		{"v6 add", "--set-mss 1400", to6 + " --syn", "020404c4"},
		{"v6 clamp", "--clamp-mss-to-pmtu", to6 + " --syn --mss 9000", "020405a0"},
	}
	for _, tt := range tests {
		family := iptables.IPv4
		if strings.HasPrefix(tt.name, "v6") {
			family = iptables.IPv6
		}
		m := machine(t, family, "mangle", "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS "+tt.args)
		v, f := fly(t, m, packet.Forward, tt.words, nil)
		start := 20
		if family == iptables.IPv6 {
			start = 40
		}
		if v != packet.Accept {
			t.Errorf("%s: %v", tt.name, v)
			continue
		}
		size := int(f.Data[start+12]>>4) * 4
		if got := fmt.Sprintf("%x", f.Data[start+20:start+size]); got != tt.want {
			t.Errorf("%s: options %s, want %s", tt.name, got, tt.want)
		}
		fixed := bytes.Clone(f.Data)
		packet.FixChecksums(fixed)
		if !bytes.Equal(fixed, f.Data) {
			t.Errorf("%s: checksums of %x, want %x", tt.name, f.Data, fixed)
		}
		claimed := int(f.Data[2])<<8 | int(f.Data[3])
		if family == iptables.IPv6 {
			claimed = 40 + int(f.Data[4])<<8 + int(f.Data[5])
		}
		if claimed != len(f.Data) {
			t.Errorf("%s: claims %d bytes of %d", tt.name, claimed, len(f.Data))
		}
	}
}

func TestConntrackUse(t *testing.T) {
	tests := []struct {
		table, rules string
		want         bool
	}{
		{"filter", "-A INPUT -p tcp --dport 22 -j ACCEPT", false},
		{"filter", "-A INPUT -m conntrack --ctstate NEW -j ACCEPT", true},
		{"filter", ":A -\n-A A -m state ! --state NEW", true},
		{"filter", "-A INPUT -m connmark --mark 1", true},
		{"mangle", "-A PREROUTING -j CONNMARK --restore-mark", true},
		{"mangle", "-A PREROUTING -j MARK --set-mark 1", false},
		{"nat", ":PREROUTING ACCEPT", false},
		{"nat", "-A POSTROUTING -j MASQUERADE", true},
		{"raw", "-A PREROUTING -j CT --notrack", false},
		{"filter", "-A INPUT -m connbytes --connbytes 10 --connbytes-dir both --connbytes-mode bytes", true},
	}
	for _, tt := range tests {
		m := machine(t, iptables.IPv4, tt.table, tt.rules)
		if got := m.NeedsConntrack(4); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.rules, got, tt.want)
		}
		if m.NeedsConntrack(6) {
			t.Errorf("%s: tracks IPv6", tt.rules)
		}
	}
}

func TestStages(t *testing.T) {
	var rules strings.Builder
	for _, table := range []string{"filter", "nat", "security", "raw", "mangle"} {
		rules.WriteString("*" + table + "\n")
		for _, c := range iptables.BuiltinChains(table) {
			rules.WriteString(":" + c + " ACCEPT [0:0]\n")
		}
		rules.WriteString("COMMIT\n")
	}
	text := strings.TrimSuffix(strings.TrimPrefix(rules.String(), "*filter\n"), "COMMIT\n")
	var got []string
	for _, s := range machine(t, iptables.IPv4, "filter", text).Stages() {
		got = append(got, fmt.Sprintf("%v %d %s %d", s.Hook, s.Priority, s.Name, s.Kind))
	}
	want := []string{
		"prerouting -300 raw PREROUTING 0", "prerouting -150 mangle PREROUTING 0", "prerouting -100 nat PREROUTING 1",
		"input -150 mangle INPUT 0", "input 0 filter INPUT 0", "input 50 security INPUT 0", "input 100 nat INPUT 1",
		"forward -150 mangle FORWARD 0", "forward 0 filter FORWARD 0", "forward 50 security FORWARD 0",
		"output -300 raw OUTPUT 0", "output -150 mangle OUTPUT 2", "output -100 nat OUTPUT 1", "output 0 filter OUTPUT 0", "output 50 security OUTPUT 0",
		"postrouting -150 mangle POSTROUTING 0", "postrouting 100 nat POSTROUTING 1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("stages\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
