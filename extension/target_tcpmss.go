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

func init() {
	registerTargetFor(v4, "TCPMSS", func() iptables.Target { return newTCPMSSTarget(20) })
	registerTargetFor(v6, "TCPMSS", func() iptables.Target { return newTCPMSSTarget(40) })
}

func newTCPMSSTarget(ipHeader int) *tcpmssTarget {
	return &tcpmssTarget{Set: iptables.Opt[mssValue]{Value: mssValue{max: 65535 - ipHeader}}}
}

var (
	_ iptsim.Doing         = (*tcpmssTarget)(nil)
	_ translate.Translator = (*tcpmssTarget)(nil)
	_ iptables.Validator   = (*tcpmssTarget)(nil)
)

// tcpmssTarget is "-j TCPMSS": it lowers the maximum segment size that a TCP
// SYN announces to a number, or to what fits the path. A SYN that announces
// none and carries no data gets the option.
//
// Kernel: net/netfilter/xt_TCPMSS.c.
type tcpmssTarget struct {
	Set   iptables.Opt[mssValue]
	Clamp iptables.Opt[iptables.Flag]
}

func (*tcpmssTarget) Name() string { return "TCPMSS" }

func (t *tcpmssTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("set-mss", &t.Set, 0),
		iptables.Bind("clamp-mss-to-pmtu", &t.Clamp, 0),
	}
}

func (t *tcpmssTarget) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if t.Set.Present == t.Clamp.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "TCPMSS needs exactly one option",
			Detail:  "Give one of --set-mss and --clamp-mss-to-pmtu.",
		})
	}
	if t.Clamp.Present {
		problems = append(problems, placement(c, "TCPMSS --clamp-mss-to-pmtu", "", iptables.Forward|iptables.Output|iptables.Postrouting)...)
	}
	if proto, ok := c.ProtocolNumber(); !ok || proto != 6 || !matchesSYN(c.Rule) {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "TCPMSS works on TCP SYN packets only",
			Detail:  "The kernel accepts it in rules that require SYN. Write -p tcp --tcp-flags SYN,RST SYN before the target.",
		})
	}
	return problems
}

// matchesSYN reports whether the rule has a match tcp that requires SYN.
func matchesSYN(rule *iptables.Rule) bool {
	for _, use := range rule.Matches {
		if use.Match.Name() != "tcp" {
			continue
		}
		for _, o := range use.Match.Options().Print() {
			if o.Name == "tcp-flags" && !o.Negated && len(o.Args) == 2 && strings.Contains(o.Args[1], "SYN") {
				return true
			}
		}
	}
	return false
}

func (t *tcpmssTarget) Action(iptables.Context) predicate.Action {
	effect := predicate.SetMSS{MSS: t.Set.Value.mss, Zero: t.Set.Present && t.Set.Value.mss == 0}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

func (t *tcpmssTarget) Translate(r *translate.Rule) error {
	r.Add(nftgen.SetMSS{MSS: t.Set.Value.mss, Zero: t.Set.Present && t.Set.Value.mss == 0})
	if t.Clamp.Present && r.Context.Family == iptables.IPv6 && r.Context.Hooks&(iptables.Output|iptables.Postrouting) != 0 {
		r.Declare(translate.Deviation{
			Code: "tcpmss-loopback",
			Detail: "Between addresses of this host, where the MTU is that of the loopback device, xtables leaves a size of up to 65476 as it is. " +
				"nftables takes an MTU of more than 65535 for unknown and sets 536.",
		})
	}
	if !requiresMSS(r.Context.Rule) {
		r.Declare(translate.Deviation{
			Code: "tcpmss-adds-option",
			Detail: "xtables adds the option to a SYN without data that announces no maximum segment size. " +
				"nftables changes the option where it is and adds none.",
		})
	}
	return nil
}

// requiresMSS reports whether a match of the rule is true only for packets with
// the option.
func requiresMSS(rule *iptables.Rule) bool {
	for _, use := range rule.Matches {
		for _, o := range use.Match.Options().Print() {
			switch use.Match.Name() + " " + o.Name {
			case "tcpmss mss":
				if !o.Negated {
					return true
				}
			case "tcp tcp-option":
				if !o.Negated && len(o.Args) == 1 && o.Args[0] == "2" {
					return true
				}
			}
		}
	}
	return false
}

// An mssValue is the argument of "--set-mss": a size that leaves room for the
// IP header in a packet of 65535 bytes.
type mssValue struct {
	mss uint16
	max int
}

// Set reads a size.
func (m *mssValue) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, uint64(m.max))
	if err != nil {
		return fmt.Errorf("maximum segment size: %w", err)
	}
	m.mss = uint16(n)
	return nil
}

// String writes the number.
func (m *mssValue) String() string { return strconv.Itoa(int(m.mss)) }
