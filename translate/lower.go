package translate

import (
	"bytes"
	"slices"

	"nftmigrate/diag"
	"nftmigrate/nftgen"
)

// A body is a chain under construction. What stands behind a rule may have to
// move to another chain (see [body.split]), so rules are appended through tail.
type body struct {
	shared *Shared
	chain  *nftgen.Chain // the chain as it was named
	tail   *nftgen.Chain // where the next rule goes
	// protocol is what "-p" of the rule at hand requires, 0 for none.
	protocol uint8
	// family is what the rule at hand is restricted to, 0 for nothing.
	family nftgen.Family
	// written counts the nft rules so far.
	written int
}

// A stock is rules and statements that were made many at a time.
type stock struct {
	rules []nftgen.Rule
	stmts []nftgen.Stmt
}

// chunk is how many are made at a time.
const chunk = 256

// room returns an empty list with room for n statements.
func (s *stock) room(n int) []nftgen.Stmt {
	if n > len(s.stmts) {
		s.stmts = make([]nftgen.Stmt, max(n, chunk))
	}
	list := s.stmts[:0:n]
	s.stmts = s.stmts[n:]
	return list
}

// rule returns a copy of a rule.
func (s *stock) rule(r nftgen.Rule) *nftgen.Rule {
	if len(s.rules) == cap(s.rules) {
		s.rules = make([]nftgen.Rule, 0, chunk)
	}
	s.rules = append(s.rules, r)
	return &s.rules[len(s.rules)-1]
}

// lower appends one source rule to a chain.
//
// A rule without branches is one nft rule. A branch whose rows are alternatives
// before a final verdict becomes one nft rule per row; so does one whose rows
// decide about the packet or leave it as it is, and the verdict a further rule. Any other branch becomes
// a helper chain, so that what stands behind it is evaluated at most once per
// packet:
//
//	chain X          before-the-branch jump X_branch1
//	chain X_branch1  row goto X_branch2       a row that leads to Match
//	                 row return               a row that leads to Fail
//	                 row                      a row that is there for its effects
//	                 goto X_branch2           when Otherwise is Match
//	chain X_branch2  behind-the-branch
func (b *body) lower(r *Rule) {
	proto := nftgen.Rule{Origin: r.Context.Rule.Range, Family: r.guard, Comment: r.comment, Note: r.note, Also: r.also}
	b.protocol, _ = r.ProtocolNumber()
	b.family = r.guard
	items := dropImplied(r.items)
	if neverBefore(items) {
		b.note(r)
		return
	}
	before := b.written
	if b.emit(b.tail, proto, nil, items, nil); b.written == before {
		b.note(r)
	}
}

// emit appends a rule made of pre and items to a chain. following is the chain
// of the rules behind it when that is no longer the chain itself; emit may set
// b.tail.
func (b *body) emit(chain *nftgen.Chain, proto nftgen.Rule, pre []nftgen.Stmt, items []item, following *nftgen.Chain) {
	stmts := append(b.shared.stock.room(len(pre)+len(items)), pre...)
	for i, it := range items {
		if it.branch == nil {
			stmts = append(stmts, it.stmt)
			continue
		}
		rest := items[i+1:]
		switch branch := it.branch; {
		case len(branch.Rows) == 0 && branch.Otherwise == Match:
			continue
		case len(branch.Rows) == 0:
			// The rule goes no further; what stood before may have effects.
			b.append(chain, proto, append(stmts, nftgen.VerdictStmt{Kind: nftgen.Continue}))
		case alternatives(branch) && allPure(stmts) && finalAfterTests(rest):
			for _, row := range branch.Rows {
				b.append(chain, proto, concat(stmts, row.Stmts, statements(rest)))
			}
		case takesOrLeaves(branch) && allPure(stmts) && finalAfterTests(rest):
			for _, row := range branch.Rows {
				b.append(chain, proto, concat(stmts, row.Stmts))
			}
			b.append(chain, proto, concat(stmts, statements(rest)))
		default:
			b.emitBranch(chain, proto, stmts, branch, rest, following)
		}
		return
	}
	b.append(chain, proto, stmts)
}

// emitBranch appends a rule that leads to a helper chain.
func (b *body) emitBranch(chain *nftgen.Chain, proto nftgen.Rule, pre []nftgen.Stmt, branch *Branch, rest []item, following *nftgen.Chain) {
	helper := b.helper(proto.Origin)
	enter, failed := nftgen.Jump, nftgen.VerdictStmt{Kind: nftgen.Return}
	outer := following
	if leavesChain(rest) {
		// "return" and "goto" leave the chain that the rule stands in, which
		// they cannot do from below a jump.
		if following == nil {
			following = b.split(proto.Origin)
		}
		enter, failed = nftgen.Goto, nftgen.VerdictStmt{Kind: nftgen.Goto, Chain: following.Name}
	}
	b.append(chain, proto, append(pre, nftgen.VerdictStmt{Kind: enter, Chain: helper.Name}))

	inner := nftgen.Rule{Origin: proto.Origin}
	matched, behind := b.behind(branch, rest, proto.Origin)
	for _, row := range branch.Rows {
		switch row.Then {
		case Match:
			b.append(helper, inner, concat(row.Stmts, matched))
		case Fail:
			b.append(helper, inner, concat(row.Stmts, []nftgen.Stmt{failed}))
		case Next:
			b.append(helper, inner, row.Stmts)
		}
	}
	if branch.Otherwise == Match && len(rest) > 0 {
		if behind == nil {
			b.emit(helper, nftgen.Rule{Origin: proto.Origin, Comment: proto.Comment}, nil, rest, following)
		} else {
			b.append(helper, inner, matched)
		}
	}
	if behind != nil {
		b.emit(behind, nftgen.Rule{Origin: proto.Origin, Comment: proto.Comment}, nil, rest, following)
	}
	if following != nil {
		leave := []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Goto, Chain: following.Name}}
		b.append(helper, inner, leave)
		if behind != nil {
			b.append(behind, inner, leave)
		}
		if outer == nil {
			b.append(chain, inner, leave)
			b.tail = following
		}
	}
}

// behind returns what a matching row does, and the chain in which the rest of
// the rule stands, or nil when the rest needs none.
func (b *body) behind(branch *Branch, rest []item, origin diag.Range) ([]nftgen.Stmt, *nftgen.Chain) {
	matching := 0
	for _, row := range branch.Rows {
		if row.Then == Match {
			matching++
		}
	}
	if matching == 0 {
		return nil, nil
	}
	if len(rest) == 0 {
		// Nothing is left to do, and the helper was entered by a jump.
		return []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Return}}, nil
	}
	if len(rest) == 1 && rest[0].branch == nil {
		switch v, ok := rest[0].stmt.(nftgen.VerdictStmt); {
		case ok && v.Kind == nftgen.Jump:
			// From the helper, a goto returns to where the jump would have.
			return []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Goto, Chain: v.Chain}}, nil
		case nftgen.Terminal(rest[0].stmt):
			return []nftgen.Stmt{rest[0].stmt}, nil
		}
	}
	c := b.helper(origin)
	return []nftgen.Stmt{nftgen.VerdictStmt{Kind: nftgen.Goto, Chain: c.Name}}, c
}

func (b *body) helper(origin diag.Range) *nftgen.Chain {
	return b.shared.addHelper(b.chain, &nftgen.Chain{Name: b.chain.Name + "_branch", Origin: origin})
}

// split makes the chain for the rules behind the present one.
func (b *body) split(origin diag.Range) *nftgen.Chain {
	return b.shared.addHelper(b.chain, &nftgen.Chain{Name: b.chain.Name + "_rest", Origin: origin})
}

// append appends an nft rule. Where the test of "-p", or that of the family,
// stayed behind in the rule that jumps here and nft asks for it again, it is
// repeated.
//
// A row about a protocol that "-p" excludes never matches, and is left out: nft
// would take its test for the one of the rule. So is a rule that is about two
// protocols.
func (b *body) append(chain *nftgen.Chain, proto nftgen.Rule, stmts []nftgen.Stmt) {
	if b.protocol != 0 && slices.ContainsFunc(stmts, func(s nftgen.Stmt) bool { return excludes(s, b.protocol) }) {
		return
	}
	if b.protocol != 0 && nftgen.WantsProtocol(stmts) {
		stmts = append([]nftgen.Stmt{b.shared.protocolTest(b.protocol)}, stmts...)
	}
	stmts, possible := oneProtocol(stmts)
	if !possible {
		return
	}
	b.written++
	rule := b.shared.stock.rule(proto)
	rule.Stmts = stmts
	if rule.Family == 0 && slices.ContainsFunc(stmts, answersByICMP) {
		rule.Family = b.family
	}
	chain.Rules = append(chain.Rules, rule)
}

// excludes reports whether a statement holds for no packet of a protocol.
func excludes(s nftgen.Stmt, proto uint8) bool {
	switch s := s.(type) {
	case nftgen.Compare:
		if s.Field.Text == nftgen.MetaL4Proto.Text && s.Mask == nil {
			return s.Op == nftgen.Eq && s.Value[0] != proto || s.Op == nftgen.Ne && s.Value[0] == proto
		}
	case nftgen.OneOf:
		if s.Field.Text == nftgen.MetaL4Proto.Text {
			in := slices.ContainsFunc(s.Intervals, func(i nftgen.Interval) bool { return i.Low[0] <= proto && proto <= i.High[0] })
			return in == s.Not
		}
	}
	return false
}

// answersByICMP reports whether a statement answers with an error of one family.
func answersByICMP(s nftgen.Stmt) bool {
	reject, ok := s.(nftgen.Reject)
	return ok && !reject.Reset && !reject.Any
}

// note records a rule that can never match and has no effects.
func (b *body) note(r *Rule) {
	if b.tail.Note != "" {
		b.tail.Note += "\n"
	}
	b.tail.Note += r.Context.Rule.Range.FileLine() + " can never match and is left out: " + r.Context.Rule.Range.Text()
}

// dropImplied leaves out the test of "-p" where a later statement makes nft add
// the same test, unless something with effects stands between. It takes it out of
// the list itself.
func dropImplied(items []item) []item {
	for i, it := range items {
		c, ok := it.stmt.(nftgen.Compare)
		if !ok || c.Op != nftgen.Eq || c.Mask != nil || c.Field.Text != nftgen.MetaL4Proto.Text {
			continue
		}
		for _, later := range items[i+1:] {
			if later.branch != nil || !nftgen.Pure(later.stmt) {
				return items
			}
			if again, ok := later.stmt.(nftgen.Compare); ok && again.Field.Text == c.Field.Text && again.Op == c.Op && bytes.Equal(again.Value, c.Value) {
				return slices.Delete(items, i, i+1)
			}
			var few [2]nftgen.Field
			for _, f := range nftgen.AppendFields(few[:0], later.stmt) {
				if f.Protocol() == c.Value[0] {
					return slices.Delete(items, i, i+1)
				}
			}
		}
		return items
	}
	return items
}

// neverBefore reports whether a branch that always fails stands behind tests
// only.
func neverBefore(items []item) bool {
	for _, it := range items {
		if it.branch != nil {
			if len(it.branch.Rows) == 0 && it.branch.Otherwise == Fail {
				return true
			}
			for _, row := range it.branch.Rows {
				if !allPure(row.Stmts) {
					return false
				}
			}
			continue
		}
		if !nftgen.Pure(it.stmt) {
			return false
		}
	}
	return false
}

// alternatives reports whether a branch is a plain "or".
func alternatives(b *Branch) bool {
	for _, row := range b.Rows {
		if row.Then != Match || !allPure(row.Stmts) {
			return false
		}
	}
	return b.Otherwise == Fail
}

// takesOrLeaves reports whether each row of a branch ends the chain or has no
// effect, and the rule goes on where none did.
func takesOrLeaves(b *Branch) bool {
	for _, row := range b.Rows {
		acts := false
		for _, s := range row.Stmts {
			switch s := s.(type) {
			case nftgen.VerdictStmt:
				acts = true
			case nftgen.Assign:
				if s.From != nil {
					return false
				}
				acts = true
			case nftgen.TProxy:
				if acts {
					return false
				}
			default:
				if acts || !nftgen.Pure(s) {
					return false
				}
			}
		}
		if row.Then != Next || len(row.Stmts) == 0 || !nftgen.Terminal(row.Stmts[len(row.Stmts)-1]) {
			return false
		}
	}
	return len(b.Rows) > 0 && b.Otherwise == Match
}

// finalAfterTests reports whether items are tests followed by one statement
// that ends the chain.
func finalAfterTests(items []item) bool {
	for i, it := range items {
		if it.branch != nil {
			return false
		}
		if nftgen.Terminal(it.stmt) {
			return i == len(items)-1
		}
		if !nftgen.Pure(it.stmt) {
			return false
		}
	}
	return false
}

// leavesChain reports whether the rule ends by leaving the chain it stands in.
func leavesChain(items []item) bool {
	if len(items) == 0 {
		return false
	}
	v, ok := items[len(items)-1].stmt.(nftgen.VerdictStmt)
	return ok && (v.Kind == nftgen.Return || v.Kind == nftgen.Goto)
}

func allPure(stmts []nftgen.Stmt) bool {
	for _, s := range stmts {
		if !nftgen.Pure(s) {
			return false
		}
	}
	return true
}

func statements(items []item) []nftgen.Stmt {
	stmts := make([]nftgen.Stmt, len(items))
	for i, it := range items {
		stmts[i] = it.stmt
	}
	return stmts
}

func concat(lists ...[]nftgen.Stmt) []nftgen.Stmt {
	var all []nftgen.Stmt
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}
