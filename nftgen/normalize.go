package nftgen

import (
	"fmt"
	"slices"
)

// normalize returns the statements of a rule as they are printed and encoded:
// single values instead of sets of one, the test for the family of the rule
// where a table holds both, and forms that nft 1.0.6 does not join where
// joining would change the meaning. They are appended to stmts, which is empty.
func (r *Rule) normalize(table Family, stmts []Stmt) ([]Stmt, error) {
	for i, s := range r.Stmts {
		if err := check(s); err != nil {
			return nil, err
		}
		if i+1 < len(r.Stmts) && final(s) {
			return nil, fmt.Errorf("write a rule: statements behind a verdict have no effect")
		}
		stmts = append(stmts, simplify(s))
	}
	if table == Inet {
		if family := guard(r.Family, stmts); family != 0 {
			stmts = slices.Insert(stmts, 0, familyTests[family])
		}
	} else if r.Family != 0 && r.Family != table {
		return nil, fmt.Errorf("write a rule of family %s: the table is of family %s", r.Family, table)
	}
	return keepApart(stmts), nil
}

// familyTests are the tests of the family of a rule.
var familyTests = map[Family]Stmt{
	IP:  Compare{Field: MetaNFProto, Value: Value{byte(IP)}},
	IP6: Compare{Field: MetaNFProto, Value: Value{byte(IP6)}},
}

// final reports whether nft takes no statement behind s.
func final(s Stmt) bool {
	v, ok := s.(VerdictStmt)
	return ok && v.Kind != Continue || Terminal(s)
}

// simplify replaces sets and spans of one value, which nft replaces too.
func simplify(whole Stmt) Stmt {
	switch s := whole.(type) {
	case InPrefix:
		if !s.Field.Type.text && s.Bits == 8*s.Field.Type.Bytes {
			return Compare{Field: s.Field, Op: equality(s.Not), Value: s.Addr}
		}
	case InSpan:
		if equal(s.Low, s.High) {
			return Compare{Field: s.Field, Op: equality(s.Not), Value: s.Low}
		}
	case OneOf:
		spans := slices.ContainsFunc(s.Intervals, func(i Interval) bool { return !i.single() })
		if spans {
			s.Intervals = coalesce(s.Intervals)
		}
		if len(s.Intervals) == 1 {
			return simplify(InSpan{Field: s.Field, Low: s.Intervals[0].Low, High: s.Intervals[0].High, Not: s.Not})
		}
		if spans {
			return s
		}
	}
	return whole
}

// plain returns the comparison of the whole name, or of its beginning.
func (s IfName) plain() Stmt {
	if s.Wildcard {
		return InPrefix{Field: s.Field, Addr: Value(s.Name), Bits: 8 * len(s.Name), Not: s.Op == Ne}
	}
	return Compare{Field: s.Field, Op: s.Op, Value: Value(s.Name)}
}

func equality(invert bool) Op {
	if invert {
		return Ne
	}
	return Eq
}

// guard returns the family for which a rule in a table of both has to test
// first, or 0 when the tests that nft adds do. They do not where a statement
// with an effect comes before them. Behind a field of the link header nft tests
// the type in that header, which is not there for every packet, and for an
// extension header it puts the test in front of the rule: both are told.
func guard(family Family, stmts []Stmt) Family {
	link, effects := false, false
	for _, s := range stmts {
		if c, ok := s.(Compare); ok && c.Field.Text == MetaNFProto.Text && c.Op == Eq {
			return 0
		}
		var few [2]Field
		for _, f := range AppendFields(few[:0], s) {
			for _, n := range f.needs {
				link = link || n.ether || f.load.kind == loadExthdrIPv6
				l3 := n.l3
				if l3 == 0 && n.of != 0 && !knows(stmts, n.l4) {
					l3 = n.of
				}
				if l3 == 0 {
					continue
				}
				if link {
					return l3
				}
				if family == 0 || !effects && l3 == family {
					return 0
				}
				return family
			}
		}
		effects = effects || !Pure(s)
	}
	return family
}

// knows reports whether some statement tests for the protocol by itself.
func knows(stmts []Stmt, proto uint8) bool {
	for _, s := range stmts {
		c, ok := s.(Compare)
		if ok && c.Op == Eq && c.Mask == nil && c.Value[0] == proto &&
			(c.Field.Text == MetaL4Proto.Text || c.Field.Text == IPProtocol.Text) {
			return true
		}
	}
	return false
}

// keepApart gives a mask of all ones to tests that nft 1.0.6 would join with
// others wrongly: it makes one inequality of two, and moves a test over a
// statement that has an effect. What is kept apart from one test could then be
// joined with another.
func keepApart(stmts []Stmt) []Stmt {
	for keptApart(stmts) {
	}
	return stmts
}

// keptApart is one round of keepApart; it reports whether there was something to
// keep apart.
func keptApart(stmts []Stmt) (found bool) {
	var few [8]int
	tests := few[:0]
	for i, s := range stmts {
		if c, ok := s.(Compare); ok && c.isHeaderTest() {
			tests = append(tests, i)
		}
	}
	if !someJoin(stmts, tests) {
		return false
	}
	groups := joined(tests, func(i int) *headerTest {
		t := stmts[i].(Compare).headerTest()
		return &t
	})
	for _, group := range groups {
		if len(group) == 1 || stmts[group[0]].(Compare).Op == Eq && !crossesEffect(stmts, group) {
			continue
		}
		for _, i := range group[1:] {
			c := stmts[i].(Compare)
			c.Mask = prefixMask(c.Field.Type.Bytes, 8*c.Field.Type.Bytes)
			stmts[i] = c
			found = true
		}
	}
	return found
}

// isHeaderTest reports whether a comparison is one of whole fields of a header.
func (s *Compare) isHeaderTest() bool {
	return s.Mask == nil && s.Op <= Ne && s.Field.load.kind == loadPayload && s.Field.load.mask == nil
}

func (s Compare) headerTest() headerTest {
	return headerTest{s.Field.load.key, s.Field.load.offset, s.Op, s.Value}
}

// someJoin reports whether any two of the tests join: of more, two that are
// neighbours in the header join first.
func someJoin(stmts []Stmt, tests []int) bool {
	for _, i := range tests {
		first := stmts[i].(Compare).headerTest()
		for _, j := range tests {
			second := stmts[j].(Compare).headerTest()
			if i != j && first.joins(&second) {
				return true
			}
		}
	}
	return false
}

// crossesEffect reports whether a statement with an effect stands between the
// members of a group.
func crossesEffect(stmts []Stmt, group []int) bool {
	low, high := group[0], group[0]
	for _, i := range group {
		low, high = min(low, i), max(high, i)
	}
	for _, s := range stmts[low:high] {
		if !Pure(s) {
			return true
		}
	}
	return false
}

// compile normalizes the rule and feeds it to the compiler; the normalized
// statements are appended to stmts, which is empty, and returned.
func (r *Rule) compile(c *compiler, stmts []Stmt) ([]Stmt, error) {
	if err := checkComment(r.Comment); err != nil {
		return nil, err
	}
	stmts, err := r.normalize(c.table, stmts)
	if err != nil {
		return nil, err
	}
	for _, s := range stmts {
		if err := c.statement(s); err != nil {
			return nil, err
		}
	}
	if c.dry && c.most > fewExpressions {
		c = newCompiler(c.table)
		for _, s := range stmts {
			if err := c.statement(s); err != nil {
				return nil, err
			}
		}
	}
	if err := c.checkSize(r.Origin); err != nil {
		return nil, err
	}
	return stmts, nil
}
