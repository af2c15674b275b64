package extension

import (
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

// A hopCount is the options that "-m ttl" and "-m hl" have under different
// names: one comparison of the number of hops that are left.
type hopCount struct {
	Equal, Less, Greater iptables.Opt[iptables.U8]
}

// options binds the options; prefix is "ttl" or "hl".
func (h *hopCount) options(prefix string) iptables.Options {
	return iptables.Options{
		iptables.Bind(prefix+"-eq", &h.Equal, iptables.Invertible),
		iptables.Bind(prefix+"-lt", &h.Less, 0),
		iptables.Bind(prefix+"-gt", &h.Greater, 0),
		iptables.Alias(prefix, prefix+"-eq"),
	}
}

// problems refuses none and more than one comparison.
func (h *hopCount) problems(prefix string) []iptables.Problem {
	if len(h.options(prefix).Print()) == 1 {
		return nil
	}
	return []iptables.Problem{{
		Summary: `match "` + prefix + `" takes one comparison`,
		Detail:  "Give exactly one of --" + prefix + "-eq, --" + prefix + "-lt and --" + prefix + "-gt.",
	}}
}

// meaning compares the field of the packet. Nothing is less than 0 or greater
// than 255.
func (h *hopCount) meaning() predicate.Meaning {
	field := predicate.Field{ID: predicate.TTL}
	switch {
	case h.Less.Present && h.Less.Value == 0, h.Greater.Present && h.Greater.Value == 255:
		return predicate.Meaning{Match: predicate.Const(false)}
	case h.Less.Present:
		return predicate.Meaning{Match: predicate.Between{Field: field, High: predicate.Number(uint64(h.Less.Value) - 1)}}
	case h.Greater.Present:
		return predicate.Meaning{Match: predicate.Between{Field: field, Low: predicate.Number(uint64(h.Greater.Value) + 1), High: predicate.Number(255)}}
	}
	return predicate.Meaning{Match: negatedIf(h.Equal.Negated, predicate.Equal(field, predicate.Number(uint64(h.Equal.Value))))}
}

// translate adds the comparison of a field of the network header.
func (h *hopCount) translate(r *translate.Rule, f nftgen.Field) {
	op, value := comparison(h.Equal.Negated), h.Equal.Value
	switch {
	case h.Less.Present:
		op, value = nftgen.Lt, h.Less.Value
	case h.Greater.Present:
		op, value = nftgen.Gt, h.Greater.Value
	}
	if op == nftgen.Lt && value == 0 || op == nftgen.Gt && value == 255 {
		r.Never()
		return
	}
	r.Add(nftgen.Compare{Field: f, Op: op, Value: nftgen.Value{byte(value)}})
}
