package predicate

// Walk calls visit for a predicate and for all its parts, outermost first. A
// nil predicate has none.
func Walk(p Predicate, visit func(Predicate)) {
	if p == nil {
		return
	}
	visit(p)
	switch p := p.(type) {
	case All:
		for _, part := range p {
			Walk(part, visit)
		}
	case Any:
		for _, part := range p {
			Walk(part, visit)
		}
	case Not:
		Walk(p.P, visit)
	}
}

// FieldsOf lists the fields that a predicate reads itself, without those of its
// parts. Of a stateful test these are its keys.
func FieldsOf(p Predicate) []Field {
	switch p := p.(type) {
	case Between:
		return []Field{p.Field}
	case Masked:
		return []Field{p.Field}
	case In:
		return []Field{p.Field}
	case Present:
		return []Field{p.Field}
	case Member:
		return p.Fields
	case SetLabel:
		return []Field{{ID: CTLabel, Arg: uint32(p.Bit)}}
	case Stateful:
		return p.Instance.Keys()
	}
	return nil
}
