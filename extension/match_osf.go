package extension

import (
	"errors"
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatchFor(v4, "osf", func() iptables.Match { return new(osfMatch) }) }

var (
	_ iptsim.Meaning       = (*osfMatch)(nil)
	_ translate.Translator = (*osfMatch)(nil)
	_ translate.Keeper     = (*osfMatch)(nil)
	_ iptables.Validator   = (*osfMatch)(nil)
)

// osfMatch is "-m osf": a TCP SYN looks like one of an operating system, by
// fingerprints that user space loads. There is none for IPv6.
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

func (m *osfMatch) Meaning(iptables.Context) predicate.Meaning {
	not, more := "", ""
	if m.Genre.Negated {
		not = "no "
	}
	if m.TTL.Present {
		more += fmt.Sprintf(", TTL by rule %d", m.TTL.Value.U8)
	}
	if m.Log.Present {
		more += fmt.Sprintf(", logged by rule %d", m.Log.Value.U8)
	}
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Outside{
		Words: fmt.Sprintf("%sfingerprint of %q%s", not, string(m.Genre.Value.Word), more),
	}}}
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

// Keep writes the structure, with negation as one of its bits: what the kernel
// makes of it stays the kernel's.
//
// Kernel: include/uapi/linux/netfilter/nfnetlink_osf.h, struct nf_osf_info.
func (m *osfMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const ttl, log, invert, genreSize = 2, 4, 8, 32
	var flags uint32
	for bit, given := range map[uint32]bool{ttl: m.TTL.Present, log: m.Log.Present, invert: m.Genre.Negated} {
		if given {
			flags |= bit
		}
	}
	name := string(m.Genre.Value.Word)
	var info xtLayout
	info.text(name, genreSize)
	info.u32(uint32(len(name)))
	info.u32(flags)
	info.u32(uint32(m.Log.Value.U8))
	info.u32(uint32(m.TTL.Value.U8))
	return translate.Kept{Name: "osf", Info: info.data, Protocol: 6}, nil
}
