package extension

import (
	"fmt"
	"net/netip"
	"strconv"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	for _, of := range []struct {
		family int
		any    netip.Addr
	}{{v4, netip.IPv4Unspecified()}, {v6, netip.IPv6Unspecified()}} {
		registerTargetFor(of.family, "TPROXY", func() iptables.Target {
			return &tproxyTarget{
				Address: iptables.Opt[proxyAddress]{Present: true, Value: proxyAddress{of.any}},
				Mark:    iptables.Opt[markChange]{Present: true},
			}
		})
	}
}

var (
	_ iptsim.Doing         = (*tproxyTarget)(nil)
	_ translate.Translator = (*tproxyTarget)(nil)
	_ iptables.Validator   = (*tproxyTarget)(nil)
)

// tproxyTarget is "-j TPROXY": a transparent socket of the host takes the packet,
// one of its connection or else one that listens at the address, the first of the
// device where that is all zeros, and at the port, the packet's where that is 0.
// The mark, by which the packet is then routed to the host, changes as with MARK.
// Without such a socket the packet is dropped.
//
// Kernel: net/netfilter/xt_TPROXY.c.
type tproxyTarget struct {
	Port    iptables.Opt[proxyPort]
	Address iptables.Opt[proxyAddress]
	Mark    iptables.Opt[markChange]
}

func (*tproxyTarget) Name() string { return "TPROXY" }

func (t *tproxyTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("on-port", &t.Port, iptables.Required),
		iptables.Bind("on-ip", &t.Address, 0),
		iptables.Bind("tproxy-mark", &t.Mark, 0),
	}
}

func (t *tproxyTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "TPROXY", "mangle", iptables.Prerouting)
	if proto, ok := c.ProtocolNumber(); !ok || proto != 6 && proto != 17 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "TPROXY works on TCP and UDP only",
			Detail:  "The kernel accepts it in rules with -p tcp or -p udp.",
		})
	}
	return problems
}

func (t *tproxyTarget) Action(iptables.Context) predicate.Action {
	socket := predicate.TransparentSocket{Address: t.Address.Value.Addr, Port: uint16(t.Port.Value)}
	offer := predicate.Offer{Socket: socket, Keep: ^t.Mark.Value.Mask, Xor: t.Mark.Value.Value}
	return predicate.Action{Effects: []predicate.Effect{offer}, Then: predicate.Drop}
}

// Translate drops the packet behind the rule that gives it to a socket: the
// tproxy of nftables goes on with the next rule where there is none.
func (t *tproxyTarget) Translate(r *translate.Rule) error {
	proxy := nftgen.TProxy{Family: nftgen.IP, Port: uint16(t.Port.Value)}
	addr := t.Address.Value.Addr
	if addr.Is6() {
		proxy.Family = nftgen.IP6
	}
	if !addr.IsUnspecified() {
		proxy.Address = addr.AsSlice()
	}
	taken := []nftgen.Stmt{proxy}
	if change, ok := markAssign(nftgen.MetaMark, t.Mark.Value); ok {
		taken = append(taken, change)
	}
	taken = append(taken, nftgen.VerdictStmt{Kind: nftgen.Accept})
	r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: taken, Then: translate.Next}}, Otherwise: translate.Match})
	r.Add(nftgen.VerdictStmt{Kind: nftgen.Drop})
	return nil
}

// A proxyPort is the argument of "--on-port": a decimal number or the name of a
// service.
type proxyPort uint16

// Set reads a port.
func (p *proxyPort) Set(arg string) error {
	if arg != "" && '0' <= arg[0] && arg[0] <= '9' {
		n, err := strconv.ParseUint(arg, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is no port from 0 to 65535", arg)
		}
		*p = proxyPort(n)
		return nil
	}
	n, err := iptables.ParsePort(arg)
	*p = proxyPort(n)
	return err
}

// String writes the number.
func (p *proxyPort) String() string { return strconv.Itoa(int(*p)) }

// A proxyAddress is the argument of "--on-ip": an address of the family.
type proxyAddress struct{ netip.Addr }

// Set reads an address.
func (a *proxyAddress) Set(arg string) error {
	var host iptables.HostAddress
	if err := host.Set(arg); err != nil {
		return err
	}
	switch {
	case host.Addr.Is6() != a.Is6():
		return fmt.Errorf("%q is an address of the other family", arg)
	case host.String() != iptables.AddrString(host.Addr):
		return fmt.Errorf("%q has a mask, which no socket has", arg)
	}
	a.Addr = host.Addr
	return nil
}

// String writes the address.
func (a *proxyAddress) String() string { return iptables.AddrString(a.Addr) }
