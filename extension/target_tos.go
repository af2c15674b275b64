package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("TOS", func() iptables.Target { return new(tosTarget) }) }

var (
	_ iptsim.Doing         = (*tosTarget)(nil)
	_ translate.Translator = (*tosTarget)(nil)
	_ iptables.Validator   = (*tosTarget)(nil)
)

// tosTarget is "-j TOS": the type of service of IPv4, or the traffic class of
// IPv6, becomes (tos & ^Mask) ^ Value. All ways to say it are this one.
//
// Kernel: net/netfilter/xt_DSCP.c, tos_tg.
type tosTarget struct {
	Set iptables.Opt[tosMask]
}

func (*tosTarget) Name() string { return "TOS" }

func (t *tosTarget) Options() iptables.Options {
	rewrite := func(name string, to func(bits uint8) string) iptables.Option {
		return iptables.Rewrite(name, 1, 0, func(args []string, _ bool) ([]iptables.Replacement, error) {
			n, err := iptables.ParseNumber(args[0], 255)
			return []iptables.Replacement{{Name: "set-tos", Args: []string{to(uint8(n))}}}, err
		})
	}
	return iptables.Options{
		iptables.Bind("set-tos", &t.Set, iptables.Required),
		rewrite("and-tos", func(b uint8) string { return fmt.Sprintf("0/%d", ^b) }),
		rewrite("or-tos", func(b uint8) string { return fmt.Sprintf("%d/%d", b, b) }),
		rewrite("xor-tos", func(b uint8) string { return fmt.Sprintf("%d/0", b) }),
	}
}

func (t *tosTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "TOS", "mangle", 0)
}

func (t *tosTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Assign{
			Field: predicate.Field{ID: predicate.TOS},
			Keep:  predicate.Number(uint64(^t.Set.Value.Mask)),
			Xor:   predicate.Number(uint64(t.Set.Value.Value)),
		}},
		Then: predicate.Continue,
	}
}

// Translate sets the two parts that nft knows of the byte.
func (t *tosTarget) Translate(r *translate.Rule) error {
	keep, value := ^t.Set.Value.Mask, t.Set.Value.Value
	class, notification := nftgen.IPDSCP, nftgen.IPECN
	if r.Family == iptables.IPv6 {
		class, notification = nftgen.IP6DSCP, nftgen.IP6ECN
	}
	addPartialSet(r, class, 6, keep>>2, value>>2)
	addPartialSet(r, notification, 2, keep&3, value&3)
	return nil
}

// addPartialSet sets a field of some bits, of which some are kept. nft of 1.0.6
// can set a constant only: there is one rule for each old value that changes.
func addPartialSet(r *translate.Rule, f nftgen.Field, bits int, keep, value uint8) {
	if keep == 0 {
		r.Add(nftgen.SetField{Field: f, Value: nftgen.Value{value}})
		return
	}
	branch := translate.Branch{Otherwise: translate.Match}
	for old := range uint8(1) << bits {
		if fresh := old&keep ^ value; fresh != old {
			branch.Rows = append(branch.Rows, translate.Row{
				Stmts: []nftgen.Stmt{
					nftgen.Compare{Field: f, Op: nftgen.Eq, Value: nftgen.Value{old}},
					nftgen.SetField{Field: f, Value: nftgen.Value{fresh}},
				},
				Then: translate.Match,
			})
		}
	}
	if len(branch.Rows) > 0 {
		r.Branch(branch)
	}
}
