package iptsim_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
	"nftmigrate/packet"
)

// machine compiles the lines of one table; lines that start with a colon
// declare chains, and the tables named in more follow.
func machine(t testing.TB, family iptables.Family, table, lines string) *iptsim.Machine {
	t.Helper()
	text := "*" + table + "\n"
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		text += strings.TrimSpace(line) + "\n"
	}
	rs, list := iptables.Parse(diag.NewSource("rules", []byte(text+"COMMIT\n")), family, extension.Registry)
	if list.HasErrors() {
		t.Fatalf("%s\n%v", text, list)
	}
	return iptsim.New(rs)
}

// fly sends a packet given in words through the stages of one hook.
func fly(t testing.TB, m *iptsim.Machine, hook packet.Hook, words string, change func(f *packet.Flight)) (packet.Verdict, *packet.Flight) {
	t.Helper()
	p, err := packet.ParseWords(strings.Fields(words))
	if err != nil {
		t.Fatal(err)
	}
	f := &packet.Flight{
		Packet: p, Host: packet.DefaultHost([]string{"eth0", "eth1", "lan0"}), Hook: hook,
		Data: bytes.Clone(p.Data), In: p.In, Mark: p.Mark, Priority: p.Priority, Tracking: p.Tracking, Traced: true,
	}
	if f.Tracking.Entry != nil {
		own := *f.Tracking.Entry
		f.Tracking.Entry = &own
	}
	if hook >= packet.Forward {
		f.Out = "eth1"
	}
	if change != nil {
		change(f)
	}
	for _, s := range m.Stages() {
		if s.Hook != hook {
			continue
		}
		if v := s.Run(f); v != packet.Accept {
			return v, f
		}
	}
	return packet.Accept, f
}

// outcome is a fate in a word: the verdict, and "!" when a match dropped.
func outcome(v packet.Verdict, f *packet.Flight) string {
	if f.Hotdrop {
		return "hotdrop"
	}
	return v.String()
}

// A try is a packet and what becomes of it.
type try struct{ words, want string }

const (
	ssh  = "--in eth0 --tcp 10.0.0.7:4000-192.0.2.1:22 --syn"
	web  = "--in eth0 --tcp 10.0.0.7:4000-192.0.2.1:80 --syn"
	dns  = "--in eth1 --udp 10.1.0.7:4000-192.0.2.1:53"
	ping = "--in eth0 --icmp 10.0.0.7-192.0.2.1"
	ssh6 = "--in eth0 --tcp [fd00::7]:4000-[2001:db8::1]:22 --syn"
)

// TestInput runs packets through filter INPUT.
func TestInput(t *testing.T) {
	tests := []struct {
		name  string
		rules string
		tries []try
	}{
		{"policy", ":INPUT DROP [0:0]", []try{{ssh, "drop"}}},
		{"verdicts in order", ":INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -p tcp -j DROP\n-A INPUT -j ACCEPT",
			[]try{{ssh, "accept"}, {web, "drop"}, {dns, "accept"}}},
		{"a rule without target goes on", ":INPUT DROP\n-A INPUT -p tcp\n-A INPUT -p tcp -j ACCEPT", []try{{ssh, "accept"}, {dns, "drop"}}},
		{"return in a built-in chain is the policy", ":INPUT DROP\n-A INPUT -p tcp -j RETURN\n-A INPUT -j ACCEPT", []try{{ssh, "drop"}, {dns, "accept"}}},
		{"a chain that ends goes back", ":INPUT DROP\n:A -\n-A INPUT -j A\n-A INPUT -p udp -j ACCEPT\n-A A -p tcp -j ACCEPT",
			[]try{{ssh, "accept"}, {dns, "accept"}, {ping, "drop"}}},
		{"return from a chain", ":INPUT DROP\n:A -\n-A INPUT -j A\n-A INPUT -j ACCEPT\n-A A -p udp -j RETURN\n-A A -j DROP",
			[]try{{ssh, "drop"}, {dns, "accept"}}},
		{"goto from a built-in chain ends in the policy", ":INPUT DROP\n:A -\n-A INPUT -g A\n-A INPUT -j ACCEPT\n-A A -p tcp -j ACCEPT",
			[]try{{ssh, "accept"}, {dns, "drop"}}},
		{"goto returns to whoever jumped", ":INPUT DROP\n:A -\n:B -\n-A INPUT -j A\n-A INPUT -p udp -j ACCEPT\n-A A -g B\n-A A -j ACCEPT\n-A B -p tcp --dport 22 -j ACCEPT",
			[]try{{ssh, "accept"}, {web, "drop"}, {dns, "accept"}}},
		{"return after a goto", ":INPUT ACCEPT\n:A -\n:B -\n-A INPUT -j A\n-A INPUT -j DROP\n-A A -g B\n-A A -j ACCEPT\n-A B -j RETURN", []try{{ssh, "drop"}}},
		{"an empty chain", ":INPUT DROP\n:A -\n-A INPUT -j A\n-A INPUT -j ACCEPT", []try{{ssh, "accept"}}},
		{"a jump as the last rule", ":INPUT DROP\n:A -\n-A INPUT -j A\n-A A -p tcp -j RETURN\n-A A -j ACCEPT", []try{{ssh, "drop"}, {dns, "accept"}}},
		{"chains called twice", ":INPUT DROP\n:A -\n:B -\n-A INPUT -j A\n-A INPUT -j A\n-A A -j B\n-A A -p udp -j ACCEPT\n-A B -p icmp -j DROP",
			[]try{{dns, "accept"}, {ping, "drop"}, {ssh, "drop"}}},

		{"source", ":INPUT DROP\n-A INPUT -s 10.0.0.0/24 -j ACCEPT", []try{{ssh, "accept"}, {dns, "drop"}}},
		{"not source", ":INPUT DROP\n-A INPUT ! -s 10.0.0.0/24 -j ACCEPT", []try{{ssh, "drop"}, {dns, "accept"}}},
		{"mask with a hole", ":INPUT DROP\n-A INPUT -s 10.0.0.7/255.0.0.255 -j ACCEPT",
			[]try{{dns, "accept"}, {"--in eth0 --udp 10.9.9.8:1-192.0.2.1:2", "drop"}}},
		{"destination", ":INPUT DROP\n-A INPUT -d 192.0.2.1/32 -j ACCEPT", []try{{ssh, "accept"}, {"--in eth0 --udp 1.1.1.1:1-192.0.2.2:2", "drop"}}},
		{"device", ":INPUT DROP\n-A INPUT -i eth0 -j ACCEPT", []try{{ssh, "accept"}, {dns, "drop"}, {"--in eth00 --udp 1.1.1.1:1-1.1.1.2:2", "drop"}}},
		{"devices by beginning", ":INPUT DROP\n-A INPUT -i eth+ -j ACCEPT", []try{{ssh, "accept"}, {"--in lan0 --udp 1.1.1.1:1-1.1.1.2:2", "drop"}}},
		{"not devices by beginning", ":INPUT DROP\n-A INPUT ! -i eth+ -j ACCEPT", []try{{ssh, "drop"}, {"--in lan0 --udp 1.1.1.1:1-1.1.1.2:2", "accept"}}},
		{"no device is the empty name", ":INPUT DROP\n-A INPUT ! -i eth0 -j ACCEPT", []try{{"--udp 1.1.1.1:1-1.1.1.2:2", "accept"}}},
		{"protocol", ":INPUT DROP\n-A INPUT ! -p tcp -j ACCEPT", []try{{ssh, "drop"}, {ping, "accept"}}},
		{"fragments", ":INPUT DROP\n-A INPUT -f -j ACCEPT",
			[]try{{ssh, "drop"}, {ssh + " --fragment 16 --payload 00", "accept"}, {ssh + " --fragment 0+", "drop"}}},
		{"not fragments", ":INPUT DROP\n-A INPUT ! -f -j ACCEPT", []try{{ssh, "accept"}, {ssh + " --fragment 16 --payload 00", "drop"}}},
		{"-p holds for later fragments, ports do not", ":INPUT DROP\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\n-A INPUT -p tcp -j ACCEPT",
			[]try{{ssh, "drop"}, {ssh + " --fragment 16 --payload 0fa00016", "accept"}}},
		{"a truncated header drops inside the match", ":INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 99 -j ACCEPT\n-A INPUT -j ACCEPT",
			[]try{{ssh + " --keep 19", "hotdrop"}, {ssh, "accept"}, {dns + " --keep 4", "accept"}}},
		{"tcp fragment at 8 drops inside the match", ":INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 99 -j ACCEPT",
			[]try{{ssh + " --fragment 8 --payload 00", "hotdrop"}}},
		{"no hotdrop where an earlier test fails", ":INPUT ACCEPT\n-A INPUT -s 1.2.3.4 -p tcp -m tcp --dport 99 -j ACCEPT", []try{{ssh + " --keep 4", "accept"}}},
		{"matches in order", ":INPUT ACCEPT\n-A INPUT -p tcp -m mark --mark 0x1 -m tcp --dport 99 -j DROP",
			[]try{{ssh + " --keep 4", "accept"}, {ssh + " --keep 4 --mark 1", "hotdrop"}}},
		{"flags", ":INPUT DROP\n-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
			[]try{{ssh, "accept"}, {ssh + " --ack", "drop"}, {ssh + " --psh", "accept"}}},
		{"tcp option behind others", ":INPUT DROP\n-A INPUT -p tcp -m tcp --tcp-option 8 -j ACCEPT",
			[]try{{ssh, "drop"}, {ssh + " --mss 1460 --tcp-options 01010402080a0000000000000000", "accept"}}},
		{"a bad data offset", ":INPUT ACCEPT\n-A INPUT -p tcp -m tcp --tcp-option 8 -j ACCEPT",
			[]try{{"--in eth0 --hex 4500002800000000400600000a000007c00002010fa0001600000000000000004002ffff00000000", "hotdrop"}}},
		{"states", ":INPUT DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
			[]try{{ssh, "drop"}, {ssh + " --ct established", "accept"}, {ssh + " --ct related", "accept"}, {ssh + " --ct invalid", "drop"}, {ssh + " --ct untracked", "drop"}}},
		{"untracked", ":INPUT DROP\n-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT", []try{{ssh + " --ct untracked", "accept"}, {ssh + " --ct invalid", "drop"}}},
		{"reply direction", ":INPUT DROP\n-A INPUT -m conntrack --ctdir REPLY -j ACCEPT",
			[]try{{ssh + " --ct established,reply", "accept"}, {ssh + " --ct established", "drop"}, {ssh + " --ct invalid", "drop"}}},
		{"original source of a reply", ":INPUT DROP\n-A INPUT -m conntrack --ctorigsrc 192.0.2.1 -j ACCEPT",
			[]try{{ssh + " --ct established,reply", "accept"}, {ssh + " --ct established", "drop"}}},
		{"connection mark", ":INPUT DROP\n-A INPUT -m connmark --mark 0x10/0xf0 -j ACCEPT",
			[]try{{ssh + " --ct-mark 0x1f", "accept"}, {ssh, "drop"}, {ssh + " --ct untracked", "drop"}}},
		{"mac", ":INPUT DROP\n-A INPUT -m mac --mac-source 02:00:00:00:00:09 -j ACCEPT",
			[]try{{ssh + " --mac 02:00:00:00:00:09", "accept"}, {ssh + " --mac 02:00:00:00:00:08", "drop"}, {ssh, "drop"},
				{"--in lo --udp 127.0.0.1:1-127.0.0.1:2 --mac 02:00:00:00:00:09", "drop"}}},
		{"packet type", ":INPUT DROP\n-A INPUT -m pkttype --pkt-type broadcast -j ACCEPT", []try{{ssh, "drop"}, {ssh + " --pkttype broadcast", "accept"}}},
		{"address types", ":INPUT DROP\n-A INPUT -m addrtype --dst-type LOCAL -j ACCEPT",
			[]try{{ssh, "accept"}, {"--in eth0 --udp 10.0.0.7:1-192.0.2.255:2", "drop"}, {"--in eth0 --udp 10.0.0.7:1-127.9.9.9:2", "accept"}, {"--in eth0 --udp 10.0.0.7:1-8.8.8.8:2", "drop"}}},
		{"local on the incoming device", ":INPUT DROP\n-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT",
			[]try{{ssh, "accept"}, {"--in eth1 --udp 10.0.0.7:1-192.0.2.1:2", "drop"}}},
		{"broadcast type", ":INPUT DROP\n-A INPUT -m addrtype --dst-type BROADCAST -j ACCEPT",
			[]try{{"--in eth0 --udp 10.0.0.7:1-192.0.2.255:2", "accept"}, {"--in eth0 --udp 10.0.0.7:1-255.255.255.255:2", "accept"}, {ssh, "drop"}}},
		{"length", ":INPUT DROP\n-A INPUT -m length --length 40:60 -j ACCEPT", []try{{ssh, "accept"}, {ssh + " --length 60", "accept"}, {ssh + " --length 61", "drop"}, {dns, "drop"}}},
		{"ttl", ":INPUT DROP\n-A INPUT -m ttl --ttl-lt 64 -j ACCEPT", []try{{ssh, "drop"}, {ssh + " --ttl 63", "accept"}}},
		{"icmp type", ":INPUT DROP\n-A INPUT -p icmp -m icmp --icmp-type 3/4 -j ACCEPT", []try{{ping, "drop"}, {ping + " --type 3/4", "accept"}, {ping + " --type 3/3", "drop"}, {ping + " --keep 4", "hotdrop"}}},
		{"other version", ":INPUT DROP", []try{{ssh6, "accept"}}},
	}
	for _, tt := range tests {
		m := machine(t, iptables.IPv4, "filter", tt.rules)
		for _, try := range tt.tries {
			if v, f := fly(t, m, packet.Input, try.words, nil); outcome(v, f) != try.want {
				t.Errorf("%s: %s: %s, want %s\n%s", tt.name, try.words, outcome(v, f), try.want, steps(f))
			}
		}
	}
}

func steps(f *packet.Flight) string { return stepText(f.Trace) }

func stepText(steps []packet.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "  %s %s %s: %s\n", s.Stage, s.Place, s.Text, s.Result)
	}
	return b.String()
}

// TestInput6 is about what IPv6 has of its own: the search for the protocol.
func TestInput6(t *testing.T) {
	m := machine(t, iptables.IPv6, "filter", ":INPUT DROP\n-A INPUT -p tcp -j ACCEPT")
	plain := machine(t, iptables.IPv6, "filter", ":INPUT DROP\n-A INPUT -s fd00::/8 -j ACCEPT")
	ports := machine(t, iptables.IPv6, "filter", ":INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP")
	auth := packet.Extension{Proto: packet.AH, Body: make([]byte, 22)}
	options := packet.Extension{Proto: packet.DestOpts}
	tests := []struct {
		name string
		m    *iptsim.Machine
		spec packet.Spec
		want string
	}{
		{"whole", m, packet.Spec{Proto: packet.TCP}, "accept"},
		{"behind options", m, packet.Spec{Proto: packet.TCP, Headers: []packet.Extension{{Proto: packet.HopByHop}, options}}, "accept"},
		{"through an authentication header", m, packet.Spec{Proto: packet.TCP, Headers: []packet.Extension{auth}}, "accept"},
		{"-p through an authentication header", ports, packet.Spec{Proto: packet.TCP, DstPort: 22, Headers: []packet.Extension{auth, options}}, "drop"},
		{"first fragment", ports, packet.Spec{Proto: packet.TCP, DstPort: 22, MoreFragments: true}, "drop"},
		{"later fragment", m, packet.Spec{Proto: packet.TCP, FragmentOffset: 2, Payload: make([]byte, 40)}, "accept"},
		{"later fragment has no ports", ports, packet.Spec{Proto: packet.TCP, FragmentOffset: 2, Payload: []byte{0, 22, 0, 22}}, "accept"},
		{"later fragment of options", m, packet.Spec{Proto: packet.TCP, FragmentOffset: 2, Headers: []packet.Extension{options}}, "hotdrop"},
		{"no next header", m, packet.Spec{Proto: packet.NoNext}, "drop"},
		{"ends within options", m, packet.Spec{Proto: packet.HopByHop, Src: addr("fd00::7"), Dst: addr("2001:db8::1")}, "hotdrop"},
		{"ends within options, no -p", plain, packet.Spec{Proto: packet.HopByHop, Src: addr("fd00::7"), Dst: addr("2001:db8::1")}, "accept"},
		{"options that claim more than there is", ports, packet.Spec{Proto: packet.TCP, Headers: []packet.Extension{{Proto: packet.DestOpts, Body: make([]byte, 30)}}, Truncate: true}, "hotdrop"},
	}
	for _, tt := range tests {
		tt.spec.Version = 6
		tt.spec.In = "eth0"
		p, err := tt.spec.Packet()
		if err != nil {
			t.Fatal(err)
		}
		f := &packet.Flight{Packet: p, Host: packet.DefaultHost(nil), Hook: packet.Input, Data: p.Data, In: p.In}
		if got := outcome(stage(t, tt.m, "filter INPUT").Run(f), f); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func stage(t testing.TB, m *iptsim.Machine, name string) packet.Stage {
	t.Helper()
	for _, s := range m.Stages() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no stage %s", name)
	return packet.Stage{}
}
