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

// attributes takes attributes apart.
func attributes(b []byte) ([]attribute, error) {
	var all []attribute
	for len(b) > 0 {
		if len(b) < attrHeader {
			return nil, fmt.Errorf("%d bytes are no attribute", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < attrHeader || length > len(b) {
			return nil, fmt.Errorf("an attribute of %d bytes in %d", length, len(b))
		}
		all = append(all, attribute{binary.NativeEndian.Uint16(b[2:]), b[attrHeader:length:length]})
		b = b[min((length+3)&^3, len(b)):]
	}
	return all, nil
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

// without returns attributes without those of some numbers.
func without(b []byte, numbers ...uint16) []byte {
	all, err := attributes(b)
	if err != nil {
		return nil
	}
	var kept []byte
	for _, a := range all {
		if !slices.Contains(numbers, a.number()) {
			kept = appendAttribute(kept, a.kind, a.value)
		}
	}
	return kept
}

// asTaken returns attributes as the kernel takes them: it wants addresses to be
// marked as big-endian, and does not mark them itself.
//
// Kernel: ip_set_core.c, ip_set_get_ipaddr4.
func asTaken(b []byte) []byte {
	all, err := attributes(b)
	if err != nil {
		return nil
	}
	var taken []byte
	for _, a := range all {
		if a.kind&nestedFlag != 0 {
			inside, _ := attributes(a.value)
			a.value = nil
			for _, i := range inside {
				a.value = appendAttribute(a.value, i.kind|netOrderFlag, i.value)
			}
		}
		taken = appendAttribute(taken, a.kind, a.value)
	}
	return taken
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
	if _, err := attributes(s.Header); err != nil {
		return fmt.Errorf("set %q: %w", s.Name, err)
	}
	return s.each(func([]attribute) error { return nil })
}

// each calls f for each element.
func (s *Set) each(f func(element []attribute) error) error {
	for _, list := range s.Elements {
		elements, err := attributes(list)
		if err != nil {
			return fmt.Errorf("set %q: %w", s.Name, err)
		}
		for _, e := range elements {
			if e.number() != attrData {
				return fmt.Errorf("set %q: attribute %d stands among its elements", s.Name, e.number())
			}
			inside, err := attributes(e.value)
			if err != nil {
				return fmt.Errorf("set %q: %w", s.Name, err)
			}
			if err := f(inside); err != nil {
				return err
			}
		}
	}
	return nil
}

// Len returns how many elements the set has.
func (s *Set) Len() int {
	n := 0
	s.each(func([]attribute) error { n++; return nil })
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
	s.each(func(element []attribute) error {
		for _, a := range element {
			if a.number() == elemName {
				names = append(names, stringOf(a.value))
			}
		}
		return nil
	})
	return names
}

func find(b []byte, number uint16) []byte {
	all, _ := attributes(b)
	for _, a := range all {
		if a.number() == number {
			return a.value
		}
	}
	return nil
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
	var b bytes.Buffer
	fmt.Fprintf(&b, "%q %q %d %d\n", s.Name, s.Type, s.Family, s.Revision)
	b.Write(without(s.Header, headerLeftOut...))
	if !moving {
		for _, e := range s.Sorted() {
			fmt.Fprintf(&b, "\n%x", e)
		}
	}
	return sha256.Sum256(b.Bytes())
}

// Sorted returns the elements without what time and packets change, sorted; those
// of a list of sets in their order.
func (s *Set) Sorted() [][]byte {
	var all [][]byte
	s.each(func(element []attribute) error {
		var kept []byte
		for _, a := range element {
			if !slices.Contains(elementLeftOut, a.number()) {
				kept = appendAttribute(kept, a.kind, a.value)
			}
		}
		all = append(all, kept)
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
		all, err := attributes(m.Data[headerSize:])
		if err != nil {
			return nil, err
		}
		s := &Set{}
		var elements []byte
		for _, a := range all {
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
