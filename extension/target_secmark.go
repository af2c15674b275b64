package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
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

func (*secmarkTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.UnmodelledEffect{What: "security marks"}}, Then: predicate.Continue}
}

func (t *secmarkTarget) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-target",
		Summary: "SECMARK is not translated",
		Detail: fmt.Sprintf("In nftables it is a secmark object that holds %q, and meta secmark set with its name, on a host with the policy of SELinux "+
			"that knows the context. Write that by hand.", string(t.Context.Value.Word)),
		Range: t.Context.Range,
	}
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
