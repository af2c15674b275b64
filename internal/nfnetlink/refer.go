package nfnetlink

import (
	"bytes"
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Ref is how a message means a set, a chain or an object of its table, the
// thing itself that it makes included.
type Ref struct {
	// Kind is NFT_MSG_NEWSET, NFT_MSG_NEWCHAIN or NFT_MSG_NEWOBJ.
	Kind int
	Name string
	// ID is the number inside of the batch, 0 when there is none.
	ID uint32
}

// referring are the levels that mean something, with all ways in which they do.
var referring = func() map[storedKey][]reference {
	all := map[storedKey][]reference{}
	for key, r := range references {
		r.kind = unix.NFT_MSG_NEWSET
		if r.chain {
			r.kind = unix.NFT_MSG_NEWCHAIN
		}
		all[key] = append(all[key], r)
	}
	for key, name := range map[storedKey]uint16{
		{dataSchemas["objref"], "objref"}:         unix.NFTA_OBJREF_IMM_NAME,
		{elementSchema, ""}:                       unix.NFTA_SET_ELEM_OBJREF,
		{messageSchemas[unix.NFT_MSG_NEWOBJ], ""}: unix.NFTA_OBJ_NAME,
	} {
		all[key] = append(all[key], reference{name: name, kind: unix.NFT_MSG_NEWOBJ})
	}
	return all
}()

// Rename returns a message that means sets, chains and objects by other names,
// and by numbers where f gives one. It is given each that the message means.
func Rename(m netlink.Message, f func(Ref) (name string, id uint32)) netlink.Message {
	return rewrite(m, func(level *schema, name string, attrs []Attr) []Attr {
		for _, r := range referring[storedKey{level, name}] {
			ref := Ref{Kind: r.kind, Name: FindString(attrs, r.name)}
			if r.id != 0 {
				ref.ID = number(attrs, r.id)
			}
			if ref.Name == "" && ref.ID == 0 {
				continue
			}
			name, id := f(ref)
			if name == ref.Name && id == ref.ID {
				continue
			}
			kept := attrs[:0:0]
			for _, a := range attrs {
				if a.Type != r.name && (r.id == 0 || a.Type != r.id) {
					kept = append(kept, a)
				}
			}
			kept = append(kept, Attr{r.name, append([]byte(name), 0)})
			if id != 0 {
				kept = append(kept, Attr{r.id, be32(id)})
			}
			attrs = kept
		}
		return attrs
	})
}

// References calls f for each set, chain and object that a message means, the
// thing that it makes included.
func References(m netlink.Message, f func(Ref)) {
	kind, ok := Kind(m)
	if !ok || len(m.Data) < headerLen {
		return
	}
	walk(m.Data[headerLen:], messageSchemas[kind], "", f)
}

// Each calls f for the type, without flags, and the payload of every attribute
// of a payload, until it returns false.
func Each(b []byte, f func(kind uint16, payload []byte) bool) {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return
		}
		if !f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[unix.SizeofNlAttr:length:length]) {
			return
		}
		b = b[min(align(length), len(b)):]
	}
}

// attribute is [Find] in what is not parsed yet.
func attribute(b []byte, kind uint16) (payload []byte, ok bool) {
	Each(b, func(k uint16, p []byte) bool {
		if k == kind {
			payload, ok = p, true
		}
		return !ok
	})
	return payload, ok
}

// insideOf is [schema.inside] in what is not parsed yet.
func (s *schema) insideOf(b []byte, kind uint16) (*schema, string) {
	switch {
	case s.list:
		return s.nested[listElem], ""
	case s.expression && kind == unix.NFTA_EXPR_DATA:
		name, _ := attribute(b, unix.NFTA_EXPR_NAME)
		name = bytes.TrimRight(name, "\x00")
		if inside := dataSchemas[string(name)]; inside != nil {
			return inside, schemaNames[inside]
		}
		return nil, ""
	case s.object && kind == unix.NFTA_OBJ_DATA:
		if number, _ := attribute(b, unix.NFTA_OBJ_TYPE); len(number) == 4 {
			return objectSchemas[binary.BigEndian.Uint32(number)], ""
		}
		return nil, ""
	}
	return s.nested[kind], ""
}

// schemaNames are the names of expressions by the schemas of their data; those
// that are shared with something else have their own.
var schemaNames = func() map[*schema]string {
	names := map[*schema]string{}
	for name, s := range dataSchemas {
		names[s] = name
	}
	return names
}()

func walk(b []byte, level *schema, name string, f func(Ref)) {
	if level == nil {
		return
	}
	for _, r := range referring[storedKey{level, name}] {
		ref := Ref{Kind: r.kind}
		text, _ := attribute(b, r.name)
		ref.Name = string(bytes.TrimRight(text, "\x00"))
		if r.id != 0 {
			if id, _ := attribute(b, r.id); len(id) == 4 {
				ref.ID = binary.BigEndian.Uint32(id)
			}
		}
		if ref.Name != "" || ref.ID != 0 {
			f(ref)
		}
	}
	Each(b, func(kind uint16, payload []byte) bool {
		if inside, insideName := level.insideOf(b, kind); inside != nil {
			walk(payload, inside, insideName, f)
		}
		return true
	})
}

// Matches reports that a message and the kernel's account of what it made are
// surely the same. It knows no defaults: false leaves it to [Stored].
func Matches(sent, got netlink.Message, names Names) bool {
	kind, ok := Kind(sent)
	other, _ := Kind(got)
	if !ok || kind != other || Family(sent) != Family(got) || len(sent.Data) < headerLen || len(got.Data) < headerLen {
		return false
	}
	level := messageSchemas[kind]
	return level != nil && matches(sent.Data[headerLen:], got.Data[headerLen:], level, "", names)
}

func matches(sent, got []byte, level *schema, name string, names Names) bool {
	if level.list {
		return matchesList(sent, got, level, names)
	}
	key := storedKey{level, name}
	rule := storedRules[key]
	of := references[key]
	same := true
	Each(sent, func(kind uint16, want []byte) bool {
		if kindIn(rule.unread, kind) || kindIn(level.assigned, kind) || kindIn(level.volatile, kind) || of.id != 0 && kind == of.id {
			return true
		}
		have, ok := attribute(got, kind)
		switch {
		case !ok:
			same = isZero(want) && kind != of.name
		case of.name != 0 && kind == of.name:
			same = bytes.Equal(given(sent, want, of, names), bytes.TrimRight(have, "\x00"))
		default:
			if inside, insideName := level.insideOf(sent, kind); inside != nil {
				same = matches(want, have, inside, insideName, names)
			} else {
				same = bytes.Equal(want, have)
			}
		}
		return same
	})
	if !same {
		return false
	}
	Each(got, func(kind uint16, have []byte) bool {
		if kindIn(rule.unread, kind) || kindIn(level.assigned, kind) || kindIn(level.volatile, kind) {
			return true
		}
		if _, ok := attribute(sent, kind); !ok {
			same = isZero(have)
		}
		return same
	})
	return same
}

func matchesList(sent, got []byte, level *schema, names Names) bool {
	same := true
	Each(sent, func(_ uint16, want []byte) bool {
		length := 0
		Each(got, func(_ uint16, have []byte) bool {
			length = align(unix.SizeofNlAttr + len(have))
			same = matches(want, have, level.nested[listElem], "", names)
			return false
		})
		if length == 0 {
			same = false
		}
		got = got[min(length, len(got)):]
		return same
	})
	return same && len(got) == 0
}

// given is the name that the kernel gave what is meant by number.
func given(b, name []byte, of reference, names Names) []byte {
	if id, _ := attribute(b, of.id); len(id) == 4 {
		from := names.Sets
		if of.chain {
			from = names.Chains
		}
		if given, ok := from[binary.BigEndian.Uint32(id)]; ok {
			return []byte(given)
		}
	}
	return bytes.TrimRight(name, "\x00")
}

func kindIn(kinds []uint16, kind uint16) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}
