package nfnetlink

import (
	"encoding/binary"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// An edit changes the attributes of one level of nesting. The name is that of
// the expression whose data they are, else "". The attributes inside are done
// already. It may change the slice, not the bytes of payloads.
type edit func(level *schema, name string, attrs []Attr) []Attr

// rewrite applies an edit to every level of a message, from the inside out,
// and returns a message of its own memory. The header is kept.
func rewrite(m netlink.Message, e edit) netlink.Message {
	kind, ok := Kind(m)
	if !ok || len(m.Data) < headerLen {
		return m
	}
	attrs := rewriteLevel(Attributes(m), messageSchemas[kind], "", e)
	m.Data = appendAttrs(append(make([]byte, 0, len(m.Data)+16), m.Data[:headerLen]...), attrs)
	return m
}

func rewriteLevel(attrs []Attr, level *schema, name string, e edit) []Attr {
	if level == nil {
		return attrs
	}
	for i, a := range attrs {
		inside, insideName := level.inside(attrs, a.Type)
		if inside != nil {
			attrs[i].Data = appendAttrs(nil, rewriteLevel(parseAttributes(a.Data), inside, insideName, e))
		}
	}
	return e(level, name, attrs)
}

// inside returns the schema of an attribute's payload, nil when it is opaque,
// and the name of the expression that it is the data of.
func (s *schema) inside(attrs []Attr, kind uint16) (*schema, string) {
	switch {
	case s.list: // whatever number the entry has
		return s.nested[listElem], ""
	case s.expression && kind == unix.NFTA_EXPR_DATA:
		name := FindString(attrs, unix.NFTA_EXPR_NAME)
		inside := dataSchemas[name]
		if inside == nil {
			inside = &schema{}
		}
		return inside, name
	case s.object && kind == unix.NFTA_OBJ_DATA:
		if number := Find(attrs, unix.NFTA_OBJ_TYPE); len(number) == 4 {
			return objectSchemas[binary.BigEndian.Uint32(number)], ""
		}
		return nil, ""
	}
	return s.nested[kind], ""
}

// without returns the attributes that are not of the given types.
func without(attrs []Attr, kinds []uint16) []Attr {
	return slices.DeleteFunc(attrs, func(a Attr) bool { return slices.Contains(kinds, a.Type) })
}
