package extension

import (
	"fmt"
	"math"
	"math/bits"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("CONNMARK", func() iptables.Target { return newConnmarkTarget() }) }

var (
	_ iptsim.Doing         = (*connmarkTarget)(nil)
	_ translate.Translator = (*connmarkTarget)(nil)
	_ iptables.Validator   = (*connmarkTarget)(nil)
	_ iptables.Printer     = (*connmarkTarget)(nil)
)

// connmarkTarget is "-j CONNMARK": it sets the connection's mark, saves the
// packet's mark in it, or restores the packet's mark from it:
//
//	set      ctmark = shift((ctmark & ^Mask) ^ Value)
//	save     ctmark = (ctmark & ^CTMask) ^ shift(mark & NFMask)
//	restore  mark = (mark & ^NFMask) ^ shift(ctmark & CTMask)
//
// Without a connection nothing happens. The packet goes on.
//
// Kernel: net/netfilter/xt_connmark.c, connmark_tg_shift.
type connmarkTarget struct {
	Set     iptables.Opt[markChange]
	Save    iptables.Opt[iptables.Flag]
	Restore iptables.Opt[iptables.Flag]
	NFMask  iptables.Opt[hexMask]
	CTMask  iptables.Opt[hexMask]
	Left    iptables.Opt[iptables.U8]
	Right   iptables.Opt[iptables.U8]
}

func newConnmarkTarget() *connmarkTarget {
	return &connmarkTarget{
		NFMask: iptables.Opt[hexMask]{Value: math.MaxUint32},
		CTMask: iptables.Opt[hexMask]{Value: math.MaxUint32},
	}
}

func (*connmarkTarget) Name() string { return "CONNMARK" }

func (t *connmarkTarget) Options() iptables.Options {
	o := iptables.Options{
		iptables.Bind("set-xmark", &t.Set, 0),
		iptables.Bind("save-mark", &t.Save, 0),
		iptables.Bind("restore-mark", &t.Restore, 0),
		iptables.Bind("nfmask", &t.NFMask, 0),
		iptables.Bind("ctmask", &t.CTMask, 0),
		iptables.Bind("left-shift-mark", &t.Left, 0),
		iptables.Bind("right-shift-mark", &t.Right, 0),
		iptables.Rewrite("mask", 1, 0, func(args []string, _ bool) ([]iptables.Replacement, error) {
			return []iptables.Replacement{{Name: "nfmask", Args: args}, {Name: "ctmask", Args: args}}, nil
		}),
	}
	return append(o, markRewrites()...)
}

// PrintOptions prints both masks of save and restore, given or not, no masks
// of set, and no shift by 0.
func (t *connmarkTarget) PrintOptions() []iptables.Printed {
	c := *t
	masks := c.Save.Present || c.Restore.Present
	c.NFMask.Present, c.CTMask.Present = masks, masks
	c.Left.Present = c.Left.Present && c.Left.Value != 0
	c.Right.Present = c.Right.Present && c.Right.Value != 0
	return c.Options().Print()
}

func (t *connmarkTarget) Validate(iptables.Context) []iptables.Problem {
	operations := 0
	for _, present := range []bool{t.Set.Present, t.Save.Present, t.Restore.Present} {
		if present {
			operations++
		}
	}
	var problems []iptables.Problem
	if operations != 1 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "CONNMARK needs exactly one operation",
			Detail:  "Give one of --set-mark (or --set-xmark, --and-mark, --or-mark, --xor-mark), --save-mark and --restore-mark.",
		})
	}
	if t.Left.Present && t.Right.Present {
		problems = append(problems, iptables.Problem{
			Summary: "--left-shift-mark and --right-shift-mark exclude each other",
			Detail:  "Only the one given last would have an effect. Remove the other.",
			Range:   t.Right.Range,
		})
	}
	for _, shift := range []iptables.Opt[iptables.U8]{t.Left, t.Right} {
		if shift.Value > 31 {
			problems = append(problems, iptables.Problem{
				Code:    "out-of-range",
				Summary: "a mark cannot be shifted by more than 31 bits",
				Detail:  fmt.Sprintf("%d is out of range 0-31.", shift.Value),
				Range:   shift.Range,
			})
		}
	}
	return problems
}

func (t *connmarkTarget) Action(iptables.Context) predicate.Action {
	mark, ctmark := predicate.Field{ID: predicate.Mark}, predicate.Field{ID: predicate.CTMark}
	n := func(v uint32) predicate.Bits { return predicate.Number(uint64(v)) }
	nfmask, ctmask := uint32(t.NFMask.Value), uint32(t.CTMask.Value)
	// survives are the bits that a shift does not push out.
	shift, survives := int(t.Left.Value)-int(t.Right.Value), uint32(math.MaxUint32)>>t.Left.Value

	var a predicate.Assign
	switch {
	case t.Save.Present:
		a = predicate.Assign{Field: ctmark, Keep: n(^ctmask), From: mark, Take: n(nfmask & survives), Shift: shift}
	case t.Restore.Present:
		a = predicate.Assign{Field: mark, Keep: n(^nfmask), From: ctmark, Take: n(ctmask & survives), Shift: shift}
	default:
		value := t.Set.Value.Value << t.Left.Value >> t.Right.Value
		a = predicate.Assign{Field: ctmark, From: ctmark, Take: n(^t.Set.Value.Mask & survives), Shift: shift, Xor: n(value)}
	}
	return predicate.Action{Effects: []predicate.Effect{a}, Then: predicate.Continue}
}

// Translate uses one statement where all bits of the target mark are replaced
// or one mark alone is changed. Other copies need two marks at once, which nft
// learned late; they are made bit by bit: first the bits that the copy replaces
// are cleared, then each bit that is set in the source is flipped.
func (t *connmarkTarget) Translate(r *translate.Rule) error {
	shift := int(t.Left.Value) - int(t.Right.Value)
	switch {
	case t.Save.Present:
		copyMark(r, nftgen.CTMark, uint32(t.CTMask.Value), nftgen.MetaMark, uint32(t.NFMask.Value), shift)
	case t.Restore.Present:
		copyMark(r, nftgen.MetaMark, uint32(t.NFMask.Value), nftgen.CTMark, uint32(t.CTMask.Value), shift)
	case shift == 0:
		addMarkChange(r, nftgen.CTMark, t.Set.Value)
	default:
		ctmark := nftgen.CTMark
		r.Add(nftgen.Assign{
			Field: ctmark, From: &ctmark, Take: wide32(^t.Set.Value.Mask & shifted(math.MaxUint32, -shift)), Shift: shift,
			Xor: wide32(shifted(t.Set.Value.Value, shift)),
		})
	}
	return nil
}

// copyMark adds to = (to & ^replace) ^ shift(from & take). One of the marks is
// the connection's, and without a connection nothing happens.
func copyMark(r *translate.Rule, to nftgen.Field, replace uint32, from nftgen.Field, take uint32, shift int) {
	take &= shifted(math.MaxUint32, -shift)
	if replace == math.MaxUint32 && take != 0 {
		a := nftgen.Assign{Field: to, From: &from, Shift: shift}
		if take != math.MaxUint32 {
			a.Take = wide32(take)
		}
		r.Add(a)
		return
	}
	addTracked(r)
	var rows []translate.Row
	if replace != 0 {
		clear := nftgen.Assign{Field: to, Keep: wide32(^replace), Xor: wide32(0)}
		if replace == math.MaxUint32 {
			clear.Keep = nil
		}
		rows = append(rows, translate.Row{Stmts: []nftgen.Stmt{clear}, Then: translate.Next})
	}
	for rest := take; rest != 0; rest &= rest - 1 {
		bit := uint32(1) << bits.TrailingZeros32(rest)
		rows = append(rows, translate.Row{Then: translate.Next, Stmts: []nftgen.Stmt{
			nftgen.Compare{Field: from, Mask: wide32(bit), Op: nftgen.Eq, Value: wide32(bit)},
			nftgen.Assign{Field: to, Keep: wide32(math.MaxUint32), Xor: wide32(shifted(bit, shift))},
		}})
	}
	if len(rows) == 1 {
		r.Add(rows[0].Stmts...)
	} else if rows != nil {
		// Nothing stands behind a target, whatever the outcome.
		r.Branch(translate.Branch{Rows: rows, Otherwise: translate.Fail})
	}
}

// shifted shifts to the left, or to the right when n is negative.
func shifted(v uint32, n int) uint32 {
	if n < 0 {
		return v >> -n
	}
	return v << n
}

// A hexMask is a number that prints as hexadecimal.
type hexMask uint32

// Set reads a number.
func (m *hexMask) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxUint32)
	*m = hexMask(n)
	return err
}

// String writes hexadecimal digits.
func (m *hexMask) String() string { return fmt.Sprintf("%#x", uint32(*m)) }
