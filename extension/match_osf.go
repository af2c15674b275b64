package extension

import (
	"errors"
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("osf", func() iptables.Match { return new(osfMatch) }) }

var (
	_ iptsim.Meaning       = (*osfMatch)(nil)
	_ translate.Translator = (*osfMatch)(nil)
	_ iptables.Validator   = (*osfMatch)(nil)
)

// osfMatch is "-m osf": a TCP SYN looks like one of an operating system, by
// fingerprints that user space loads.
//
// Kernel: net/netfilter/xt_osf.c, nfnetlink_osf.c.
type osfMatch struct {
	Genre iptables.Opt[osfGenre]
	TTL   iptables.Opt[osfLevel]
	Log   iptables.Opt[osfLevel]
}

func (*osfMatch) Name() string { return "osf" }

func (m *osfMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("genre", &m.Genre, iptables.Required|iptables.Invertible),
		iptables.Bind("ttl", &m.TTL, 0),
		iptables.Bind("log", &m.Log, 0),
	}
}

// An osfGenre is the name of an operating system.
type osfGenre struct{ iptables.Word }

// Set reads a name, of which the tool keeps 31 bytes.
func (g *osfGenre) Set(arg string) error {
	const most = 31
	if arg == "" {
		return errors.New("the name of an operating system cannot be empty")
	}
	g.Word = iptables.Word(arg[:min(len(arg), most)])
	return nil
}

// An osfLevel is a number from 0 to 2.
type osfLevel struct{ iptables.U8 }

// Set reads a number.
func (l *osfLevel) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 2)
	l.U8 = iptables.U8(n)
	return err
}

func (*osfMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if proto, ok := c.ProtocolNumber(); !ok || proto != 6 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "match osf needs -p tcp",
			Detail:  "Fingerprints are of TCP. Add -p tcp to the rule.",
		})
	}
	if outside := c.Hooks &^ (iptables.Prerouting | iptables.Input | iptables.Forward); outside != 0 {
		problems = append(problems, iptables.Problem{
			Code:    "invalid-hook",
			Summary: "match osf is not valid in this chain",
			Detail:  fmt.Sprintf("The kernel takes it in PREROUTING, INPUT and FORWARD; chain %s is also reached from %s.", c.Chain, hookList(c.Table, outside)),
		})
	}
	return problems
}

func (*osfMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Unmodelled{What: "fingerprints of operating systems"}}
}

// Translate has no exact form.
func (*osfMatch) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-match",
		Summary: "match osf has no exact nftables counterpart",
		Detail: "iptables looks for any fingerprint of the system that fits, nftables takes the first that fits of all systems, and logs nothing. " +
			"Where that is good enough, write osf name \"…\" by hand.",
	}
}
