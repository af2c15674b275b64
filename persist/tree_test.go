package persist_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nftmigrate/persist"
)

// tree describes everything below a root, a line for each name: what a person
// would compare to say that nothing changed. Times of directories are left out,
// because making a file beside another changes them.
func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		if !d.IsDir() {
			fmt.Fprintf(&b, " %d", st.Mtim.Nano())
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", text)
			for _, name := range []string{"user.note", "security.selinux", "system.posix_acl_access"} {
				value := make([]byte, 256)
				if n, err := unix.Lgetxattr(path, name, value); err == nil {
					fmt.Fprintf(&b, " %s=%q", name, value[:n])
				}
			}
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// put writes a file below a root, with the directories that it needs.
func put(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// putLink makes a link below a root.
func putLink(t *testing.T, root, path, target string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// get reads a file below a root.
func get(t *testing.T, root, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// old makes a small host, with an owner, a label and a link of each kind.
func old(t *testing.T, root string) {
	t.Helper()
	put(t, root, "etc/main.conf", "old main\n")
	put(t, root, "etc/real/loader.conf", "save=yes\n")
	put(t, root, "etc/gone.conf", "to be removed\n")
	putLink(t, root, "etc/loader.conf", "real/loader.conf")
	putLink(t, root, "etc/wants/old.service", "/lib/old.service")
	putLink(t, root, "etc/moved", "/somewhere")
	main := filepath.Join(root, "etc/main.conf")
	// A label of SELinux can be set wherever SELinux does not run.
	for _, name := range []string{"user.note", "security.selinux"} {
		if err := unix.Setxattr(main, name, []byte("value of "+name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(main, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(main, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"main.conf", "real/loader.conf", "gone.conf", "moved", "wants/old.service"} {
		past := []unix.Timespec{{Sec: 1e9}, {Sec: 1e9, Nsec: 123456789}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, "etc", name), past, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
}

// every has a change of each kind for that host.
var every = []persist.Change{
	{Op: persist.WriteFile, Path: "/etc/new/deep/rules.nft", Content: []byte("table ip x {}\n"), Mode: 0o600, Why: "the rules"},
	{Op: persist.WriteFile, Path: "/etc/main.conf", Content: []byte("new main\n"), Mode: 0o644, Why: "includes them"},
	{Op: persist.WriteFile, Path: "/etc/loader.conf", Content: []byte("save=no\n"), Mode: 0o644, Why: "saves no more"},
	{Op: persist.MakeLink, Path: "/etc/wants/new.service", Target: "/lib/new.service", Why: "enabled"},
	{Op: persist.MakeLink, Path: "/etc/moved", Target: "/elsewhere", Why: "leads elsewhere"},
	{Op: persist.RemoveFile, Path: "/etc/wants/old.service", Why: "disabled"},
	{Op: persist.RemoveFile, Path: "/etc/gone.conf", Why: "not needed"},
}

// isNew checks that all of them were made.
func isNew(t *testing.T, root string) {
	t.Helper()
	for path, want := range map[string]string{
		"etc/new/deep/rules.nft": "table ip x {}\n", "etc/main.conf": "new main\n", "etc/real/loader.conf": "save=no\n",
	} {
		if got := get(t, root, path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"etc/wants/new.service": "/lib/new.service", "etc/moved": "/elsewhere", "etc/loader.conf": "real/loader.conf",
	} {
		if got, err := os.Readlink(filepath.Join(root, path)); err != nil || got != want {
			t.Errorf("%s leads to %q (%v), want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"etc/wants/old.service", "etc/gone.conf"} {
		if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "etc/*nftmigrate*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}
