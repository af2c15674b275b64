package persist

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/durable"
)

// A kind is what stands at a path.
type kind string

const (
	file      kind = "file"
	link      kind = "link"
	directory kind = "directory"
	other     kind = "other" // device, socket, pipe
)

// A node is what stands at a path: all that is needed to make it again, but for
// the content of a file, of which it has the digest.
type node struct {
	Kind kind `json:"kind"`
	// New is that it has the owner and the labels that the file system gives it.
	New bool `json:"new,omitempty"`
	// Mode are the permission bits, those of set-user-ID and the like included.
	Mode uint32 `json:"mode,omitempty"`
	UID  int    `json:"uid,omitempty"`
	GID  int    `json:"gid,omitempty"`
	// MTime is the time of the last change in nanoseconds since 1970, 0 when it
	// does not matter.
	MTime  int64       `json:"mtime,omitempty"`
	Attrs  []attribute `json:"attributes,omitempty"`
	Digest string      `json:"digest,omitempty"`
	Size   int64       `json:"size,omitempty"`
	Target string      `json:"target,omitempty"`
}

// An attribute is an extended one: a label of SELinux, an access list.
//
// Man page: xattr(7).
type attribute struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

var absent = node{Kind: "absent"}

// largest is the size of the largest file that is taken into a journal.
const largest = 1 << 30

// same reports whether two nodes are the same for somebody who looks for changes
// that others made. Labels and times do not count: relabelling a file system, or
// touching a file, changes nothing of ours.
func (n node) same(o node) bool {
	if n.Kind != o.Kind {
		return false
	}
	switch n.Kind {
	case file:
		return n.Digest == o.Digest && n.Mode == o.Mode && n.UID == o.UID && n.GID == o.GID
	case link:
		return n.Target == o.Target
	}
	return true
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// readNode reads what stands at a path, and the content when it is a file.
func readNode(path string) (node, []byte, error) {
	n, b, err := readNodeRaw(path)
	if err != nil {
		return node{}, nil, fmt.Errorf("read %s: %w", path, err)
	}
	return n, b, nil
}

func readNodeRaw(path string) (node, []byte, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return absent, nil, nil
	}
	if err != nil {
		return node{}, nil, err
	}
	n := node{Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), MTime: st.Mtim.Nano()}
	var content []byte
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.Kind = file
		if st.Size > largest {
			return node{}, nil, fmt.Errorf("it has %d bytes, too many to keep", st.Size)
		}
		// Neither a link nor a pipe that took its place in between is opened.
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return node{}, nil, err
		}
		content, err = io.ReadAll(io.LimitReader(f, largest))
		if err = errors.Join(err, f.Close()); err != nil {
			return node{}, nil, err
		}
		n.Digest, n.Size = digest(content), int64(len(content))
	case unix.S_IFLNK:
		n.Kind, n.Mode = link, 0
		if n.Target, err = os.Readlink(path); err != nil {
			return node{}, nil, err
		}
	case unix.S_IFDIR:
		n.Kind = directory
		return n, nil, nil
	default:
		n.Kind = other
		return n, nil, nil
	}
	n.Attrs, err = readAttributes(path)
	return n, content, err
}

// readAttributes reads the extended attributes of a file, or of a link itself.
// File systems that know none have none.
func readAttributes(path string) ([]attribute, error) {
	names, err := sized(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the attributes: %w", err)
	}
	var list []attribute
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value, err := sized(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, fmt.Errorf("read the attribute %s: %w", name, err)
		}
		list = append(list, attribute{name, value})
	}
	return list, nil
}

// sized calls for a buffer's size, then with the buffer, until it is large enough.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := get(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		b := make([]byte, size)
		size, err = get(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:size], nil
	}
}

// dress gives a file or a link at a path what a node says of it, beside content
// and target.
func (n node) dress(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if int(st.Uid) != n.UID || int(st.Gid) != n.GID {
		if err := os.Lchown(path, n.UID, n.GID); err != nil {
			return err
		}
	}
	have, err := readAttributes(path)
	if err != nil {
		return err
	}
	for _, a := range n.Attrs {
		if has(have, a) {
			continue // the kernel refuses some that it sets itself
		}
		if err := unix.Lsetxattr(path, a.Name, a.Value, 0); err != nil {
			return fmt.Errorf("set the attribute %s: %w", a.Name, err)
		}
	}
	for _, a := range have {
		// A directory can have given it an access list. Labels are the system's.
		if n.New || strings.HasPrefix(a.Name, "security.") || named(n.Attrs, a.Name) {
			continue
		}
		if err := unix.Lremovexattr(path, a.Name); err != nil {
			return fmt.Errorf("remove the attribute %s: %w", a.Name, err)
		}
	}
	if n.Kind == file { // after the owner and the access list, which change it
		if err := unix.Chmod(path, n.Mode); err != nil {
			return fmt.Errorf("set the mode: %w", err)
		}
	}
	if n.MTime != 0 {
		t := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(n.MTime)}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, t, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set the time: %w", err)
		}
	}
	return nil
}

func has(list []attribute, a attribute) bool {
	return slices.ContainsFunc(list, func(h attribute) bool { return h.Name == a.Name && bytes.Equal(h.Value, a.Value) })
}

func named(list []attribute, name string) bool {
	return slices.ContainsFunc(list, func(a attribute) bool { return a.Name == name })
}

// put makes a path hold a node, whatever it holds now.
func (n node) put(path string, content func(digest string) ([]byte, error)) error {
	switch n.Kind {
	case absent.Kind:
		return durable.Remove(path)
	case directory:
		return durable.Mkdir(path, fs.FileMode(n.Mode))
	case link:
		return durable.SymlinkAs(n.Target, path, n.dress)
	case file:
		b, err := content(n.Digest)
		if err != nil {
			return err
		}
		return durable.WriteAs(path, b, fs.FileMode(n.Mode&0o777), n.dress)
	}
	return fmt.Errorf("make %s: there is no kind %q", path, n.Kind)
}
