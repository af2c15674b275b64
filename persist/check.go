package persist

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Problem is what would keep a change from being made.
type Problem struct {
	// Path is below the root.
	Path string `json:"path"`
	// Text says what it is, and Remedy what to do, in half a sentence each.
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// Error is the problem in one line.
func (p Problem) Error() string { return p.Path + ": " + p.Text + "; " + p.Remedy }

func problems(list []Problem) error {
	errs := make([]error, len(list))
	for i, p := range list {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// stores are directories whose files are made from a description of the system;
// what is changed in them, or in the place of a link to them, is lost or wrong.
var stores = []struct{ dir, remedy string }{
	{"/nix/store", "set networking.nftables in the configuration of the system instead"},
	{"/gnu/store", "set the nftables service in the configuration of the system instead"},
	{"/ostree", "change the image instead"},
}

// spare is room that is wanted on a file system beside what is written, in bytes.
const spare = 1 << 20

// Check tells what would keep the changes from being made: places that cannot be
// written to (read-only, immutable, part of an image or a store), and too little
// space. It only reads, so it can be called long before. It cannot see what a
// quota or a security module will say.
func Check(root string, changes []Change) []Problem {
	list, err := steps(root, changes)
	if err != nil {
		return []Problem{{root, err.Error(), "see to it that it is a plain file, or that it is not there"}}
	}
	var found []Problem
	seen := map[Problem]bool{}
	add := func(p Problem) {
		if !seen[p] {
			seen[p], found = true, append(found, p)
		}
	}
	// Links that lead into a store show in the list as paths inside it; those that
	// are replaced themselves show in what was there.
	for _, s := range list {
		for _, store := range stores {
			if inside(store.dir, s.Path) || s.Before.Kind == link && inside(store.dir, s.Before.Target) {
				add(Problem{s.Path, "it is part of " + store.dir, store.remedy})
			}
		}
		if _, err := os.Lstat(filepath.Join(root, "run/ostree-booted")); err == nil && inside("/usr", s.Path) {
			add(Problem{s.Path, "/usr is an image of ostree", "change the image instead"})
		}
	}
	type need struct {
		path  string
		bytes uint64
		free  uint64
		names uint64
		inode bool // names are limited
		nodes uint64
	}
	var order []unix.Fsid
	needs := map[unix.Fsid]*need{}
	for _, s := range list {
		dir := filepath.Dir(s.Path)
		for {
			if info, err := os.Stat(filepath.Join(root, dir)); err == nil && !info.IsDir() {
				add(Problem{dir, "it is not a directory", "move it away"})
			} else if err == nil || dir == "/" {
				break
			}
			dir = filepath.Dir(dir)
		}
		for _, path := range []string{dir, s.Path} {
			for _, flag := range flags(filepath.Join(root, path)) {
				add(Problem{path, "it is " + flag.name + ", so it cannot be replaced", "chattr -" + flag.letter + " " + path})
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(root, dir), &st); err != nil {
			add(Problem{dir, "its file system does not answer: " + err.Error(), "mount it"})
			continue
		}
		if st.Flags&unix.ST_RDONLY != 0 {
			add(Problem{dir, "its file system is read-only", "mount it writable, or keep the firewall where this system keeps its settings"})
		} else if err := unix.Access(filepath.Join(root, dir), unix.W_OK); err != nil {
			add(Problem{dir, "it cannot be written to: " + err.Error(), "run this as root"})
		}
		n := needs[st.Fsid]
		if n == nil {
			n = &need{path: dir, free: st.Bavail * uint64(st.Bsize), inode: st.Files != 0, nodes: st.Ffree}
			needs[st.Fsid], order = n, append(order, st.Fsid)
		}
		// The new version and, when it is undone, the old one stand beside the
		// other for a moment.
		n.bytes += uint64(max(s.Before.Size, s.After.Size)) + uint64(st.Bsize)
		n.names += 2
	}
	for _, id := range order {
		n := needs[id]
		if n.bytes+spare > n.free {
			add(Problem{n.path, fmt.Sprintf("its file system has %d bytes left, and %d are needed", n.free, n.bytes+spare), "make room"})
		}
		if n.inode && n.names > n.nodes {
			add(Problem{n.path, fmt.Sprintf("its file system has room for %d more files, and %d are needed", n.nodes, n.names), "make room"})
		}
	}
	return found
}

func inside(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

type flag struct{ name, letter string }

// flags are those of a file that keep root from replacing it, too.
//
// Man pages: statx(2), chattr(1).
func flags(path string) (list []flag) {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st) != nil {
		return nil
	}
	if st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 {
		list = append(list, flag{"immutable", "i"})
	}
	if st.Attributes&unix.STATX_ATTR_APPEND != 0 {
		list = append(list, flag{"append-only", "a"})
	}
	return list
}
