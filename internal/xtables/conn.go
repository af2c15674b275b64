package xtables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
)

// ErrUnsupported is wrapped when the kernel has no tables of a family: it was
// built without them, or their module is not loaded.
var ErrUnsupported = errors.New("the kernel has no legacy tables of this family")

// ErrNoTable is wrapped when a table is not registered.
var ErrNoTable = errors.New("the table is not registered")

// ErrChanged is wrapped when a table is no longer what it was.
var ErrChanged = errors.New("the table changed since it was read")

// attempts bounds how often something is tried again after others changed a
// table.
const attempts = 20

// A Conn is the legacy tables of one network namespace. It is not safe for
// concurrent use.
type Conn struct {
	ns      *netns.NS
	sockets map[uint8]int // by family; families that the kernel lacks are missing
}

// Dial opens sockets in a namespace; they stay there. It needs CAP_NET_RAW in the
// namespace, and everything else CAP_NET_ADMIN.
func Dial(ns *netns.NS) (*Conn, error) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return nil, errors.New("reach the legacy tables: a 32-bit program sees them in another layout; use a 64-bit one")
	}
	c := &Conn{ns: ns, sockets: map[uint8]int{}}
	err := ns.Do(func() error {
		for _, s := range []struct {
			family uint8
			domain int
		}{{unix.NFPROTO_IPV4, unix.AF_INET}, {unix.NFPROTO_IPV6, unix.AF_INET6}} {
			socket, err := unix.Socket(s.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			switch {
			case err == nil:
				c.sockets[s.family] = socket
			case !errors.Is(err, unix.EAFNOSUPPORT):
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("reach the legacy tables: %w", err)
	}
	return c, nil
}

// Close closes the sockets.
func (c *Conn) Close() error {
	var errs []error
	for _, s := range c.sockets {
		errs = append(errs, unix.Close(s))
	}
	c.sockets = map[uint8]int{}
	return errors.Join(errs...)
}

// Names returns the tables of a family that are registered in the namespace,
// sorted. It registers none. When the kernel has no tables of the family, the
// error wraps ErrUnsupported.
//
// Kernel: net/netfilter/x_tables.c, xt_proto_init.
func (c *Conn) Names(family uint8) ([]string, error) {
	l := layouts[family]
	if l == nil {
		return nil, fmt.Errorf("list the legacy tables: family %d: %w", family, ErrUnsupported)
	}
	var content []byte
	err := c.ns.Do(func() (err error) {
		const dir = "/proc/thread-self/net/"
		content, err = os.ReadFile(dir + l.word + "_tables_names")
		if errors.Is(err, fs.ErrNotExist) {
			// Every namespace has this one; without, nothing was learnt.
			if _, statErr := os.Stat(dir + "dev"); statErr == nil {
				err = fmt.Errorf("%w: %w", ErrUnsupported, err)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the legacy tables: %w", err)
	}
	names := strings.Fields(string(content))
	slices.Sort(names)
	return names, nil
}

// Read reads a table with its counters. When it is not registered the error
// wraps ErrNoTable, and it stays so.
func (c *Conn) Read(family uint8, name string) (*Table, error) {
	names, err := c.Names(family)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("read the legacy table %s %s: %w", layouts[family].word, name, ErrNoTable)
	}
	t, err := c.read(family, name)
	if err != nil {
		return nil, fmt.Errorf("read the legacy table %s %s: %w", layouts[family].word, name, err)
	}
	return t, nil
}

// read reads a table, registering it when it is not.
func (c *Conn) read(family uint8, name string) (*Table, error) {
	for range attempts {
		t, size, err := c.info(family, name)
		if err != nil {
			return nil, err
		}
		reply := make([]byte, entriesAt+size)
		copy(reply, name)
		native.PutUint32(reply[nameSize:], uint32(size))
		l := layouts[family]
		err = c.get(family, l.level, l.base+1, reply)
		if errors.Is(err, unix.EAGAIN) {
			continue // its size changed
		}
		if err != nil {
			return nil, err
		}
		t.entries = reply[entriesAt:]
		err = t.check()
		if err == nil {
			err = c.nameSets(t)
		}
		if err == nil {
			return t, nil
		}
		// Between the two answers another table of the same size can have
		// come; one that is still wrong then is none that we understand.
		if again, _, infoErr := c.info(family, name); infoErr == nil && again.sameInfo(t) {
			return nil, fmt.Errorf("the kernel's answer is not as expected: %w", err)
		}
	}
	return nil, ErrChanged
}

func (t *Table) sameInfo(o *Table) bool {
	return t.hooks == o.hooks && t.count == o.count && t.start == o.start && t.policy == o.policy
}

// info returns a table without entries, and the size that they have.
func (c *Conn) info(family uint8, name string) (t *Table, size int, err error) {
	l := layouts[family]
	if name == "" || len(name) >= nameSize {
		return nil, 0, fmt.Errorf("%q is no name of a table", name)
	}
	reply := make([]byte, l.infoSize())
	copy(reply, name)
	if err := c.get(family, l.level, l.base, reply); err != nil {
		return nil, 0, err
	}
	numbers := reply[nameSize:]
	next := func() (n uint32) {
		n, numbers = native.Uint32(numbers), numbers[4:]
		return n
	}
	t = &Table{family: family, name: name, hooks: next()}
	for hook := range l.hooks {
		t.start[hook] = next()
	}
	for hook := range l.hooks {
		t.policy[hook] = next()
	}
	t.count = next()
	if size = int(next()); size > maxSize {
		return nil, 0, fmt.Errorf("the kernel tells of a table of %d bytes", size)
	}
	for hook := range l.hooks {
		if t.hooks&(1<<hook) == 0 {
			t.start[hook], t.policy[hook] = 0, 0 // the kernel leaves anything there
		}
	}
	return t, size, nil
}

// Replace puts a table in the place of the one that is there, which must be like
// over; nil stands for any. Packets see one or the other. When both have the same
// rules, counters go on; else they become those of the new table. Replace reads
// back what the kernel holds. A table that is not registered is registered.
//
// When the table is not like over, the error wraps ErrChanged, and nothing
// happened. Between looking and replacing the kernel itself refuses only when the
// number of entries changed, so callers hold the lock.
func (c *Conn) Replace(t, over *Table) error {
	if err := c.replace(t, over); err != nil {
		return fmt.Errorf("replace the legacy table %s: %w", t, err)
	}
	return nil
}

func (c *Conn) replace(t, over *Table) error {
	if err := t.check(); err != nil {
		return err
	}
	t, err := c.withSets(t)
	if err != nil {
		return err
	}
	for range attempts {
		if err := c.checkNamespace(); err != nil {
			return err
		}
		now, err := c.read(t.family, t.name)
		if err != nil {
			return err
		}
		if over != nil && !now.Equal(over) {
			return ErrChanged
		}
		last, err := c.swap(t, now.count)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		counters := t.counters()
		if t.sameRules(now) {
			counters = last
		}
		if err := c.addCounters(t, counters); err != nil {
			return fmt.Errorf("its rules are in place, its counters are not: %w", err)
		}
		after, err := c.read(t.family, t.name)
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		if !after.Equal(t) {
			return fmt.Errorf("read back: what the kernel holds is not what it was given: %w", ErrChanged)
		}
		return nil
	}
	return ErrChanged
}

// swap replaces a table of a number of entries, and returns its last counters.
func (c *Conn) swap(t *Table, count uint32) ([]byte, error) {
	// The kernel writes to memory whose address is in a message, so it must not
	// be memory that Go moves or frees.
	counters, err := unix.Mmap(-1, 0, max(1, int(count)*counterSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("find memory for counters: %w", err)
	}
	defer unix.Munmap(counters)
	l := layouts[t.family]
	b := make([]byte, 0, l.replaceSize()+len(t.entries))
	b = append(b, padded(t.name)...)
	numbers := []uint32{t.hooks, t.count, uint32(len(t.entries))}
	numbers = append(append(append(numbers, t.start[:l.hooks]...), t.policy[:l.hooks]...), count)
	for _, n := range numbers {
		b = native.AppendUint32(b, n)
	}
	b = append(b, make([]byte, l.replaceSize()-8-len(b))...)
	b = native.AppendUint64(b, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	b = append(b, t.entries...)
	if err := c.set(t.family, l.base, b); err != nil {
		return nil, err
	}
	return slices.Clone(counters[:int(count)*counterSize]), nil
}

// AddCounters adds the counters of a table to those of the one that is there,
// which must have the same rules.
func (c *Conn) AddCounters(t *Table) error {
	err := c.checkNamespace()
	if err == nil {
		err = c.addCounters(t, t.counters())
	}
	if err != nil {
		return fmt.Errorf("add to the counters of the legacy table %s: %w", t, err)
	}
	return nil
}

func (c *Conn) addCounters(t *Table, counters []byte) error {
	b := padded(t.name)
	b = native.AppendUint32(b, uint32(len(counters)/counterSize))
	b = append(b, make([]byte, countersAt-len(b))...)
	return c.set(t.family, layouts[t.family].base+1, append(b, counters...))
}

// Change takes the lock, reads a table that is registered, and replaces it by
// what f returns, unless that is nil.
func (c *Conn) Change(ctx context.Context, lock LockOptions, family uint8, name string, f func(*Table) (*Table, error)) error {
	unlock, err := lock.Take(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := c.Read(family, name)
	if err != nil {
		return err
	}
	t, err := f(now)
	if t == nil || err != nil {
		return err
	}
	return c.Replace(t, now)
}

// checkNamespace makes sure that the sockets are where they are meant to be.
//
// Kernel: net/socket.c, SIOCGSKNS.
func (c *Conn) checkNamespace() error {
	for _, s := range c.sockets {
		handle, err := unix.IoctlRetInt(s, unix.SIOCGSKNS)
		if err != nil {
			return fmt.Errorf("identify the network namespace of a socket: %w", err)
		}
		var st unix.Stat_t
		err = unix.Fstat(handle, &st)
		unix.Close(handle)
		if err != nil {
			return fmt.Errorf("identify the network namespace of a socket: %w", err)
		}
		if st.Ino != c.ns.Inode() {
			return fmt.Errorf("the socket is in network namespace %d, want %d", st.Ino, c.ns.Inode())
		}
	}
	return nil
}

// socket returns the socket for a family. The tables of ARP are reached by that
// of IPv4.
func (c *Conn) socket(family uint8) (int, error) {
	if family == unix.NFPROTO_ARP {
		family = unix.NFPROTO_IPV4
	}
	s, ok := c.sockets[family]
	if !ok {
		return -1, ErrUnsupported
	}
	return s, nil
}

// get asks for an option; b is the question and is overwritten by the answer,
// which has the same size.
func (c *Conn) get(family uint8, level, option int, b []byte) error {
	s, err := c.socket(family)
	if err != nil {
		return err
	}
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return explain("getsockopt", errno)
	}
	if int(size) != len(b) {
		return fmt.Errorf("the kernel answers %d bytes, want %d", size, len(b))
	}
	return nil
}

func (c *Conn) set(family uint8, option int, b []byte) error {
	s, err := c.socket(family)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(s), uintptr(layouts[family].level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0)
	if errno != 0 {
		return explain("setsockopt", errno)
	}
	return nil
}

func explain(call string, errno unix.Errno) error {
	err := os.NewSyscallError(call, errno)
	switch errno {
	case unix.EPERM:
		return fmt.Errorf("CAP_NET_ADMIN is missing in the user namespace that owns the network namespace: %w", err)
	case unix.ENOPROTOOPT:
		return fmt.Errorf("%w, or their module is not loaded (modprobe ip_tables, ip6_tables): %w", ErrUnsupported, err)
	}
	return err
}
