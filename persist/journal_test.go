package persist_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/testkit"
	"nftmigrate/persist"
)

var background = context.Background()

// prepared is a journal of every change on the old host.
func prepared(t *testing.T) (j *persist.Journal, dir, root string) {
	t.Helper()
	testkit.Need(t, testkit.Root)
	dir, root = filepath.Join(t.TempDir(), "journal"), t.TempDir()
	old(t, root)
	j, err := persist.Prepare(dir, root, every)
	if err != nil {
		t.Fatal(err)
	}
	return j, dir, root
}

// TestRunUndo: G30, G26. All changes are made and taken back, and then nothing at
// all is different: content, modes, owners, labels, times, links.
func TestRunUndo(t *testing.T) {
	_, dir, root := prepared(t)
	before := tree(t, root)
	for range 2 { // the second time after an undo
		if err := persist.Run(background, dir, root, every); err != nil {
			t.Fatal(err)
		}
		isNew(t, root)
		// What was replaced keeps its owner, mode and labels.
		for line := range strings.Lines(before) {
			if rest, ok := strings.CutPrefix(line, "etc/main.conf "); ok {
				of, labels := rest[:strings.Index(rest, " 1000000000")], rest[strings.Index(rest, " user.note="):]
				after := tree(t, root)
				if !strings.Contains(after, "etc/main.conf "+of) || !strings.Contains(after, labels) {
					t.Errorf("owner, mode or labels were not kept: want %s …%s\n%s", of, labels, after)
				}
			}
		}
		// Again: nothing is left to do.
		if err := persist.Run(background, dir, root, every); err != nil {
			t.Error(err)
		}
		taken, err := persist.Undo(background, dir, false)
		if err != nil || taken.Kept != nil || taken.Left != nil {
			t.Fatalf("Undo: %v, %v", taken, err)
		}
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Errorf("not as before (-before +now):\n%s", diff)
		}
		if _, err := persist.Undo(background, dir, false); err != nil {
			t.Error(err)
		}
	}
	j, err := persist.Open(dir)
	if err != nil || j.State() != persist.Undone {
		t.Fatalf("Open: %v", err)
	}
	if err := j.Run(background); err == nil {
		t.Error("a journal that was undone runs again without being prepared")
	}
}

// TestSomebodyElse: G15, G30. Neither Run nor Undo takes away what others did.
func TestSomebodyElse(t *testing.T) {
	j, _, root := prepared(t)
	put(t, root, "etc/gone.conf", "edited\n")
	var changed *persist.Changed
	if err := j.Run(background); !errors.As(err, &changed) || !slices.Equal(changed.Paths, []string{"/etc/gone.conf"}) {
		t.Fatalf("Run over an edited file: %v", err)
	}
	if got := get(t, root, "etc/gone.conf"); got != "edited\n" {
		t.Errorf("the edited file holds %q", got)
	}
	put(t, root, "etc/gone.conf", "to be removed\n")
	if err := j.Run(background); err != nil {
		t.Fatal(err)
	}

	put(t, root, "etc/main.conf", "new main, edited\n")
	put(t, root, "etc/new/deep/other.nft", "another file\n")
	if err := os.Chmod(filepath.Join(root, "etc/new/deep/rules.nft"), 0o666); err != nil {
		t.Fatal(err)
	}
	now := tree(t, root)
	if _, err := j.Undo(background, false); !errors.As(err, &changed) {
		t.Fatalf("Undo over edited files: %v", err)
	}
	if want := []string{"/etc/new/deep/rules.nft", "/etc/main.conf"}; !slices.Equal(changed.Paths, want) {
		t.Errorf("edited are %v, want %v", changed.Paths, want)
	}
	if diff := cmp.Diff(now, tree(t, root)); diff != "" {
		t.Errorf("Undo that refused changed something:\n%s", diff)
	}
	taken, err := j.Undo(background, true)
	if err != nil {
		t.Fatal(err)
	}
	want := &persist.Taken{
		Kept: []string{"/etc/main.conf.nftmigrate-kept-1", "/etc/new/deep/rules.nft.nftmigrate-kept-1"},
		Left: []string{"/etc/new/deep", "/etc/new"},
	}
	if diff := cmp.Diff(want, taken); diff != "" {
		t.Errorf("Undo by force (-want +got):\n%s", diff)
	}
	if got := get(t, root, "etc/main.conf"); got != "old main\n" {
		t.Errorf("main.conf holds %q", got)
	}
	if got := get(t, root, want.Kept[0]); got != "new main, edited\n" {
		t.Errorf("their version holds %q", got)
	}
}

// TestRemovedByOthers: a link that was made and is gone is nothing to refuse for.
func TestRemovedByOthers(t *testing.T) {
	j, _, root := prepared(t)
	before := tree(t, root)
	if err := j.Run(background); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(root, "etc/wants/new.service")), os.RemoveAll(filepath.Join(root, "etc/new"))); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Undo(background, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
}

// TestDamagedJournal: nothing is done by a journal that is not what was written.
func TestDamagedJournal(t *testing.T) {
	for name, damage := range map[string]func(text string) string{
		"cut off":        func(s string) string { return s[:len(s)/2] },
		"another schema": func(s string) string { return strings.Replace(s, "journal/1", "journal/9", 1) },
		"no such state":  func(s string) string { return strings.Replace(s, `"planned"`, `"perhaps"`, 1) },
		"leaves root":    func(s string) string { return strings.Replace(s, `"/etc/main.conf"`, `"/../etc/main.conf"`, 1) },
		"no such kind":   func(s string) string { return strings.Replace(s, `"kind": "link"`, `"kind": "pipe"`, 1) },
		"beyond its end": func(s string) string { return strings.Replace(s, `"at": 0`, `"at": 99`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			_, dir, root := prepared(t)
			before := tree(t, root)
			path := filepath.Join(dir, "journal.json")
			text := get(t, "/", path)
			bad := damage(text)
			if bad == text {
				t.Fatal("nothing was damaged")
			}
			put(t, "/", path, bad)
			if err := persist.Run(background, dir, root, every); err == nil {
				t.Error("it runs")
			}
			if _, err := persist.Undo(background, dir, false); err == nil {
				t.Error("it is undone")
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	}
	t.Run("kept content", func(t *testing.T) {
		j, dir, root := prepared(t)
		if err := j.Run(background); err != nil {
			t.Fatal(err)
		}
		kept, _ := filepath.Glob(filepath.Join(dir, "content", "*"))
		for _, path := range kept {
			put(t, "/", path, "something else\n")
		}
		now := get(t, root, "etc/main.conf")
		if _, err := j.Undo(background, false); err == nil || !strings.Contains(err.Error(), "was changed") {
			t.Errorf("Undo with contents that were changed: %v", err)
		}
		if got := get(t, root, "etc/main.conf"); got != now {
			t.Errorf("a wrong content was restored: %q", got)
		}
	})
}

// TestOtherWay: a directory on the way that was replaced by a link after the
// planning leads to another place, where nothing may be changed.
func TestOtherWay(t *testing.T) {
	j, _, root := prepared(t)
	outside := t.TempDir()
	if err := os.Rename(filepath.Join(root, "etc/wants"), filepath.Join(root, "etc/wanted")); err != nil {
		t.Fatal(err)
	}
	putLink(t, root, "etc/wants", outside)
	var changed *persist.Changed
	if err := j.Run(background); !errors.As(err, &changed) {
		t.Errorf("Run: %v", err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("outside of the root: %v (%v)", list, err)
	}
}

// TestLinksStayInside: an absolute link below a root leads below the root.
func TestLinksStayInside(t *testing.T) {
	testkit.Need(t, testkit.Root)
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "journal")
	put(t, root, "usr/lib/x.conf", "old\n")
	putLink(t, root, "lib", "/usr/lib")
	putLink(t, root, "up", "../../../../../../usr/lib")
	for _, path := range []string{"/lib/x.conf", "/up/x.conf"} {
		changes := []persist.Change{{Op: persist.WriteFile, Path: path, Content: []byte("new\n"), Mode: 0o644}}
		if err := persist.Run(background, dir, root, changes); err != nil {
			t.Fatal(err)
		}
		if got := get(t, root, "usr/lib/x.conf"); got != "new\n" {
			t.Errorf("%s: the file holds %q", path, got)
		}
		if _, err := persist.Undo(background, dir, false); err != nil {
			t.Fatal(err)
		}
	}
	putLink(t, root, "loop", "loop")
	if list := persist.Check(root, []persist.Change{{Op: persist.WriteFile, Path: "/loop/x"}}); len(list) != 1 || !strings.Contains(list[0].Text, "too many links") {
		t.Errorf("a loop of links: %v", list)
	}
}

// TestAccessList: a default access list of a directory does not reach what is
// restored in it.
func TestAccessList(t *testing.T) {
	testkit.Need(t, testkit.Root)
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "journal")
	put(t, root, "etc/main.conf", "old\n")
	before := tree(t, root)
	// user:1:rwx in the form of the kernel: version, then tag, rights and id of each.
	list := []byte{2, 0, 0, 0,
		1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 1, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255}
	if err := unix.Setxattr(filepath.Join(root, "etc"), "system.posix_acl_default", list, 0); err != nil {
		t.Fatal(err)
	}
	changes := []persist.Change{{Op: persist.WriteFile, Path: "/etc/main.conf", Content: []byte("new\n")}}
	if err := persist.Run(background, dir, root, changes); err != nil {
		t.Fatal(err)
	}
	if now := tree(t, root); strings.Contains(now, "posix_acl") {
		t.Errorf("the new version has an access list that the old had not:\n%s", now)
	}
	if _, err := persist.Undo(background, dir, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	want := `write   /etc/new/deep/rules.nft: the rules
link    /etc/moved -> /elsewhere: leads elsewhere
remove  /etc/gone.conf: not needed
`
	if got := persist.Describe([]persist.Change{every[0], every[4], every[6]}); got != want {
		t.Errorf("Describe:\n%swant\n%s", got, want)
	}
}
