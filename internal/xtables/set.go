package xtables

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// noSet is how a target says that it means no set.
//
// Kernel: IPSET_INVALID_ID.
const noSet = math.MaxUint16

// Numbers and sizes of the socket option of ipset.
//
// Kernel: include/uapi/linux/netfilter/ipset/ip_set.h, struct
// ip_set_req_get_set.
const (
	setOption      = 83 // SO_IP_SET
	setByName      = 6  // IP_SET_OP_GET_BYNAME
	setByIndex     = 7  // IP_SET_OP_GET_BYINDEX
	setVersion     = 0x100
	setRequestSize = 8 + nameSize
)

// SetsAt returns where in the data of a match or target the numbers of sets are,
// 16 bits each, in the machine's byte order. Extensions other than "set" and "SET"
// have none.
//
// Kernel: include/uapi/linux/netfilter/xt_set.h.
func SetsAt(target bool, name string, revision uint8, data []byte) []int {
	var at []int
	switch {
	case !target && name == "set":
		at = []int{0}
	case target && name == "SET" && revision == 0:
		at = []int{0, 32}
	case target && name == "SET" && revision < 3:
		at = []int{0, 4}
	case target && name == "SET":
		at = []int{0, 4, 8}
	}
	for i, offset := range at {
		if offset+2 > len(data) {
			return at[:i]
		}
	}
	return at
}

// SetName returns the name of the set that has a number in the namespace of the
// connection.
func (c *Conn) SetName(index uint16) (string, error) {
	request, err := c.setRequest(setByIndex)
	if err != nil {
		return "", fmt.Errorf("name set number %d: %w", index, err)
	}
	native.PutUint16(request[8:], index)
	if err := c.get(unix.NFPROTO_IPV4, unix.SOL_IP, setOption, request); err != nil {
		return "", fmt.Errorf("name set number %d: %w", index, err)
	}
	name := text(request[8:])
	if name == "" {
		return "", fmt.Errorf("name set number %d: there is none", index)
	}
	return name, nil
}

// SetIndex returns the number that a set has in the namespace of the connection.
// The error wraps unix.ENOENT when there is no such set.
func (c *Conn) SetIndex(name string) (uint16, error) {
	request, err := c.setRequest(setByName)
	if err != nil {
		return 0, fmt.Errorf("find set %q: %w", name, err)
	}
	if len(name) >= nameSize {
		return 0, fmt.Errorf("find set %q: no name of a set", name)
	}
	copy(request[8:], name)
	if err := c.get(unix.NFPROTO_IPV4, unix.SOL_IP, setOption, request); err != nil {
		return 0, fmt.Errorf("find set %q: %w", name, err)
	}
	index := native.Uint16(request[8:])
	if index == noSet {
		return 0, fmt.Errorf("find set %q: %w", name, unix.ENOENT)
	}
	return index, nil
}

// setRequest returns a request in the version of the protocol that the kernel
// speaks.
func (c *Conn) setRequest(operation uint32) ([]byte, error) {
	version := make([]byte, 8)
	native.PutUint32(version, setVersion)
	if err := c.get(unix.NFPROTO_IPV4, unix.SOL_IP, setOption, version); err != nil {
		if errors.Is(err, unix.ENOPROTOOPT) {
			err = fmt.Errorf("the kernel has no ipset: %w", err)
		}
		return nil, err
	}
	request := make([]byte, setRequestSize)
	native.PutUint32(request, operation)
	copy(request[4:8], version[4:])
	return request, nil
}

// nameSets finds out the names of the sets that a table means.
func (c *Conn) nameSets(t *Table) error {
	t.sets = map[uint16]string{}
	var err error
	t.eachSet(t.entries, func(_ extension, index []byte) {
		n := native.Uint16(index)
		if t.sets[n] == "" && err == nil {
			t.sets[n], err = c.SetName(n)
		}
	})
	return err
}

// withSets returns a table whose entries mean sets by the numbers that they have
// now.
func (c *Conn) withSets(t *Table) (*Table, error) {
	w := *t
	w.entries, w.sets = append([]byte(nil), t.entries...), map[uint16]string{}
	var err error
	numbers := map[string]uint16{}
	w.eachSet(w.entries, func(_ extension, index []byte) {
		name := t.sets[native.Uint16(index)]
		n, ok := numbers[name]
		if !ok && err == nil {
			n, err = c.SetIndex(name)
			numbers[name] = n
		}
		native.PutUint16(index, n)
		w.sets[n] = name
	})
	if err != nil {
		return nil, err
	}
	return &w, nil
}
