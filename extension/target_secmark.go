package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("SECMARK", func() iptables.Target { return new(secmarkTarget) }) }

var (
	_ iptsim.Doing         = (*secmarkTarget)(nil)
	_ translate.Translator = (*secmarkTarget)(nil)
	_ iptables.Validator   = (*secmarkTarget)(nil)
)

// secmarkTarget is "-j SECMARK": the packet gets a security context, which the
// kernel asks SELinux about when the rule is loaded.
//
// Kernel: net/netfilter/xt_SECMARK.c.
type secmarkTarget struct {
	Context iptables.Opt[securityContext]
}

func (*secmarkTarget) Name() string { return "SECMARK" }

func (t *secmarkTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("selctx", &t.Context, iptables.Required)}
}

func (t *secmarkTarget) Validate(c iptables.Context) []iptables.Problem {
	return labelled(c, "SECMARK")
}

func (t *secmarkTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.Label{Context: string(t.Context.Value.Word)}}, Then: predicate.Continue}
}

// Translate uses an object of the context.
func (t *secmarkTarget) Translate(r *translate.Rule) error {
	kind := nftgen.SecurityContext{Context: string(t.Context.Value.Word)}
	if !kind.Readable() {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "nft cannot read the security context",
			Detail:  "It takes neither double quotes nor control characters in a context. Categories of SELinux need none.",
			Range:   t.Context.Range,
		}
	}
	r.Add(nftgen.Use{Object: translate.Value(r.Shared, kind, func() *nftgen.Object {
		// The type of the context tells them apart: user:role:type:level.
		name := "secmark"
		if parts := strings.Split(kind.Context, ":"); len(parts) > 2 {
			name = parts[2]
		}
		return r.Shared.AddObject(&nftgen.Object{Name: name, Kind: kind})
	})})
	return nil
}

// A securityContext is the argument of "--selctx".
type securityContext struct{ iptables.Word }

// securityContextMax is the longest context.
//
// Kernel: include/uapi/linux/netfilter/xt_SECMARK.h, SECMARK_SECCTX_MAX.
const securityContextMax = 255

// Set reads a context.
func (c *securityContext) Set(arg string) error {
	if arg == "" || len(arg) > securityContextMax {
		return fmt.Errorf("a security context has 1 to %d bytes, not %d", securityContextMax, len(arg))
	}
	c.Word = iptables.Word(arg)
	return nil
}
