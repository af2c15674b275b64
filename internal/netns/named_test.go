package netns

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOpenNamedFile(t *testing.T) {
	dir := t.TempDir()
	defer func(old string) { named = old }(named)
	named = dir
	home, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	link := func(name, target string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("blue", "/proc/self/fd/"+strconv.Itoa(home.handle))
	link("clock", "/proc/self/ns/uts")
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := OpenNamed("blue")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Inode() != home.Inode() {
		t.Errorf("namespace %d, want %d", n.Inode(), home.Inode())
	}
	for _, name := range []string{"clock", "plain", "missing"} {
		if n, err := OpenNamed(name); err == nil {
			n.Close()
			t.Errorf("OpenNamed(%q) succeeded", name)
		}
	}
	if _, err := OpenNamed("missing"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("OpenNamed of what is not there = %v, want ENOENT", err)
	}
}

// TestStayNeedsNoRight is about containers that may change the firewall but
// not enter namespaces.
func TestStayNeedsNoRight(t *testing.T) {
	home, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ran := false
	if err := home.Do(func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("Do in the namespace of the thread = %v, ran %v", err, ran)
	}
}
