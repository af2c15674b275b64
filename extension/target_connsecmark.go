package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerTarget("CONNSECMARK", func() iptables.Target { return new(connsecmarkTarget) })
}

var (
	_ iptsim.Doing         = (*connsecmarkTarget)(nil)
	_ translate.Translator = (*connsecmarkTarget)(nil)
	_ iptables.Validator   = (*connsecmarkTarget)(nil)
)

// connsecmarkTarget is "-j CONNSECMARK": it copies the security mark between the
// packet and its connection, where the one has a mark and the other has none.
//
// Kernel: net/netfilter/xt_CONNSECMARK.c.
type connsecmarkTarget struct {
	Save    iptables.Opt[iptables.Flag]
	Restore iptables.Opt[iptables.Flag]
}

func (*connsecmarkTarget) Name() string { return "CONNSECMARK" }

func (t *connsecmarkTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("save", &t.Save, 0), iptables.Bind("restore", &t.Restore, 0)}
}

func (t *connsecmarkTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := labelled(c, "CONNSECMARK")
	if t.Save.Present == t.Restore.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "CONNSECMARK needs exactly one option",
			Detail:  "Give one of --save and --restore.",
		})
	}
	return problems
}

// labelled checks the tables in which the kernel allows targets of security marks.
//
// Kernel: net/netfilter/xt_SECMARK.c, secmark_tg_check.
func labelled(c iptables.Context, target string) []iptables.Problem {
	if c.Table == "mangle" || c.Table == "security" {
		return nil
	}
	return []iptables.Problem{{
		Code:    "invalid-table",
		Summary: "target " + target + " is not valid in table " + c.Table,
		Detail:  "The kernel accepts it in tables mangle and security only.",
	}}
}

func (*connsecmarkTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Effects: []predicate.Effect{predicate.UnmodelledEffect{What: "security marks"}}, Then: predicate.Continue}
}

func (t *connsecmarkTarget) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-target",
		Summary: "CONNSECMARK is not translated",
		Detail: "nftables copies the mark with ct secmark set meta secmark, or meta secmark set ct secmark, also where there is one already. " +
			"Write that by hand behind ct state new for --save, and ct state established,related for --restore, where that is what was meant.",
	}
}
