package nftgen

import "slices"

// Fields returns the fields that a statement reads.
func Fields(s Stmt) []Field { return AppendFields(nil, s) }

// AppendFields appends the fields that a statement reads to a list, which can be
// one that needs no memory: there are millions of statements.
func AppendFields(list []Field, s Stmt) []Field {
	switch s := s.(type) {
	case Compare:
		return append(list, s.Field)
	case IfName:
		return append(list, s.Field)
	case InPrefix:
		return append(list, s.Field)
	case InSpan:
		return append(list, s.Field)
	case AnyBit:
		return append(list, s.Field)
	case OneOf:
		return append(list, s.Field)
	case OneOfTuple:
		return append(list, s.Fields...)
	case InSet:
		return append(list, s.Fields...)
	case Vmap:
		return append(list, s.Fields...)
	case MapAssign:
		return append(append(list, s.Fields...), s.Field)
	case NATMap:
		return append(list, s.Fields...)
	case Exists:
		return append(list, s.Field)
	case HasLabel, SetLabel:
		return append(list, labels)
	case Assign:
		list = append(list, s.Field)
		if s.From != nil {
			list = append(list, *s.From)
		}
		return list
	case SetField:
		return append(list, s.Field)
	case MapByte:
		return append(list, s.Field)
	case Update:
		return append(list, s.Fields...)
	case NAT:
		if s.Map != nil {
			return append(list, s.Map.Field)
		}
	}
	return list
}

// SetOf returns the set that a statement asks or changes, or nil: a named one, or one
// of the statement itself.
func SetOf(s Stmt) *Set {
	switch s := s.(type) {
	case InSet:
		return s.Set
	case Vmap:
		return s.Map
	case MapAssign:
		return s.Map
	case NATMap:
		return s.Map
	case Update:
		return s.Set
	}
	return nil
}

// Family returns the family that a field belongs to, or 0.
func (f Field) Family() Family {
	if f.access == nil {
		return 0
	}
	for _, n := range f.needs {
		if n.l3 != 0 {
			return n.l3
		}
	}
	return f.family
}

// Protocol returns the transport protocol that nft tests before it loads the
// field, or 0.
func (f Field) Protocol() uint8 {
	if f.access == nil {
		return 0
	}
	for _, n := range f.needs {
		if n.l4 != 0 {
			return n.l4
		}
	}
	return 0
}

// Tracks reports whether a rule with the statement makes the kernel track the
// connections of the table's families. Tracking puts fragments together before
// the first rule.
//
// Kernel: net/netfilter, callers of nf_ct_netns_get.
func Tracks(s Stmt) bool {
	switch s := s.(type) {
	case NAT, NATMap, Masquerade, Redirect, ConnLimit:
		return true
	case Xt:
		return s.Tracks
	case SetZone, SetEvents, SynProxy:
		return true
	case Use:
		_, helps := s.Object.Kind.(ConnectionHelper)
		return helps
	case Update:
		if slices.ContainsFunc(s.Stmts, Tracks) {
			return true
		}
	}
	var few [2]Field
	for _, f := range AppendFields(few[:0], s) {
		if f.loadedBy(loadCT) {
			return true
		}
	}
	return false
}

// Pure reports whether a statement only tests: it changes nothing, and asking
// it twice, or not at all, makes no difference.
func Pure(s Stmt) bool {
	switch s := s.(type) {
	case Compare, IfName, InPrefix, InSpan, AnyBit, OneOf, OneOfTuple, InSet, Exists, HasLabel:
		var few [2]Field
		for _, f := range AppendFields(few[:0], s) {
			if f.loadedBy(loadNumgen) || f.loadedBy(loadMeta) && f.load.key == MetaRandom.load.key {
				return false
			}
		}
		return true
	}
	return false
}

// Terminal reports whether no statement and no rule of the same chain runs
// behind s.
func Terminal(s Stmt) bool {
	switch s := s.(type) {
	case VerdictStmt:
		return s.Kind == Accept || s.Kind == Drop || s.Kind == Return || s.Kind == Goto
	case Reject, NAT, Masquerade, Redirect:
		return true
	case action:
		return s.terminal()
	}
	return false
}

// WantsProtocol reports whether one of the statements has ports that nft takes
// only behind a test of the protocol in the same rule, and none stands before.
func WantsProtocol(stmts []Stmt) bool {
	for _, s := range stmts {
		if c, ok := s.(Compare); ok && c.Op == Eq && c.Field.Text == MetaL4Proto.Text {
			return false
		}
		var few [2]Field
		for _, f := range AppendFields(few[:0], s) {
			if transports[f.Protocol()].name != "" {
				return false
			}
			if isConnectionPort(f) {
				return true
			}
		}
		switch s := s.(type) {
		case TProxy:
			return true
		case NAT:
			return s.ports().given()
		case NATMap:
			return s.port()
		case Masquerade:
			return s.ports().given()
		case Redirect:
			return s.ports().given()
		}
	}
	return false
}
