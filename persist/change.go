package persist

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Op is what a change does.
type Op string

// The operations.
const (
	// WriteFile makes a file, or gives another content to one that keeps its
	// mode, owner and labels.
	WriteFile Op = "write"
	// MakeLink makes a symbolic link, in the place of the file or link that is there.
	MakeLink Op = "link"
	// RemoveFile removes a file or a link.
	RemoveFile Op = "remove"
)

// A Change is one step on disk that can be undone.
type Change struct {
	Op Op `json:"op"`
	// Path is absolute, as the host sees it. Links on the way are followed; for
	// WriteFile the last one is, too, so that the operator's link stays.
	Path string `json:"path"`
	// Content and Mode are those of a file. Mode counts where there was none.
	Content []byte      `json:"content,omitempty"`
	Mode    fs.FileMode `json:"mode,omitempty"`
	// Target is where a link leads.
	Target string `json:"target,omitempty"`
	// Why is half a sentence for people.
	Why string `json:"why"`
}

// Describe says for people what a list of changes will do, a line for each.
func Describe(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		switch c.Op {
		case WriteFile:
			fmt.Fprintf(&b, "write   %s", c.Path)
		case MakeLink:
			fmt.Fprintf(&b, "link    %s -> %s", c.Path, c.Target)
		case RemoveFile:
			fmt.Fprintf(&b, "remove  %s", c.Path)
		default:
			fmt.Fprintf(&b, "%s %s", c.Op, c.Path)
		}
		fmt.Fprintf(&b, ": %s\n", c.Why)
	}
	return b.String()
}

// A step is a change with what was there before.
type step struct {
	Path   string `json:"path"` // with links on the way followed
	Why    string `json:"why"`
	Before node   `json:"before"`
	After  node   `json:"after"`

	before, after []byte // contents, while a journal is prepared
}

// steps finds out what each change will do under a root. It only reads. Changes
// that change nothing are left out.
func steps(root string, changes []Change) ([]step, error) {
	var list []step
	planned := map[string]bool{}
	add := func(s step) { list, planned[s.Path] = append(list, s), true }
	for _, c := range changes {
		if !filepath.IsAbs(c.Path) || filepath.Clean(c.Path) != c.Path || c.Path == "/" {
			return nil, fmt.Errorf("change %q: not a clean absolute path", c.Path)
		}
		path, err := resolve(root, c.Path, c.Op == WriteFile)
		if err != nil {
			return nil, err
		}
		if planned[path] {
			return nil, fmt.Errorf("change %s: two changes of one path", c.Path)
		}
		s := step{Path: path, Why: c.Why}
		if s.Before, s.before, err = readNode(filepath.Join(root, path)); err != nil {
			return nil, err
		}
		if s.Before.Kind == directory || s.Before.Kind == other {
			return nil, fmt.Errorf("change %s: it is neither a file nor a link", c.Path)
		}
		s.After = absent
		switch c.Op {
		case WriteFile:
			s.after = c.Content
			s.After = s.Before
			if s.Before.Kind != file {
				s.After = node{New: true, Mode: uint32(c.Mode.Perm()), UID: os.Geteuid(), GID: os.Getegid()}
			}
			s.After.Kind, s.After.Target, s.After.MTime = file, "", 0
			s.After.Digest, s.After.Size = digest(c.Content), int64(len(c.Content))
		case MakeLink:
			if c.Target == "" {
				return nil, fmt.Errorf("change %s: a link that leads nowhere", c.Path)
			}
			s.After = node{New: true, Kind: link, Target: c.Target, UID: os.Geteuid(), GID: os.Getegid()}
		case RemoveFile:
		default:
			return nil, fmt.Errorf("change %s: there is no operation %q", c.Path, c.Op)
		}
		if s.Before.same(s.After) {
			continue
		}
		if s.After.Kind != absent.Kind {
			for _, dir := range missing(root, filepath.Dir(path)) {
				if !planned[dir] {
					add(step{Path: dir, Why: "holds " + filepath.Base(path), Before: absent, After: node{Kind: directory, Mode: 0o755}})
				}
			}
		}
		add(s)
	}
	return list, nil
}

// missing returns the directories that have to be made, the outermost first.
func missing(root, dir string) (list []string) {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(root, dir)); err == nil {
			break
		}
		list = append(list, dir)
	}
	slices.Reverse(list)
	return list
}

// resolve follows the links on the way to a path, and the last one if it is told
// to, without leaving the root. What does not exist is kept as it stands.
func resolve(root, path string, last bool) (string, error) {
	const most = 40 // as the kernel does
	todo := strings.Split(strings.Trim(path, "/"), "/")
	at := "/"
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(filepath.Join(root, next))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 || len(todo) == 0 && !last {
			at = next
			continue
		}
		if links++; links > most {
			return "", fmt.Errorf("follow %s: too many links", path)
		}
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at, nil
}
