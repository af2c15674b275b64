package xtables

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// maxHooks is NF_INET_NUMHOOKS.
const maxHooks = 5

// A Table is one table as the kernel keeps it. It does not change; the functions
// that change something return another one.
type Table struct {
	family  uint8
	name    string
	hooks   uint32 // bit mask
	start   [maxHooks]uint32
	policy  [maxHooks]uint32 // where the entries with the policies are
	count   uint32
	entries []byte
	// sets are the names of the sets that entries mean by numbers.
	sets map[uint16]string
}

// A Policy is what becomes of packets that no rule of a built-in chain decided.
type Policy int32

// The policies there are.
const (
	Drop   Policy = drop
	Accept Policy = accept
)

// String returns the policy as iptables writes it.
func (p Policy) String() string {
	if p == Accept {
		return "ACCEPT"
	}
	return "DROP"
}

// hookChains are the built-in chains, by hook.
var hookChains = map[uint8][]string{
	unix.NFPROTO_IPV4: {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	unix.NFPROTO_IPV6: {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	unix.NFPROTO_ARP:  {"INPUT", "OUTPUT", "FORWARD"},
}

// A ChainPolicy is the policy of a built-in chain.
type ChainPolicy struct {
	Chain  string
	Policy Policy
}

// Family returns the NFPROTO_* number.
func (t *Table) Family() uint8 { return t.family }

// Name returns the name: "filter".
func (t *Table) Name() string { return t.name }

// String is "ip filter".
func (t *Table) String() string { return layouts[t.family].word + " " + t.name }

// Policies returns the policies of the built-in chains.
func (t *Table) Policies() []ChainPolicy {
	var all []ChainPolicy
	for hook := range layouts[t.family].hooks {
		if t.hooks&(1<<hook) != 0 {
			verdict := int32(native.Uint32(layouts[t.family].policyAt(t.entries, t.policy[hook])))
			all = append(all, ChainPolicy{hookChains[t.family][hook], Policy(verdict)})
		}
	}
	return all
}

// Size returns how many rules the table has, and how many chains beside the
// built-in ones.
func (t *Table) Size() (rules, chains int) {
	policies, names := len(t.Policies()), 0
	t.each(func(e entry) error {
		if e.targetExtension().name == errorTarget {
			names++
		}
		return nil
	})
	// A chain has an entry with its name before its rules, and a return after
	// them; the last entry of a table is a name, too.
	return int(t.count) - policies - 2*(names-1) - 1, names - 1
}

// Idle reports whether the table decides nothing: no rules, and all policies
// accept.
func (t *Table) Idle() bool {
	rules, _ := t.Size()
	return rules == 0 && !slices.ContainsFunc(t.Policies(), func(p ChainPolicy) bool { return p.Policy != Accept })
}

// Sets returns the names of the sets of ipset that rules mean, sorted.
func (t *Table) Sets() []string { return slices.Compact(slices.Sorted(maps.Values(t.sets))) }

// Filled returns the names of the sets that rules add to or delete from, sorted.
func (t *Table) Filled() []string {
	var names []string
	t.eachSet(t.entries, func(x extension, index []byte) {
		if x.target {
			names = append(names, t.sets[native.Uint16(index)])
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Extensions returns the names of the matches and targets in use, sorted, without
// the standard target and the names of chains.
func (t *Table) Extensions() (matches, targets []string) {
	t.each(func(e entry) error {
		return e.each(func(x extension) error {
			switch {
			case !x.target:
				matches = append(matches, x.name)
			case x.name != "" && x.name != errorTarget:
				targets = append(targets, x.name)
			}
			return nil
		})
	})
	slices.Sort(matches)
	slices.Sort(targets)
	return slices.Compact(matches), slices.Compact(targets)
}

// Empty returns a table with the same built-in chains, without rules and other
// chains, in which all policies accept: what iptables-restore makes of a table
// that it is given without rules.
func Empty(t *Table) *Table {
	l := layouts[t.family]
	e := &Table{family: t.family, name: t.name, hooks: t.hooks}
	for hook := range l.hooks {
		if t.hooks&(1<<hook) == 0 {
			continue
		}
		e.start[hook], e.policy[hook] = uint32(len(e.entries)), uint32(len(e.entries))
		policy := l.newEntry(standardTargetSize, "")
		verdict := int32(accept)
		native.PutUint32(policy[l.entry+extensionSize:], uint32(verdict))
		e.entries = append(e.entries, policy...)
		e.count++
	}
	last := l.newEntry(errorTargetSize, errorTarget)
	copy(last[l.entry+extensionSize:], errorTarget)
	e.entries = append(e.entries, last...)
	e.count++
	return e
}

func (l *layout) newEntry(targetSize int, name string) []byte {
	b := make([]byte, l.entry+targetSize)
	native.PutUint16(b[l.target:], uint16(l.entry))
	native.PutUint16(b[l.target+2:], uint16(len(b)))
	native.PutUint16(b[l.entry:], uint16(targetSize))
	copy(b[l.entry+extensionNameAt:], name)
	return b
}

// Policies returns a table with the same rules and counters, in which all
// policies are the given one.
func Policies(t *Table, p Policy) *Table {
	c := *t
	c.entries = slices.Clone(t.entries)
	for hook := range maxHooks {
		if t.hooks&(1<<hook) != 0 {
			native.PutUint32(layouts[t.family].policyAt(c.entries, t.policy[hook]), uint32(p))
		}
	}
	return &c
}

// Fingerprint identifies what the table does with packets: its rules and
// policies, without counters. Sets count by their names.
func (t *Table) Fingerprint() [sha256.Size]byte {
	b := sha256.New()
	fmt.Fprintf(b, "%d %q %#x %d %d %d\n", t.family, t.name, t.hooks, t.start, t.policy, t.count)
	entries := t.bare()
	t.eachSet(entries, func(_ extension, index []byte) {
		fmt.Fprintf(b, "%q\n", t.sets[native.Uint16(index)])
		native.PutUint16(index, 0)
	})
	b.Write(entries)
	return [sha256.Size]byte(b.Sum(nil))
}

// bare returns the entries without what packets change, and without the mark
// that the kernel leaves when it looks for loops.
func (t *Table) bare() []byte {
	c := &Table{family: t.family, entries: slices.Clone(t.entries)}
	l := layouts[t.family]
	c.each(func(e entry) error {
		clear(e.counter())
		clear(e.bytes[l.comefrom : l.comefrom+4])
		return nil
	})
	return c.entries
}

// Equal reports whether two tables do the same, by their fingerprints.
func (t *Table) Equal(o *Table) bool { return t.Fingerprint() == o.Fingerprint() }

// sameRules reports whether two tables are alike but for policies and counters.
func (t *Table) sameRules(o *Table) bool {
	return t.count == o.count && Policies(t, Accept).Equal(Policies(o, Accept))
}

// counters returns the counters of all entries, as struct xt_counters.
func (t *Table) counters() []byte {
	var all []byte
	t.each(func(e entry) error {
		all = append(all, e.counter()...)
		return nil
	})
	return all
}

// CountsLess reports whether a counter of the table is smaller than that of
// another with the same rules: it was replaced, and its counters were not put
// back.
func (t *Table) CountsLess(o *Table) bool {
	a, b := t.counters(), o.counters()
	for i := 0; i < min(len(a), len(b)); i += 8 {
		if native.Uint64(a[i:]) < native.Uint64(b[i:]) {
			return true
		}
	}
	return false
}

// each calls f for each entry of a table that was checked.
func (t *Table) each(f func(e entry) error) { layouts[t.family].walk(t.entries, f) }

// eachSet calls f for each mention of a set in entries that were checked, with
// the bytes of its number.
func (t *Table) eachSet(entries []byte, f func(x extension, index []byte)) {
	layouts[t.family].walk(entries, func(e entry) error {
		return e.each(func(x extension) error {
			for _, at := range SetsAt(x.target, x.name, x.revision, x.data) {
				if index := x.data[at : at+2]; native.Uint16(index) != noSet {
					f(x, index)
				}
			}
			return nil
		})
	})
}

// The form of a table in a file: all numbers big-endian but for those inside of
// entries, which are in the byte order that is noted.
const (
	magic         = "xtables\x01"
	fixedSize     = len(magic) + 4 + nameSize + 4 + 8*maxHooks + 8
	setRecordSize = 2 + nameSize
)

func byteOrder() byte {
	if native.Uint16([]byte{1, 0}) == 1 {
		return 'l'
	}
	return 'b'
}

// MarshalBinary returns the table as bytes that [Unmarshal] reads, on a machine
// of the same byte order.
func (t *Table) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, fixedSize+len(t.entries))
	b = append(append(b, magic...), byteOrder(), t.family, 0, 0)
	b = append(b, padded(t.name)...)
	b = binary.BigEndian.AppendUint32(b, t.hooks)
	for _, n := range slices.Concat(t.start[:], t.policy[:], []uint32{t.count, uint32(len(t.entries))}) {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(b, t.entries...)
	for _, index := range slices.Sorted(maps.Keys(t.sets)) {
		b = binary.BigEndian.AppendUint16(b, index)
		b = append(b, padded(t.sets[index])...)
	}
	return b, nil
}

// Unmarshal reads a table that MarshalBinary wrote. Bytes that are no table give
// an error.
func Unmarshal(b []byte) (*Table, error) {
	if len(b) < fixedSize || string(b[:len(magic)]) != magic {
		return nil, errors.New("read a table of xtables: not one")
	}
	if order := b[len(magic)]; order != byteOrder() {
		return nil, errors.New("read a table of xtables: it is of a machine with another byte order")
	}
	t := &Table{family: b[len(magic)+1], sets: map[uint16]string{}}
	numbers := b[len(magic)+4+nameSize : fixedSize]
	next := func() (n uint32) {
		n, numbers = binary.BigEndian.Uint32(numbers), numbers[4:]
		return n
	}
	t.name = text(b[len(magic)+4:][:nameSize])
	t.hooks = next()
	for _, list := range []*[maxHooks]uint32{&t.start, &t.policy} {
		for hook := range list {
			list[hook] = next()
		}
	}
	t.count = next()
	size, rest := int64(next()), b[fixedSize:]
	if size > int64(len(rest)) || (int64(len(rest))-size)%setRecordSize != 0 {
		return nil, errors.New("read a table of xtables: it is cut off")
	}
	t.entries, rest = slices.Clone(rest[:size]), rest[size:]
	for ; len(rest) > 0; rest = rest[setRecordSize:] {
		t.sets[binary.BigEndian.Uint16(rest)] = text(rest[2:setRecordSize])
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("read a table of xtables: %w", err)
	}
	var unnamed error
	t.eachSet(t.entries, func(_ extension, index []byte) {
		if n := native.Uint16(index); t.sets[n] == "" {
			unnamed = fmt.Errorf("read a table of xtables: set number %d has no name", n)
		}
	})
	if unnamed != nil {
		return nil, unnamed
	}
	return t, nil
}

func padded(s string) []byte { return append([]byte(s), make([]byte, nameSize-len(s))...) }

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
