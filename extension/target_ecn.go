package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTargetFor(v4, "ECN", func() iptables.Target { return new(ecnTarget) }) }

var (
	_ iptsim.Doing         = (*ecnTarget)(nil)
	_ translate.Translator = (*ecnTarget)(nil)
	_ iptables.Validator   = (*ecnTarget)(nil)
)

// ecnTarget is "-j ECN": it clears the two flags of TCP that are about congestion
// notification, or sets each of them, and the codepoint in the IP header.
//
// Kernel: net/ipv4/netfilter/ipt_ECN.c.
type ecnTarget struct {
	Remove iptables.Opt[iptables.Flag]
	ECE    iptables.Opt[ecnBit]
	CWR    iptables.Opt[ecnBit]
	ECT    iptables.Opt[ectValue]
}

func (*ecnTarget) Name() string { return "ECN" }

func (t *ecnTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ecn-tcp-remove", &t.Remove, 0),
		iptables.Bind("ecn-tcp-ece", &t.ECE, 0),
		iptables.Bind("ecn-tcp-cwr", &t.CWR, 0),
		iptables.Bind("ecn-ip-ect", &t.ECT, 0),
	}
}

func (t *ecnTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "ECN", "mangle", 0)
	flags := t.Remove.Present || t.ECE.Present || t.CWR.Present
	switch {
	case !flags && !t.ECT.Present:
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "ECN needs an option",
			Detail:  "Say what to change, with --ecn-tcp-remove for instance.",
		})
	case t.Remove.Present && (t.ECE.Present || t.CWR.Present):
		problems = append(problems, iptables.Problem{
			Summary: "--ecn-tcp-remove excludes --ecn-tcp-ece and --ecn-tcp-cwr",
			Detail:  "It clears both flags. Give it alone.",
			Range:   t.Remove.Range,
		})
	}
	if proto, ok := c.ProtocolNumber(); flags && (!ok || proto != 6) {
		problems = append(problems, iptables.Problem{
			Code:    "missing-protocol",
			Summary: "ECN changes flags of TCP only",
			Detail:  "The kernel accepts that in rules with -p tcp.",
		})
	}
	return problems
}

func (t *ecnTarget) Action(iptables.Context) predicate.Action {
	var effects []predicate.Effect
	if t.ECT.Present {
		effects = append(effects, predicate.Assign{
			Field: predicate.Field{ID: predicate.TOS}, Keep: predicate.Number(0xfc), Xor: predicate.Number(uint64(t.ECT.Value)),
		})
	}
	flags := predicate.SetTCPFlags{Keep: 0xff}
	set := func(there bool, mask, value uint8) {
		if there {
			flags.Keep &^= mask
			flags.Xor |= mask & value
		}
	}
	set(t.Remove.Present, 0xc0, 0)
	set(t.ECE.Present, 0x40, uint8(t.ECE.Value)*0xff)
	set(t.CWR.Present, 0x80, uint8(t.CWR.Value)*0xff)
	if flags.Keep != 0xff {
		effects = append(effects, flags)
	}
	return predicate.Action{Effects: effects, Then: predicate.Continue}
}

// Translate sets the codepoint, and of the flags has a rule for each value that
// there can be afterwards: nft 1.0.6 sets all flags at once.
func (t *ecnTarget) Translate(r *translate.Rule) error {
	if t.ECT.Present {
		r.Add(nftgen.SetField{Field: nftgen.IPECN, Value: nftgen.Value{byte(t.ECT.Value)}})
	}
	const ece, cwr = 0x40, 0x80
	var changes, to byte
	if t.Remove.Present {
		changes = ece | cwr
	}
	if t.ECE.Present {
		changes |= ece
		to |= ece * byte(t.ECE.Value)
	}
	if t.CWR.Present {
		changes |= cwr
		to |= cwr * byte(t.CWR.Value)
	}
	if changes == 0 {
		return nil
	}
	var rows []translate.Row
	for n := range 256 {
		fresh := byte(n)
		if fresh&changes != to {
			continue
		}
		// Ascending by what the bits are that change.
		var olds []nftgen.Interval
		for old := range 256 {
			if b := byte(old); b != fresh && b&^changes|to == fresh {
				olds = append(olds, nftgen.Interval{Low: nftgen.Value{b}, High: nftgen.Value{b}})
			}
		}
		var test nftgen.Stmt = nftgen.OneOf{Field: nftgen.TCPFlags, Intervals: olds}
		if len(olds) == 1 {
			test = nftgen.Compare{Field: nftgen.TCPFlags, Value: olds[0].Low}
		}
		rows = append(rows, translate.Row{
			Stmts: []nftgen.Stmt{test, nftgen.SetField{Field: nftgen.TCPFlags, Value: nftgen.Value{fresh}}},
			Then:  translate.Match,
		})
	}
	r.Branch(translate.Branch{Rows: rows, Otherwise: translate.Match})
	r.Declare(translate.Deviation{
		Code:   "ecn-fragment",
		Detail: "Where nothing tracks connections, xtables takes the data of a later fragment for a TCP header, and changes it. nftables leaves it alone.",
	})
	return nil
}

// An ecnBit is the argument of "--ecn-tcp-ece" and "--ecn-tcp-cwr": 0 or 1.
type ecnBit uint8

// Set reads a bit.
func (b *ecnBit) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 1)
	*b = ecnBit(n)
	return err
}

// String writes the bit.
func (b *ecnBit) String() string { return string('0' + rune(*b)) }

// An ectValue is the argument of "--ecn-ip-ect": 0 to 3.
type ectValue uint8

// Set reads a codepoint.
func (v *ectValue) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 3)
	*v = ectValue(n)
	return err
}

// String writes the number.
func (v *ectValue) String() string { return string('0' + rune(*v)) }
