package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"nftmigrate/internal/durable"
	"nftmigrate/internal/testkit"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		text string
		mode fs.FileMode
	}{{"first", 0o600}, {"second", 0o644}, {"", 0o400}} {
		if err := durable.Write(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, err2 := os.Stat(path)
		if err != nil || err2 != nil || string(got) != c.text || info.Mode() != c.mode {
			t.Errorf("Write(%q, %v): read %q (%v), %v", c.text, c.mode, got, err, info)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v (%v), want the file alone", left, err)
	}
}

// TestWriteFails wants the old content, and nothing beside it, after each fault.
func TestWriteFails(t *testing.T) {
	testkit.Need(t, testkit.Root)
	full := t.TempDir()
	if err := syscall.Mount("none", full, "tmpfs", 0, "size=64k"); err != nil {
		testkit.NotHere(t, "no file system of a fixed size: %v", err)
	}
	defer syscall.Unmount(full, 0)
	path := filepath.Join(full, "file")
	if err := durable.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error, want error) {
		t.Helper()
		got, readErr := os.ReadFile(path)
		left, _ := os.ReadDir(full)
		if !errors.Is(err, want) || readErr != nil || string(got) != "old" || len(left) != 1 {
			t.Errorf("%s: error %v, want %v; the file is %q (%v); the directory holds %v", what, err, want, got, readErr, left)
		}
	}
	check("full disk", durable.Write(path, make([]byte, 1<<20), 0o600), syscall.ENOSPC)
	if err := syscall.Mount("none", full, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	check("read-only", durable.Write(path, []byte("new"), 0o600), syscall.EROFS)
	check("read-only link", durable.Symlink("x", path), syscall.EROFS)
	check("read-only removal", durable.Remove(path), syscall.EROFS)
}

func TestSymlinkAndRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "link")
	for _, target := range []string{"a", "b"} {
		if err := durable.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); err != nil || got != target {
			t.Errorf("the link leads to %q (%v), want %q", got, err, target)
		}
	}
	for range 2 { // the second time there is nothing to remove
		if err := durable.Remove(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is still there (%v)", err)
	}
}

// TestPrepare wants what prepares a file to see it whole and under another name,
// and its error to leave the old one.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := durable.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	prepare := func(tmp string) error {
		now, err := os.ReadFile(path)
		next, err2 := os.ReadFile(tmp)
		if err != nil || err2 != nil || string(now) != "old" || string(next) != "new" {
			t.Errorf("while it is prepared: %q (%v) and %q (%v)", now, err, next, err2)
		}
		return stop
	}
	if err := durable.WriteAs(path, []byte("new"), 0o600, prepare); !errors.Is(err, stop) {
		t.Errorf("WriteAs: %v", err)
	}
	if err := durable.SymlinkAs("x", path, func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("SymlinkAs: %v", err)
	}
	list, err := os.ReadDir(dir)
	if got, _ := os.ReadFile(path); err != nil || string(got) != "old" || len(list) != 1 {
		t.Errorf("afterwards the file is %q, the directory %v (%v)", got, list, err)
	}
}

func TestMkdirAndClean(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	for _, mode := range []fs.FileMode{0o711, 0o755} { // the second keeps the first
		if err := durable.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeDir|0o711 {
			t.Errorf("the directory is %v (%v)", info, err)
		}
	}
	for _, left := range []func(string) error{
		func(p string) error { return os.WriteFile(p, nil, 0o600) },
		func(p string) error { return os.Symlink("x", p) },
		func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		file := filepath.Join(path, "file")
		if err := left(file + ".nftmigrate-new"); err != nil {
			t.Fatal(err)
		}
		if err := durable.Clean(file); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := os.ReadDir(path); err != nil || len(list) != 0 {
		t.Errorf("left are %v (%v)", list, err)
	}
}
