package nftgen

import (
	"strconv"
	"strings"
)

// appendText appends a statement of a table of the family as nft reads it.
func appendText(text []byte, s Stmt, table Family) []byte {
	switch s := s.(type) {
	case Compare:
		return s.append(text)
	case IfName:
		return s.append(text)
	case InPrefix:
		return s.appendValue(negatable(text, s.Field.Text, s.Not))
	case InSpan:
		return s.Field.Type.span(negatable(text, s.Field.Text, s.Not), s.Low, s.High)
	case AnyBit:
		return s.append(text)
	case OneOf:
		text = append(negatable(text, s.Field.Text, s.Not), "{ "...)
		for i, v := range s.Intervals {
			if i > 0 {
				text = append(text, ", "...)
			}
			text = s.Field.Type.interval(text, v.Low, v.High)
		}
		return append(text, " }"...)
	case OneOfTuple:
		types := make([]*Datatype, len(s.Fields))
		for i, f := range s.Fields {
			types[i] = f.Type
		}
		text = append(negatable(text, keyText(s.Fields, nil), s.Not), "{ "...)
		for i, t := range s.Tuples {
			if i > 0 {
				text = append(text, ", "...)
			}
			text = appendTuple(text, types, t)
		}
		return append(text, " }"...)
	case InSet:
		return append(append(negatable(text, keyText(s.Fields, s.Masks), s.Not), '@'), s.Set.Name...)
	case Exists:
		text = append(text, s.Field.Text...)
		if s.Missing {
			return append(text, " missing"...)
		}
		return append(text, " exists"...)
	case VerdictStmt:
		text = append(text, verdicts[s.Kind].word...)
		if s.Chain != "" {
			text = append(append(text, ' '), s.Chain...)
		}
		return text
	}
	return append(text, actionText(s, table)...)
}

func negatable(text []byte, field string, invert bool) []byte {
	text = append(text, field...)
	if invert {
		return append(text, " != "...)
	}
	return append(text, ' ')
}

var operators = []string{Eq: "==", Ne: "!=", Lt: "<", Le: "<=", Gt: ">", Ge: ">="}

func (s Compare) append(text []byte) []byte {
	t := s.Field.Type
	text = append(append(text, s.Field.Text...), ' ')
	if s.Mask != nil {
		text = t.mask(append(text, "& "...), s.Mask)
		text = append(append(append(text, ' '), operators[s.Op]...), ' ')
		if t.bits != nil && filled(s.Value, 0) {
			return append(text, "0x0"...)
		}
		return t.format(text, s.Value)
	}
	// Without an operator, nft tests flags for any of the bits.
	if s.Op != Eq || t.bits != nil {
		text = append(append(text, operators[s.Op]...), ' ')
	}
	return t.format(text, s.Value)
}

// appendValue appends the prefix.
func (s InPrefix) appendValue(text []byte) []byte {
	if s.Field.Type.text {
		return append(append(append(text, '"'), s.Addr...), `*"`...)
	}
	var network [16]byte
	n := copy(network[:], s.Addr)
	for i := s.Bits / 8; i < n; i++ {
		network[i] &= ^byte(0xff >> max(0, s.Bits-8*i))
	}
	text = address(text, network[:n])
	return strconv.AppendInt(append(text, '/'), int64(s.Bits), 10)
}

func (s IfName) append(text []byte) []byte {
	text = append(append(text, s.Field.Text...), ' ')
	if s.Op == Ne {
		text = append(text, "!= "...)
	}
	if s.Wildcard {
		return append(append(append(text, '"'), s.Name...), `*"`...)
	}
	return appendName(text, s.Name)
}

func (s AnyBit) append(text []byte) []byte {
	t := s.Field.Type
	list, rest := flagNames(t.bits, number(s.Bits))
	if rest != 0 {
		return Compare{Field: s.Field, Mask: s.Bits, Op: equality(!s.Not), Value: make(Value, t.Bytes)}.append(text)
	}
	text = append(append(text, s.Field.Text...), ' ')
	if s.Not {
		text = append(text, "! "...)
	}
	return append(text, strings.Join(list, ",")...)
}

// keyText writes fields side by side, each with its mask.
func keyText(fields []Field, masks []Value) string {
	if len(fields) == 1 && masks == nil {
		return fields[0].Text
	}
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Text
		if masks != nil && masks[i] != nil {
			list[i] = string(f.Type.mask([]byte(f.Text+" & "), masks[i]))
		}
	}
	return strings.Join(list, " . ")
}

// appendTuple appends the values of an element of a set, side by side.
func appendTuple(text []byte, types []*Datatype, tuple []Interval) []byte {
	for i, t := range types {
		if i > 0 {
			text = append(text, " . "...)
		}
		text = t.interval(text, tuple[i].Low, tuple[i].High)
	}
	return text
}
