package netns

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrClosed is returned for a namespace whose handle was closed.
var ErrClosed = errors.New("network namespace is closed")

// threadNS is the namespace of the calling thread. It is not /proc/self/ns/net,
// which is that of the main thread.
const threadNS = "/proc/thread-self/ns/net"

// An NS is a handle of a network namespace. It keeps the namespace alive until
// [NS.Close]. It is safe for concurrent use.
type NS struct {
	inode uint64

	mu     sync.Mutex
	handle int // file descriptor, -1 when closed
}

// New makes a network namespace with the loopback device up. The calling
// thread stays where it is. It needs CAP_SYS_ADMIN in the user namespace of
// the process; without, the error wraps EPERM.
func New() (*NS, error) {
	var n *NS
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		handle, err := openNS(threadNS)
		if err != nil {
			return err
		}
		inode, err := inodeOf(handle)
		if err == nil {
			err = loopbackUp()
		}
		if err != nil {
			unix.Close(handle)
			return err
		}
		n = &NS{inode: inode, handle: handle}
		return nil
	})
	if err != nil {
		if n != nil {
			n.Close()
		}
		return nil, err
	}
	return n, nil
}

// Current returns a handle of the namespace of the calling thread.
func Current() (*NS, error) {
	return open(threadNS)
}

// named is where names of namespaces are kept.
var named = "/run/netns"

// OpenNamed returns a handle of the namespace that "ip netns add NAME" made.
//
// Man page: ip-netns(8).
func OpenNamed(name string) (*NS, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("open network namespace %q: not a name", name)
	}
	n, err := open(filepath.Join(named, name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace %q: %w", name, err)
	}
	return n, nil
}

func open(path string) (*NS, error) {
	handle, err := openNS(path)
	if err != nil {
		return nil, err
	}
	inode, err := inodeOf(handle)
	if err != nil {
		unix.Close(handle)
		return nil, err
	}
	return &NS{inode: inode, handle: handle}, nil
}

// openNS opens a file and makes sure that it is a network namespace.
//
// Man page: ioctl_ns(2).
func openNS(path string) (int, error) {
	handle, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(handle, &fs); err != nil {
		unix.Close(handle)
		return -1, fmt.Errorf("identify %s: %w", path, err)
	}
	kind := 0
	if fs.Type == unix.NSFS_MAGIC {
		kind, err = unix.IoctlRetInt(handle, unix.NS_GET_NSTYPE)
	}
	if err != nil || kind != unix.CLONE_NEWNET {
		unix.Close(handle)
		return -1, fmt.Errorf("open %s: not a network namespace", path)
	}
	return handle, nil
}

// Inode returns the number that identifies the namespace while it lives. It
// stays what it was after Close.
func (n *NS) Inode() uint64 { return n.inode }

// Close gives up the handle. The namespace goes away with its last user. A
// second Close does nothing.
func (n *NS) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handle < 0 {
		return nil
	}
	handle := n.handle
	n.handle = -1
	if err := unix.Close(handle); err != nil {
		return fmt.Errorf("close network namespace: %w", err)
	}
	return nil
}

// duplicate returns a descriptor of the namespace that belongs to the caller,
// so that a concurrent Close cannot pull it away.
func (n *NS) duplicate() (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handle < 0 {
		return -1, ErrClosed
	}
	handle, err := unix.FcntlInt(uintptr(n.handle), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, fmt.Errorf("duplicate the handle of a network namespace: %w", err)
	}
	inode, err := inodeOf(handle)
	if err == nil && inode != n.inode {
		err = fmt.Errorf("handle is of namespace %d, want %d: it was closed behind our back", inode, n.inode)
	}
	if err != nil {
		unix.Close(handle)
		return -1, err
	}
	return handle, nil
}

// Do runs f on a thread that is inside the namespace and returns its error.
// The function runs on a goroutine of its own, locked to the thread; goroutines
// and commands that it starts through other means than this package's [Cmd] or
// os/exec directly in f are outside. After [NS.Close] it returns [ErrClosed]
// and does not call f. When f ends its goroutine, as testing.T.Fatal does, Do
// ends the goroutine of the caller.
func (n *NS) Do(f func() error) error {
	handle, err := n.duplicate()
	if err != nil {
		return err
	}
	defer unix.Close(handle)
	return onThread(func() error {
		if err := move(handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		if err := n.check(); err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
		return n.check()
	})
}

func (n *NS) check() error {
	inode, err := Inode()
	if err != nil {
		return err
	}
	if inode != n.inode {
		return fmt.Errorf("thread is in network namespace %d, want %d", inode, n.inode)
	}
	return nil
}

// Inode returns the number of the network namespace of the calling thread. A
// goroutine that is not locked to its thread learns only where it just was.
func Inode() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(threadNS, &st); err != nil {
		return 0, fmt.Errorf("identify the network namespace of the thread: %w", err)
	}
	return st.Ino, nil
}

func inodeOf(handle int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(handle, &st); err != nil {
		return 0, fmt.Errorf("identify a network namespace: %w", err)
	}
	return st.Ino, nil
}

// onThread runs f on a goroutine locked to a thread and brings the thread back
// to its network namespace. A thread that does not get back is left locked, so
// that the runtime ends it with its goroutine and nothing else runs on it.
func onThread(f func() error) error {
	var err error
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, openErr := openNS(threadNS)
		if openErr != nil {
			err, returned = openErr, true
			return
		}
		defer func() {
			defer unix.Close(home)
			if backErr := comeBack(home); backErr != nil {
				err = errors.Join(err, backErr)
				return
			}
			runtime.UnlockOSThread()
		}()
		err = f()
		returned = true
	}()
	<-done
	if !returned {
		runtime.Goexit()
	}
	return err
}

func comeBack(home int) error {
	want, err := inodeOf(home)
	if err != nil {
		return err
	}
	if err := move(home); err != nil {
		return fmt.Errorf("leave network namespace: %w", err)
	}
	inode, err := Inode()
	if err != nil {
		return err
	}
	if inode != want {
		return fmt.Errorf("thread came back to network namespace %d, want %d", inode, want)
	}
	return nil
}

// move brings the thread into a namespace. A thread that is there already
// needs no right for it.
func move(handle int) error {
	want, err := inodeOf(handle)
	if err != nil {
		return err
	}
	if inode, err := Inode(); err == nil && inode == want {
		return nil
	}
	return unix.Setns(handle, unix.CLONE_NEWNET)
}

// loopbackUp sets the loopback device of the calling thread's namespace up.
//
// Man page: netdevice(7).
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	return nil
}

// A Cmd is a command that runs inside a namespace. It is an exec.Cmd whose
// methods that start a process enter the namespace first; it cannot be started
// outside.
type Cmd struct {
	*exec.Cmd
	ns *NS
}

// Command returns a command that runs inside the namespace.
func (n *NS) Command(name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.Command(name, args...), ns: n}
}

// Start is exec.Cmd.Start inside the namespace.
func (c *Cmd) Start() error { return c.ns.Do(c.Cmd.Start) }

// Run is exec.Cmd.Run inside the namespace.
func (c *Cmd) Run() error { return c.ns.Do(c.Cmd.Run) }

// Output is exec.Cmd.Output inside the namespace.
func (c *Cmd) Output() ([]byte, error) { return c.collect(c.Cmd.Output) }

// CombinedOutput is exec.Cmd.CombinedOutput inside the namespace.
func (c *Cmd) CombinedOutput() ([]byte, error) { return c.collect(c.Cmd.CombinedOutput) }

func (c *Cmd) collect(run func() ([]byte, error)) ([]byte, error) {
	var out []byte
	err := c.ns.Do(func() (err error) {
		out, err = run()
		return err
	})
	return out, err
}
