package kernel_test

import (
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// meets changes the connection that a packet wishes to meet.
func meets(change func(e *packet.Entry)) func(*sample) { return func(s *sample) { s.entry = change } }

func established(s *sample) {
	s.State = packet.Established
	if s.Proto == packet.TCP {
		s.TCPFlags = packet.ACK
	}
}

// back turns a packet into one of the other direction.
func back(s *sample) {
	s.Src, s.Dst, s.SrcPort, s.DstPort, s.Reply = s.Dst, s.Src, s.DstPort, s.SrcPort, true
}

func status(n uint32) func(*sample) { return func(s *sample) { s.Status = n } }

// failure is an ICMP error about a datagram that this host sent to remote.
func (f family) failure() sample {
	inner, err := f.udp(from(f.local), to(f.remote)).Packet()
	if err != nil {
		panic(err)
	}
	return f.echo(icmpType(by[uint8](f, 3, 1), 3), state(packet.Related), func(s *sample) { s.Reply, s.Payload = true, inner.Data })
}

// malformed is a packet that belongs to no connection.
func (f family) malformed() sample { return f.tcp(flags(packet.SYN | packet.FIN)) }

// translated are packets of connections of which an end is translated.
func (f family) translated(base sample) []sample {
	other := by(f, addr("198.51.100.9"), addr("2001:db8:1::9"))
	base = base.with(established)
	source := base.with(meets(func(e *packet.Entry) { e.Reply.Dst, e.Reply.DstPort = ended(other, 1), 6000 }))
	destination := base.with(meets(func(e *packet.Entry) { e.Reply.Src, e.Reply.SrcPort = other, 5353 }))
	return []sample{source, destination}
}

// connections are packets in every state.
func (f family) connections() []sample {
	list := []sample{
		f.udp(), f.tcp(), f.udp(established), f.udp(established, back), f.tcp(established), f.tcp(established, back),
		f.udp(protocol(253), established, status(packet.StatusSeenReply)), f.echo(established),
		f.udp(state(packet.Related)), f.tcp(state(packet.Related)), f.failure(), f.malformed(), f.udp(state(packet.Untracked)),
		f.udp(dport(4789)),
	}
	return append(list, f.translated(f.udp(to(f.away)))...)
}

// states are the rows of what tracking found.
func (f family) states() []row {
	exempts := [2]string{"-p udp -m udp --dport 4789 -j NOTRACK", "udp dport 4789 notrack"}
	list := f.connections()
	var rows []row
	for _, s := range []struct{ iptables, nft string }{
		{"NEW", "new"}, {"ESTABLISHED", "established"}, {"RELATED", "related"}, {"INVALID", "invalid"}, {"UNTRACKED", "untracked"},
		{"RELATED,ESTABLISHED", "related,established"},
	} {
		rows = append(rows, row{
			name: "ct state " + s.nft, parts: parts(symbolic.Tracking),
			iptables: "-m conntrack --ctstate " + s.iptables, nft: "ct state " + s.nft, raw: exempts, samples: list,
		})
	}
	for _, s := range []struct{ option, iptables, nft string }{
		{"status", "ASSURED", "assured"}, {"status", "EXPECTED", "expected"}, {"state", "SNAT", "snat"}, {"state", "DNAT", "dnat"},
	} {
		rows = append(rows, row{
			name: "ct status " + s.nft, parts: parts(symbolic.CTStatus, symbolic.Tracking),
			iptables: fmt.Sprintf("-m conntrack --ct%s %s", s.option, s.iptables), nft: "ct status " + s.nft, samples: list,
		})
	}
	rows = append(rows, row{
		name: "ct state behind a rule that exempts", setup: early, parts: parts(symbolic.Notrack),
		raw: exempts, iptables: "-m conntrack --ctstate UNTRACKED", nft: "ct state untracked",
		samples: []sample{f.udp(), f.udp(dport(4789)), f.tcp(dport(4789))},
	})
	rows = append(rows, row{
		name: "ct state behind a rule that gives a template", setup: early, parts: parts(symbolic.Template),
		raw:      [2]string{"-p udp -m udp --dport 4789 -j CT --zone 5", "udp dport 4789 ct state ! untracked ct zone set 5"},
		iptables: "-m conntrack --ctstate NEW", nft: "ct state new",
		samples: []sample{f.udp(), f.udp(dport(4789)), f.tcp(dport(4789))},
	})
	const one = 0x89abcdef
	connMark := each(f.udp(established, func(s *sample) { s.ConnMark = one }), 32, func(s *sample, bit int) { s.ConnMark ^= 1 << bit })
	connMark = append(connMark, f.udp(), f.malformed(), f.udp(state(packet.Untracked)))
	protocols := each(f.udp(), 8, func(s *sample, bit int) {
		protocol(packet.UDP ^ 1<<bit)(s)
		if s.Proto == packet.ICMP {
			s.Type = 8
		}
	})
	return append(rows,
		row{
			name: "ct direction original", parts: parts(symbolic.CTDirection, symbolic.Tracking),
			iptables: "-m conntrack --ctdir ORIGINAL", nft: "ct direction original", samples: list,
		},
		row{
			name: "ct direction reply", parts: parts(symbolic.CTDirection),
			iptables: "-m conntrack --ctdir REPLY", nft: "ct direction reply", samples: list,
		},
		row{
			name: "ct mark", parts: parts(symbolic.CTMark, symbolic.Tracking), iptables: "-m connmark --mark 0x89abcdef", nft: "ct mark 0x89abcdef",
			samples: connMark,
		},
		row{
			name: "ct mark by a mask", parts: parts(symbolic.CTMark), iptables: "-m connmark --mark 0x80ab000f/0xf0ff000f",
			nft: "ct mark & 0xf0ff000f == 0x80ab000f", samples: connMark,
		},
		row{
			name: "ct protocol", parts: parts(symbolic.CTProtocol), iptables: "-m conntrack --ctproto 17", nft: "ct original protocol 17",
			samples: append(protocols, f.failure(), f.malformed(), f.udp(state(packet.Untracked))),
		})
}

// tuples are the rows of the ends of a connection.
func (f family) tuples() []row {
	bits := f.remote.BitLen()
	base := f.udp(to(f.away))
	var rows []row
	for _, of := range []struct {
		group           symbolic.Group
		option          string
		direction, side string
		addr            netip.Addr
		source          bool // of the packet, when it opens the connection
	}{
		{symbolic.CTOrigSrc, "ctorigsrc", "original", "s", f.remote, true},
		{symbolic.CTOrigDst, "ctorigdst", "original", "d", f.away, false},
		{symbolic.CTReplSrc, "ctreplsrc", "reply", "s", f.away, false},
		{symbolic.CTReplDst, "ctrepldst", "reply", "d", f.remote, true},
	} {
		turn := func(a netip.Addr) func(*sample) {
			if of.source {
				return from(a)
			}
			return to(a)
		}
		key := fmt.Sprintf("ct %s %s %saddr ", of.direction, f.ip, of.side)
		net := fmt.Sprintf("%v/%d", ended(of.addr, 0x40), bits-5)
		list := each(base, bits, func(s *sample, bit int) { turn(flipped(of.addr, bit))(s) })
		list = append(append(list, f.connections()...), base.with(established, back))
		rows = append(rows,
			row{
				name: fmt.Sprint(of.group), parts: parts(of.group), iptables: fmt.Sprintf("-m conntrack --%s %v", of.option, of.addr),
				nft: key + of.addr.String(), samples: list,
			},
			row{
				name: fmt.Sprint(of.group, " network"), parts: parts(of.group), iptables: fmt.Sprintf("-m conntrack --%s %v", of.option, net),
				nft: key + net,
				samples: append(many(base, func(last byte) func(*sample) { return turn(ended(of.addr, last)) }, 0x3f, 0x40, 0x5f, 0x60),
					f.translated(base.with(turn(ended(of.addr, 0x50))))...),
			})
	}
	for _, of := range []struct {
		group           symbolic.Group
		option          string
		direction, side string
		source          bool
	}{
		{symbolic.CTOrigSrcPort, "ctorigsrcport", "original", "src", true},
		{symbolic.CTOrigDstPort, "ctorigdstport", "original", "dst", false},
		{symbolic.CTReplSrcPort, "ctreplsrcport", "reply", "src", false},
		{symbolic.CTReplDstPort, "ctrepldstport", "reply", "dst", true},
	} {
		turn := dport
		if of.source {
			turn = sport
		}
		key := fmt.Sprintf("meta l4proto udp ct %s proto-%s ", of.direction, of.side)
		one := base.with(turn(4000))
		list := each(one, 16, func(s *sample, bit int) { turn(4000 ^ 1<<bit)(s) })
		list = append(append(append(list, f.connections()...), f.translated(one)...), one.with(established, back))
		rows = append(rows,
			row{
				name: fmt.Sprint(of.group), parts: parts(of.group), iptables: fmt.Sprintf("-p udp -m conntrack --%s 4000", of.option),
				nft: key + "4000", samples: list,
			},
			row{
				name: fmt.Sprint(of.group, " range"), parts: parts(of.group), iptables: fmt.Sprintf("-p udp -m conntrack --%s 1000:2000", of.option),
				nft: key + "1000-2000", samples: append(many(base, turn, 999, 1000, 2000, 2001), f.translated(base.with(turn(1500)))...),
			})
	}
	return rows
}

// expiries are the rows of how long a connection lives on, see due.
func (f family) expiries() []row {
	list := f.connections()
	var rows []row
	for _, of := range []struct{ iptables, nft string }{
		{"0", "0s-999ms"}, {"20:40", "20s-40s999ms"}, {"100:200", "100s-200s999ms"}, {"500:700", "500s-700s999ms"},
		{"400000:500000", "400000s-500000s999ms"},
	} {
		rows = append(rows, row{
			name: "ct expires " + of.iptables, parts: parts(symbolic.CTExpires),
			iptables: "-m conntrack --ctexpire " + of.iptables, nft: "ct expiration " + of.nft, samples: list,
		})
	}
	return rows
}

// counters are the rows of what a connection has carried: one connection
// between two addresses of this host, whose packets come from outside.
func (f family) counters() []row {
	const packets, small = 640, 40
	own := by(f, addr("198.51.100.1"), addr("2001:db8:1::1"))
	var flow []sample
	for i := range packets {
		s := f.udp(from(own), length(100+i*37%900))
		if i >= small {
			s.Length = 1400
		}
		if i > 1 && i%2 == 1 { // the second is not answered yet
			s = s.with(back)
			s.Length -= s.Length / 12
		}
		flow = append(flow, s)
	}
	var rows []row
	for _, of := range []struct {
		iptables, nft            string
		packets, bytes, averages symbolic.Group
	}{
		{"original", "original ", symbolic.CTPacketsOrig, symbolic.CTBytesOrig, symbolic.CTAverageOrig},
		{"reply", "reply ", symbolic.CTPacketsRepl, symbolic.CTBytesRepl, symbolic.CTAverageRepl},
		{"both", "", symbolic.CTPacketsBoth, symbolic.CTBytesBoth, symbolic.CTAverageBoth},
	} {
		for _, what := range []struct {
			mode, key     string
			group         symbolic.Group
			iptables, nft string
		}{
			{"packets", "packets", of.packets, "3:5", "3-5"},
			{"packets", "packets", of.packets, "256:299", "256-299"},
			{"bytes", "bytes", of.bytes, "1000:70000", "1000-70000"},
			{"bytes", "bytes", of.bytes, "131072:", ">= 131072"},
			{"avgpkt", "avgpkt", of.averages, "200:300", "200-300"},
			{"avgpkt", "avgpkt", of.averages, "1000:", ">= 1000"},
		} {
			rows = append(rows, row{
				name: fmt.Sprintf("%v %s", what.group, what.iptables), setup: flowing, parts: parts(what.group, symbolic.CTAccounting),
				iptables: fmt.Sprintf("-m connbytes --connbytes %s --connbytes-mode %s --connbytes-dir %s", what.iptables, what.mode, of.iptables),
				nft:      fmt.Sprintf("ct %s%s %s", of.nft, what.key, what.nft),
			})
		}
	}
	for _, of := range []struct{ iptables, nft string }{{"SEEN_REPLY", "seen-reply"}, {"CONFIRMED", "confirmed"}} {
		rows = append(rows, row{
			name: "ct status " + of.nft, setup: flowing, parts: parts(symbolic.CTStatus, symbolic.Tracking),
			iptables: "-m conntrack --ctstatus " + of.iptables, nft: "ct status " + of.nft,
		})
	}
	rows[0].samples = append(flow, f.malformed()) // all are about the same packets
	return rows
}
