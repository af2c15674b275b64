package nftgen

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Patterns from which the kernel makes the names of anonymous sets and maps.
const (
	anonymousSet = "__set%d"
	anonymousMap = "__map%d"
)

// Flags of sets that golang.org/x/sys lacks.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_set_flags, and
// the attributes of sets and elements.
const (
	setConcat     = 0x80
	setExpression = 17
	descConcat    = 2
	fieldLength   = 1
	elementKeyEnd = 10
)

// A lookupSet is a set as the kernel has it: a named one or one that belongs
// to a rule.
type lookupSet struct {
	name      string
	id        uint32
	types     []*Datatype
	fields    []Field // of an anonymous set
	anonymous bool
	interval  bool
	dynamic   bool
	expires   bool
	timeout   time.Duration
	size      uint32
	counter   bool
	verdicts  bool
	data      *Datatype // of a map to values
	elements  [][]Interval
	bulk      *Bulk
}

func (s *Set) expires() bool { return s.HasTimeout || s.Timeout != 0 }

func (s *Set) lookupSet(id uint32) lookupSet {
	return lookupSet{
		name: s.Name, id: id, types: s.Key, interval: s.Interval, dynamic: s.Dynamic, expires: s.expires(),
		timeout: s.Timeout, size: s.Size, elements: s.Elements, counter: s.Counter, bulk: s.Bulk,
		verdicts: s.Verdicts, data: s.Data,
	}
}

// check refuses a named set that cannot be written.
func (s *Set) check() error {
	switch {
	case !ValidName(s.Name):
		return fmt.Errorf("write a set: %q is no name", s.Name)
	case s.Dynamic && s.Interval:
		return fmt.Errorf("write the set %s: a set of intervals cannot be changed by packets", s.Name)
	case s.Timeout < 0 || s.Timeout%time.Millisecond != 0:
		return fmt.Errorf("write the set %s: the timeout %s is not whole milliseconds", s.Name, s.Timeout)
	}
	if (s.Verdicts || s.Data != nil) && (s.Dynamic || len(s.Elements) > 0) {
		return fmt.Errorf("write the map %s: its elements are not packed, or packets change them", s.Name)
	}
	if s.Bulk != nil {
		if len(s.Elements) > 0 {
			return fmt.Errorf("write the set %s: it has elements of both kinds", s.Name)
		}
		if err := s.Bulk.check(s); err != nil {
			return err
		}
	}
	if err := checkElements(s.Key, s.Elements, false); err != nil {
		return fmt.Errorf("write the set %s: %w", s.Name, err)
	}
	for _, element := range s.Elements {
		for _, i := range element {
			if !s.Interval && !i.single() {
				return fmt.Errorf("write the set %s: it is not one of intervals", s.Name)
			}
		}
	}
	return nil
}

func (s *lookupSet) concatenated() bool { return len(s.types) > 1 }

// keyType is the number by which nft names the type of the key; those of the
// fields of a concatenation take six bits each.
func (s *lookupSet) keyType() uint32 {
	var n uint32
	for _, t := range s.types {
		n = n<<6 | t.Number
	}
	return n
}

func (s *lookupSet) keyLength() uint32 {
	if !s.concatenated() {
		return uint32(s.types[0].Bytes)
	}
	n := 0
	for _, t := range s.types {
		n += 4 * words(t)
	}
	return uint32(n)
}

func (s *lookupSet) flags() uint32 {
	var flags uint32
	for _, f := range []struct {
		on   bool
		flag uint32
	}{
		{s.anonymous, unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT},
		{s.interval, unix.NFT_SET_INTERVAL},
		{s.interval && s.concatenated(), setConcat},
		{s.expires, unix.NFT_SET_TIMEOUT},
		{s.dynamic, unix.NFT_SET_EVAL},
		{s.isMap(), unix.NFT_SET_MAP},
	} {
		if f.on {
			flags |= f.flag
		}
	}
	return flags
}

// description returns the attributes from which the kernel chooses how to keep
// the set.
func (s *lookupSet) description(elements int) attributes {
	var a attributes
	size := s.size
	if s.anonymous {
		size = uint32(elements)
	}
	if size != 0 {
		a.u32(unix.NFTA_SET_DESC_SIZE, size)
	}
	if s.interval && s.concatenated() {
		var fields attributes
		for _, t := range s.types {
			var field attributes
			field.u32(fieldLength, uint32(t.Bytes))
			fields.nested(unix.NFTA_LIST_ELEM, field)
		}
		a.nested(descConcat, fields)
	}
	return a
}

// add returns the attributes of the message that makes the set in a table.
func (s *lookupSet) add(table string, elements int) attributes {
	var a attributes
	a.text(unix.NFTA_SET_TABLE, table)
	a.text(unix.NFTA_SET_NAME, s.name)
	a.u32(unix.NFTA_SET_FLAGS, s.flags())
	a.u32(unix.NFTA_SET_KEY_TYPE, s.keyType())
	a.u32(unix.NFTA_SET_KEY_LEN, s.keyLength())
	s.mapsTo(&a)
	a.u32(unix.NFTA_SET_ID, s.id)
	if s.timeout != 0 {
		a.u64(unix.NFTA_SET_TIMEOUT, uint64(s.timeout.Milliseconds()))
	}
	if d := s.description(elements); len(d) != 0 {
		a.nested(unix.NFTA_SET_DESC, d)
	}
	a.bytes(unix.NFTA_SET_USERDATA, s.userdata()...)
	if s.counter {
		a.nested(setExpression, counterExpression(0, 0))
	}
	return a
}

// An element is an element of a set as the kernel has it.
type element struct {
	key, keyEnd []byte
	end         bool // the first key behind an interval
	openEnded   bool // an interval up to the greatest value
}

// list returns the elements: one per value, or of intervals the first value
// and the one behind the last, or of concatenated intervals both ends in one.
func (s *lookupSet) list() []element {
	switch {
	case s.concatenated():
		return s.tuples()
	case s.interval:
		return s.spans()
	}
	t := s.types[0]
	out := make([]element, len(s.elements))
	for i, e := range s.elements {
		out[i] = element{key: t.inRegister(e[0].Low)}
	}
	return out
}

func (s *lookupSet) tuples() []element {
	out := make([]element, len(s.elements))
	for n, tuple := range s.elements {
		for i, t := range s.types {
			low, high := t.inRegister(tuple[i].Low), t.inRegister(tuple[i].High)
			if s.interval && t.swapped() {
				low, high = tuple[i].Low, tuple[i].High
			}
			padding := make([]byte, 4*words(t)-t.Bytes)
			out[n].key = slices.Concat(out[n].key, low, padding)
			if s.interval {
				out[n].keyEnd = slices.Concat(out[n].keyEnd, high, padding)
			}
		}
	}
	return out
}

func (s *lookupSet) spans() []element {
	var out []element
	t := s.types[0]
	for n, e := range s.elements {
		low := s.networkKey(e[0].Low)
		if n == 0 && !filled(low, 0) {
			out = append(out, element{key: make([]byte, t.Bytes), end: true})
		}
		next, ok := successor(s.networkKey(e[0].High))
		out = append(out, element{key: low, openEnded: !ok})
		if ok {
			out = append(out, element{key: next, end: true})
		}
	}
	return out
}

// networkKey returns a value as a key of an interval, which is always in
// network order.
func (s *lookupSet) networkKey(v Value) []byte {
	if t := s.types[0]; t.text {
		return t.inRegister(v)
	}
	return v
}

// count is the number of elements that nft announces to the kernel for an
// anonymous set. Of an interval it counts both ends.
func (s *lookupSet) count(list []element) int {
	n := len(list)
	for _, e := range list {
		if e.openEnded {
			n++
		}
	}
	return n
}

func (e element) attributes() attributes {
	var a, key attributes
	if e.end {
		a.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	key.bytes(unix.NFTA_DATA_VALUE, e.key...)
	a.nested(unix.NFTA_SET_ELEM_KEY, key)
	if e.keyEnd != nil {
		var keyEnd attributes
		keyEnd.bytes(unix.NFTA_DATA_VALUE, e.keyEnd...)
		a.nested(elementKeyEnd, keyEnd)
	}
	if e.openEnded {
		a.bytes(unix.NFTA_SET_ELEM_USERDATA, binary.NativeEndian.AppendUint32([]byte{elementFlags, 4}, elementOpenEnded)...)
	}
	return a
}

// maxElements is how many bytes of elements one message holds; the attribute
// around them cannot be longer than 64 KiB.
const maxElements = 60000

// addElements returns the attributes of the messages that fill the set.
func (s *lookupSet) addElements(table string, list []element) []attributes {
	var out []attributes
	var chunk attributes
	flush := func() {
		var a attributes
		a.text(unix.NFTA_SET_ELEM_LIST_TABLE, table)
		a.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
		a.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, s.id)
		a.nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, chunk)
		out = append(out, a)
		chunk = nil
	}
	for _, e := range list {
		chunk.nested(unix.NFTA_LIST_ELEM, e.attributes())
		if len(chunk) > maxElements {
			flush()
		}
	}
	if len(chunk) > 0 {
		flush()
	}
	return out
}
