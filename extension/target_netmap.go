package extension

import (
	"fmt"
	"net/netip"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "NETMAP", func() iptables.Target { return &netmapTarget{To: netmapOf(32)} })
	registerTargetFor(v6, "NETMAP", func() iptables.Target { return &netmapTarget{To: netmapOf(128)} })
}

var (
	_ iptsim.Doing         = (*netmapTarget)(nil)
	_ translate.Translator = (*netmapTarget)(nil)
	_ iptables.Validator   = (*netmapTarget)(nil)
)

// netmapTarget is "-j NETMAP": the network part of an address is replaced, the
// destination before routing and the source behind it.
//
// Kernel: net/netfilter/xt_NETMAP.c.
type netmapTarget struct {
	To iptables.Opt[netmapNetwork]
}

func (*netmapTarget) Name() string { return "NETMAP" }

func (t *netmapTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("to", &t.To, iptables.Required),
	}
}

func (t *netmapTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "NETMAP", "nat", 0)
}

func (t *netmapTarget) Action(c iptables.Context) predicate.Action {
	action := predicate.Action{Then: predicate.Accept}
	if t.To.Value.Prefix.Bits() == 0 {
		return action // every address is kept, as of a packet that no rule maps
	}
	before := c.Hooks&(iptables.Prerouting|iptables.Output) != 0
	behind := c.Hooks&(iptables.Postrouting|iptables.Input) != 0
	if before && behind {
		action.Effects = []predicate.Effect{predicate.UnmodelledEffect{What: "NETMAP of source and destination in one chain"}}
	} else {
		action.Effects = []predicate.Effect{predicate.NAT{
			Destination: before,
			Dynamic:     "netmap",
			Min:         t.To.Value.Prefix.Addr(),
			Max:         t.To.Value.Prefix.Addr(),
			Bits:        t.To.Value.Prefix.Bits(),
		}}
	}
	return action
}

func (t *netmapTarget) Translate(r *translate.Rule) error {
	if t.To.Value.Prefix.Bits() == 0 {
		// It keeps every address as it is.
		r.Add(nftgen.VerdictStmt{Kind: nftgen.Accept})
		return nil
	}
	source := r.Hooks&(iptables.Postrouting|iptables.Input) != 0
	if source && r.Hooks&(iptables.Prerouting|iptables.Output) != 0 {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "NETMAP in a chain that stands before and behind routing has no nftables counterpart",
			Detail: fmt.Sprintf("Chain %s is reached where the destination is mapped and where the source is; "+
				"nft has one statement for each. Write one chain for each.", r.Chain),
		}
	}
	network := nftgen.Value(t.To.Value.Prefix.Addr().AsSlice())
	r.Add(nftgen.NAT{Destination: !source, Low: network, Prefix: t.To.Value.Prefix.Bits()})
	return nil
}

// A netmapNetwork is the argument of "--to": a network, "a/n" or "a/mask". Its
// host bits are cleared. A mask with gaps, which iptables takes and prints as
// another one, is refused.
type netmapNetwork struct {
	Width  int // 32 or 128
	Prefix netip.Prefix
}

func netmapOf(width int) iptables.Opt[netmapNetwork] {
	return iptables.Opt[netmapNetwork]{Value: netmapNetwork{Width: width}}
}

// Set reads a network.
func (n *netmapNetwork) Set(arg string) error {
	text, _, _ := strings.Cut(arg, "/")
	if strings.Contains(text, ":") != (n.Width == 128) {
		return fmt.Errorf("%q is no network of the family", arg)
	}
	var a iptables.Address
	if err := a.Set(arg); err != nil {
		return err
	}
	if a.Addr.BitLen() != n.Width {
		return fmt.Errorf("%q is no network of the family", arg)
	}
	bits, gap := 0, false
	for _, b := range a.Mask.AsSlice() {
		for i := 7; i >= 0; i-- {
			switch set := b>>i&1 == 1; {
			case set && gap:
				return fmt.Errorf("the mask of %q has gaps, expected a prefix", arg)
			case set:
				bits++
			default:
				gap = true
			}
		}
	}
	n.Prefix = netip.PrefixFrom(a.Addr, bits)
	return nil
}

// String writes "a/n".
func (n *netmapNetwork) String() string { return n.Prefix.String() }
