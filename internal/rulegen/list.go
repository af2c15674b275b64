package rulegen

import (
	"math/rand/v2"
	"net/netip"
)

// Random returns a list of rules in FORWARD with random addresses, prefix
// lengths, protocols and ports. Most of them overlap with few others. There are
// as many rules as are asked for, and three chains.
func Random(rules int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 101))
	prefix := func() netip.Prefix {
		bits := choose(r, []choice[int]{{6, 32}, {5, 24}, {1, 8 + r.IntN(25)}, {1, 0}})
		if bits == 0 {
			return netip.Prefix{}
		}
		return randomPrefix(r, bits)
	}
	return list(rules, "DROP", func(int) tuple {
		t := tuple{source: prefix(), destination: prefix(), action: verdict(r)}
		for !t.source.IsValid() && !t.destination.IsValid() {
			t.source = prefix()
		}
		t.protocol = choose(r, []choice[string]{{12, "tcp"}, {6, "udp"}, {1, "icmp"}, {1, ""}})
		t.ports(r, func() uint16 { return uint16(r.Uint32()) })
		return t
	})
}

// Pooled returns a list of rules in FORWARD whose addresses and ports come out
// of small pools, nested networks among them, and are often left out. They
// overlap with many others. There are as many rules as are asked for, and three
// chains.
func Pooled(rules int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 102))
	sources, destinations := pool(r), pool(r)
	ports := make([]uint16, 48)
	for i := range ports {
		ports[i] = uint16(r.Uint32())
	}
	return list(rules, "DROP", func(int) tuple {
		// A rule that tests next to nothing would leave little to those behind it.
		for {
			t := tuple{action: verdict(r)}
			tests := 0
			if !oneIn(r, 3) {
				t.source = oneOf(r, sources)
				tests++
			}
			if !oneIn(r, 3) {
				t.destination = oneOf(r, destinations)
				tests++
			}
			t.protocol = choose(r, []choice[string]{{5, "tcp"}, {3, "udp"}, {4, ""}})
			t.ports(r, func() uint16 { return oneOf(r, ports) })
			if t.sports != allPorts || t.dports != allPorts {
				tests++
			}
			if tests >= 2 {
				return t
			}
		}
	})
}

// Cross returns a list of rules in FORWARD each of which tests either the source
// or the destination, and overlaps with all that test the other one. There are
// as many rules as are asked for, and three chains.
func Cross(rules int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 103))
	return list(rules, "DROP", func(int) tuple {
		p := randomPrefix(r, 16+r.IntN(17))
		t := tuple{source: p, sports: allPorts, dports: allPorts, action: verdict(r)}
		if oneIn(r, 2) {
			t.source, t.destination = netip.Prefix{}, p
		}
		return t
	})
}

// Block returns a list of sources in FORWARD that are dropped, of which no two
// overlap. There are as many rules as are asked for, and three chains. From 3.6
// millions on sources repeat.
func Block(rules int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 104))
	next := r.Uint32()
	return list(rules, "ACCEPT", func(int) tuple {
		var a netip.Addr
		for !routed(a) {
			a = nth(netip.IPv4Unspecified(), scatter(next, 1<<22)<<10)
			next++
		}
		bits := choose(r, []choice[int]{{12, 32}, {3, 24}, {1, 22 + r.IntN(10)}})
		p := netip.PrefixFrom(addrIn(r, netip.PrefixFrom(a, 22)), bits).Masked()
		return tuple{source: p, sports: allPorts, dports: allPorts, action: "-j DROP"}
	})
}

// list returns a table filter with a list of rules in FORWARD.
func list(rules int, policy string, next func(i int) tuple) []byte {
	s := new(save)
	t := s.table("filter", "INPUT", "FORWARD", "OUTPUT")
	f := t.chain("FORWARD")
	f.policy = policy
	for i := range rules {
		f.add(next(i).rule())
	}
	return s.text()
}

func verdict(r *rand.Rand) string { return oneOf(r, []string{"-j ACCEPT", "-j DROP"}) }

// ports gives a tuple of a protocol with ports some: one port, a range, or all,
// on either side.
func (t *tuple) ports(r *rand.Rand, port func() uint16) {
	t.sports, t.dports = allPorts, allPorts
	if t.protocol != "tcp" && t.protocol != "udp" {
		return
	}
	side := func(one, several, all int) span {
		switch choose(r, []choice[int]{{one, 1}, {several, 2}, {all, 0}}) {
		case 1:
			p := port()
			return span{p, p}
		case 2:
			a, b := port(), port()
			return span{max(min(a, b), 1), max(a, b, 1)}
		}
		return allPorts
	}
	t.sports, t.dports = side(1, 1, 6), side(5, 2, 1)
}

// randomPrefix returns a network of addresses that are routed.
func randomPrefix(r *rand.Rand, bits int) netip.Prefix {
	for {
		n := r.Uint32()
		a := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		if p := netip.PrefixFrom(a, bits).Masked(); routed(p.Addr()) {
			return p
		}
	}
}

// routed reports whether packets with an address are forwarded at all, so that a
// rule about it can be noticed.
func routed(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}

// pool returns networks, some of which lie in others.
func pool(r *rand.Rand) []netip.Prefix {
	var nets []netip.Prefix
	for range 24 {
		wide := randomPrefix(r, 8+r.IntN(9))
		middle := netip.PrefixFrom(addrIn(r, wide), 24).Masked()
		nets = append(nets, wide, middle)
		for range 6 {
			nets = append(nets, single(addrIn(r, middle)))
		}
	}
	return nets
}
