package nftgen

import "reflect"

// Leads returns the names of the chains that a statement may lead to.
func Leads(s Stmt) []string { return AppendLeads(nil, s) }

// AppendLeads appends them to a list, which can be one that needs no memory.
func AppendLeads(list []string, s Stmt) []string {
	switch s := s.(type) {
	case VerdictStmt:
		if s.Chain != "" {
			list = append(list, s.Chain)
		}
	case Vmap:
		list = append(list, s.leads()...)
	}
	return list
}

// Copyable reports whether a statement does the same when it stands in several
// rules as when it stands in one: it keeps nothing between packets. Of a
// statement that is not known here that is not taken for granted.
func Copyable(s Stmt) bool {
	switch s := s.(type) {
	case VerdictStmt, Vmap, Counter, Log, LogGroup, Reject, Assign, MapAssign, SetField, MapByte, SetMSS, Trace, Notrack, NAT, NATMap, Masquerade, Redirect:
		return true
	case Update:
		return len(s.Stmts) == 0 // the set is shared
	case Compare, IfName, InPrefix, InSpan, AnyBit, OneOf, OneOfTuple, InSet, Exists:
		var few [2]Field
		for _, f := range AppendFields(few[:0], s) {
			if f.loadedBy(loadNumgen) {
				return false
			}
		}
		return true
	}
	return false
}

// Harmless reports whether a statement changes nothing that any test of the
// packet finds. Of a statement that is not known here that is not taken for
// granted.
func Harmless(s Stmt) bool {
	switch s.(type) {
	case VerdictStmt, Vmap, Counter, Log, LogGroup, Reject, Trace, Limit, Quota,
		Compare, IfName, InPrefix, InSpan, AnyBit, OneOf, OneOfTuple, InSet, Exists: // what these draw is their own
		return true
	}
	return false
}

// SameEffect reports whether two statements that are not harmless disturb the
// same tests.
func SameEffect(a, b Stmt) bool {
	switch a := a.(type) {
	case Assign:
		b, ok := b.(Assign)
		return ok && a.Field.Text == b.Field.Text
	case MapAssign:
		b, ok := b.(MapAssign)
		return ok && a.Field.Text == b.Field.Text
	case Update:
		b, ok := b.(Update)
		return ok && a.Set == b.Set
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b)
}

// Disturbs reports whether running a statement can change what a test of the
// same packet finds afterwards. Of a statement that is not known here it is
// taken for granted.
func Disturbs(effect, test Stmt) bool {
	if Harmless(effect) {
		return false
	}
	switch e := effect.(type) {
	case Assign:
		return reads(test, func(f Field) bool { return f.Text == e.Field.Text || f.loadedBy(loadFib) })
	case MapAssign:
		return reads(test, func(f Field) bool { return f.Text == e.Field.Text || f.loadedBy(loadFib) })
	case SetField, MapByte, SetMSS:
		return reads(test, func(f Field) bool { return !f.loadedBy(loadMeta) && !f.loadedBy(loadCT) })
	case Notrack, ConnLimit, SetZone, SetEvents:
		return reads(test, func(f Field) bool { return f.loadedBy(loadCT) })
	case Update:
		in, ok := test.(InSet)
		return ok && in.Set == e.Set
	}
	return true
}

func reads(test Stmt, which func(Field) bool) bool {
	var few [2]Field
	for _, f := range AppendFields(few[:0], test) {
		if which(f) {
			return true
		}
	}
	return false
}

// Contradict reports whether no packet passes both of two tests. It knows plain
// cases only: one field with two values, fields of two protocols or families.
func Contradict(a, b Stmt) bool {
	if ContradictField(a, b) {
		return true
	}
	p, q := ProtocolOf(a), ProtocolOf(b)
	return p != 0 && q != 0 && p != q
}

// ContradictField is Contradict of tests for one field.
func ContradictField(a, b Stmt) bool {
	x, ok := a.(Compare)
	if !ok || x.Op != Eq || x.Mask != nil {
		return false
	}
	y, ok := b.(Compare)
	return ok && y.Op == Eq && y.Mask == nil && x.Field.Text == y.Field.Text && !equal(x.Value, y.Value)
}

// ProtocolOf returns the transport protocol that packets must have to pass a
// test, 0 when there is none or several.
func ProtocolOf(s Stmt) uint8 {
	if c, ok := s.(Compare); ok && c.Op == Eq && c.Mask == nil && c.Field.Text == MetaL4Proto.Text {
		return c.Value[0]
	}
	var few [2]Field
	for _, f := range AppendFields(few[:0], s) {
		if p := f.Protocol(); p != 0 {
			return p
		}
	}
	return 0
}

// CheckIn is Check for a rule of a table of the family: it also reports a rule
// that is too large for the kernel.
func (r *Rule) CheckIn(table Family) error { return r.checkIn(table) }
