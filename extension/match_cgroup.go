package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("cgroup", func() iptables.Match { return new(cgroupMatch) }) }

var (
	_ iptsim.Meaning       = (*cgroupMatch)(nil)
	_ translate.Translator = (*cgroupMatch)(nil)
	_ iptables.Validator   = (*cgroupMatch)(nil)
)

// cgroupMatch is "-m cgroup": the control group of the packet's socket, by its class
// for traffic control or by its path. Without a whole socket nothing holds, negated
// or not.
//
// Kernel: net/netfilter/xt_cgroup.c.
type cgroupMatch struct {
	Class iptables.Opt[iptables.U32]
	Path  iptables.Opt[iptables.Text]
}

func (*cgroupMatch) Name() string { return "cgroup" }

func (m *cgroupMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("path", &m.Path, iptables.Invertible),
		iptables.Bind("cgroup", &m.Class, iptables.Invertible),
	}
}

func (m *cgroupMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if outside := c.Hooks &^ (iptables.Input | iptables.Output | iptables.Postrouting); outside != 0 {
		problems = append(problems, iptables.Problem{
			Code:    "invalid-hook",
			Summary: "match cgroup is not valid in this chain",
			Detail:  fmt.Sprintf("The kernel takes it in INPUT, OUTPUT and POSTROUTING; chain %s is also reached from %s.", c.Chain, hookList(c.Table, outside)),
		})
	}
	if m.Class.Present == m.Path.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "match cgroup needs one option",
			Detail:  "Give either --path or --cgroup.",
		})
	}
	return problems
}

func (m *cgroupMatch) Meaning(iptables.Context) predicate.Meaning {
	if m.Path.Present {
		not := ""
		if m.Path.Negated {
			not = "not "
		}
		return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Outside{
			Words: fmt.Sprintf("control group %sbelow %q", not, string(m.Path.Value)),
			Needs: []predicate.Field{{ID: predicate.SocketExists}},
		}}}
	}
	class := predicate.Field{ID: predicate.SocketClass}
	return predicate.Meaning{Match: predicate.All{
		predicate.Present{Field: class},
		negatedIf(m.Class.Negated, predicate.Equal(class, predicate.Number(uint64(m.Class.Value)))),
	}}
}

// Translate compares the class.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval_cgroup.
func (m *cgroupMatch) Translate(r *translate.Rule) error {
	if m.Path.Present {
		return &translate.Untranslatable{
			Summary: "cgroup --path has no translation",
			Detail: "nftables compares the number that the kernel gave the control group when it was made, which only the running host knows, and not in POSTROUTING. " +
				"Use --cgroup with a class, or load the rule by hand: socket cgroupv2 level N \"path\", N being the number of its parts.",
			Range: m.Path.Range,
		}
	}
	r.Declare(translate.Deviation{
		Code: "cgroup-syn-ack",
		Detail: "The answer to a TCP SYN is of a socket that is not whole yet: iptables knows no control group for it, " +
			"so that neither the match nor its negation holds, and nftables takes that of the listening socket.",
	})
	r.Add(nftgen.Compare{Field: nftgen.MetaClass, Op: comparison(m.Class.Negated), Value: wide32(uint32(m.Class.Value))})
	return nil
}
