package extension

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A hopChange is the options that "-j TTL" and "-j HL" have under different
// names: one change of the number of hops that are left, which neither wraps
// around 255 nor around 0.
type hopChange struct {
	Set, Dec, Inc iptables.Opt[iptables.U8]
}

// options binds the options; prefix is "ttl" or "hl".
func (h *hopChange) options(prefix string) iptables.Options {
	return iptables.Options{
		iptables.Bind(prefix+"-set", &h.Set, 0),
		iptables.Bind(prefix+"-dec", &h.Dec, 0),
		iptables.Bind(prefix+"-inc", &h.Inc, 0),
	}
}

// problems refuses none and more than one change, and a step of 0.
func (h *hopChange) problems(name, prefix string, c iptables.Context) []iptables.Problem {
	problems := placement(c, name, "mangle", 0)
	if len(h.options(prefix).Print()) != 1 {
		problems = append(problems, iptables.Problem{
			Summary: "target " + name + " takes one change",
			Detail:  "Give exactly one of --" + prefix + "-set, --" + prefix + "-dec and --" + prefix + "-inc.",
		})
	}
	if h.Dec.Present && h.Dec.Value == 0 || h.Inc.Present && h.Inc.Value == 0 {
		problems = append(problems, iptables.Problem{
			Summary: "target " + name + " changes by at least 1",
			Detail:  "A step of 0 changes nothing; remove the rule.",
		})
	}
	return problems
}

// action is the change.
func (h *hopChange) action() predicate.Action {
	field := predicate.Field{ID: predicate.TTL}
	var effect predicate.Effect = predicate.Assign{Field: field, Xor: predicate.Number(uint64(h.Set.Value))}
	if !h.Set.Present {
		table := predicate.Lookup{Field: field}
		for old := range table.Values {
			table.Values[old] = uint8(min(max(old+int(h.Inc.Value)-int(h.Dec.Value), 0), 255))
		}
		effect = table
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

// translate sets the field. nft has no arithmetic for it: of a step there is one
// rule for each old value that changes, the usual first values before others.
func (h *hopChange) translate(r *translate.Rule, f nftgen.Field) {
	if h.Set.Present {
		r.Add(nftgen.SetField{Field: f, Value: nftgen.Value{byte(h.Set.Value)}})
		return
	}
	step := func(op nftgen.Op, old, fresh int) translate.Row {
		return translate.Row{
			Stmts: []nftgen.Stmt{
				nftgen.Compare{Field: f, Op: op, Value: nftgen.Value{byte(old)}},
				nftgen.SetField{Field: f, Value: nftgen.Value{byte(fresh)}},
			},
			Then: translate.Match,
		}
	}
	var rows []translate.Row
	end, by := step(nftgen.Ge, 256-int(h.Inc.Value), 255), int(h.Inc.Value)
	if h.Dec.Present {
		end, by = step(nftgen.Le, int(h.Dec.Value), 0), -int(h.Dec.Value)
	}
	add := func(old int) {
		if fresh := old + by; fresh > 0 && fresh < 256 {
			rows = append(rows, step(nftgen.Eq, old, fresh))
		}
	}
	// 64 and 128 are what most hosts send, and lose some on the way.
	for _, span := range [][2]int{{64, 33}, {128, 97}, {255, 129}, {96, 65}, {32, 0}} {
		for old := span[0]; old >= span[1]; old-- {
			add(old)
		}
	}
	r.Branch(translate.Branch{Rows: append(rows, end), Otherwise: translate.Match})
}
