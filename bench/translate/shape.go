package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"nftmigrate/internal/rulegen"
)

// A shape is a kind of ruleset that is met in the field.
type shape struct {
	name string
	// write returns the texts of iptables-save and ip6tables-save, of about n rules
	// together; v6 is nil where there is one family.
	write func(n int, r *rand.Rand) (v4, v6 []byte)
}

var shapes = []shape{
	{"blacklist", func(n int, r *rand.Rand) (v4, v6 []byte) {
		return filter(n, nil, func(b *bytes.Buffer, _ int) {
			fmt.Fprintf(b, "-A INPUT -s %s/32 -j DROP\n", dotted(address(r)))
		}), nil
	}},
	{"networks", func(n int, r *rand.Rand) (v4, v6 []byte) {
		return filter(n, nil, func(b *bytes.Buffer, _ int) {
			fmt.Fprintf(b, "-A INPUT -s %s -j DROP\n", network(r))
		}), nil
	}},
	{"network-port", func(n int, r *rand.Rand) (v4, v6 []byte) {
		return filter(n, nil, func(b *bytes.Buffer, _ int) {
			fmt.Fprintf(b, "-A INPUT -s %s -p tcp -m tcp --dport %d -j ACCEPT\n", network(r), 1000+r.IntN(50))
		}), nil
	}},
	{"address-port", func(n int, r *rand.Rand) (v4, v6 []byte) {
		return filter(n, nil, func(b *bytes.Buffer, _ int) {
			fmt.Fprintf(b, "-A FORWARD -s %s/32 -p tcp -m tcp --dport %d -j ACCEPT\n", dotted(address(r)), r.IntN(65536))
		}), nil
	}},
	{"kube-proxy", func(n int, _ *rand.Rand) (v4, v6 []byte) {
		return rulegen.KubeProxy(min(max(4, n/11&^3), 11_072), 1), nil
	}},
	{"ports", func(n int, r *rand.Rand) (v4, v6 []byte) {
		return filter(n, nil, func(b *bytes.Buffer, i int) {
			proto := []string{"tcp", "udp"}[i%2]
			if i%4 > 1 {
				fmt.Fprintf(b, "-A INPUT -p %s -m multiport --dports %d,%d,%d -j ACCEPT\n", proto, 1+i%65000, 2+i%65000, 1+r.IntN(65000))
				return
			}
			fmt.Fprintf(b, "-A INPUT -p %s -m %s --dport %d -j ACCEPT\n", proto, proto, 1+i%65000)
		}), nil
	}},
	{"subnets", func(n int, _ *rand.Rand) (v4, v6 []byte) {
		chains := make([]string, max(1, n/10))
		for i := range chains {
			chains[i] = fmt.Sprintf("SN_%d", i)
		}
		return filter(10*len(chains), chains, func(b *bytes.Buffer, i int) {
			if i < len(chains) {
				fmt.Fprintf(b, "-A INPUT -s %s/24 -j %s\n", dotted(0x0b000000+uint32(i)<<8), chains[i])
				return
			}
			chain, k := (i-len(chains))/9, (i-len(chains))%9
			if k == 8 {
				fmt.Fprintf(b, "-A %s -j DROP\n", chains[chain])
				return
			}
			fmt.Fprintf(b, "-A %s -p tcp -m tcp --dport %d -j ACCEPT\n", chains[chain], 1000+k*37+chain%11)
		}), nil
	}},
	{"web", func(n int, r *rand.Rand) (v4, v6 []byte) {
		host := func(six bool) []byte {
			return filter(n/2, nil, func(b *bytes.Buffer, i int) {
				source, icmp, bits := dotted(address(r)), "icmp", 32
				if six {
					source, icmp, bits = fmt.Sprintf("2001:db8:%x:%x::%x", r.IntN(65536), r.IntN(65536), 1+r.IntN(65000)), "ipv6-icmp", 128
				}
				switch {
				case i == 0:
					b.WriteString("-A INPUT -i lo -j ACCEPT\n")
				case i == 1:
					b.WriteString("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n")
				case i == 2:
					fmt.Fprintf(b, "-A INPUT -p %s -j ACCEPT\n", icmp)
				case i < 6:
					fmt.Fprintf(b, "-A INPUT -p tcp -m tcp --dport %d -m conntrack --ctstate NEW -j ACCEPT\n", []int{22, 80, 443}[i-3])
				case i%8 == 0:
					fmt.Fprintf(b, "-A INPUT -s %s/%d -p tcp -m multiport --dports 80,443 -m comment --comment \"client %d\" -j ACCEPT\n", source, bits, i)
				default:
					fmt.Fprintf(b, "-A INPUT -s %s/%d -p tcp -m conntrack --ctstate NEW -m tcp --dport %d -j DROP\n", source, bits, []int{22, 80, 443, 8080}[i%4])
				}
			})
		}
		return host(false), host(true)
	}},
	{"gateway", func(n int, _ *rand.Rand) (v4, v6 []byte) { return rulegen.Gateway(max(n, 100), 1), nil }},
}

// filter is the text of a table filter with n rules.
func filter(n int, chains []string, write func(b *bytes.Buffer, i int)) []byte {
	var b bytes.Buffer
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for _, c := range chains {
		fmt.Fprintf(&b, ":%s - [0:0]\n", c)
	}
	for i := range n {
		write(&b, i)
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}

// sets is the text of ipset save with a set of n random addresses, and that of a
// rule which looks into it.
func sets(n int, r *rand.Rand) (text []byte, rule string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "create big hash:ip family inet hashsize 1048576 maxelem %d\n", 2*n)
	seen := make(map[uint32]bool, n)
	for len(seen) < n {
		if a := address(r); !seen[a] {
			seen[a] = true
			fmt.Fprintf(&b, "add big %s\n", dotted(a))
		}
	}
	return b.Bytes(), "-A INPUT -m set --match-set big src -j DROP\n"
}

func dotted(a uint32) string { return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&0xff, a>>8&0xff, a&0xff) }

// address returns one that is neither local nor anybody's own network.
func address(r *rand.Rand) uint32 { return 0x0b000000 + r.Uint32N(0x60000000) }

// network returns one of 16 to 28 bits.
func network(r *rand.Rand) string {
	bits := 16 + r.IntN(13)
	return fmt.Sprintf("%s/%d", dotted(address(r)&^(1<<(32-bits)-1)), bits)
}
