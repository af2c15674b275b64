package extension

import (
	"fmt"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("cluster", func() iptables.Match { return new(clusterMatch) }) }

var (
	_ iptsim.Meaning     = (*clusterMatch)(nil)
	_ translate.Keeper   = (*clusterMatch)(nil)
	_ iptables.Validator = (*clusterMatch)(nil)
)

// clusterMatch is "-m cluster": the connection is one of this node's, of a cluster
// all nodes of which see all packets.
//
// Kernel: net/netfilter/xt_cluster.c.
type clusterMatch struct {
	Local iptables.Opt[clusterNodes]
	Total iptables.Opt[clusterSize]
	Seed  iptables.Opt[hex32]
}

func (*clusterMatch) Name() string { return "cluster" }

func (m *clusterMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("cluster-local-nodemask", &m.Local, iptables.Required|iptables.Invertible),
		iptables.Bind("cluster-total-nodes", &m.Total, iptables.Required),
		iptables.Bind("cluster-hash-seed", &m.Seed, iptables.Required),
		iptables.Rewrite("cluster-local-node", 1, iptables.Invertible, func(args []string, negated bool) ([]iptables.Replacement, error) {
			var node clusterSize
			if err := node.Set(args[0]); err != nil {
				return nil, err
			}
			mask := clusterNodes{hex32(1) << (node.U32 - 1)}
			return []iptables.Replacement{{Name: "cluster-local-nodemask", Args: []string{mask.String()}, Negated: negated}}, nil
		}),
	}
}

func (m *clusterMatch) Validate(iptables.Context) []iptables.Problem {
	if uint64(m.Local.Value.hex32)>>m.Total.Value.U32 == 0 {
		return nil
	}
	return []iptables.Problem{{
		Code: "out-of-range", Summary: "a local node is beyond the nodes of the cluster",
		Detail: fmt.Sprintf("There are %d. Name one of them, or give --cluster-total-nodes more.", m.Total.Value.U32), Range: m.Local.Range,
	}}
}

func (m *clusterMatch) Meaning(c iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Cluster{
		Nodes: uint32(m.Total.Value.U32), Local: uint32(m.Local.Value.hex32), Seed: uint32(m.Seed.Value),
		Not: m.Local.Negated, IPv6: c.Family == iptables.IPv6,
	}}}
}

// Translate has no exact form. nftables has the hash, of IPv4: but of a connection that
// another one expected xtables hashes the address of that one, and it makes what a
// group on the link got for a single address a packet for the host, in any hook.
func (*clusterMatch) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-match",
		Summary: "match cluster has no exact nftables counterpart",
		Detail: "iptables asks about the connection that expected this one, and turns packets for a group of the link into packets for the host, which nftables " +
			"can in PREROUTING only; of an IPv6 address it hashes the first four bytes. For IPv4 without helpers and such groups, jhash ct original ip saddr mod N seed S " +
			"gives the same number of the node, counted from 0: write that by hand.",
	}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_cluster.h, struct
// xt_cluster_match_info.
func (m *clusterMatch) Keep(*translate.Rule) (translate.Kept, error) {
	var info xtLayout
	info.u32(uint32(m.Total.Value.U32))
	info.u32(uint32(m.Local.Value.hex32))
	info.u32(uint32(m.Seed.Value))
	if m.Local.Negated {
		info.u32(1)
	} else {
		info.u32(0)
	}
	return translate.Kept{Name: "cluster", Info: info.data, Tracks: true}, nil
}

// A clusterSize is a number of nodes, or of one.
type clusterSize struct{ iptables.U32 }

// Set reads a number from 1 to 32.
func (s *clusterSize) Set(arg string) error {
	const most = 32
	n, err := iptables.ParseNumber(arg, most)
	if err == nil && n == 0 {
		err = fmt.Errorf("0 is out of range 1-%d", most)
	}
	s.U32 = iptables.U32(n)
	return err
}

// clusterNodes are nodes, a bit each. iptables itself reads no more than 32 as a
// mask, and prints greater ones.
type clusterNodes struct{ hex32 }

// Set reads a mask that has a node.
func (n *clusterNodes) Set(arg string) error {
	if err := n.hex32.Set(arg); err != nil {
		return err
	}
	if n.hex32 == 0 {
		return fmt.Errorf("0 is out of range 1-%#x", uint32(math.MaxUint32))
	}
	return nil
}

// A hex32 is a number of 32 bits that is printed hexadecimal, with all its digits.
type hex32 uint32

// Set reads a number.
func (h *hex32) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxUint32)
	*h = hex32(n)
	return err
}

// String writes eight digits.
func (h *hex32) String() string { return fmt.Sprintf("0x%08x", uint32(*h)) }
