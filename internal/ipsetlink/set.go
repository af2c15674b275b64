package ipsetlink

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
)

// Attributes, with their names in ip_set.h.
const (
	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3
	attrSetName2 = 3
	attrRevision = 4
	attrFamily   = 5
	attrData     = 7
	attrADT      = 8
	attrLine     = 9

	attrTimeout    = 6 // of a set, and of an element
	attrInitVal    = 17
	attrHashSize   = 18
	attrElements   = 24
	attrReferences = 25
	attrMemSize    = 26
	elemName       = 18
	elemBytes      = 24
	elemPackets    = 25
	elemPad        = 30
)

// listType is the type of sets whose elements are sets.
const listType = "list:set"

// A Set is one set with its elements, as the kernel tells it.
type Set struct {
	Name     string
	Type     string
	Family   uint8
	Revision uint8
	// Header are the attributes that describe the set.
	Header []byte
	// Elements are lists of elements, each an attribute that holds others.
	Elements [][]byte
}

// An attribute is one attribute with its flags.
type attribute struct {
	kind  uint16 // with flags
	value []byte
}

const (
	attrHeader   = 4
	typeMask     = 1<<14 - 1
	nestedFlag   = netlink.Nested
	netOrderFlag = netlink.NetByteOrder
	maxNameSize  = 31 // IPSET_MAXNAMELEN with its zero byte is one more
)

func (a attribute) number() uint16 { return a.kind & typeMask }

// walk calls f for each attribute.
func walk(b []byte, f func(a attribute) error) error {
	for len(b) > 0 {
		if len(b) < attrHeader {
			return fmt.Errorf("%d bytes are no attribute", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < attrHeader || length > len(b) {
			return fmt.Errorf("an attribute of %d bytes in %d", length, len(b))
		}
		if err := f(attribute{binary.NativeEndian.Uint16(b[2:]), b[attrHeader:length:length]}); err != nil {
			return err
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	length := attrHeader + len(value)
	b = binary.NativeEndian.AppendUint16(b, uint16(length))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, (length+3)&^3-length)...)
}

func appendString(b []byte, kind uint16, s string) []byte {
	return appendAttribute(b, kind, append([]byte(s), 0))
}

// appendWithout appends attributes but for those of some numbers.
func appendWithout(to, b []byte, numbers ...uint16) []byte {
	walk(b, func(a attribute) error {
		if !slices.Contains(numbers, a.number()) {
			to = appendAttribute(to, a.kind, a.value)
		}
		return nil
	})
	return to
}

// appendAsTaken appends attributes as the kernel takes them, but for those of some
// numbers: it wants addresses to be marked as big-endian, and does not mark them
// itself.
//
// Kernel: ip_set_core.c, ip_set_get_ipaddr4.
func appendAsTaken(to, b []byte, numbers ...uint16) []byte {
	walk(b, func(a attribute) error {
		if slices.Contains(numbers, a.number()) {
			return nil
		}
		at := len(to)
		to = appendAttribute(to, a.kind, a.value)
		if a.kind&nestedFlag != 0 {
			inside := to[at+attrHeader:]
			walk(inside[:len(a.value)], func(i attribute) error {
				binary.NativeEndian.PutUint16(inside[2:], i.kind|netOrderFlag)
				inside = inside[min((attrHeader+len(i.value)+3)&^3, len(inside)):]
				return nil
			})
		}
		return nil
	})
	return to
}

func first(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func stringOf(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

// Check says what is wrong with a set that was read from a file.
func (s *Set) Check() error {
	if s.Name == "" || len(s.Name) > maxNameSize || s.Type == "" || len(s.Type) > maxNameSize {
		return fmt.Errorf("%q of type %q is no set", s.Name, s.Type)
	}
	if err := walk(s.Header, func(attribute) error { return nil }); err != nil {
		return fmt.Errorf("set %q: %w", s.Name, err)
	}
	return s.each(func(element []byte) error { return walk(element, func(attribute) error { return nil }) })
}

// each calls f for the attributes of each element.
func (s *Set) each(f func(element []byte) error) error {
	for _, list := range s.Elements {
		err := walk(list, func(e attribute) error {
			if e.number() != attrData {
				return fmt.Errorf("attribute %d stands among its elements", e.number())
			}
			return f(e.value)
		})
		if err != nil {
			return fmt.Errorf("set %q: %w", s.Name, err)
		}
	}
	return nil
}

// Len returns how many elements the set has.
func (s *Set) Len() int {
	n := 0
	s.each(func([]byte) error { n++; return nil })
	return n
}

// Expires reports whether elements of the set can have a timeout.
func (s *Set) Expires() bool { return find(s.Header, attrTimeout) != nil }

// Members returns the sets that a list of sets has as its elements.
func (s *Set) Members() []string {
	if s.Type != listType {
		return nil
	}
	var names []string
	s.each(func(element []byte) error {
		if name := find(element, elemName); name != nil {
			names = append(names, stringOf(name))
		}
		return nil
	})
	return names
}

func find(b []byte, number uint16) []byte {
	var found []byte
	walk(b, func(a attribute) error {
		if a.number() == number && found == nil {
			found = a.value
		}
		return nil
	})
	return found
}

// What a fingerprint and a list for comparing leave out: what only counts, what
// passes, and how the kernel sorts.
var (
	headerLeftOut  = []uint16{attrElements, attrReferences, attrMemSize, attrInitVal, attrHashSize}
	elementLeftOut = []uint16{attrTimeout, elemBytes, elemPackets, elemPad}
)

// Fingerprint identifies the set: its type, its options and its elements, without
// counters, the time that elements have left, and how large the kernel's hash is.
// With moving, which elements it has does not count, because packets or other
// programs change them.
func (s *Set) Fingerprint(moving bool) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d %d\n", s.Name, s.Type, s.Family, s.Revision)
	h.Write(appendWithout(nil, s.Header, headerLeftOut...))
	if !moving {
		h.Write(s.elementsHash())
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// elementsHash is a hash of the elements; it does not depend on their order, which
// is that of the kernel's hash, but for lists of sets.
func (s *Set) elementsHash() []byte {
	var sum [sha256.Size / 8]uint64
	place := uint64(0)
	var b []byte
	s.each(func(element []byte) error {
		b = appendWithout(b[:0], element, elementLeftOut...)
		if s.Type == listType {
			place++
			b = binary.BigEndian.AppendUint64(b, place)
		}
		hash := sha256.Sum256(b)
		for i := range sum {
			sum[i] += binary.BigEndian.Uint64(hash[8*i:])
		}
		return nil
	})
	var all []byte
	for _, n := range sum {
		all = binary.BigEndian.AppendUint64(all, n)
	}
	return all
}

// Sorted returns the elements without what time and packets change, sorted; those
// of a list of sets in their order.
func (s *Set) Sorted() [][]byte {
	var all [][]byte
	s.each(func(element []byte) error {
		all = append(all, appendWithout(nil, element, elementLeftOut...))
		return nil
	})
	if s.Type != listType {
		slices.SortFunc(all, bytes.Compare)
	}
	return all
}

// setsOf makes sets of the messages of a dump. A set is told in one message or
// several; only the first has its type.
func setsOf(messages []netlink.Message) ([]*Set, error) {
	var sets []*Set
	for _, m := range messages {
		if len(m.Data) < headerSize {
			return nil, fmt.Errorf("a message of %d bytes is too short", len(m.Data))
		}
		s := &Set{}
		var elements []byte
		err := walk(m.Data[headerSize:], func(a attribute) error {
			switch a.number() {
			case attrSetName:
				s.Name = stringOf(a.value)
			case attrTypeName:
				s.Type = stringOf(a.value)
			case attrFamily:
				s.Family = first(a.value)
			case attrRevision:
				s.Revision = first(a.value)
			case attrData:
				s.Header = bytes.Clone(a.value)
			case attrADT:
				elements = bytes.Clone(a.value)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if s.Type != "" {
			sets = append(sets, s)
		}
		if len(sets) == 0 || sets[len(sets)-1].Name != s.Name {
			return nil, errors.New("the kernel tells elements before what kind of set it is")
		}
		if len(elements) > 0 {
			last := sets[len(sets)-1]
			last.Elements = append(last.Elements, elements)
		}
	}
	for _, s := range sets {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	return sets, nil
}
