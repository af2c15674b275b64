package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("addrtype", func() iptables.Match { return new(addrtypeMatch) }) }

var (
	_ iptsim.Meaning       = (*addrtypeMatch)(nil)
	_ translate.Translator = (*addrtypeMatch)(nil)
	_ iptables.Validator   = (*addrtypeMatch)(nil)
)

// addrtypeMatch is "-m addrtype": what the addresses are to this host.
//
// For IPv4 it is true when the route type of the address is in the list. For
// IPv6 each listed type is a condition of its own, and all that are not about
// routes have to hold: UNICAST and MULTICAST and UNSPEC are ranges of
// addresses, so UNICAST holds for the addresses of this host too. LOCAL,
// ANYCAST and UNREACHABLE are about the route, and one of those that are listed
// has to hold.
//
// Kernel: net/netfilter/xt_addrtype.c.
type addrtypeMatch struct {
	Source, Destination iptables.Opt[addrTypes]
	In, Out             iptables.Opt[iptables.Flag]
}

// addrTypes are the types of --src-type and --dst-type. The bit of a type is 1
// shifted by the kernel's RTN_* number.
//
// Kernel: include/uapi/linux/netfilter/xt_addrtype.h.
type addrTypes uint32

// The types.
const (
	typeUnspec addrTypes = 1 << iota
	typeUnicast
	typeLocal
	typeBroadcast
	typeAnycast
	typeMulticast
	typeBlackhole
	typeUnreachable
	typeProhibit
	typeThrow
	typeNAT
	typeXresolve
)

// typesOfRoutes6 are the IPv6 types that are about the route.
const typesOfRoutes6 = typeLocal | typeAnycast | typeUnreachable

var addrTypeNames = nameBits{
	{"UNSPEC", uint32(typeUnspec)}, {"UNICAST", uint32(typeUnicast)}, {"LOCAL", uint32(typeLocal)},
	{"BROADCAST", uint32(typeBroadcast)}, {"ANYCAST", uint32(typeAnycast)}, {"MULTICAST", uint32(typeMulticast)},
	{"BLACKHOLE", uint32(typeBlackhole)}, {"UNREACHABLE", uint32(typeUnreachable)}, {"PROHIBIT", uint32(typeProhibit)},
	{"THROW", uint32(typeThrow)}, {"NAT", uint32(typeNAT)}, {"XRESOLVE", uint32(typeXresolve)},
}

// Set reads types with commas between them.
func (t *addrTypes) Set(arg string) error {
	bits, err := addrTypeNames.parse(arg)
	*t = addrTypes(bits)
	return err
}

// String returns the types in the order of iptables-save.
func (t *addrTypes) String() string { return addrTypeNames.join(uint32(*t)) }

func (*addrtypeMatch) Name() string { return "addrtype" }

func (m *addrtypeMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("src-type", &m.Source, iptables.Invertible),
		iptables.Bind("dst-type", &m.Destination, iptables.Invertible),
		iptables.Bind("limit-iface-in", &m.In, 0),
		iptables.Bind("limit-iface-out", &m.Out, 0),
	}
}

func (m *addrtypeMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if !m.Source.Present && !m.Destination.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: `match "addrtype" needs a type`,
			Detail:  "Give --src-type or --dst-type.",
		})
	}
	if m.In.Present && m.Out.Present {
		problems = append(problems, iptables.Problem{
			Summary: "--limit-iface-in and --limit-iface-out exclude each other",
			Detail:  "An address is looked up on one device: give one of the two.",
			Range:   m.Out.Range,
		})
	}
	for _, limit := range []struct {
		opt  iptables.Opt[iptables.Flag]
		name string
		not  iptables.HookSet
	}{
		{m.In, "--limit-iface-in", iptables.Output | iptables.Postrouting},
		{m.Out, "--limit-iface-out", iptables.Prerouting | iptables.Input},
	} {
		if outside := c.Hooks & limit.not; limit.opt.Present && outside != 0 {
			problems = append(problems, iptables.Problem{
				Code:    "invalid-hook",
				Summary: limit.name + " is not valid in this chain",
				Detail:  fmt.Sprintf("Packets that come from %s have no such device.", hookList(c.Table, outside)),
				Range:   limit.opt.Range,
			})
		}
	}
	if c.Family != iptables.IPv6 {
		return problems
	}
	const supported = typeUnspec | typeUnicast | typeMulticast | typesOfRoutes6
	for _, o := range []iptables.Opt[addrTypes]{m.Source, m.Destination} {
		if unknown := o.Value &^ supported; o.Present && unknown != 0 {
			problems = append(problems, iptables.Problem{
				Code:    "invalid-argument",
				Summary: "IPv6 does not know this type of address",
				Detail:  fmt.Sprintf("The kernel refuses %s for IPv6.", &unknown),
				Range:   o.Range,
			})
		}
	}
	return problems
}
