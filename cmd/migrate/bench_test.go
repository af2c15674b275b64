package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nftmigrate/diag"
	"nftmigrate/equivalence"
	"nftmigrate/extension"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// millionSet is the text of a set of n addresses.
func millionSet(n int) []byte {
	r := rand.New(rand.NewPCG(7, 7))
	var t bytes.Buffer
	fmt.Fprintf(&t, "create big hash:ip family inet hashsize 1048576 maxelem %d\n", 2*n)
	seen := make(map[uint32]bool, n)
	for len(seen) < n {
		if v := r.Uint32()>>4 | 0x10000000; !seen[v] {
			seen[v] = true
			fmt.Fprintf(&t, "add big %d.%d.%d.%d\n", v>>24, v>>16&255, v>>8&255, v&255)
		}
	}
	return t.Bytes()
}

// manyRules is the text of n rules about addresses and ports, behind one that
// looks into the set.
func manyRules(n int) []byte {
	r := rand.New(rand.NewPCG(8, 8))
	var t bytes.Buffer
	t.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -m set --match-set big src -j DROP\n")
	for range n {
		v := r.Uint32()
		fmt.Fprintf(&t, "-A FORWARD -s %d.%d.%d.%d/32 -p tcp -m tcp --dport %d -j ACCEPT\n", v>>24, v>>16&255, v>>8&255, v&255, r.IntN(65536))
	}
	t.WriteString("COMMIT\n")
	return t.Bytes()
}

// BenchmarkTranslate reads rules and a set of a million addresses and makes text
// and batch of them, as "migrate translate" does.
func BenchmarkTranslate(b *testing.B) {
	for _, c := range []struct {
		name            string
		rules, elements int
	}{{"set", 0, 1_000_000}, {"rules", 100_000, 1}, {"both", 100_000, 1_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			set, rules := millionSet(c.elements), manyRules(c.rules)
			b.SetBytes(int64(len(set) + len(rules)))
			b.ReportAllocs()
			for b.Loop() {
				in := &input{}
				in.sets, in.diags = ipset.Parse(diag.NewSource("big.ipset", set))
				rs, list := iptables.Parse(diag.NewSource("rules.v4", rules), iptables.IPv4, extension.Registry)
				in.v4, in.diags = rs, append(in.diags, list...)
				flags := translateFlags{table: "firewall"}
				t, list, err := flags.translate(in)
				if err != nil || t == nil {
					b.Fatal(err, list)
				}
			}
		})
	}
}

// BenchmarkProveSet proves that a rule about a set of random addresses, and its
// translation, do the same.
func BenchmarkProveSet(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := &input{}
			in.sets, in.diags = ipset.Parse(diag.NewSource("big.ipset", millionSet(n)))
			rs, list := iptables.Parse(diag.NewSource("rules.v4", manyRules(0)), iptables.IPv4, extension.Registry)
			in.v4, in.diags = rs, append(in.diags, list...)
			flags := translateFlags{table: "firewall"}
			t, list, err := flags.translate(in)
			if err != nil || t == nil {
				b.Fatal(err, list)
			}
			b.ReportAllocs()
			for b.Loop() {
				p, err := ourPair(in, t)
				if err != nil {
					b.Fatal(err)
				}
				proof, err := equivalence.Prove(context.Background(), p.source, p.target, equivalence.ProofOptions{Versions: []int{4}, Time: time.Hour})
				if err != nil || proof.Word != equivalence.Equivalent {
					b.Fatal(err, proof.Word)
				}
			}
		})
	}
}
