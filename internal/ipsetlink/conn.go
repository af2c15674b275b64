package ipsetlink

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
)

// ErrUnsupported is wrapped when the kernel has no ipset at all, and so no sets.
var ErrUnsupported = errors.New("the kernel has no ipset")

// Numbers of the protocol, with their names in ip_set.h.
const (
	subsystem      = 6 // NFNL_SUBSYS_IPSET
	commandCreate  = 2
	commandDestroy = 3
	commandRename  = 5
	commandSwap    = 6
	commandSave    = 8
	commandAdd     = 9
	// protocol is what all kernels answer: older ones want this number, newer
	// ones at least this one (IPSET_PROTOCOL_MIN).
	protocol = 6
	// headerSize is that of struct nfgenmsg.
	headerSize = 4
	// readSize is the most that the kernel puts into one read of a dump.
	readSize = 32 << 10
	// errBase is the first error number of ipset's own (IPSET_ERR_PRIVATE).
	errBase = 4096
)

// temporary is the name under which a set is made, before it gets its own. One
// can stay behind after a crash; the next Put removes it.
const temporary = "nftmigrate-new"

// A Conn is the sets of one network namespace. It is not safe for concurrent use.
type Conn struct {
	nl    *netlink.Conn
	inode uint64
}

// Dial opens a socket in a namespace, where it stays.
func Dial(ns *netns.NS) (*Conn, error) {
	c := &Conn{inode: ns.Inode()}
	err := ns.Do(func() (err error) {
		c.nl, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: readSize})
		return err
	})
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reach the sets of the kernel: %w", err)
	}
	return c, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return c.nl.Close() }

// Read returns all sets of the namespace. The kernel gives no lock on sets: what
// is added or deleted in the meantime may be there or not. It needs
// CAP_NET_ADMIN; without, the error wraps EPERM.
func (c *Conn) Read() ([]*Set, error) {
	m := message(commandSave, netlink.Dump, nil)
	messages, err := c.nl.Execute(m)
	switch {
	case errors.Is(err, unix.EINVAL):
		return nil, fmt.Errorf("read the sets of the kernel: %w: %w", ErrUnsupported, err)
	case err != nil:
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	sets, err := setsOf(messages)
	if err != nil {
		return nil, fmt.Errorf("read the sets of the kernel: %w", err)
	}
	return sets, nil
}

// Put makes a set what it was, with its elements, their counters and what is left
// of their timeouts. Rules that mean a set of that name go on meaning it; they see
// the old one or the new one as a whole. The members of a list of sets must be
// there.
func (c *Conn) Put(s *Set) error {
	if err := c.put(s); err != nil {
		return fmt.Errorf("make set %q again: %w", s.Name, err)
	}
	return nil
}

func (c *Conn) put(s *Set) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := c.checkNamespace(); err != nil {
		return err
	}
	if err := c.destroy(temporary); err != nil {
		return err
	}
	b := appendString(nil, attrSetName, temporary)
	b = appendString(b, attrTypeName, s.Type)
	b = appendAttribute(b, attrRevision, []byte{s.Revision})
	b = appendAttribute(b, attrFamily, []byte{s.Family})
	b = appendAttribute(b, attrData|nestedFlag, appendAsTaken(nil, s.Header, attrElements, attrReferences, attrMemSize))
	if err := c.send(commandCreate, b); err != nil {
		return fmt.Errorf("create it: %w", err)
	}
	for _, list := range s.Elements {
		var adt, element []byte
		walk(list, func(e attribute) error {
			element = appendAsTaken(element[:0], e.value, elemPad)
			adt = appendAttribute(adt, attrData|nestedFlag, element)
			return nil
		})
		b := appendString(nil, attrSetName, temporary)
		b = appendAttribute(b, attrADT|nestedFlag, adt)
		b = appendAttribute(b, attrLine, make([]byte, 4))
		if err := c.send(commandAdd, b); err != nil {
			return fmt.Errorf("add its elements: %w", err)
		}
	}
	return c.rename(s.Name)
}

// rename gives the temporary set its name, in exchange with a set that has it.
func (c *Conn) rename(name string) error {
	sets := appendString(appendString(nil, attrSetName, temporary), attrSetName2, name)
	err := c.send(commandRename, sets)
	if !errors.Is(err, unix.EEXIST) && !isSetError(err, errNameExists) {
		return err
	}
	if err := c.send(commandSwap, sets); err != nil {
		return fmt.Errorf("exchange it with the one that is there: %w", err)
	}
	return c.destroy(temporary)
}

// destroy destroys a set. One that is not there is no error.
func (c *Conn) destroy(name string) error {
	err := c.send(commandDestroy, appendString(nil, attrSetName, name))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove set %q: %w", name, err)
	}
	return nil
}

func (c *Conn) send(command uint16, attributes []byte) error {
	_, err := c.nl.Execute(message(command, netlink.Acknowledge, attributes))
	return explain(err)
}

func message(command uint16, flags netlink.HeaderFlags, attributes []byte) netlink.Message {
	b := appendAttribute(make([]byte, headerSize), attrProtocol, []byte{protocol})
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(subsystem<<8 | command), Flags: netlink.Request | flags},
		Data:   append(b, attributes...),
	}
}

// Error numbers of ipset's own, as far as they can come up here.
//
// Kernel: enum ipset_errno.
const (
	errNameExists   = 4101
	errTypeMismatch = 4102
)

var setErrors = map[unix.Errno]string{
	4098:            "the kernel does not know this type of set",
	4099:            "the kernel has as many sets as it can have",
	4100:            "the set is in use",
	errNameExists:   "a set of that name is there",
	errTypeMismatch: "the set that is there is of another type",
	4103:            "an element is there twice",
	4108:            "the set is in use",
}

func isSetError(err error, number unix.Errno) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && errno == number
}

// explain says what an error number of ipset's own means.
func explain(err error) error {
	var errno unix.Errno
	if err == nil || !errors.As(err, &errno) || errno < errBase {
		return err
	}
	if meaning := setErrors[errno]; meaning != "" {
		return fmt.Errorf("%s: %w", meaning, errno)
	}
	return fmt.Errorf("ipset error %d: %w", int(errno), errno)
}

// checkNamespace makes sure that the socket is where it is meant to be.
func (c *Conn) checkNamespace() error {
	raw, err := c.nl.SyscallConn()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	ctlErr := raw.Control(func(fd uintptr) {
		var handle int
		if handle, err = unix.IoctlRetInt(int(fd), unix.SIOCGSKNS); err == nil {
			err = unix.Fstat(handle, &st)
			unix.Close(handle)
		}
	})
	if err = errors.Join(err, ctlErr); err != nil {
		return fmt.Errorf("identify the network namespace of a socket: %w", err)
	}
	if st.Ino != c.inode {
		return fmt.Errorf("the socket is in network namespace %d, want %d", st.Ino, c.inode)
	}
	return nil
}
