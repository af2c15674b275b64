package persist_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/testkit"
	"nftmigrate/persist"
)

// child is the variable of the environment that makes the test's program one that
// changes a host, for others to kill.
const child = "PERSIST_TEST_CHILD"

func TestMain(m *testing.M) {
	runtime.LockOSThread() // strace counts the calls of each thread for itself
	var err error
	switch dir, root := os.Getenv("PERSIST_TEST_DIR"), os.Getenv("PERSIST_TEST_ROOT"); os.Getenv(child) {
	case "run":
		err = persist.Run(background, dir, root, every)
	case "undo":
		_, err = persist.Undo(background, dir, false)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// changing are the system calls that can change what a disk holds or promises.
// Killed before any other, a process leaves what it leaves before the next of these.
const changing = "write,fsync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat," +
	"chmod,fchmod,fchmodat,chown,lchown,fchownat,setxattr,lsetxattr,lremovexattr,utimensat"

// traced runs the child under strace.
func traced(what, dir, root string, options ...string) ([]byte, error) {
	cmd := exec.Command("strace", append(append([]string{"-f", "-qq", "-e", "signal=none"}, options...), os.Args[0])...)
	cmd.Env = append(os.Environ(), child+"="+what, "PERSIST_TEST_DIR="+dir, "PERSIST_TEST_ROOT="+root)
	return cmd.CombinedOutput()
}

// A point is before the nth call of a name.
type point struct {
	call string
	n    int
}

// points runs the child and finds where it can be killed.
func points(t *testing.T, what, dir, root string) (list []point) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	if out, err := traced(what, dir, root, "-o", trace, "-e", "trace="+changing); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	count := map[string]int{}
	for line := range strings.Lines(get(t, "/", trace)) {
		if _, rest, ok := strings.Cut(line, " "); ok {
			if call, _, ok := strings.Cut(strings.TrimSpace(rest), "("); ok {
				count[call]++
				list = append(list, point{call, count[call]})
			}
		}
	}
	return list
}

// killed runs the child and kills it at a point.
func killed(t *testing.T, what, dir, root string, at point) {
	t.Helper()
	out, err := traced(what, dir, root, "-o", "/dev/null", "-e", "trace="+at.call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", at.call, at.n))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() == 1 || len(bytes.TrimSpace(out)) != 0 {
		t.Fatalf("%s, killed before %s %d: %v\n%s", what, at.call, at.n, err, out)
	}
}

// copyTree copies what strace's victim left, to look at it twice.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	os.RemoveAll(to)
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// TestKill: G9, G28. A process that makes, or takes back, all kinds of changes is
// killed before each of its calls that change something. Each file is then the old
// or the new; running again makes everything new, and undoing makes everything old.
func TestKill(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.Tool("strace"))
	base := limited(t, "64m") // a kill loses nothing that was written, so any disk will do
	now, left, start := filepath.Join(base, "now"), filepath.Join(base, "left"), filepath.Join(base, "start")
	dir, root := filepath.Join(now, "journal"), filepath.Join(now, "root")
	for _, what := range []string{"run", "undo"} {
		os.RemoveAll(now)
		old(t, root)
		before := tree(t, root)
		if what == "undo" {
			if err := persist.Run(background, dir, root, every); err != nil {
				t.Fatal(err)
			}
		}
		copyTree(t, now, start)
		list := points(t, what, dir, root)
		t.Logf("%s: killed at %d points", what, len(list))
		if len(list) < 100 {
			t.Errorf("%s: %d points at which to kill; it makes more calls than that", what, len(list))
		}
		for i, at := range list {
			if testing.Short() && i%7 != 0 {
				continue
			}
			where := fmt.Sprintf("%s killed before %s %d", what, at.call, at.n)
			copyTree(t, start, now)
			killed(t, what, dir, root, at)
			whole(t, root)
			copyTree(t, now, left)
			if err := persist.Run(background, dir, root, every); err == nil {
				isNew(t, root)
			} else if j, _ := persist.Open(dir); what == "run" || j == nil || j.State() != persist.Undoing {
				t.Fatalf("%s, then run: %v", where, err)
			}
			copyTree(t, left, now)
			if _, err := persist.Undo(background, dir, false); err != nil {
				t.Fatalf("%s, then undo: %v", where, err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Fatalf("%s, then undo: not as before:\n%s", where, diff)
			}
			if t.Failed() {
				t.Fatal(where)
			}
		}
	}
}

// whole wants each file to be the old one or the new one.
func whole(t *testing.T, root string) {
	t.Helper()
	for path, texts := range map[string][]string{
		"etc/main.conf":          {"old main\n", "new main\n"},
		"etc/real/loader.conf":   {"save=yes\n", "save=no\n"},
		"etc/gone.conf":          {"to be removed\n", ""},
		"etc/new/deep/rules.nft": {"table ip x {}\n", ""},
	} {
		b, err := os.ReadFile(filepath.Join(root, path))
		if text := string(b); text != texts[0] && text != texts[1] || err == nil && text == "" {
			t.Errorf("%s holds %q (%v)", path, text, err)
		}
	}
	for path, targets := range map[string][]string{
		"etc/moved": {"/somewhere", "/elsewhere"}, "etc/loader.conf": {"real/loader.conf", "real/loader.conf"},
	} {
		if to, err := os.Readlink(filepath.Join(root, path)); to != targets[0] && to != targets[1] {
			t.Errorf("%s leads to %q (%v)", path, to, err)
		}
	}
}

// TestOrderOfSyncs: G10. What a process does is read from its trace: a file gets
// its name only after its content was synced, and the next step is announced only
// after the directory was.
func TestOrderOfSyncs(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.Tool("strace"))
	base := t.TempDir()
	dir, root := filepath.Join(base, "journal"), filepath.Join(base, "root")
	old(t, root)
	trace := filepath.Join(base, "trace")
	if out, err := traced("run", dir, root, "-y", "-o", trace, "-e", "trace=openat,fsync,renameat,unlinkat,write"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(get(t, "/", trace), "\n")
	bad, renames := unsynced(lines)
	for _, b := range bad {
		t.Error(b)
	}
	if renames < 20 {
		t.Errorf("%d renames in the trace, there are more", renames)
	}
	// The check itself sees a sync that is missing, of a file and of a directory.
	for _, of := range []string{"main.conf.nftmigrate-new>", "/etc>"} {
		var without []string
		for _, l := range lines {
			if !strings.Contains(l, "fsync(") || !strings.Contains(l, of) {
				without = append(without, l)
			}
		}
		if bad, _ := unsynced(without); len(bad) == 0 {
			t.Errorf("a trace without the syncs of %s passes", of)
		}
	}
}

// unsynced finds names that were given, or taken away, before their time.
func unsynced(lines []string) (bad []string, renames int) {
	synced := map[string]bool{}
	waiting := map[string]string{} // directory to the call that changed a name in it
	for _, l := range lines {
		switch quoted := strings.Split(l, `"`); {
		case strings.Contains(l, "fsync("):
			path := l[strings.Index(l, "<")+1 : strings.Index(l, ">")]
			synced[path] = true
			delete(waiting, path)
		case strings.Contains(l, " write(") && strings.Contains(l, "<"):
			path := l[strings.Index(l, "<")+1 : strings.Index(l, ">")]
			delete(synced, path)
		case strings.Contains(l, "renameat(") && len(quoted) > 3 && !strings.Contains(l, " = -1 "):
			from, to := quoted[1], quoted[3]
			renames++
			if filepath.Base(to) != "deep" && filepath.Base(to) != "new" && !strings.Contains(l, "wants/new.service") && !strings.Contains(l, "moved") && !synced[from] {
				bad = append(bad, "a file gets its name before its content is synced: "+l)
			}
			for in, call := range waiting {
				bad = append(bad, fmt.Sprintf("the directory %s is not synced after %s before %s", in, call, l))
				delete(waiting, in)
			}
			waiting[filepath.Dir(to)] = l
		case strings.Contains(l, "unlinkat(") && len(quoted) > 1 && !strings.Contains(l, " = -1 "):
			waiting[filepath.Dir(quoted[1])] = l
		}
	}
	return bad, renames
}

// limited mounts a file system of a fixed size.
func limited(t *testing.T, size string) string {
	t.Helper()
	testkit.Need(t, testkit.Root)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		testkit.NotHere(t, "no file system of a fixed size: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestFull: G11. A disk that fills up in the middle stops Run with an error, and
// Undo brings everything back on the full disk, the journal's own disk included.
func TestFull(t *testing.T) {
	for _, where := range []string{"host", "journal", "both"} {
		t.Run(where, func(t *testing.T) {
			disk := limited(t, "4m")
			dir, root := filepath.Join(t.TempDir(), "journal"), t.TempDir()
			if where != "host" {
				dir = filepath.Join(disk, "journal")
			}
			if where != "journal" {
				root = filepath.Join(disk, "root")
			}
			put(t, root, "etc/a.conf", strings.Repeat("a", 8192))
			put(t, root, "etc/b.conf", "old b\n")
			before := tree(t, root)
			changes := []persist.Change{
				{Op: persist.WriteFile, Path: "/etc/new.conf", Content: []byte("new\n"), Mode: 0o644},
				{Op: persist.WriteFile, Path: "/etc/a.conf", Content: []byte("short\n")},
				{Op: persist.WriteFile, Path: "/etc/b.conf", Content: bytes.Repeat([]byte("b"), 64<<10)},
			}
			j, err := persist.Prepare(dir, root, changes)
			if err != nil {
				t.Fatal(err)
			}
			// The changes fit into the journal's disk, so that one fills up later.
			if where != "journal" {
				fill(t, disk, 16<<10)
			}
			if err := j.Run(background); errors.Is(err, unix.ENOSPC) != (where != "journal") {
				t.Fatalf("Run on a full disk: %v", err)
			}
			fill(t, disk, 0)
			j, err = persist.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = j.Undo(background, false)
			if err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			t.Logf("Undo on a full disk: %v", err)
			if where == "journal" {
				if diff := cmp.Diff(before, tree(t, root)); diff != "" {
					t.Errorf("a full disk of the journal kept Undo from its work:\n%s", diff)
				}
			}
			os.Remove(filepath.Join(disk, "fill"))
			if _, err := j.Undo(background, false); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("not as before:\n%s", diff)
			}
		})
	}
}

// fill leaves a disk that many bytes.
func fill(t *testing.T, disk string, leave int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(disk, "fill"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	if info, err := f.Stat(); err == nil {
		if err := f.Truncate(info.Size() - int64(leave)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadOnly: G24. A disk that becomes read-only in the middle, as it does after
// an error of the device, stops Run; nothing is half done.
func TestReadOnly(t *testing.T) {
	root := limited(t, "4m")
	dir := filepath.Join(t.TempDir(), "journal")
	old(t, root)
	before := tree(t, root)
	j, err := persist.Prepare(dir, root, every)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", root, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := j.Run(background); !errors.Is(err, unix.EROFS) {
		t.Errorf("Run: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	if list := persist.Check(root, every); len(list) == 0 || !strings.Contains(list[0].Text, "read-only") {
		t.Errorf("Check: %v", list)
	}
	if _, err := persist.Prepare(filepath.Join(t.TempDir(), "journal"), root, every); err == nil {
		t.Error("Prepare accepts a host that is read-only")
	}
}

// TestCheck: G24. Each place that cannot be written to is found before anything
// changes, and the same list passes where there is none.
func TestCheck(t *testing.T) {
	testkit.Need(t, testkit.Root)
	change := func(path string) []persist.Change {
		return []persist.Change{{Op: persist.WriteFile, Path: path, Content: []byte("new\n"), Mode: 0o644}}
	}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, root string)
		changes []persist.Change
		want    string // "" when there is nothing
	}{
		{"plain", func(*testing.T, string) {}, change("/etc/main.conf"), ""},
		{"immutable file", func(t *testing.T, root string) { chattr(t, root+"/etc/main.conf", unix.STATX_ATTR_IMMUTABLE) }, change("/etc/main.conf"), "immutable"},
		{"append-only file", func(t *testing.T, root string) { chattr(t, root+"/etc/main.conf", unix.STATX_ATTR_APPEND) }, change("/etc/main.conf"), "append-only"},
		{"immutable directory", func(t *testing.T, root string) { chattr(t, root+"/etc", unix.STATX_ATTR_IMMUTABLE) }, change("/etc/other.conf"), "immutable"},
		{"immutable directory, far above", func(t *testing.T, root string) { chattr(t, root+"/etc", unix.STATX_ATTR_IMMUTABLE) }, change("/etc/a/b/c.conf"), "immutable"},
		{"link into a store", func(t *testing.T, root string) {
			put(t, root, "nix/store/abc/nftables.conf", "x")
			putLink(t, root, "etc/nft.conf", "/nix/store/abc/nftables.conf")
		}, change("/etc/nft.conf"), "/nix/store"},
		{"two links into a store", func(t *testing.T, root string) {
			put(t, root, "nix/store/abc/etc/systemd/x", "x")
			putLink(t, root, "etc/static", "/nix/store/abc/etc")
			putLink(t, root, "etc/systemd", "static/systemd")
		}, change("/etc/systemd/y"), "/nix/store"},
		{"link of a store replaced", func(t *testing.T, root string) { putLink(t, root, "etc/unit", "/nix/store/abc/unit") },
			[]persist.Change{{Op: persist.RemoveFile, Path: "/etc/unit"}}, "/nix/store"},
		{"ostree", func(t *testing.T, root string) {
			put(t, root, "run/ostree-booted", "")
			put(t, root, "usr/lib/x", "")
		}, change("/usr/lib/y"), "ostree"},
		{"ostree, outside of the image", func(t *testing.T, root string) { put(t, root, "run/ostree-booted", "") }, change("/etc/y"), ""},
		{"pipe", func(t *testing.T, root string) {
			if err := unix.Mkfifo(root+"/etc/pipe", 0o600); err != nil {
				t.Fatal(err)
			}
		}, change("/etc/pipe"), "neither a file nor a link"},
		{"directory", func(*testing.T, string) {}, change("/etc"), "neither a file nor a link"},
		{"file on the way", func(*testing.T, string) {}, change("/etc/main.conf/x"), "not a directory"},
		{"not absolute", func(*testing.T, string) {}, change("etc/x"), "absolute"},
		{"not clean", func(*testing.T, string) {}, change("/etc/../x"), "absolute"},
		{"twice", func(*testing.T, string) {}, append(change("/etc/x"), change("/etc/x")...), "two changes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, "etc/main.conf", "old\n")
			c.prepare(t, root)
			before := tree(t, root)
			list := persist.Check(root, c.changes)
			var all strings.Builder
			for _, p := range list {
				fmt.Fprintln(&all, p)
			}
			if c.want == "" && len(list) != 0 || c.want != "" && !strings.Contains(all.String(), c.want) {
				t.Errorf("found %q, want %q", all.String(), c.want)
			}
			_, err := persist.Prepare(filepath.Join(t.TempDir(), "journal"), root, c.changes)
			if (err != nil) != (c.want != "") {
				t.Errorf("Prepare: %v", err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("looking changed something:\n%s", diff)
			}
		})
	}
	t.Run("space", func(t *testing.T) {
		root := limited(t, "4m")
		changes := change("/x")
		if list := persist.Check(root, changes); list != nil {
			t.Errorf("with room: %v", list)
		}
		fill(t, root, 512<<10)
		if list := persist.Check(root, changes); len(list) != 1 || !strings.Contains(list[0].Text, "bytes left") {
			t.Errorf("without room: %v", list)
		}
	})
}

// chattr sets a flag of a file until the test ends.
func chattr(t *testing.T, path string, flag uint64) {
	t.Helper()
	letter := map[uint64]string{unix.STATX_ATTR_IMMUTABLE: "i", unix.STATX_ATTR_APPEND: "a"}[flag]
	testkit.Need(t, testkit.Tool("chattr"))
	if out, err := exec.Command("chattr", "+"+letter, path).CombinedOutput(); err != nil {
		testkit.NotHere(t, "the file system has no such flag: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("chattr", "-"+letter, path).CombinedOutput(); err != nil {
			t.Errorf("chattr: %v: %s", err, out)
		}
	})
}
