package nftgen

import (
	"fmt"
	"slices"
	"strings"
)

// Check reports why a rule cannot be written so that nft reads it as it is
// meant. A rule with no family of its own passes when some table can hold it.
func (r *Rule) Check() error {
	var first error
	for _, table := range []Family{Inet, IP, IP6} {
		if r.Family != 0 && table != Inet && table != r.Family {
			continue
		}
		err := r.checkIn(table)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// checkIn is Check for a rule of a table of the family.
func (r *Rule) checkIn(table Family) error {
	c := newCompiler(table)
	c.dry = true
	_, err := r.compile(c, nil)
	return err
}

// checkComment refuses comments that nft does not read as they are meant.
func checkComment(s string) error {
	if len(s) > maxComment {
		return fmt.Errorf("write the comment %q: it is longer than %d bytes", s, maxComment)
	}
	return checkQuoted("comment", s)
}

// check refuses a statement that is not well-formed, or that nft 1.0.6 has no
// text for.
func check(s Stmt) error {
	var few [2]Field
	for _, f := range AppendFields(few[:0], s) {
		if f.Type == nil || f.access == nil {
			return fmt.Errorf("write a %T: it has no field", s)
		}
	}
	if err := checkPartial(s); err != nil {
		return err
	}
	if err := checkFamilyTest(s); err != nil {
		return err
	}
	if err := checkMatch(s); err != nil {
		return err
	}
	return checkAction(s)
}

// checkPartial refuses tests of fields that are some of the bits loaded, other
// than with 0 or a number that fits, and of whether a header is there, other than that.
func checkPartial(s Stmt) error {
	if _, sets := s.(SetField); sets {
		return nil
	}
	var few [2]Field
	for _, f := range AppendFields(few[:0], s) {
		c, compared := s.(Compare)
		fits := compared && c.Mask == nil && c.Op <= Ne && filled(c.Value, 0)
		if compared && f.load.numbered && c.Mask == nil {
			_, fits = f.load.placed(c.Value)
		}
		if _, exists := s.(Exists); f.load.mask != nil && !fits || f.load.present != exists && f.load.kind == loadExthdrIPv6 {
			return fmt.Errorf("write a test of %s: it is not one that can be had", f.Text)
		}
	}
	return nil
}

// checkFamilyTest refuses tests of the family from which nft concludes wrongly.
func checkFamilyTest(s Stmt) error {
	var few [2]Field
	fields := AppendFields(few[:0], s)
	if len(fields) != 1 || fields[0].Text != MetaNFProto.Text {
		return nil
	}
	c, ok := s.(Compare)
	if !ok || c.Mask != nil || c.Op > Ne || len(c.Value) != 1 || c.Value[0] != byte(IP) && c.Value[0] != byte(IP6) {
		return fmt.Errorf("write a test of %s: it can only be ipv4 or ipv6, or not", MetaNFProto.Text)
	}
	return nil
}

func checkMatch(s Stmt) error {
	switch s := s.(type) {
	case Compare:
		return s.check()
	case IfName:
		if !s.Field.Type.text || s.Op > Ne {
			return fmt.Errorf("write a test of the name %q: %s has none that can be compared so", s.Name, s.Field.Text)
		}
		if s.Wildcard {
			return checkWildcard(s.Field, s.Name)
		}
		return checkInterfaceName(s.Name)
	case InPrefix:
		return s.check()
	case InSpan:
		if err := s.Field.checkCount(s.High, nil); err != nil {
			return err
		}
		return s.Field.Type.checkInterval(Interval{s.Low, s.High})
	case AnyBit:
		if s.Field.Type.text {
			return fmt.Errorf("write a mask of %s: it is a name", s.Field.Text)
		}
		if err := s.Field.Type.check(s.Bits); err != nil {
			return err
		}
		if err := s.Field.checkCount(nil, s.Bits); err != nil {
			return err
		}
		if s.Field.Text == MetaL4Proto.Text || s.Field.Text == IPProtocol.Text {
			return fmt.Errorf("write a mask of %s: nft 1.0.6 crashes when it lists such a test", s.Field.Text)
		}
		if filled(s.Bits, 0) {
			return fmt.Errorf("write a test of bits of %s: there is none to test", s.Field.Text)
		}
	case OneOf:
		if s.Field.typeof() == nil {
			return fmt.Errorf("write a set of values of %s: nft has no such sets", s.Field.Text)
		}
		tuples := make([][]Interval, len(s.Intervals))
		for i := range s.Intervals {
			tuples[i] = s.Intervals[i : i+1]
		}
		return checkElements([]*Datatype{s.Field.Type}, tuples, true)
	case OneOfTuple:
		if slices.ContainsFunc(s.Fields, isConnectionPort) {
			return fmt.Errorf("write a set with ports of connections among the fields: nft 1.0.6 crashes when it lists them")
		}
		types := make([]*Datatype, len(s.Fields))
		for i, f := range s.Fields {
			types[i] = f.Type
			if f.typeof() == nil {
				return fmt.Errorf("write a set of values of %s: nft has no such sets", f.Text)
			}
		}
		return checkElements(types, s.Tuples, true)
	case InSet:
		return checkKey(s.Fields, s.Masks, s.Set)
	case Exists:
		if s.Field.load.kind != loadExthdrTCP && !s.Field.load.present {
			return fmt.Errorf("write a test for %s: it always exists", s.Field.Text)
		}
	}
	return nil
}

// checkCount refuses masks of times and of a counter that goes round, and
// numbers that the counter does not reach.
func (f Field) checkCount(v, mask Value) error {
	if f.Type == timeType && mask != nil {
		return fmt.Errorf("write a mask of %s: nft reads it as a time", f.Text)
	}
	if f.load.kind == loadNumgen && (mask != nil || number(v) >= uint64(f.load.key)) {
		return fmt.Errorf("write a test of %s: it has no masks and is less than %d", f.Text, f.load.key)
	}
	return nil
}

func (s Compare) check() error {
	t := s.Field.Type
	if err := t.check(s.Value); err != nil {
		return err
	}
	if err := s.Field.checkCount(s.Value, s.Mask); err != nil {
		return err
	}
	if s.Field.load.mask != nil && (s.Mask != nil || !s.Field.load.numbered && (s.Op > Ne || !filled(s.Value, 0))) {
		return fmt.Errorf("write a test of %s: it is some of the bits, and has no masks", s.Field.Text)
	}
	if s.Op > Ge {
		return fmt.Errorf("write a comparison of %s: there is no operator %d", s.Field.Text, s.Op)
	}
	if t.text && (s.Op > Ne || s.Mask != nil) {
		return fmt.Errorf("write a comparison of %s: names can only be equal or not", s.Field.Text)
	}
	if t.prefixes && s.Op > Ne {
		return fmt.Errorf("write a comparison of %s by size: nft 1.0.6 can crash when it lists one; a span says it", s.Field.Text)
	}
	if s.Mask == nil {
		return nil
	}
	if s.Field.Text == MetaL4Proto.Text || s.Field.Text == IPProtocol.Text {
		return fmt.Errorf("write a mask of %s: nft 1.0.6 crashes when it lists such a test", s.Field.Text)
	}
	return t.check(s.Mask)
}

// checkWildcard refuses the beginning of a name before the star of a wildcard.
func checkWildcard(f Field, name string) error {
	switch {
	case name == "" || len(name) >= maxInterface:
		return fmt.Errorf("write a wildcard of %s: a name of %d bytes", f.Text, len(name))
	case strings.HasSuffix(name, `\`):
		return fmt.Errorf("write the wildcard %q of %s: nft reads a backslash before the star as an escape", name, f.Text)
	}
	return checkQuoted("interface name", name)
}

func (s InPrefix) check() error {
	t := s.Field.Type
	switch {
	case t.text && s.Bits != 8*len(s.Addr):
		return fmt.Errorf("write a wildcard of %s: %d bits of a name of %d bytes", s.Field.Text, s.Bits, len(s.Addr))
	case t.text:
		return checkWildcard(s.Field, string(s.Addr))
	case !t.prefixes:
		return fmt.Errorf("write a prefix of %s: it has none", s.Field.Text)
	case s.Bits < 0 || s.Bits > 8*t.Bytes:
		return fmt.Errorf("write a prefix of %s: %d bits", s.Field.Text, s.Bits)
	}
	return t.check(s.Addr)
}

// checkElements refuses elements that are not of the types, and none at all
// where some are needed.
func checkElements(types []*Datatype, elements [][]Interval, needed bool) error {
	if len(types) == 0 || slices.Contains(types, nil) {
		return fmt.Errorf("write a set: its key has no fields, or one of no type")
	}
	if needed && len(elements) == 0 {
		return fmt.Errorf("write a set of type %s: it is empty", types[0].Name)
	}
	flags := len(types) > 1 && slices.ContainsFunc(types, func(t *Datatype) bool { return t.bits != nil })
	for n, element := range elements {
		if len(element) != len(types) {
			return fmt.Errorf("write an element of a set: %d values for %d fields", len(element), len(types))
		}
		if flags && slices.ContainsFunc(element, func(i Interval) bool { return !i.single() }) {
			return fmt.Errorf("write a set of intervals with flags among the fields: nft 1.0.6 crashes when it lists them")
		}
		for i, t := range types {
			if err := t.checkInterval(element[i]); err != nil {
				return err
			}
		}
		if n == 0 {
			continue
		}
		if last := elements[n-1]; len(types) == 1 && slices.Compare(last[0].High, element[0].Low) >= 0 {
			return fmt.Errorf("write a set of type %s: elements %d and %d overlap or are not sorted", types[0].Name, n-1, n)
		}
	}
	return nil
}

// checkKey refuses fields that do not make a key of the set.
func checkKey(fields []Field, masks []Value, set *Set) error {
	if set == nil {
		return fmt.Errorf("write a lookup: there is no set")
	}
	if len(fields) == 0 || !sameTypes(fields, set.Key) {
		return fmt.Errorf("write a lookup in %s: the fields are not of the types of its key", set.Name)
	}
	if masks == nil {
		return nil
	}
	if len(masks) != len(fields) {
		return fmt.Errorf("write a lookup in %s: %d masks for %d fields", set.Name, len(masks), len(fields))
	}
	for i, m := range masks {
		if m == nil {
			continue
		}
		if fields[i].Type.text {
			return fmt.Errorf("write a mask of %s: it is a name", fields[i].Text)
		}
		if err := fields[i].Type.check(m); err != nil {
			return err
		}
	}
	return nil
}
