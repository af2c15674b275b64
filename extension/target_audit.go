package extension

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("AUDIT", func() iptables.Target { return new(auditTarget) }) }

var (
	_ iptsim.Doing         = (*auditTarget)(nil)
	_ translate.Translator = (*auditTarget)(nil)
)

// auditTarget is "-j AUDIT": a record of the packet for the audit system; the
// packet goes on. The kernel does not use the type.
//
// Kernel: net/netfilter/xt_AUDIT.c.
type auditTarget struct {
	Type iptables.Opt[auditType]
}

func (*auditTarget) Name() string { return "AUDIT" }

func (t *auditTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("type", &t.Type, iptables.Required)}
}

func (*auditTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.Audit{}}, Then: predicate.Continue}
}

func (*auditTarget) Translate(r *translate.Rule) error {
	const audit = 8 // the level that is none of the kernel log
	r.Add(nftgen.Log{Level: audit})
	return nil
}

// An auditType is the argument of "--type".
type auditType string

// Set reads a type, in small or large letters.
func (t *auditType) Set(arg string) error {
	word := strings.ToLower(arg)
	if !slices.Contains([]string{"accept", "drop", "reject"}, word) {
		return fmt.Errorf("%q is no type, expected accept, drop or reject", arg)
	}
	*t = auditType(word)
	return nil
}

// String writes the type in small letters.
func (t *auditType) String() string { return string(*t) }
