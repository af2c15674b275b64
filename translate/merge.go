package translate

import (
	"fmt"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// maxMergeCells bounds the table of the longest common subsequence; larger
// chains are not merged, only guarded.
const maxMergeCells = 4 << 20

// merge puts the rules of a chain of both families into one order that keeps
// the order of each. Rules that are alike in both stand once, without a guard;
// the others are restricted to their family. In a table of one family there is
// nothing to do.
func (t *translation) merge(v4, v6 []*Rule) []*Rule {
	if t.table.Family != nftgen.Inet {
		return append(v4, v6...)
	}
	for _, r := range v4 {
		r.guard = nftgen.IP
	}
	for _, r := range v6 {
		r.guard = nftgen.IP6
	}
	if len(v4)*len(v6) > maxMergeCells {
		return append(v4, v6...)
	}
	keys4, keys6 := neutralKeys(v4), neutralKeys(v6)
	// common[i][j] is the length of the longest common subsequence of the
	// rules from i and from j on.
	width := len(v6) + 1
	common := make([]int32, (len(v4)+1)*width)
	for i := len(v4) - 1; i >= 0; i-- {
		for j := len(v6) - 1; j >= 0; j-- {
			best := max(common[(i+1)*width+j], common[i*width+j+1])
			if keys4[i] != "" && keys4[i] == keys6[j] {
				best = max(best, 1+common[(i+1)*width+j+1])
			}
			common[i*width+j] = best
		}
	}
	merged := make([]*Rule, 0, len(v4)+len(v6))
	i, j := 0, 0
	for i < len(v4) && j < len(v6) {
		switch {
		case keys4[i] != "" && keys4[i] == keys6[j]:
			v4[i].guard, v4[i].also = 0, v6[j].Context.Rule.Range
			merged = append(merged, v4[i])
			i, j = i+1, j+1
		case common[(i+1)*width+j] >= common[i*width+j+1]:
			merged = append(merged, v4[i])
			i++
		default:
			merged = append(merged, v6[j])
			j++
		}
	}
	merged = append(merged, v4[i:]...)
	return append(merged, v6[j:]...)
}

// neutralKeys returns for each rule a text that is equal for rules with equal
// statements, or "" for rules that must not be shared: those that name fields
// of one family, and those that keep a state, which each family has its own of.
func neutralKeys(rules []*Rule) []string {
	keys := make([]string, len(rules))
	for i, r := range rules {
		keys[i] = neutralKey(r)
	}
	return keys
}

func neutralKey(r *Rule) string {
	if r.counted {
		return "" // each family counts its own packets
	}
	var b strings.Builder
	b.WriteString(strings.Join(r.comments, "\x00"))
	for _, it := range r.items {
		if it.branch != nil {
			return ""
		}
		for _, f := range nftgen.Fields(it.stmt) {
			if f.Family() != 0 {
				return ""
			}
		}
		switch s := it.stmt.(type) {
		case nftgen.Limit, nftgen.ConnLimit, nftgen.Quota, nftgen.Update, nftgen.InSet, nftgen.Reject, nftgen.NAT, nftgen.Masquerade, nftgen.Redirect, nftgen.SetMSS, nftgen.SetField, nftgen.Assign, nftgen.Xt:
			return ""
		case nftgen.Compare:
			if !nftgen.Pure(s) {
				return ""
			}
		}
		fmt.Fprintf(&b, "\x00%T", it.stmt)
		writeStmt(&b, it.stmt)
	}
	if r.Context.Rule.Action.Kind == iptables.Extend {
		b.WriteString("\x00" + r.Context.Rule.Action.Name)
	}
	return b.String()
}

func writeStmt(b *strings.Builder, s nftgen.Stmt) {
	for _, f := range nftgen.Fields(s) {
		b.WriteString("\x00" + f.Text)
	}
	switch s := s.(type) {
	case nftgen.Compare:
		fmt.Fprintf(b, "%x %d %x", s.Mask, s.Op, s.Value)
	case nftgen.IfName:
		fmt.Fprintf(b, "%q %t %d", s.Name, s.Wildcard, s.Op)
	case nftgen.InPrefix:
		fmt.Fprintf(b, "%x/%d %t", s.Addr, s.Bits, s.Not)
	case nftgen.InSpan:
		fmt.Fprintf(b, "%x-%x %t", s.Low, s.High, s.Not)
	case nftgen.AnyBit:
		fmt.Fprintf(b, "%x %t", s.Bits, s.Not)
	case nftgen.OneOf:
		fmt.Fprintf(b, "%x %t", s.Intervals, s.Not)
	case nftgen.OneOfTuple:
		fmt.Fprintf(b, "%x %t", s.Tuples, s.Not)
	case nftgen.Exists:
		fmt.Fprintf(b, "%t", s.Missing)
	default: // statements without fields are plain values
		fmt.Fprintf(b, "%+v", s)
	}
}
