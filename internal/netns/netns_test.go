package netns_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testkit.Need(t, testkit.NetNS)
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// host returns the namespace that every thread of the test must be in.
func host(t *testing.T) uint64 {
	t.Helper()
	inode, err := netns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	return inode
}

func TestDoIsInside(t *testing.T) {
	outside := host(t)
	a, b := newNS(t), newNS(t)
	if a.Inode() == outside || a.Inode() == b.Inode() {
		t.Fatalf("namespaces are not apart: host %d, a %d, b %d", outside, a.Inode(), b.Inode())
	}
	inside := func(n *netns.NS) (inode uint64, err error) {
		err = n.Do(func() error {
			inode, err = netns.Inode()
			return err
		})
		return inode, err
	}
	for range 3 {
		for _, n := range []*netns.NS{a, b} {
			got, err := inside(n)
			if err != nil || got != n.Inode() {
				t.Fatalf("Do ran in namespace %d, error %v, want %d", got, err, n.Inode())
			}
		}
	}
	// Nested: the inner function is in b, afterwards the outer one is in a.
	err := a.Do(func() error {
		got, err := inside(b)
		if err != nil || got != b.Inode() {
			t.Errorf("nested Do ran in %d, error %v, want %d", got, err, b.Inode())
		}
		after, err := netns.Inode()
		if err != nil || after != a.Inode() {
			t.Errorf("after the nested Do: in %d, error %v, want %d", after, err, a.Inode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDoReturnsTheError(t *testing.T) {
	want := errors.New("mine")
	if err := newNS(t).Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Do = %v, want %v", err, want)
	}
}

func TestDoNoticesThatTheThreadLeft(t *testing.T) {
	n := newNS(t)
	err := n.Do(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if err == nil || !strings.Contains(err.Error(), "want") {
		t.Errorf("Do = %v, want an error about the namespace", err)
	}
	noThreadOutside(t, host(t))
}

func TestClosedNeverActsOnTheHost(t *testing.T) {
	n := newNS(t)
	before := descriptors(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	freed := -1
	for fd := range before {
		if !descriptors(t)[fd] {
			freed = fd
		}
	}
	if freed < 0 {
		t.Fatal("Close freed no descriptor")
	}
	// The trap: the number now means the namespace of the host.
	reused, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reused)
	if reused != freed {
		if err := unix.Dup3(reused, freed, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(freed)
	}
	called := false
	err = n.Do(func() error { called = true; return nil })
	if !errors.Is(err, netns.ErrClosed) || called {
		t.Errorf("Do after Close = %v, called %v; want ErrClosed, not called", err, called)
	}
	if _, err := n.Command("true").Output(); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("Command after Close = %v, want ErrClosed", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("second Close = %v, want nil", err)
	}
}

func TestHandleClosedBehindOurBack(t *testing.T) {
	before := descriptors(t)
	n := newNS(t)
	handle := -1
	for fd := range descriptors(t) {
		if target, _ := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd))); !before[fd] && strings.HasPrefix(target, "net:") {
			handle = fd
		}
	}
	if handle < 0 {
		t.Fatal("no descriptor of the namespace found")
	}
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(home)
	if err := unix.Dup3(home, handle, unix.O_CLOEXEC); err != nil { // the host, under n's number
		t.Fatal(err)
	}
	called := false
	if err := n.Do(func() error { called = true; return nil }); err == nil || called {
		t.Errorf("Do = %v, called %v; want an error, not called", err, called)
	}
}

func TestFatalInsideEndsTheCaller(t *testing.T) {
	n := newNS(t)
	reached := false
	var wg sync.WaitGroup
	wg.Go(func() {
		n.Do(func() error { runtime.Goexit(); return nil })
		reached = true
	})
	wg.Wait()
	if reached {
		t.Error("the caller went on after the function ended its goroutine")
	}
	noThreadOutside(t, host(t))
}

func TestNoThreadLeaks(t *testing.T) {
	outside := host(t)
	n := newNS(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 8 {
				if err := n.Do(func() error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	noThreadOutside(t, outside)
}

func TestCommandRunsInside(t *testing.T) {
	testkit.Need(t, testkit.Tool("readlink"))
	n := newNS(t)
	out, err := n.Command("readlink", "/proc/self/ns/net").Output()
	if want := "net:[" + strconv.Itoa(int(n.Inode())) + "]\n"; err != nil || string(out) != want {
		t.Errorf("command ran in %q, error %v, want %q", out, err, want)
	}
}

func TestLoopbackIsUp(t *testing.T) {
	err := newNS(t).Do(func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		return unix.Connect(s, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
	})
	if err != nil {
		t.Errorf("connect to 127.0.0.1: %v", err)
	}
}

func TestOpenNamed(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../net", "a/b", "a\x00b", "no-such-namespace-here"} {
		if n, err := netns.OpenNamed(name); err == nil {
			n.Close()
			t.Errorf("OpenNamed(%q) succeeded", name)
		}
	}
}

func noThreadOutside(t *testing.T, outside uint64) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads listed: %v", err)
	}
	for _, task := range tasks {
		var st unix.Stat_t
		if unix.Stat(task, &st) == nil && st.Ino != outside {
			t.Errorf("%s is namespace %d, want %d", task, st.Ino, outside)
		}
	}
}

func descriptors(t *testing.T) map[int]bool {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fds := map[int]bool{}
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); target != "" && !strings.HasSuffix(target, "/fd") {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				fds[fd] = true
			}
		}
	}
	return fds
}
