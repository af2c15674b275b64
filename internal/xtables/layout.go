package xtables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Sizes of what the families have in common, with their names in x_tables.h.
const (
	nameSize           = 32 // XT_TABLE_MAXNAMELEN
	counterSize        = 16 // struct xt_counters
	extensionSize      = 32 // struct xt_entry_match, struct xt_entry_target
	extensionNameAt    = 2
	extensionNameSize  = 29 // XT_EXTENSION_MAXNAMELEN
	extensionRevision  = 31
	standardTargetSize = 40 // struct xt_standard_target
	errorTargetSize    = 64 // struct xt_error_target
	errorTarget        = "ERROR"
	entriesAt          = 40 // struct ipt_get_entries
	countersAt         = 40 // struct xt_counters_info
	maxSize            = 512 << 20
)

// Verdicts of a standard target that are policies: -NF_DROP-1 and -NF_ACCEPT-1.
const (
	drop   = -1
	accept = -2
)

// A layout is where things are in the structures of one family.
type layout struct {
	word  string // in "iptables", and in ip_tables_names
	level int    // of the socket options
	base  int    // number of the first one
	hooks int
	// Offsets in struct ipt_entry, and its size. The next two bytes after
	// target_offset are next_offset.
	target, comefrom, counters, entry int
	// match is whether an entry can have matches.
	match bool
}

var layouts = map[uint8]*layout{
	unix.NFPROTO_IPV4: {word: "ip", level: unix.SOL_IP, base: 64, hooks: 5, target: 88, comefrom: 92, counters: 96, entry: 112, match: true},
	unix.NFPROTO_IPV6: {word: "ip6", level: unix.SOL_IPV6, base: 64, hooks: 5, target: 140, comefrom: 144, counters: 152, entry: 168, match: true},
	unix.NFPROTO_ARP:  {word: "arp", level: unix.SOL_IP, base: 96, hooks: 3, target: 164, comefrom: 168, counters: 176, entry: 192},
}

// infoSize is that of struct ipt_getinfo.
func (l *layout) infoSize() int { return nameSize + 4 + 8*l.hooks + 8 }

// replaceSize is that of struct ipt_replace; the pointer to the counters is its
// last member.
func (l *layout) replaceSize() int { return align(nameSize+12+8*l.hooks+4) + 8 }

func align(n int) int { return (n + 7) &^ 7 }

// An entry is one of a table: a rule, a policy, or the name of a chain.
type entry struct {
	at    int    // in the table
	bytes []byte // shares the table's memory
	l     *layout
	// targetAt is where the target starts in bytes.
	targetAt int
}

// An extension is a match or a target of an entry.
type extension struct {
	target   bool
	name     string
	revision uint8
	data     []byte // shares the table's memory
}

// walk calls f for each entry, and fails when the bytes are not entries one
// after the other.
func (l *layout) walk(entries []byte, f func(e entry) error) error {
	for at := 0; at < len(entries); {
		rest := entries[at:]
		if len(rest) < l.entry+extensionSize {
			return fmt.Errorf("entry at %d: %d bytes are left, fewer than an entry has", at, len(rest))
		}
		target, next := int(native.Uint16(rest[l.target:])), int(native.Uint16(rest[l.target+2:]))
		if target < l.entry || next < target+extensionSize || next > len(rest) || next%8 != 0 {
			return fmt.Errorf("entry at %d: its target at %d and its end at %d do not fit", at, target, next)
		}
		e := entry{at: at, bytes: rest[:next:next], l: l, targetAt: target}
		if err := e.each(func(extension) error { return nil }); err != nil {
			return fmt.Errorf("entry at %d: %w", at, err)
		}
		if err := f(e); err != nil {
			return err
		}
		at += next
	}
	return nil
}

// each calls f for each match and for the target.
func (e entry) each(f func(x extension) error) error {
	for at := e.l.entry; at < e.targetAt; {
		size := int(native.Uint16(e.bytes[at:]))
		if !e.l.match || size < extensionSize || at+size > e.targetAt {
			return fmt.Errorf("a match of %d bytes at %d does not fit", size, at)
		}
		if err := f(newExtension(e.bytes[at:at+size], false)); err != nil {
			return err
		}
		if at += size; at < e.targetAt && e.targetAt-at < extensionSize {
			return fmt.Errorf("%d bytes are between its matches and its target", e.targetAt-at)
		}
	}
	if size := int(native.Uint16(e.bytes[e.targetAt:])); size != len(e.bytes)-e.targetAt {
		return fmt.Errorf("a target of %d bytes does not fit", size)
	}
	t := e.targetExtension()
	if t.name == "" && len(t.data) < 4 {
		return errors.New("a standard target has no verdict")
	}
	return f(t)
}

func newExtension(b []byte, target bool) extension {
	name := b[extensionNameAt : extensionNameAt+extensionNameSize]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return extension{target: target, name: string(name), revision: b[extensionRevision], data: b[extensionSize:]}
}

func (e entry) targetExtension() extension { return newExtension(e.bytes[e.targetAt:], true) }

// counter is the counter of the entry: packets, then bytes.
func (e entry) counter() []byte { return e.bytes[e.l.counters : e.l.counters+counterSize] }

// policyAt returns the verdict of the policy at an offset of a valid table, as
// the bytes that hold it.
func (l *layout) policyAt(entries []byte, at uint32) []byte {
	verdict := int(at) + int(native.Uint16(entries[int(at)+l.target:])) + extensionSize
	return entries[verdict : verdict+4]
}

// check says what is wrong with a table.
func (t *Table) check() error {
	l := layouts[t.family]
	switch {
	case l == nil:
		return fmt.Errorf("family %d has no tables of xtables", t.family)
	case t.name == "" || len(t.name) >= nameSize:
		return fmt.Errorf("%q is no name of a table", t.name)
	case len(t.entries) > maxSize:
		return fmt.Errorf("a table of %d bytes is larger than the kernel takes", len(t.entries))
	case t.hooks == 0 || t.hooks >= 1<<l.hooks:
		return fmt.Errorf("hooks %#x are none of the family", t.hooks)
	}
	var starts, policies []uint32
	count, last := uint32(0), ""
	err := l.walk(t.entries, func(e entry) error {
		count++
		x := e.targetExtension()
		last = x.name
		starts = append(starts, uint32(e.at))
		if v := int32(0); x.name == "" && e.targetAt == l.entry {
			if v = int32(native.Uint32(x.data)); v == drop || v == accept {
				policies = append(policies, uint32(e.at))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if count != t.count || last != errorTarget {
		return fmt.Errorf("%d entries and the last one with target %q, want %d and %q", count, last, t.count, errorTarget)
	}
	for hook := range l.hooks {
		if t.hooks&(1<<hook) == 0 {
			continue
		}
		if _, ok := slices.BinarySearch(starts, t.start[hook]); !ok {
			return fmt.Errorf("hook %d starts at %d, where no entry does", hook, t.start[hook])
		}
		if _, ok := slices.BinarySearch(policies, t.policy[hook]); !ok {
			return fmt.Errorf("hook %d has its policy at %d, where none is", hook, t.policy[hook])
		}
	}
	return nil
}
