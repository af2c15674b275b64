package extension

import (
	"fmt"
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("devgroup", func() iptables.Match { return new(devgroupMatch) }) }

var (
	_ iptsim.Meaning       = (*devgroupMatch)(nil)
	_ translate.Translator = (*devgroupMatch)(nil)
	_ iptables.Validator   = (*devgroupMatch)(nil)
)

// devgroupMatch is "-m devgroup": the groups of the incoming and of the outgoing
// device. Of both the group and the value only the bits of the mask count.
//
// Kernel: net/netfilter/xt_devgroup.c.
type devgroupMatch struct {
	Source, Destination iptables.Opt[deviceGroup]
}

// A deviceGroup is a number with an optional mask. Names are those of
// /etc/iproute2/group, of which only "default" is the same everywhere.
type deviceGroup struct{ iptables.MarkMask }

// Set reads "value" or "value/mask".
func (g *deviceGroup) Set(arg string) error {
	if arg == "default" {
		g.MarkMask = iptables.MarkMask{Mask: math.MaxUint32}
		return nil
	}
	if err := g.MarkMask.Set(arg); err != nil {
		return fmt.Errorf("%w; write the number of a group, names depend on the machine (/etc/iproute2/group)", err)
	}
	return nil
}

func (*devgroupMatch) Name() string { return "devgroup" }

func (m *devgroupMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("src-group", &m.Source, iptables.Invertible),
		iptables.Bind("dst-group", &m.Destination, iptables.Invertible),
	}
}

// Validate refuses the chains in which the kernel knows no such device.
func (m *devgroupMatch) Validate(c iptables.Context) []iptables.Problem {
	if !m.Source.Present && !m.Destination.Present {
		return []iptables.Problem{{
			Code:    "missing-option",
			Summary: "match devgroup needs an option",
			Detail:  "Give at least one of --src-group and --dst-group.",
		}}
	}
	var problems []iptables.Problem
	refuse := func(option, chains string, o iptables.Opt[deviceGroup], valid iptables.HookSet) {
		if o.Present && c.Hooks&^valid != 0 {
			problems = append(problems, iptables.Problem{
				Code:    "invalid-hook",
				Summary: option + " is not valid in this chain",
				Detail:  fmt.Sprintf("The kernel takes it in %s; chain %s is also reached from %s.", chains, c.Chain, hookList(c.Table, c.Hooks&^valid)),
				Range:   o.Range,
			})
		}
	}
	refuse("--src-group", "PREROUTING, INPUT and FORWARD", m.Source, iptables.Prerouting|iptables.Input|iptables.Forward)
	refuse("--dst-group", "FORWARD, OUTPUT and POSTROUTING", m.Destination, iptables.Forward|iptables.Output|iptables.Postrouting)
	return problems
}

func (m *devgroupMatch) Meaning(iptables.Context) predicate.Meaning {
	all := predicate.All{}
	for _, side := range []struct {
		o     iptables.Opt[deviceGroup]
		field predicate.FieldID
	}{{m.Source, predicate.InGroup}, {m.Destination, predicate.OutGroup}} {
		if side.o.Present {
			v := side.o.Value
			all = append(all, negatedIf(side.o.Negated, predicate.Masked{
				Field: predicate.Field{ID: side.field},
				Mask:  predicate.Number(uint64(v.Mask)),
				Value: predicate.Number(uint64(v.Value & v.Mask)),
			}))
		}
	}
	return predicate.Meaning{Match: all}
}

func (m *devgroupMatch) Translate(r *translate.Rule) error {
	for _, side := range []struct {
		o     iptables.Opt[deviceGroup]
		field nftgen.Field
	}{{m.Source, nftgen.MetaIifgroup}, {m.Destination, nftgen.MetaOifgroup}} {
		if !side.o.Present {
			continue
		}
		test := side.o.Value.MarkMask
		test.Value &= test.Mask
		addMarkTest(r, side.field, test, side.o.Negated)
	}
	return nil
}
