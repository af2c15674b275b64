package xtables

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// small is a table with two chains, one rule that means a set, and one that is
// not decided by a policy.
func small() *Table {
	t := Empty(&Table{family: unix.NFPROTO_IPV4, name: "filter", hooks: 1<<1 | 1<<3})
	l := layouts[t.family]
	rule := l.newEntry(standardTargetSize, "")
	match := make([]byte, 40)
	native.PutUint16(match, 40)
	copy(match[extensionNameAt:], "set")
	native.PutUint16(match[extensionSize:], 3)
	rule = slices.Insert(rule, l.entry, match...)
	native.PutUint16(rule[l.target:], uint16(l.entry+len(match)))
	native.PutUint16(rule[l.target+2:], uint16(len(rule)))
	t.entries = append(rule, t.entries...)
	t.count++
	for hook := range t.start {
		if t.hooks&(1<<hook) != 0 {
			t.start[hook] += uint32(len(rule))
			t.policy[hook] += uint32(len(rule))
		}
	}
	t.start[1] = 0
	t.sets = map[uint16]string{3: "hosts"}
	return t
}

func marshal(t *testing.T, table *Table) []byte {
	t.Helper()
	b, err := table.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMarshal(t *testing.T) {
	table := small()
	if err := table.check(); err != nil {
		t.Fatal(err)
	}
	again, err := Unmarshal(marshal(t, table))
	if err != nil {
		t.Fatal(err)
	}
	if !again.Equal(table) || !bytes.Equal(marshal(t, again), marshal(t, table)) {
		t.Error("a table that is read again is another")
	}
	if rules, chains := table.Size(); rules != 1 || chains != 0 || table.Idle() {
		t.Errorf("Size = %d, %d, idle %v; want one rule", rules, chains, table.Idle())
	}
}

// TestHostile plants what must not get to the kernel, or be followed.
func TestHostile(t *testing.T) {
	l := layouts[unix.NFPROTO_IPV4]
	header := len(magic) + 4 + nameSize
	entries := fixedSize
	for _, c := range []struct {
		name  string
		plant func(b []byte) []byte
	}{
		{"nothing", func([]byte) []byte { return nil }},
		{"another file", func(b []byte) []byte { b[0] = 'y'; return b }},
		{"another byte order", func(b []byte) []byte { b[len(magic)] = 'x'; return b }},
		{"a family without tables", func(b []byte) []byte { b[len(magic)+1] = unix.NFPROTO_BRIDGE; return b }},
		{"no name", func(b []byte) []byte { clear(b[len(magic)+4:][:nameSize]); return b }},
		{"a name without end", func(b []byte) []byte { copy(b[len(magic)+4:], strings.Repeat("x", nameSize)); return b }},
		{"no hooks", func(b []byte) []byte { binary.BigEndian.PutUint32(b[header:], 0); return b }},
		{"hooks that do not exist", func(b []byte) []byte { binary.BigEndian.PutUint32(b[header:], 1<<7); return b }},
		{"a hook that starts nowhere", func(b []byte) []byte { binary.BigEndian.PutUint32(b[header+8:], 7); return b }},
		{"a hook that starts behind the end", func(b []byte) []byte { binary.BigEndian.PutUint32(b[header+8:], 1<<31); return b }},
		{"a policy that is a rule", func(b []byte) []byte { binary.BigEndian.PutUint32(b[header+28:], 0); return b }},
		{"a wrong count", func(b []byte) []byte { b[header+47]++; return b }},
		{"cut in the header", func(b []byte) []byte { return b[:fixedSize-1] }},
		{"cut in the entries", func(b []byte) []byte { return b[:fixedSize+100] }},
		{"cut in the sets", func(b []byte) []byte { return b[:len(b)-1] }},
		{"a set without name", func(b []byte) []byte { return b[:len(b)-setRecordSize] }},
		{"a size that is too large", func(b []byte) []byte { binary.BigEndian.PutUint32(b[fixedSize-4:], 1<<31); return b }},
		{"a target before its entry", func(b []byte) []byte { native.PutUint16(b[entries+l.target:], 3); return b }},
		{"a target behind its entry", func(b []byte) []byte { native.PutUint16(b[entries+l.target:], 60000); return b }},
		{"an entry of no size", func(b []byte) []byte { native.PutUint16(b[entries+l.target+2:], 0); return b }},
		{"an entry behind the end", func(b []byte) []byte { native.PutUint16(b[entries+l.target+2:], 65528); return b }},
		{"a match of no size", func(b []byte) []byte { native.PutUint16(b[entries+l.entry:], 0); return b }},
		{"a match that is too large", func(b []byte) []byte { native.PutUint16(b[entries+l.entry:], 999); return b }},
		{"a target of another size", func(b []byte) []byte { native.PutUint16(b[entries+l.entry+40:], 48); return b }},
	} {
		if got, err := Unmarshal(c.plant(marshal(t, small()))); err == nil {
			t.Errorf("%s: taken for the table %s", c.name, got)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	table, _ := small().MarshalBinary()
	f.Add(table)
	f.Add(table[:fixedSize])
	for _, at := range []int{len(magic) + 1, fixedSize - 1, fixedSize + 88, fixedSize + 90, fixedSize + 112} {
		bad := slices.Clone(table)
		bad[at] ^= 0x41
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := Unmarshal(b)
		if err != nil {
			return
		}
		// What is taken can be used, and says the same when it is read again.
		table.Size()
		table.Idle()
		table.Filled()
		table.Extensions()
		if err := Empty(table).check(); err != nil {
			t.Errorf("emptied: %v", err)
		}
		if err := Policies(table, Accept).check(); err != nil {
			t.Errorf("with other policies: %v", err)
		}
		again, err := Unmarshal(marshal(t, table))
		if err != nil || !again.Equal(table) {
			t.Errorf("read again: %v", err)
		}
	})
}
