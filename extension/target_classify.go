package extension

import (
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("CLASSIFY", func() iptables.Target { return new(classifyTarget) }) }

var (
	_ iptsim.Doing         = (*classifyTarget)(nil)
	_ translate.Translator = (*classifyTarget)(nil)
	_ iptables.Validator   = (*classifyTarget)(nil)
)

// classifyTarget is "-j CLASSIFY": the packet's class of traffic control.
//
// Kernel: net/netfilter/xt_CLASSIFY.c.
type classifyTarget struct {
	Set iptables.Opt[trafficClass]
}

func (*classifyTarget) Name() string { return "CLASSIFY" }

func (t *classifyTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("set-class", &t.Set, iptables.Required)}
}

func (t *classifyTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "CLASSIFY", "", iptables.Output|iptables.Forward|iptables.Postrouting)
}

func (t *classifyTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Assign{
			Field: predicate.Field{ID: predicate.Priority}, Xor: predicate.Number(uint64(t.Set.Value)),
		}},
		Then: predicate.Continue,
	}
}

func (t *classifyTarget) Translate(r *translate.Rule) error {
	r.Add(nftgen.Assign{Field: nftgen.MetaPriority, Xor: wide32(uint32(t.Set.Value))})
	return nil
}

// A trafficClass is the argument of "--set-class": "major:minor", both
// hexadecimal. Of each, 16 bits count.
type trafficClass uint32

// Set reads "major:minor".
func (c *trafficClass) Set(arg string) error {
	major, minor, two := strings.Cut(arg, ":")
	high, err := strconv.ParseUint(strings.TrimPrefix(major, "0x"), 16, 32)
	low, err2 := strconv.ParseUint(strings.TrimPrefix(minor, "0x"), 16, 32)
	if !two || err != nil || err2 != nil {
		return fmt.Errorf("%q is no class, expected major:minor in hexadecimal", arg)
	}
	*c = trafficClass(uint32(high)<<16 | uint32(low)&0xffff)
	return nil
}

// String writes both parts with four digits.
func (c *trafficClass) String() string {
	return fmt.Sprintf("%04x:%04x", uint32(*c)>>16, uint32(*c)&0xffff)
}
