package extension

import (
	"math"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
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

func (t *connsecmarkTarget) Action(iptables.Context) predicate.Action {
	copies := predicate.Assign{
		Field: predicate.Field{ID: predicate.CTSecmark}, From: predicate.Field{ID: predicate.Secmark},
		Take: predicate.Number(math.MaxUint32), Unset: true,
	}
	if t.Restore.Present {
		copies.Field, copies.From = copies.From, copies.Field
	}
	return predicate.Action{Effects: []predicate.Effect{copies}, Then: predicate.Continue}
}

// Translate copies the mark where there is none. That the other has one need not be
// asked: copying none over none changes nothing. nft has no words for a security
// mark that is compared whole, but for its halves.
func (t *connsecmarkTarget) Translate(r *translate.Rule) error {
	to, from := nftgen.CTSecmark, nftgen.MetaSecmark
	if t.Restore.Present {
		to, from = from, to
	}
	for _, half := range []uint32{0xffff, 0xffff0000} {
		r.Add(nftgen.Compare{Field: to, Mask: wide32(half), Op: nftgen.Eq, Value: wide32(0)})
	}
	r.Add(nftgen.Assign{Field: to, From: &from, Take: wide32(math.MaxUint32)})
	return nil
}
