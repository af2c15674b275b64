package kernel_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// rowsOf returns the rows of a version.
func rowsOf(version int) []*row {
	f := familyOf(version)
	var rows []*row
	for _, list := range [][]row{
		f.addresses(), f.network(), f.transports(), f.flagged(), f.icmps(), f.circumstances(), f.owners(), f.addressTypes(), f.fragments(),
		f.states(), f.tuples(), f.expiries(), f.counters(),
	} {
		for i := range list {
			rows = append(rows, &list[i])
		}
	}
	return rows
}

func parts(groups ...symbolic.Group) []part {
	var list []part
	for _, g := range groups {
		list = append(list, whole(g))
	}
	return list
}

// addresses are the rows of the ends of a packet and its devices.
func (f family) addresses() []row {
	source, destination := f.udp(), f.udp(to(f.away))
	bits := f.remote.BitLen()
	net := func(a netip.Addr) string { return fmt.Sprintf("%v/%d", ended(a, 0x40), bits-5) }
	ends := []byte{0x3f, 0x40, 0x5f, 0x60}
	sources, destinations := parts(symbolic.Source), parts(symbolic.Destination)
	endings := func(base sample, a netip.Addr, turn func(netip.Addr) func(*sample)) []sample {
		return many(base, func(last byte) func(*sample) { return turn(ended(a, last)) }, ends...)
	}
	rows := []row{
		{
			name: "source", parts: sources, iptables: "-s " + f.remote.String(), nft: f.ip + " saddr " + f.remote.String(),
			samples: each(source, bits, func(s *sample, bit int) { s.Src = flipped(s.Src, bit) }),
		},
		{
			name: "source network", parts: sources, iptables: "-s " + net(f.remote), nft: f.ip + " saddr " + net(f.remote),
			samples: endings(source, f.remote, from),
		},
		{
			name: "source range", parts: sources,
			iptables: fmt.Sprintf("-m iprange --src-range %v-%v", ended(f.remote, 0x40), ended(f.remote, 0x5f)),
			nft:      fmt.Sprintf("%s saddr %v-%v", f.ip, ended(f.remote, 0x40), ended(f.remote, 0x5f)),
			samples:  endings(source, f.remote, from),
		},
		{
			name: "destination", parts: destinations, iptables: "-d " + f.away.String(), nft: f.ip + " daddr " + f.away.String(),
			samples: each(destination, bits, func(s *sample, bit int) { s.Dst = flipped(s.Dst, bit) }),
		},
		{
			name: "destination network", parts: destinations, iptables: "! -d " + net(f.away), nft: f.ip + " daddr != " + net(f.away),
			samples: endings(destination, f.away, to),
		},
		{
			name: "in-interface", parts: parts(symbolic.InName), iptables: "-i eth1", nft: `iifname "eth1"`,
			samples: many(f.udp(), in, "eth0", "eth1", "eth10", "wan0", "net0"),
		},
		{
			name: "in-interface by its beginning", parts: parts(symbolic.InName), iptables: "-i eth1+", nft: `iifname "eth1*"`,
			samples: many(f.udp(), in, "eth0", "eth1", "eth10", "wan0"),
		},
	}
	var leaving []sample
	for i := range host().Devices {
		if d := &host().Devices[i]; !d.Loopback {
			leaving = append(leaving, f.udp(to(ended(d.Addrs[f.version/2-2].Addr(), 9))))
		}
	}
	return append(rows,
		row{
			name: "out-interface", hook: packet.Forward, parts: parts(symbolic.OutName),
			iptables: "-o eth1", nft: `oifname "eth1"`, samples: leaving,
		},
		row{
			name: "out-interface by its beginning", hook: packet.Forward, parts: parts(symbolic.OutName),
			iptables: "! -o eth1+", nft: `oifname != "eth1*"`, samples: leaving,
		},
		row{
			name: "out-interface of local packets", hook: packet.Output, parts: parts(symbolic.OutName),
			iptables: "-o eth1", nft: `oifname "eth1"`,
			samples: []sample{f.out(), f.out(to(ended(f.away, 9))), f.out(to(by(f, addr("198.51.100.9"), addr("2001:db8:1::9"))))},
		})
}

// network are the rows of the rest of the IP header.
func (f family) network() []row {
	protocols := each(f.udp(), 8, func(s *sample, bit int) { protocol(packet.UDP ^ 1<<bit)(s) })
	if f.version == 6 {
		protocols = append(protocols, f.udp(func(s *sample) { s.Headers = []packet.Extension{{Proto: packet.DestOpts}} }))
	}
	lengths := each(f.udp(protocol(253), length(300)), 16, func(s *sample, bit int) { s.Length ^= 1 << bit })
	service := each(f.udp(), 8, func(s *sample, bit int) { s.TOS = 0x10 ^ 1<<bit })
	segment := each(f.tcp(), 16, func(s *sample, bit int) { s.MSS = 1024 ^ 1<<bit })
	var through []sample
	for i := range host().Devices {
		if d := &host().Devices[i]; !d.Loopback {
			through = append(through, f.udp(to(ended(d.Addrs[f.version/2-2].Addr(), 9))))
		}
	}
	hop := each(f.udp(hops(100)), 8, func(s *sample, bit int) { s.TTL ^= 1 << bit })
	hop = append(hop, many(f.udp(), hops, 99, 101)...)
	match := by(f, "-m ttl --ttl-", "-m hl --hl-")
	rows := []row{
		{
			name: "protocol", parts: parts(symbolic.Protocol), iptables: "-p udp", nft: "meta l4proto udp", samples: protocols,
		},
		{
			name: "length", parts: parts(symbolic.Length), iptables: "-m length --length 300", nft: "meta length 300", samples: lengths,
		},
		{
			name: "length range", parts: parts(symbolic.Length), iptables: "-m length --length 300:600", nft: "meta length 300-600",
			samples: many(f.udp(protocol(253)), length, 299, 300, 600, 601),
		},
		{
			name: "tos", parts: parts(symbolic.TOS), iptables: "-m tos --tos 0x10/0x3f",
			nft: by(f, "@nh,8,8 & 0x3f == 0x10", "@nh,0,16 & 0x3f0 == 0x100"), samples: service,
		},
		{
			name: "mss", parts: parts(symbolic.MSS), declared: []string{"tcpmss-reading"},
			iptables: "-p tcp -m tcpmss --mss 1000:1400", nft: "meta l4proto tcp tcp option maxseg size 1000-1400", samples: segment,
		},
		{
			name: "in group", parts: parts(symbolic.InGroup), iptables: "-m devgroup ! --src-group 5", nft: "iifgroup != 5",
			samples: many(f.udp(), in, "eth0", "eth1", "eth10", "wan0"),
		},
		{
			name: "out group", hook: packet.Forward, parts: parts(symbolic.OutGroup),
			iptables: "-m devgroup ! --dst-group 5", nft: "oifgroup != 5", samples: through,
		},
		{
			name: "cpu", parts: parts(symbolic.CPU), iptables: "-m cpu --cpu 0", nft: "meta cpu 0",
			samples: many(f.udp(), func(n uint32) func(*sample) { return func(s *sample) { s.CPU = n } }, 0, uint32(runtime.NumCPU()-1)),
		},
		{name: "ttl", parts: parts(symbolic.TTL), iptables: match + "eq 100", nft: f.ip + " " + f.hops + " 100", samples: hop},
		{name: "ttl below", parts: parts(symbolic.TTL), iptables: match + "lt 100", nft: f.ip + " " + f.hops + " < 100", samples: hop},
		{name: "ttl above", parts: parts(symbolic.TTL), iptables: match + "gt 100", nft: f.ip + " " + f.hops + " > 100", samples: hop},
	}
	if f.version == 4 {
		return append(rows, row{
			name: "protocol in the header", parts: parts(symbolic.Protocol), iptables: "-p udp", nft: "ip protocol udp", samples: protocols,
		})
	}
	return append(rows, row{
		name: "protocol that is not found", parts: parts(symbolic.TransportFound), setup: alone,
		iptables: "-p udp", nft: "meta l4proto udp",
		samples: []sample{
			f.udp(), f.tcp(), f.udp(to(f.away), func(s *sample) { s.Headers = []packet.Extension{{Proto: packet.HopByHop}} }),
			// Nothing stands behind an IPv6 header that announces options, which is no
			// matter to who forwards it.
			f.udp(to(f.away), dropsHot, protocol(packet.DestOpts), func(s *sample) { s.Payload = nil }),
		},
	})
}

// transports are the rows of ports.
func (f family) transports() []row {
	sources, destinations := []part{{symbolic.Transport, 0, 16}}, []part{{symbolic.Transport, 16, 16}}
	var rows []row
	for _, proto := range []struct {
		name  string
		base  sample
		other uint8
	}{{"tcp", f.tcp(), packet.UDP}, {"udp", f.udp(), packet.TCP}} {
		match := fmt.Sprintf("-p %s -m %s ", proto.name, proto.name)
		other := proto.base.with(protocol(proto.other))
		rows = append(rows,
			row{
				name: proto.name + " source port", parts: sources, iptables: match + "--sport 4000", nft: proto.name + " sport 4000",
				samples: append(each(proto.base, 16, func(s *sample, bit int) { s.SrcPort ^= 1 << bit }), other),
			},
			row{
				name: proto.name + " source ports", parts: sources, iptables: match + "--sport 1000:2000", nft: proto.name + " sport 1000-2000",
				samples: many(proto.base, sport, 999, 1000, 2000, 2001),
			},
			row{
				name: proto.name + " destination port", parts: destinations, iptables: match + "--dport 4000", nft: proto.name + " dport 4000",
				samples: append(each(proto.base.with(dport(4000)), 16, func(s *sample, bit int) { s.DstPort ^= 1 << bit }), other),
			},
			row{
				name: proto.name + " destination ports", parts: destinations, iptables: match + "! --dport 1000:2000", nft: proto.name + " dport != 1000-2000",
				samples: append(many(proto.base, dport, 999, 1000, 2000, 2001), other),
			},
			row{
				name: proto.name + " multiport", parts: destinations,
				iptables: fmt.Sprintf("-p %s -m multiport --dports 53,80:90", proto.name), nft: proto.name + " dport { 53, 80-90 }",
				samples: many(proto.base, dport, 52, 53, 54, 79, 80, 90, 91),
			})
	}
	// Three bytes are too few for the destination port of either, and seven too
	// few for xt_udp.
	return append(rows, row{
		name: "cut header", setup: alone, parts: parts(symbolic.TransportBytes), iptables: "-p udp -m udp --dport 53", nft: "udp dport 53",
		samples: []sample{
			f.udp(to(f.away)), f.udp(to(f.away), dport(54)), f.udp(to(f.away), cut(8)), f.udp(to(f.away), cut(7), dropsHot),
			f.udp(to(f.away), cut(3), dropsHot), f.udp(to(f.away), cut(0), dropsHot), f.udp(to(f.away), length(400)),
		},
	})
}

// flagged are the rows of a TCP header's flags and options.
func (f family) flagged() []row {
	flag := []part{{symbolic.Transport, 13 * 8, 8}}
	bits := each(f.tcp(flags(packet.SYN|packet.ACK)), 8, func(s *sample, bit int) { s.TCPFlags ^= 1 << bit })
	rows := []row{
		{
			name: "tcp flags", parts: flag, iptables: "-p tcp -m tcp --tcp-flags ALL SYN,ACK",
			nft: "tcp flags & (fin|syn|rst|psh|ack|urg) == syn|ack", samples: bits,
		},
		{
			name: "tcp first packet", parts: flag, iptables: "-p tcp -m tcp ! --syn", nft: "tcp flags & (fin|syn|rst|ack) != syn",
			samples: append(slices.Clone(bits), f.tcp()),
		},
	}
	for _, name := range []struct{ iptables, nft string }{
		{"FIN", "fin"}, {"SYN", "syn"}, {"RST", "rst"}, {"PSH", "psh"}, {"ACK", "ack"}, {"URG", "urg"},
	} {
		rows = append(rows, row{
			name: "tcp flag " + name.nft, parts: flag, iptables: fmt.Sprintf("-p tcp -m tcp --tcp-flags %s %s", name.iptables, name.iptables),
			nft: fmt.Sprintf("tcp flags & %s == %s", name.nft, name.nft), samples: bits,
		})
	}
	kinds := []sample{
		f.tcp(), f.tcp(options(4, 2)), f.tcp(options(8, 10, 0, 0, 0, 0, 0, 0, 0, 0)), f.tcp(options(5, 10, 8, 8, 4, 4, 0, 0, 0, 0)),
		f.tcp(options(1, 1, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0)), f.tcp(options(9, 2)), f.tcp(options(254, 4, 4, 8)),
		f.tcp(func(s *sample) { s.MSS = 1400 }), f.tcp(options(12, 2)), f.udp(),
	}
	for _, kind := range []int{2, 4, 8, 254} {
		rows = append(rows, row{
			name: fmt.Sprintf("tcp option %d", kind), parts: []part{{symbolic.TCPOption, kind, 1}},
			iptables: fmt.Sprintf("-p tcp -m tcp --tcp-option %d", kind), nft: fmt.Sprintf("tcp option %d exists", kind), samples: kinds,
		})
	}
	return rows
}

// icmps are the rows of the types and codes of ICMP.
func (f family) icmps() []row {
	types, codes := part{symbolic.Transport, 0, 8}, part{symbolic.Transport, 8, 8}
	name, match := by(f, "icmp", "icmpv6"), by(f, "-p icmp -m icmp --icmp-type ", "-p ipv6-icmp -m icmp6 --icmpv6-type ")
	query, unreachable := by[uint8](f, 8, 128), by[uint8](f, 3, 1)
	err := f.echo(icmpType(unreachable, 4))
	errs := append(each(err, 8, func(s *sample, bit int) { s.Type ^= 1 << bit }), each(err, 8, func(s *sample, bit int) { s.Code ^= 1 << bit })...)
	return []row{
		{
			name: name + " type", parts: []part{types}, iptables: fmt.Sprint(match, query), nft: fmt.Sprint(name, " type ", query),
			samples: append(each(f.echo(), 8, func(s *sample, bit int) { s.Type ^= 1 << bit }), f.echo(icmpType(query, 9)), f.udp()),
		},
		{
			name: name + " type and code", parts: []part{types, codes}, iptables: fmt.Sprint(match, unreachable, "/4"),
			nft: fmt.Sprint(name, " type ", unreachable, " ", name, " code 4"), samples: errs,
		},
	}
}

// circumstances are the rows of what is not in the bytes of the IP packet.
func (f family) circumstances() []row {
	const one = 0x89abcdef
	marks := each(f.udp(mark(one)), 32, func(s *sample, bit int) { s.Mark ^= 1 << bit })
	sources := each(f.udp(mac(neighbour)), 48, func(s *sample, bit int) {
		b := s.Link.Src
		b[bit/8] ^= 0x80 >> (bit % 8)
		mac(b)(s)
	})
	kinds := append(many(f.udp(), kind, packet.TypeHost, packet.TypeBroadcast, packet.TypeMulticast), f.udp(in("lo")))
	address := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", neighbour[0], neighbour[1], neighbour[2], neighbour[3], neighbour[4], neighbour[5])
	rows := []row{
		{name: "mark", setup: alone, parts: parts(symbolic.Mark), iptables: "-m mark --mark 0x89abcdef", nft: "meta mark 0x89abcdef", samples: marks},
		{
			name: "mark by a mask", setup: alone, parts: parts(symbolic.Mark), iptables: "-m mark --mark 0x80ab000f/0xf0ff000f",
			nft: "meta mark & 0xf0ff000f == 0x80ab000f", samples: marks,
		},
		{
			name: "source mac", parts: []part{{symbolic.Link, 48, 48}, whole(symbolic.HasLink), whole(symbolic.InType)},
			iptables: "-m mac --mac-source " + address, nft: "ether saddr " + address, samples: append(sources, f.udp(in("lo"))),
		},
	}
	for _, name := range []struct{ iptables, nft string }{{"unicast", "host"}, {"broadcast", "broadcast"}, {"multicast", "multicast"}} {
		rows = append(rows, row{
			name: "packet type " + name.nft, parts: parts(symbolic.PacketType),
			iptables: "-m pkttype --pkt-type " + name.iptables, nft: "meta pkttype " + name.nft, samples: kinds,
		})
	}
	return rows
}

// owners are the rows of the socket of a packet.
func (f family) owners() []row {
	const most = 1<<32 - 2
	return []row{
		{
			name: "uid", hook: packet.Output, parts: parts(symbolic.UID), iptables: "-m owner --uid-owner 1000", nft: "meta skuid 1000",
			samples: each(f.out(), 32, func(s *sample, bit int) { owner(1000^1<<bit, 100)(s) }),
		},
		{
			name: "uid range", hook: packet.Output, parts: parts(symbolic.UID), iptables: "-m owner --uid-owner 1000-2000", nft: "meta skuid 1000-2000",
			samples: many(f.out(), func(uid uint32) func(*sample) { return owner(uid, 100) }, 0, 999, 1000, 2000, 2001, most),
		},
		{
			name: "gid", hook: packet.Output, parts: parts(symbolic.GID), iptables: "-m owner --gid-owner 100", nft: "meta skgid 100",
			samples: each(f.out(), 32, func(s *sample, bit int) { owner(1000, 100^1<<bit)(s) }),
		},
		{
			name: "gid range", hook: packet.Output, parts: parts(symbolic.GID), iptables: "-m owner --gid-owner 100-200", nft: "meta skgid 100-200",
			samples: many(f.out(), func(gid uint32) func(*sample) { return owner(1000, gid) }, 0, 99, 100, 200, 201, most),
		},
		{
			name: "socket", hook: packet.Postrouting, parts: parts(symbolic.HasSocket), iptables: "-m owner --socket-exists", nft: "meta skuid >= 0",
			declared: []string{"owner-kernel-socket"}, samples: []sample{f.out(), f.udp(to(f.away))},
		},
		{
			name: "owner", hook: packet.Postrouting, parts: parts(symbolic.HasSocket, symbolic.HasFile), iptables: "-m owner --uid-owner 1000",
			nft: "meta skuid 1000", samples: []sample{f.out(), f.out(owner(1001, 100)), f.udp(to(f.away))},
		},
	}
}

// addressTypes are the rows of what the routing tables say of addresses.
func (f family) addressTypes() []row {
	own := by(f, addr("198.51.100.1"), addr("2001:db8:1::1"))
	group := by(f, addr("224.0.0.9"), addr("ff02::9"))
	network := by(f, addr("192.0.2.255"), addr("2001:db8:1::")) // for all of a network, or its routers
	networkType := by(f, packet.Broadcast, packet.Anycast)
	dst := []sample{
		f.udp(typed(symbolic.DestinationType, packet.Local)),
		f.udp(to(own), typed(symbolic.DestinationType, packet.Local)),
		f.udp(to(f.away), typed(symbolic.DestinationType, packet.Unicast)),
		f.udp(to(network), typed(symbolic.DestinationType, networkType)),
		f.udp(to(group), typed(symbolic.DestinationType, packet.Multicast)),
	}
	src := []sample{
		f.udp(typed(symbolic.SourceType, packet.Unicast)),
		f.udp(from(own), typed(symbolic.SourceType, packet.Local)),
		f.udp(from(network), typed(symbolic.SourceType, networkType)),
	}
	// By the device that the address is not of.
	dstIn := []sample{
		f.udp(typed(symbolic.DestinationTypeIn, packet.Local), typed(symbolic.DestinationType, packet.Local)),
		f.udp(to(own), typed(symbolic.DestinationTypeIn, by(f, packet.Unicast, packet.Unicast)), typed(symbolic.DestinationType, packet.Local)),
		f.udp(to(own), in("eth1"), typed(symbolic.DestinationTypeIn, packet.Local), typed(symbolic.DestinationType, packet.Local)),
		f.udp(to(f.away), typed(symbolic.DestinationTypeIn, packet.Unicast), typed(symbolic.DestinationType, packet.Unicast)),
		f.udp(to(group), typed(symbolic.DestinationTypeIn, packet.Multicast), typed(symbolic.DestinationType, packet.Multicast)),
	}
	srcIn := []sample{
		f.udp(typed(symbolic.SourceTypeIn, packet.Unicast), typed(symbolic.SourceType, packet.Unicast)),
		f.udp(from(own), typed(symbolic.SourceTypeIn, packet.Unicast), typed(symbolic.SourceType, packet.Local)),
		f.udp(from(own), in("eth1"), typed(symbolic.SourceTypeIn, packet.Local), typed(symbolic.SourceType, packet.Local)),
	}
	srcOut := []sample{
		f.udp(to(f.away), typed(symbolic.SourceTypeOut, packet.Unicast), typed(symbolic.SourceType, packet.Unicast)),
		f.udp(from(own), to(f.away), typed(symbolic.SourceTypeOut, packet.Unicast), typed(symbolic.SourceType, packet.Local)),
		f.udp(from(own), to(ended(own, 9)), typed(symbolic.SourceTypeOut, packet.Local), typed(symbolic.SourceType, packet.Local)),
	}
	loop := by(f, addr("127.0.0.1"), addr("::1"))
	dstOut := []sample{
		f.out(typed(symbolic.DestinationTypeOut, packet.Unicast), typed(symbolic.DestinationType, packet.Unicast)),
		f.out(to(loop), typed(symbolic.DestinationTypeOut, packet.Local), typed(symbolic.DestinationType, packet.Local)),
		f.out(to(group), typed(symbolic.DestinationTypeOut, packet.Multicast), typed(symbolic.DestinationType, packet.Multicast)),
	}
	rows := []row{
		{
			name: "destination type local", parts: parts(symbolic.DestinationType), iptables: "-m addrtype --dst-type LOCAL",
			nft: "fib daddr type local", samples: dst,
		},
		{
			name: "source type local", parts: parts(symbolic.SourceType), iptables: "-m addrtype --src-type LOCAL",
			nft: "fib saddr type local", samples: src,
		},
		{
			name: "destination type by the incoming device", parts: parts(symbolic.DestinationTypeIn),
			iptables: "-m addrtype --dst-type LOCAL --limit-iface-in", nft: "fib daddr . iif type local", samples: dstIn,
		},
		{
			name: "source type by the incoming device", parts: parts(symbolic.SourceTypeIn),
			iptables: "-m addrtype --src-type LOCAL --limit-iface-in", nft: "fib saddr . iif type local", samples: srcIn,
		},
		{
			name: "source type by the outgoing device", hook: packet.Forward, parts: parts(symbolic.SourceTypeOut),
			iptables: "-m addrtype --src-type LOCAL --limit-iface-out", nft: "fib saddr . oif type local", samples: srcOut,
		},
		{
			name: "destination type by the outgoing device", hook: packet.Output, parts: parts(symbolic.DestinationTypeOut),
			iptables: "-m addrtype --dst-type LOCAL --limit-iface-out", nft: "fib daddr . oif type local", samples: dstOut,
		},
	}
	if f.version == 6 {
		// UNICAST and MULTICAST are ranges of addresses.
		return append(rows,
			row{
				name: "destination type multicast", parts: parts(symbolic.Destination), iptables: "-m addrtype --dst-type MULTICAST",
				nft: "ip6 daddr ff00::/8", samples: dst,
			},
			row{
				name: "destination type unicast", parts: parts(symbolic.Destination), iptables: "-m addrtype --dst-type UNICAST",
				nft: "ip6 daddr != { ::, ::ffff:0:0/96, ff00::/8 }", samples: dst,
			},
			row{
				name: "destination type anycast", parts: parts(symbolic.DestinationType), iptables: "-m addrtype --dst-type ANYCAST",
				nft: "fib daddr type anycast", samples: dst,
			})
	}
	for _, name := range []string{"unicast", "broadcast", "multicast"} {
		rows = append(rows, row{
			name: "destination type " + name, parts: parts(symbolic.DestinationType), iptables: "-m addrtype --dst-type " + name,
			nft: "fib daddr type " + name, samples: dst,
		})
	}
	return append(rows, row{
		name: "source type broadcast", parts: parts(symbolic.SourceType), iptables: "-m addrtype --src-type BROADCAST",
		nft: "fib saddr type broadcast", samples: src,
	})
}

// fragments are the rows of datagrams in parts, which come one by one where
// nothing tracks connections.
func (f family) fragments() []row {
	later := func(offset uint16) func(*sample) {
		return func(s *sample) {
			s.Fragmented, s.FragmentOffset, s.MoreFragments = true, offset, true
			s.Payload = append([]byte{0x0f, 0xa0, 0, 53}, make([]byte, 20)...) // like ports
		}
	}
	base := f.udp(to(f.away), state(0), func(s *sample) { s.Payload = make([]byte, 16) })
	list := each(base, 13, func(s *sample, bit int) { later(1 << bit)(s) })
	list = append(list, base.with(func(s *sample) { s.Fragmented, s.MoreFragments = true, true }), base.with(dport(54)))
	if f.version == 6 {
		return []row{{
			name: "destination port of fragments", hook: packet.Forward, setup: untracked, parts: parts(symbolic.Fragment),
			iptables: "-p udp -m udp --dport 53", nft: "meta l4proto udp @th,16,24 & 0xffff00 == 0x3500", samples: list,
		}, {
			name: "protocol of fragments", hook: packet.Forward, setup: untracked, parts: parts(symbolic.Protocol),
			iptables: "-p udp", nft: "meta l4proto udp", samples: append(slices.Clone(list), f.tcp(to(f.away), state(0))),
		}}
	}
	return []row{
		{
			name: "later fragments", hook: packet.Forward, setup: untracked, parts: parts(symbolic.Fragment),
			iptables: "-f", nft: "ip frag-off & 0x1fff != 0", samples: list,
		},
		{
			name: "first fragments", hook: packet.Forward, setup: untracked, parts: parts(symbolic.Fragment),
			iptables: "! -f", nft: "ip frag-off & 0x1fff == 0", samples: list,
		},
		{
			name: "destination port of fragments", hook: packet.Forward, setup: untracked, parts: parts(symbolic.Fragment),
			iptables: "-p udp -m udp --dport 53", nft: "ip frag-off & 0x1fff == 0 udp dport 53", samples: list,
		},
	}
}
