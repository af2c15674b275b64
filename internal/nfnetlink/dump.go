package nfnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Table names a table: its NFPROTO_* family and its name.
type Table struct {
	Family uint8
	Name   string
}

// TableOf returns the table that a message is about. In every message of
// nf_tables attribute 1 is the name of the table.
func TableOf(m netlink.Message) Table {
	return Table{Family(m), FindString(Attributes(m), unix.NFTA_TABLE_NAME)}
}

// A Dump is a ruleset as the kernel gave it out, in raw messages: tables,
// chains, sets, objects, flowtables, elements, rules. All of it is of one
// generation. Elements of sets that packets change are as they were at some
// time while the dump ran.
type Dump struct {
	Generation uint32
	Messages   []netlink.Message
}

// Only returns the dump's messages about the given tables.
func (d *Dump) Only(tables ...Table) []netlink.Message {
	var messages []netlink.Message
	for _, m := range d.Messages {
		if slices.Contains(tables, TableOf(m)) {
			messages = append(messages, m)
		}
	}
	return messages
}

// Tables returns the tables of the dump, in the kernel's order.
func (d *Dump) Tables() []Table {
	var tables []Table
	for _, m := range d.Messages {
		if kind, _ := Kind(m); kind == unix.NFT_MSG_NEWTABLE {
			tables = append(tables, TableOf(m))
		}
	}
	return tables
}

// ErrUnstable is returned when others changed the ruleset at every attempt to
// read it.
var ErrUnstable = errors.New("the ruleset kept changing while it was read")

// errTorn ends one attempt.
var errTorn = errors.New("the ruleset changed while it was read")

// dumpAttempts bounds the attempts to read a ruleset that others change.
const dumpAttempts = 20

// DumpRuleset reads the ruleset of the socket's namespace: of the given tables,
// or of all without. A dump during which anyone committed is thrown away and
// begun again; after 20 attempts the error is [ErrUnstable].
//
// Kernel: nf_tables_api.c; nfgenmsg.res_id carries the low half of the
// generation, NLM_F_DUMP_INTR marks a dump that changed under way.
func DumpRuleset(c *Conn, tables ...Table) (*Dump, error) {
	for attempt := range dumpAttempts {
		d, err := dumpOnce(c, tables)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, errTorn) {
			return nil, fmt.Errorf("read the ruleset: %w", err)
		}
		time.Sleep(time.Duration(attempt) * time.Millisecond)
	}
	return nil, fmt.Errorf("read the ruleset: %w", ErrUnstable)
}

func dumpOnce(c *Conn, tables []Table) (*Dump, error) {
	generation, err := Generation(c)
	if err != nil {
		return nil, err
	}
	d := &Dump{Generation: generation}
	wanted := func(m netlink.Message) bool {
		return len(tables) == 0 || slices.Contains(tables, TableOf(m))
	}
	dump := func(kind int, family uint8, attrs []byte) error {
		messages, err := c.dump(kind, family, attrs, generation)
		for _, m := range messages {
			if wanted(m) {
				d.Messages = append(d.Messages, m)
			}
		}
		return err
	}
	for _, kind := range []int{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETOBJ, unix.NFT_MSG_GETFLOWTABLE} {
		if err := dump(kind, unix.AF_UNSPEC, nil); err != nil {
			return nil, err
		}
	}
	for _, m := range slices.Clone(d.Messages) {
		if kind, _ := Kind(m); kind != unix.NFT_MSG_NEWSET {
			continue
		}
		if !wanted(m) {
			continue
		}
		elements, err := c.dumpSet(m, generation)
		if err != nil {
			return nil, err
		}
		d.Messages = append(d.Messages, elements...)
	}
	if len(tables) == 0 {
		err = dump(unix.NFT_MSG_GETRULE, unix.AF_UNSPEC, nil)
	}
	for _, t := range d.Tables() {
		if err == nil && len(tables) > 0 {
			err = dump(unix.NFT_MSG_GETRULE, t.Family, AppendString(nil, unix.NFTA_RULE_TABLE, t.Name))
		}
	}
	if err != nil {
		return nil, err
	}
	after, err := Generation(c)
	if err != nil {
		return nil, err
	}
	if after != generation {
		return nil, errTorn
	}
	return d, nil
}

// dump sends one dump request and returns the messages of the answer.
func (c *Conn) dump(kind int, family uint8, attrs []byte, generation uint32) ([]netlink.Message, error) {
	replies, err := c.request(request(kind, netlink.Request|netlink.Dump, family, attrs))
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR):
		return nil, errTorn // what was listed a moment ago is gone
	case err != nil:
		return nil, err
	}
	messages := replies[:0]
	for _, m := range replies {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return nil, errTorn
		}
		if _, ok := Kind(m); !ok || len(m.Data) < headerLen {
			continue
		}
		if binary.BigEndian.Uint16(m.Data[2:]) != uint16(generation) {
			return nil, errTorn
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// smallSet is a number of elements for which no hash table grows.
const smallSet = 32

// dumpSet reads the elements of a set. A hash table that grows while it is
// read, as it does for some time after many elements were added, gives out
// elements twice and others not at all, and nothing in the dump says so.
//
// Kernel: net/netfilter/nft_set_hash.c, nft_rhash_walk.
func (c *Conn) dumpSet(set netlink.Message, generation uint32) ([]netlink.Message, error) {
	attrs := Attributes(set)
	request := AppendString(nil, unix.NFTA_SET_ELEM_LIST_TABLE, TableOf(set).Name)
	request = AppendString(request, unix.NFTA_SET_ELEM_LIST_SET, FindString(attrs, unix.NFTA_SET_NAME))
	flags := number(attrs, unix.NFTA_SET_FLAGS)
	// Of a set that packets or time change, an element that is there twice is
	// all that can tell.
	moving := flags&(unix.NFT_SET_TIMEOUT|unix.NFT_SET_EVAL) != 0
	count := Find(attrs, setCount)
	var last map[string]bool
	for attempt := range dumpAttempts {
		messages, err := c.dump(unix.NFT_MSG_GETSETELEM, Family(set), request, generation)
		if err != nil || flags&unix.NFT_SET_INTERVAL != 0 {
			return messages, err
		}
		keys, twice := elementKeys(messages)
		counted := count != nil && len(keys) == int(number(attrs, setCount))
		if !twice && (moving || len(keys) < smallSet || counted || maps.Equal(keys, last)) {
			return messages, nil
		}
		last = keys
		time.Sleep(time.Duration(attempt) * 5 * time.Millisecond)
	}
	return nil, errTorn
}

// elementKeys returns the keys of a set's elements, and whether one is there
// twice.
func elementKeys(messages []netlink.Message) (keys map[string]bool, twice bool) {
	keys = map[string]bool{}
	for _, m := range messages {
		for _, e := range parseAttributes(Find(Attributes(m), unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			attrs := parseAttributes(e.Data)
			key := string(Find(attrs, unix.NFTA_SET_ELEM_KEY))
			if Find(attrs, unix.NFTA_SET_ELEM_KEY) == nil {
				continue // the element for all other keys is not of the hash
			}
			twice = twice || keys[key]
			keys[key] = true
		}
	}
	return keys, twice
}
