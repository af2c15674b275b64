package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("SYNPROXY", func() iptables.Target { return new(synproxyTarget) }) }

var (
	_ iptsim.Doing         = (*synproxyTarget)(nil)
	_ translate.Translator = (*synproxyTarget)(nil)
	_ translate.Keeper     = (*synproxyTarget)(nil)
	_ iptables.Validator   = (*synproxyTarget)(nil)
)

// synproxyTarget is "-j SYNPROXY": the host answers a TCP SYN in place of the
// server, and takes the client's ACK before it opens the connection to the server.
// Both are taken from the sender; other segments go on.
//
// Kernel: net/ipv4/netfilter/ipt_SYNPROXY.c, synproxy_tg4;
// net/ipv6/netfilter/ip6t_SYNPROXY.c.
type synproxyTarget struct {
	SackPerm  iptables.Opt[iptables.Flag]
	Timestamp iptables.Opt[iptables.Flag]
	WScale    iptables.Opt[iptables.U8]
	MSS       iptables.Opt[iptables.U16]
	ECN       iptables.Opt[iptables.Flag]
}

func (*synproxyTarget) Name() string { return "SYNPROXY" }

func (t *synproxyTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("sack-perm", &t.SackPerm, 0),
		iptables.Bind("timestamp", &t.Timestamp, 0),
		iptables.Bind("wscale", &t.WScale, 0),
		iptables.Bind("mss", &t.MSS, 0),
		iptables.Bind("ecn", &t.ECN, 0),
	}
}

func (t *synproxyTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "SYNPROXY", "", iptables.Input|iptables.Forward)
	if proto, ok := c.ProtocolNumber(); !ok || proto != 6 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "SYNPROXY works on TCP only",
			Detail:  "The kernel accepts it in rules with -p tcp.",
		})
	}
	return problems
}

// The bits of SYNPROXY's options.
//
// Kernel: include/uapi/linux/netfilter/nf_SYNPROXY.h.
func (t *synproxyTarget) Action(iptables.Context) predicate.Action {
	proxy := predicate.SynProxy{MSS: uint16(t.MSS.Value), WScale: uint8(t.WScale.Value)}
	for _, o := range []struct {
		there bool
		bit   uint32
	}{{t.MSS.Present, 1}, {t.WScale.Present, 2}, {t.SackPerm.Present, 4}, {t.Timestamp.Present, 8}, {t.ECN.Present, 16}} {
		if o.there {
			proxy.Options |= o.bit
		}
	}
	return predicate.Action{Effects: []predicate.Effect{proxy}, Then: predicate.Continue}
}

// Translate takes the two kinds of segments apart, because nftables would take
// others too.
func (t *synproxyTarget) Translate(r *translate.Rule) error {
	if t.ECN.Present {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "SYNPROXY --ecn is not translated",
			Detail:  "The synproxy of nftables does not announce ECN. Leave the option out: connections then are without ECN.",
			Range:   t.ECN.Range,
		}
	}
	flags := func(value byte) translate.Row {
		return translate.Row{Stmts: []nftgen.Stmt{
			nftgen.Compare{Field: nftgen.TCPFlags, Mask: nftgen.Value{0x17}, Value: nftgen.Value{value}},
		}, Then: translate.Match}
	}
	const syn, ack = 0x02, 0x10
	r.Branch(translate.Branch{Rows: []translate.Row{flags(syn), flags(ack)}, Otherwise: translate.Fail})
	r.Add(nftgen.SynProxy{
		SetMSS: t.MSS.Present, MSS: uint16(t.MSS.Value), SetWScale: t.WScale.Present, WScale: uint8(t.WScale.Value),
		SackPerm: t.SackPerm.Present, Timestamp: t.Timestamp.Present,
	})
	return nil
}

// Keep is for --ecn.
//
// Kernel: include/uapi/linux/netfilter/nf_SYNPROXY.h, struct nf_synproxy_info.
func (t *synproxyTarget) Keep(*translate.Rule) (translate.Kept, error) {
	var options uint8
	for i, there := range []bool{t.MSS.Present, t.WScale.Present, t.SackPerm.Present, t.Timestamp.Present, t.ECN.Present} {
		if there {
			options |= 1 << i
		}
	}
	var info xtLayout
	info.u8(options)
	info.u8(uint8(t.WScale.Value))
	info.u16(uint16(t.MSS.Value))
	return translate.Kept{Name: "SYNPROXY", Info: info.data, Tracks: true, Protocol: 6}, nil
}
