package extension

import (
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	const source, destination = iptables.Input | iptables.Postrouting, iptables.Prerouting | iptables.Output
	registerTargetFor(v6, "SNPT", func() iptables.Target { return &nptTarget{name: "SNPT", hooks: source} })
	registerTargetFor(v6, "DNPT", func() iptables.Target { return &nptTarget{name: "DNPT", hooks: destination} })
}

var (
	_ iptsim.Doing         = (*nptTarget)(nil)
	_ translate.Translator = (*nptTarget)(nil)
	_ iptables.Validator   = (*nptTarget)(nil)
)

// nptTarget is "-j SNPT" and "-j DNPT" of ip6tables: they rewrite the prefix of the
// source, or destination, without any state, and adapt another word of the address
// so that checksums stay right (RFC 6296).
//
// Kernel: net/ipv6/netfilter/ip6t_NPT.c.
type nptTarget struct {
	name  string
	hooks iptables.HookSet
	From  iptables.Opt[nptPrefix]
	To    iptables.Opt[nptPrefix]
}

func (t *nptTarget) Name() string { return t.name }

func (t *nptTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("src-pfx", &t.From, iptables.Required),
		iptables.Bind("dst-pfx", &t.To, iptables.Required),
	}
}

func (t *nptTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, t.name, "mangle", t.hooks)
}

func (t *nptTarget) Action(iptables.Context) predicate.Action {
	what := predicate.TranslatePrefix{Destination: t.name == "DNPT", From: t.From.Value.network, To: t.To.Value.network}
	return predicate.Action{Effects: []predicate.Effect{what}, Then: predicate.Continue}
}

// An nptPrefix is the argument of "--src-pfx" and "--dst-pfx": a network of at most
// 64 bits, without host bits.
type nptPrefix struct{ network netip.Prefix }

// nptBits is the longest prefix. The kernel adapts a word behind it.
//
// Kernel: net/ipv6/netfilter/ip6t_NPT.c, ip6t_npt_checkentry.
const nptBits = 64

// Set reads a network.
func (p *nptPrefix) Set(arg string) error {
	var host iptables.HostAddress
	if err := host.Set(arg); err != nil {
		return err
	}
	bits := 0
	for _, b := range host.Mask.AsSlice() {
		for ; b != 0; b <<= 1 {
			bits++
		}
	}
	network := netip.PrefixFrom(host.Addr, bits)
	switch {
	case host.Addr.Is4():
		return fmt.Errorf("%q is no network of IPv6", arg)
	case bits > nptBits:
		return fmt.Errorf("%q is longer than %d bits, behind which nothing can be adapted", arg, nptBits)
	case network.Masked() != network:
		return fmt.Errorf("%q has bits behind its prefix", arg)
	}
	p.network = network
	return nil
}

// String writes the network.
func (p *nptPrefix) String() string {
	return fmt.Sprintf("%s/%d", iptables.AddrString(p.network.Addr()), p.network.Bits())
}
