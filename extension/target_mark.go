package extension

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("MARK", func() iptables.Target { return new(markTarget) }) }

var (
	_ iptsim.Doing         = (*markTarget)(nil)
	_ translate.Translator = (*markTarget)(nil)
)

// markTarget is "-j MARK": the packet mark becomes (mark & ^Mask) ^ Value. All
// ways to say it are this one.
//
// Kernel: net/netfilter/xt_mark.c, mark_tg.
type markTarget struct {
	Set iptables.Opt[markChange]
}

func (*markTarget) Name() string { return "MARK" }

func (t *markTarget) Options() iptables.Options {
	return append(iptables.Options{
		iptables.Bind("set-xmark", &t.Set, iptables.Required),
	}, markRewrites()...)
}

func (t *markTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{
		Effects: []predicate.Effect{predicate.Assign{
			Field: predicate.Field{ID: predicate.Mark},
			Keep:  predicate.Number(uint64(^t.Set.Value.Mask)),
			Xor:   predicate.Number(uint64(t.Set.Value.Value)),
		}},
		Then: predicate.Continue,
	}
}

func (t *markTarget) Translate(r *translate.Rule) error {
	addMarkChange(r, nftgen.MetaMark, t.Set.Value)
	return nil
}

// addMarkChange adds the statement for a change of a mark, if it changes
// anything.
func addMarkChange(r *translate.Rule, mark nftgen.Field, c markChange) {
	if assign, changes := markAssign(mark, c); changes {
		r.Add(assign)
	}
}

// markAssign is the statement for a change of a mark; changes is false when the
// mark stays.
func markAssign(mark nftgen.Field, c markChange) (assign nftgen.Assign, changes bool) {
	assign = nftgen.Assign{Field: mark, Xor: wide32(c.Value)}
	if c.Mask != math.MaxUint32 {
		assign.Keep = wide32(^c.Mask)
	}
	return assign, c.Mask != 0 || c.Value != 0
}

// wide32 returns a value of 32 bits.
func wide32(n uint32) nftgen.Value { return binary.BigEndian.AppendUint32(nil, n) }

// A markChange is the argument of "--set-xmark": "value" or "value/mask". The
// bits of Mask are cleared and those of Value flipped, also outside of Mask.
// It prints with the mask.
type markChange struct{ Value, Mask uint32 }

// Set reads "value" or "value/mask".
func (c *markChange) Set(arg string) error {
	var m iptables.MarkMask
	if err := m.Set(arg); err != nil {
		return err
	}
	*c = markChange(m)
	return nil
}

// String writes "value/mask" in hexadecimal.
func (c *markChange) String() string { return fmt.Sprintf("%#x/%#x", c.Value, c.Mask) }

// markRewrites are the other ways to say "--set-xmark", the same for MARK and
// CONNMARK.
//
// iptables-extensions(8), MARK.
func markRewrites() iptables.Options {
	rewrite := func(name string, to func(value, mask uint32) markChange) iptables.Option {
		return iptables.Rewrite(name, 1, 0, func(args []string, _ bool) ([]iptables.Replacement, error) {
			var m iptables.MarkMask
			if err := m.Set(args[0]); err != nil {
				return nil, err
			}
			if name != "set-mark" && strings.Contains(args[0], "/") {
				return nil, fmt.Errorf("--%s takes a value without mask, not %q", name, args[0])
			}
			c := to(m.Value, m.Mask)
			return []iptables.Replacement{{Name: "set-xmark", Args: []string{c.String()}}}, nil
		})
	}
	return iptables.Options{
		rewrite("set-mark", func(v, m uint32) markChange { return markChange{v, v | m} }),
		rewrite("and-mark", func(v, _ uint32) markChange { return markChange{0, ^v} }),
		rewrite("or-mark", func(v, _ uint32) markChange { return markChange{v, v} }),
		rewrite("xor-mark", func(v, _ uint32) markChange { return markChange{v, 0} }),
	}
}
