package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A shape is a kind of ruleset, with packets for it.
type shape struct {
	name string
	// write returns the rules of a chain, the chains they use, the policy, and headers of
	// packets that meet rule i.
	write func(n int, chain string, r *rand.Rand) ruleset
}

type ruleset struct {
	policy string
	chains []string
	rules  []string
	hits   []header // one for each rule, or one for some
	miss   func(r *rand.Rand) header
}

// A header is what the packets differ in.
type header struct {
	source uint32
	proto  uint8
	port   uint16
}

func dotted(a uint32) string { return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&0xff, a>>8&0xff, a&0xff) }

// address returns one that is neither local nor anybody's own network.
func address(r *rand.Rand) uint32 { return 0x0b000000 + r.Uint32N(0x60000000) }

func otherPort(r *rand.Rand) header { return header{address(r), 6, 60000 + uint16(r.IntN(5000))} }

var shapes = []shape{
	{"blacklist", func(n int, chain string, r *rand.Rand) (s ruleset) {
		s.policy, s.miss = "ACCEPT", otherPort
		for range n {
			a := address(r)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -s %s/32 -j DROP", chain, dotted(a)))
			s.hits = append(s.hits, header{a, 6, 80})
		}
		return s
	}},
	{"networks", func(n int, chain string, r *rand.Rand) (s ruleset) {
		s.policy, s.miss = "ACCEPT", func(r *rand.Rand) header { return header{0xc0000000 + r.Uint32N(1<<28), 6, 80} }
		for i := range n {
			bits := 16 + r.IntN(13)
			if n > 20000 {
				bits = 22 + r.IntN(7)
			}
			a := (0x0b000000 + uint32(i)*(0x60000000/uint32(n))) &^ (1<<(32-bits) - 1)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -s %s/%d -j DROP", chain, dotted(a), bits))
			s.hits = append(s.hits, header{a + 1, 6, 80})
		}
		r.Shuffle(n, func(i, j int) {
			s.rules[i], s.rules[j] = s.rules[j], s.rules[i]
			s.hits[i], s.hits[j] = s.hits[j], s.hits[i]
		})
		return s
	}},
	{"network-port", func(n int, chain string, r *rand.Rand) (s ruleset) {
		s.policy, s.miss = "DROP", otherPort
		for range n {
			bits, port := 16+r.IntN(13), uint16(1000+r.IntN(50))
			a := address(r) &^ (1<<(32-bits) - 1)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -s %s/%d -p tcp -m tcp --dport %d -j ACCEPT", chain, dotted(a), bits, port))
			s.hits = append(s.hits, header{a + 1, 6, port})
		}
		return s
	}},
	{"ports", func(n int, chain string, r *rand.Rand) (s ruleset) {
		s.policy, s.miss = "DROP", otherPort
		for i := range min(n, 50000) {
			proto, number := "tcp", uint8(6)
			if i%2 == 1 {
				proto, number = "udp", 17
			}
			port := uint16(1 + i)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -p %s -m %s --dport %d -j ACCEPT", chain, proto, proto, port))
			s.hits = append(s.hits, header{address(r), number, port})
		}
		return s
	}},
	{"subnets", func(n int, chain string, r *rand.Rand) (s ruleset) {
		s.policy, s.miss = "ACCEPT", otherPort
		var inner []string
		for i := range max(1, n/10) {
			name := fmt.Sprintf("SN_%d", i)
			a := 0x0b000000 + uint32(i)<<8
			s.chains = append(s.chains, name)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -s %s/24 -j %s", chain, dotted(a), name))
			for p := range 8 {
				port := uint16(1000 + p*37 + i%11)
				inner = append(inner, fmt.Sprintf("-A %s -p tcp -m tcp --dport %d -j ACCEPT", name, port))
				s.hits = append(s.hits, header{a + 5, 6, port})
			}
			inner = append(inner, fmt.Sprintf("-A %s -j DROP", name))
		}
		s.rules = append(s.rules, inner...)
		return s
	}},
	{"services", func(n int, chain string, r *rand.Rand) (s ruleset) {
		// As kube-proxy has them, by source, since packets to be sent have one destination.
		s.policy, s.miss = "ACCEPT", otherPort
		var inner []string
		for i := range max(1, n/3) {
			name := fmt.Sprintf("SVC_%d", i)
			a, port := address(r), uint16(1000+r.IntN(50))
			s.chains = append(s.chains, name)
			s.rules = append(s.rules, fmt.Sprintf("-A %s -s %s/32 -p tcp -m tcp --dport %d -j %s", chain, dotted(a), port, name))
			inner = append(inner, fmt.Sprintf("-A %s -p tcp -m mark --mark 0x%x -j DROP", name, 1+i), fmt.Sprintf("-A %s -j ACCEPT", name))
			s.hits = append(s.hits, header{a, 6, port})
		}
		s.rules = append(s.rules, inner...)
		return s
	}},
}

// text is the rules as iptables-save prints them.
func (s ruleset) text(chain string) string {
	var b strings.Builder
	b.WriteString("*filter\n")
	for _, c := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		policy := "ACCEPT"
		if c == chain {
			policy = s.policy
		}
		fmt.Fprintf(&b, ":%s %s [0:0]\n", c, policy)
	}
	for _, c := range s.chains {
		fmt.Fprintf(&b, ":%s - [0:0]\n", c)
	}
	for _, r := range s.rules {
		b.WriteString(r + "\n")
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// packets returns packets of which half meet a rule, those rules spread evenly.
func (s ruleset) packets(n int, to uint32, r *rand.Rand) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		h := s.miss(r)
		if i%2 == 0 {
			h = s.hits[r.IntN(len(s.hits))]
		}
		list[i] = h.packet(to)
	}
	return list
}

// packet returns a packet of IPv4 with ten bytes behind its header.
func (h header) packet(to uint32) []byte {
	length := 20 + 20
	if h.proto == 17 {
		length = 20 + 8
	}
	b := make([]byte, length)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	b[8], b[9] = 64, h.proto
	binary.BigEndian.PutUint32(b[12:], h.source)
	binary.BigEndian.PutUint32(b[16:], to)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(b[20:], 40000)
	binary.BigEndian.PutUint16(b[22:], h.port)
	if h.proto == 17 {
		binary.BigEndian.PutUint16(b[24:], 8)
	} else {
		b[32], b[33] = 5<<4, 2
	}
	return b
}
