package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"

	"nftmigrate/apply"
	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/rulegen"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A scenario is two versions of rules and the packets for both.
type scenario struct {
	texts   [2]string // as iptables-save prints them
	packets []packet
	every   int // see sender
}

// A shape makes scenarios of a size.
type shape struct {
	name string
	make func(n int, r *rand.Rand) scenario
}

var shapes = []shape{
	{"whitelist-hash", func(n int, r *rand.Rand) scenario { return list(n, r, "DROP", 32, false) }},
	{"blacklist-hash", func(n int, r *rand.Rand) scenario { return list(n, r, "ACCEPT", 32, false) }},
	{"whitelist-rbtree", func(n int, r *rand.Rand) scenario { return list(n, r, "DROP", 24, false) }},
	{"blacklist-rbtree", func(n int, r *rand.Rand) scenario { return list(n, r, "ACCEPT", 24, false) }},
	{"whitelist-concat", func(n int, r *rand.Rand) scenario { return list(n, r, "DROP", 24, true) }},
	{"blacklist-concat", func(n int, r *rand.Rand) scenario { return list(n, r, "ACCEPT", 24, true) }},
	{"services", services},
	{"kube-proxy", kubeProxy},
}

func dotted(a uint32) string {
	return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&0xff, a>>8&0xff, a&0xff)
}

const (
	elsewhere = 0xc6336409 // 198.51.100.9
	templates = 4000       // packets that are sent again and again
)

// list is a list of sources, with ports or without, and a policy. One entry in
// a hundred is in one version only.
func list(n int, r *rand.Rand, policy string, bits int, ports bool) scenario {
	verdict, listed, others := "ACCEPT", pass, drop
	if policy == "ACCEPT" {
		verdict, listed, others = "DROP", drop, pass
	}
	type entry struct {
		network uint32
		port    uint16
		in      [2]bool
	}
	entries := make([]entry, n)
	for i := range entries {
		// Every second network is left out, so that none are merged.
		e := entry{network: 0x0b000000 + uint32(2*i)<<(32-bits), port: 80, in: [2]bool{true, true}}
		if ports {
			e.port = uint16(1000 + i%50)
		}
		if i%100 == 7 {
			e.in[i/100%2] = false
		}
		entries[i] = e
	}
	var s scenario
	for version := range s.texts {
		var b strings.Builder
		fmt.Fprintf(&b, "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD %s [0:0]\n:OUTPUT ACCEPT [0:0]\n", policy)
		fmt.Fprintf(&b, "-A FORWARD -p icmp -m icmp --icmp-type %d -j ACCEPT\n", 8*version)
		for _, e := range entries {
			if !e.in[version] {
				continue
			}
			port := ""
			if ports {
				port = fmt.Sprintf(" -p tcp -m tcp --dport %d", e.port)
			}
			fmt.Fprintf(&b, "-A FORWARD -s %s/%d%s -j %s\n", dotted(e.network), bits, port, verdict)
		}
		b.WriteString("COMMIT\n")
		s.texts[version] = b.String()
	}
	for i := range templates {
		e := entries[r.IntN(n)]
		if i%8 == 0 {
			e = entries[r.IntN((n+99)/100)*100+7] // one of those that differ
		}
		p := packet{fate: listed}
		from := e.network
		if bits < 32 {
			from |= r.Uint32N(1 << (32 - bits))
		}
		switch {
		case i%2 == 1: // the network beside it, which is not listed
			from, p.fate = from+1<<(32-bits), others
		case e.in[0] != e.in[1]:
			p.fate = turns
			if e.in[0] == (policy == "ACCEPT") {
				p.group = 1
			}
		}
		p.bytes = newPacket(from, elsewhere, tcp, 40000, e.port)
		s.packets = append(s.packets, p)
	}
	return s
}

// services has a chain for each address and port, as kube-proxy has, which
// passes sources of one network.
func services(n int, r *rand.Rand) scenario {
	var s scenario
	for version := range s.texts {
		var b, inner strings.Builder
		b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n")
		for i := range n {
			fmt.Fprintf(&b, ":SVC-%d - [0:0]\n", i)
			fmt.Fprintf(&inner, "-A SVC-%d -s 172.16.0.0/12 -p tcp -m tcp --dport %d -j DROP\n", i, 1000+i%50)
			if i%100 != 7 || i/100%2 == version {
				fmt.Fprintf(&inner, "-A SVC-%d -s 10.0.0.0/8 -j ACCEPT\n", i)
			}
		}
		for i := range n {
			fmt.Fprintf(&b, "-A FORWARD -d %s/32 -p tcp -m tcp --dport %d -j SVC-%d\n", dotted(0x64400000+uint32(i)), 1000+i%50, i)
		}
		s.texts[version] = b.String() + inner.String() + "COMMIT\n"
	}
	for i := range templates {
		at := r.IntN(n)
		if i%8 == 0 {
			at = r.IntN((n+99)/100)*100 + 7
		}
		p := packet{fate: pass}
		from := uint32(0x0a000000) + r.Uint32N(1<<24)
		switch {
		case i%2 == 1:
			from, p.fate = 0xac100000+r.Uint32N(1<<20), drop
		case at%100 == 7:
			p.fate, p.group = turns, at/100%2
		}
		p.bytes = newPacket(from, 0x64400000+uint32(at), tcp, 40000, uint16(1000+at%50))
		s.packets = append(s.packets, p)
	}
	return s
}

var (
	portal   = regexp.MustCompile(`^-A KUBE-SERVICES -d ([0-9.]+)/32 .*--dport (\d+) -j (KUBE-SVC-\S+)`)
	service  = regexp.MustCompile(`^-A (KUBE-SVC-\S+) .*-j (KUBE-SEP-\S+)`)
	endpoint = regexp.MustCompile(`^-A (KUBE-SEP-\S+) .*--to-destination ([0-9.]+):`)
)

// kubeProxy is the table nat of a node. Its packets open connections to the
// addresses of services, and must come out to one of their endpoints.
func kubeProxy(n int, r *rand.Rand) scenario {
	text := rulegen.KubeProxy(n, 1)
	s := scenario{every: 40}
	s.texts[0] = string(text)
	// The other version has one chain more, and asks for it first.
	s.texts[1] = strings.Replace(strings.Replace(string(text), ":KUBE-SERVICES - [0:0]\n", ":KUBE-SERVICES - [0:0]\n:KUBE-MORE - [0:0]\n", 1),
		"-A KUBE-SERVICES ", "-A KUBE-MORE -p udp -m udp --dport 9 -j RETURN\n-A KUBE-SERVICES -s 192.0.2.77/32 -j KUBE-MORE\n-A KUBE-SERVICES ", 1)
	type entry struct {
		to    uint32
		port  uint16
		chain string
	}
	var portals []entry
	chains, endpoints := map[string][]string{}, map[string]uint32{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if m := portal.FindStringSubmatch(line); m != nil {
			var port uint16
			fmt.Sscan(m[2], &port)
			portals = append(portals, entry{address(m[1]), port, m[3]})
		} else if m := service.FindStringSubmatch(line); m != nil {
			chains[m[1]] = append(chains[m[1]], m[2])
		} else if m := endpoint.FindStringSubmatch(line); m != nil {
			endpoints[m[1]] = address(m[2])
		}
	}
	for range templates {
		e := portals[r.IntN(len(portals))]
		to := map[uint32]bool{}
		for _, chain := range chains[e.chain] {
			to[endpoints[chain]] = true
		}
		from := 0x0b000000 + r.Uint32N(1<<24)
		s.packets = append(s.packets, packet{
			fate: pass, to: to, bytes: newPacket(from, e.to, tcp, 40000, e.port),
			again: func(n uint32) []byte { return newPacket(0x0c000000+n%(1<<24), e.to, tcp, uint16(1024+n%50000), e.port) },
		})
	}
	return s
}

func address(s string) uint32 {
	a := netip.MustParseAddr(s).As4()
	return binary.BigEndian.Uint32(a[:])
}

// translated returns the batch of a text.
func translated(text string, level int) (apply.Batch, error) {
	rules, problems := iptables.Parse(diag.NewSource("bench.v4", []byte(text)), iptables.IPv4, extension.Registry)
	if problems.HasErrors() {
		return apply.Batch{}, fmt.Errorf("read the rules: %v", problems)
	}
	result, problems := translate.Translate(rules, nil, translate.Options{Optimize: level})
	if result == nil {
		return apply.Batch{}, fmt.Errorf("translate the rules: %v", problems)
	}
	batch, err := nftgen.Encode(result.Ruleset)
	if err != nil {
		return apply.Batch{}, err
	}
	return apply.Batch{Messages: batch.Messages}, nil
}
