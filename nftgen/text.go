package nftgen

import (
	"fmt"
	"strings"
)

// text returns a statement of a table of the family as nft reads it.
func text(s Stmt, table Family) string {
	switch s := s.(type) {
	case Compare:
		return s.String()
	case InPrefix:
		return negatable(s.Field.Text, s.Not, s.value())
	case InSpan:
		return negatable(s.Field.Text, s.Not, s.Field.Type.span(s.Low, s.High))
	case AnyBit:
		return s.String()
	case OneOf:
		list := make([]string, len(s.Intervals))
		for i, v := range s.Intervals {
			list[i] = s.Field.Type.interval(v)
		}
		return negatable(s.Field.Text, s.Not, "{ "+strings.Join(list, ", ")+" }")
	case OneOfTuple:
		types := make([]*Datatype, len(s.Fields))
		for i, f := range s.Fields {
			types[i] = f.Type
		}
		list := make([]string, len(s.Tuples))
		for i, t := range s.Tuples {
			list[i] = tupleText(types, t)
		}
		return negatable(keyText(s.Fields, nil), s.Not, "{ "+strings.Join(list, ", ")+" }")
	case InSet:
		return negatable(keyText(s.Fields, s.Masks), s.Not, "@"+s.Set.Name)
	case Exists:
		if s.Missing {
			return s.Field.Text + " missing"
		}
		return s.Field.Text + " exists"
	}
	return actionText(s, table)
}

func negatable(field string, invert bool, value string) string {
	if invert {
		return field + " != " + value
	}
	return field + " " + value
}

var operators = []string{Eq: "==", Ne: "!=", Lt: "<", Le: "<=", Gt: ">", Ge: ">="}

func (s Compare) String() string {
	t := s.Field.Type
	if s.Mask != nil {
		value := t.Format(s.Value)
		if t.bits != nil && filled(s.Value, 0) {
			value = "0x0"
		}
		return fmt.Sprintf("%s & %s %s %s", s.Field.Text, t.mask(s.Mask), operators[s.Op], value)
	}
	// Without an operator, nft tests flags for any of the bits.
	if s.Op == Eq && t.bits == nil {
		return s.Field.Text + " " + t.Format(s.Value)
	}
	return fmt.Sprintf("%s %s %s", s.Field.Text, operators[s.Op], t.Format(s.Value))
}

func (s InPrefix) value() string {
	if s.Field.Type.text {
		return `"` + string(s.Addr) + `*"`
	}
	return fmt.Sprintf("%s/%d", s.Field.Type.Format(and(s.Addr, prefixMask(len(s.Addr), s.Bits))), s.Bits)
}

func (s AnyBit) String() string {
	t := s.Field.Type
	if list, rest := flagNames(t.bits, number(s.Bits)); rest == 0 {
		if s.Not {
			return s.Field.Text + " ! " + strings.Join(list, ",")
		}
		return s.Field.Text + " " + strings.Join(list, ",")
	}
	return Compare{Field: s.Field, Mask: s.Bits, Op: equality(!s.Not), Value: make(Value, t.Bytes)}.String()
}

// keyText writes fields side by side, each with its mask.
func keyText(fields []Field, masks []Value) string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Text
		if masks != nil && masks[i] != nil {
			list[i] += " & " + f.Type.mask(masks[i])
		}
	}
	return strings.Join(list, " . ")
}

func tupleText(types []*Datatype, tuple []Interval) string {
	list := make([]string, len(types))
	for i, t := range types {
		list[i] = t.interval(tuple[i])
	}
	return strings.Join(list, " . ")
}
