package extension

import (
	"errors"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "CLUSTERIP", func() iptables.Target { return new(clusterIPTarget) })
	registerTargetFor(v4, "ULOG", func() iptables.Target { return new(ulogTarget) })
}

var (
	_ iptsim.Doing         = (*clusterIPTarget)(nil)
	_ translate.Translator = (*clusterIPTarget)(nil)
	_ iptsim.Doing         = (*ulogTarget)(nil)
	_ translate.Translator = (*ulogTarget)(nil)
)

// clusterIPTarget is "-j CLUSTERIP": several hosts share an address, and each takes
// the connections that a hash gives to it. Linux 6.2 was the last kernel to have it.
//
// Kernel: net/ipv4/netfilter/ipt_CLUSTERIP.c of Linux 6.2.
type clusterIPTarget struct {
	New   iptables.Opt[iptables.Flag]
	Mode  iptables.Opt[iptables.Word]
	MAC   iptables.Opt[iptables.MAC]
	Total iptables.Opt[iptables.U16]
	Local iptables.Opt[iptables.U16]
	Init  iptables.Opt[iptables.U32]
}

func (*clusterIPTarget) Name() string { return "CLUSTERIP" }

func (t *clusterIPTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("new", &t.New, 0),
		iptables.Bind("hashmode", &t.Mode, 0),
		iptables.Bind("clustermac", &t.MAC, 0),
		iptables.Bind("total-nodes", &t.Total, 0),
		iptables.Bind("local-node", &t.Local, 0),
		iptables.Bind("hash-init", &t.Init, 0),
	}
}

func (*clusterIPTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.UnmodelledEffect{What: "CLUSTERIP"}}, Then: predicate.Continue}
}

func (*clusterIPTarget) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-target",
		Summary: "CLUSTERIP was removed from the kernel",
		Detail: "No kernel since 6.3 loads the rule, and nftables has no counterpart that answers ARP as well. Share the address with -m cluster " +
			"and arptables as its manual describes, or by a load balancer, and remove the rule.",
	}
}

// ulogTarget is "-j ULOG": a message with the packet to programs that listen to a
// group of a netlink of its own. Linux 3.16 was the last kernel to have it.
type ulogTarget struct {
	Group     iptables.Opt[ulogGroup]
	Prefix    iptables.Opt[iptables.Text]
	Range     iptables.Opt[iptables.U32]
	Threshold iptables.Opt[iptables.U32]
}

func (*ulogTarget) Name() string { return "ULOG" }

func (t *ulogTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ulog-prefix", &t.Prefix, 0),
		iptables.Bind("ulog-nlgroup", &t.Group, 0),
		iptables.Bind("ulog-cprange", &t.Range, 0),
		iptables.Bind("ulog-qthreshold", &t.Threshold, 0),
	}
}

func (*ulogTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.UnmodelledEffect{What: "ULOG"}}, Then: predicate.Continue}
}

func (t *ulogTarget) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-target",
		Summary: "ULOG was removed from the kernel",
		Detail: "No kernel since 3.17 loads the rule. Have the program listen to NFLOG, as ulogd 2 does, and write -j NFLOG with the same group, " +
			"which is translated.",
	}
}

// A ulogGroup is the argument of "--ulog-nlgroup": 1 to 32.
type ulogGroup struct{ iptables.U8 }

// Set reads a group.
func (g *ulogGroup) Set(arg string) error {
	const most = 32
	n, err := iptables.ParseNumber(arg, most)
	if err == nil && n == 0 {
		err = errors.New("there is no group 0: groups are 1 to 32")
	}
	g.U8 = iptables.U8(n)
	return err
}
