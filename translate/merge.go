package translate

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/iptables"
	"nftmigrate/nftgen"
)

// maxMergeCells bounds the table of the longest common subsequence; larger
// chains are not merged, only guarded.
const maxMergeCells = 4 << 20

// merge puts the rules of a chain of both families into one order that keeps
// the order of each. Rules that are alike in both stand once, without a guard;
// the others are restricted to their family.
func (t *translation) merge(v4, v6 []*Rule) []*Rule {
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
			v4[i].answerAny()
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
		if it.branch == nil {
			if !r.writeNeutral(&b, it.stmt) {
				return ""
			}
			continue
		}
		fmt.Fprintf(&b, "\x00branch %d", it.branch.Otherwise)
		for _, row := range it.branch.Rows {
			fmt.Fprintf(&b, "\x00row %d", row.Then)
			for _, s := range row.Stmts {
				if !r.writeNeutral(&b, s) {
					return ""
				}
			}
		}
	}
	if r.Context.Rule.Action.Kind == iptables.Extend {
		b.WriteString("\x00" + r.Context.Rule.Action.Name)
	}
	return b.String()
}

// writeNeutral writes a statement into a key; it returns false for one that must
// not be shared.
func (r *Rule) writeNeutral(b *strings.Builder, s nftgen.Stmt) bool {
	var few [2]nftgen.Field
	for _, f := range nftgen.AppendFields(few[:0], s) {
		if f.Family() != 0 {
			return false
		}
	}
	switch of := s.(type) {
	case nftgen.Limit, nftgen.ConnLimit, nftgen.Quota, nftgen.Update, nftgen.InSet, nftgen.NAT, nftgen.SetField, nftgen.MapByte, nftgen.Xt:
		return false
	case nftgen.Reject:
		any, ok := answersAny(r, of)
		if !ok {
			return false
		}
		s = any
	case nftgen.Compare:
		if !nftgen.Pure(s) {
			return false
		}
	}
	fmt.Fprintf(b, "\x00%T", s)
	writeStmt(b, s)
	return true
}

func writeStmt(b *strings.Builder, s nftgen.Stmt) {
	var few [2]nftgen.Field
	for _, f := range nftgen.AppendFields(few[:0], s) {
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
	case nftgen.Assign:
		fmt.Fprintf(b, "%x %x %d %x", s.Keep, s.Take, s.Shift, s.Xor)
	case nftgen.NAT:
		if s.Map != nil {
			fmt.Fprintf(b, "%v", s.Map.Pairs)
			s.Map = nil
		}
		fmt.Fprintf(b, "%+v", s)
	default: // statements without fields are plain values
		fmt.Fprintf(b, "%+v", s)
	}
}

// anyCodes are the codes of "unreachable" of each family that stand for the same
// in both, in the order of those for any family.
//
// Kernel: net/netfilter/nft_reject.c, nft_reject_icmp_code and
// nft_reject_icmpv6_code.
var anyCodes = map[iptables.Family][]uint8{iptables.IPv4: {0, 3, 1, 13}, iptables.IPv6: {0, 4, 3, 1}}

// answersAny returns the answer for packets of both families that is a rule's
// answer for packets of its own; ok is false when there is none.
func answersAny(r *Rule, s nftgen.Reject) (any nftgen.Reject, ok bool) {
	if s.Reset || s.Any {
		return s, true
	}
	code := slices.Index(anyCodes[r.Context.Family], s.Code)
	return nftgen.Reject{Any: true, Code: uint8(code)}, code >= 0
}

// answerAny makes the answers of a rule those of both families.
func (r *Rule) answerAny() {
	for i, it := range r.items {
		if s, ok := it.stmt.(nftgen.Reject); ok {
			r.items[i].stmt, _ = answersAny(r, s)
		}
	}
}
