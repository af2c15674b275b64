package predicate

// Simplify returns a predicate of the same meaning without constant parts and
// without a conjunction in a conjunction or a disjunction in a disjunction. The
// order in which stateful parts are asked stays.
func Simplify(p Predicate) Predicate {
	switch p := p.(type) {
	case All:
		parts, ended := flatten(p, false)
		if len(parts) == 1 {
			return parts[0]
		}
		if ended && pure(parts) {
			return Const(false)
		}
		return All(parts)
	case Any:
		parts, ended := flatten(p, true)
		if len(parts) == 1 {
			return parts[0]
		}
		if ended && pure(parts) {
			return Const(true)
		}
		return Any(parts)
	case Not:
		switch inner := Simplify(p.P).(type) {
		case Const:
			return !inner
		case Not:
			return inner.P
		default:
			return Not{inner}
		}
	}
	return p
}

// flatten simplifies the parts of a disjunction, or of a conjunction, up to the
// first constant that ends it.
func flatten(parts []Predicate, disjunction bool) (flat []Predicate, ended bool) {
	for _, part := range parts {
		part = Simplify(part)
		var nested []Predicate
		switch part := part.(type) {
		case Const:
			if bool(part) == disjunction {
				return append(flat, part), true
			}
			continue
		case All:
			if !disjunction {
				nested = part
			}
		case Any:
			if disjunction {
				nested = part
			}
		}
		if nested == nil {
			nested = []Predicate{part}
		}
		flat = append(flat, nested...)
	}
	return flat, false
}

// pure reports whether evaluation of the parts changes nothing and draws
// nothing.
func pure(parts []Predicate) bool {
	result := true
	for _, part := range parts {
		Walk(part, func(p Predicate) {
			if _, ok := p.(Stateful); ok {
				result = false
			}
			for _, f := range FieldsOf(p) {
				result = result && f.ID != Random
			}
		})
	}
	return result
}
