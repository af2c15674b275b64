package persist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"nftmigrate/internal/durable"
)

// A State is how far a journal came.
type State string

// The states.
const (
	// Planned: what was there before is kept; nothing was changed.
	Planned State = "planned"
	// Running: some changes were made.
	Running State = "running"
	// Done: all changes were made.
	Done State = "done"
	// Undoing: some changes were taken back.
	Undoing State = "undoing"
	// Undone: everything is as it was.
	Undone State = "undone"
)

// record is the journal's file.
type record struct {
	Schema string `json:"schema"`
	Root   string `json:"root"`
	State  State  `json:"state"`
	// At is the step that is announced: those before it are made, those behind
	// it are not.
	At    int    `json:"at"`
	Steps []step `json:"steps"`
}

const (
	schema      = "nftmigrate/journal/1"
	journalName = "journal.json"
	contentName = "content"
)

// A Journal is a list of changes with all that is needed to undo them, on disk.
// Each step is announced there, synced and read back, before it is made, so that
// whoever finds the journal after a crash can finish it or undo it. Callers see to
// it that only one process has a journal in its hands.
type Journal struct {
	dir    string
	record record
}

// ErrNoJournal is returned when a directory has no journal.
var ErrNoJournal = errors.New("there is no journal")

// Prepare writes the journal of changes under a root into a directory, which it
// makes. It changes nothing else. It fails when [Check] finds something, or when
// the directory has a journal that was not undone.
func Prepare(dir, root string, changes []Change) (*Journal, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	switch old, err := Open(dir); {
	case errors.Is(err, ErrNoJournal):
	case err != nil:
		return nil, err
	case old.State() != Undone:
		return nil, fmt.Errorf("the journal in %s is %s; finish it or undo it first", dir, old.State())
	}
	if err := problems(Check(root, changes)); err != nil {
		return nil, err
	}
	list, err := steps(root, changes)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir, record{Schema: schema, Root: root, State: Planned, Steps: list}}
	contents := filepath.Join(dir, contentName)
	if err := os.MkdirAll(contents, 0o700); err != nil {
		return nil, fmt.Errorf("make the journal: %w", err)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := durable.SyncDir(d); err != nil {
			return nil, fmt.Errorf("make the journal: %w", err)
		}
	}
	for _, s := range list {
		for _, c := range []struct {
			node
			b []byte
		}{{s.Before, s.before}, {s.After, s.after}} {
			if c.Kind != file {
				continue
			}
			if err := durable.Write(j.contentPath(c.Digest), c.b, 0o600); err != nil {
				return nil, fmt.Errorf("keep the content of %s: %w", s.Path, err)
			}
		}
	}
	// The record comes last: without it there is no journal.
	if err := j.write(j.record); err != nil {
		return nil, err
	}
	return j, nil
}

// Open reads the journal of a directory. It returns [ErrNoJournal] where there is
// none, and an error for one that it does not understand.
func Open(dir string) (*Journal, error) {
	path := filepath.Join(dir, journalName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoJournal
	}
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir}
	if err := json.Unmarshal(b, &j.record); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if err := j.record.valid(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

func (r *record) valid() error {
	if r.Schema != schema {
		return fmt.Errorf("its schema is %q, this program knows %q; use the program that made it", r.Schema, schema)
	}
	switch r.State {
	case Planned, Running, Done, Undoing, Undone:
	default:
		return fmt.Errorf("it is damaged: there is no state %q", r.State)
	}
	if !filepath.IsAbs(r.Root) || r.At < 0 || r.At > len(r.Steps) {
		return fmt.Errorf("it is damaged: step %d of %d under %q", r.At, len(r.Steps), r.Root)
	}
	for i, s := range r.Steps {
		if !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path || !s.Before.valid() || !s.After.valid() {
			return fmt.Errorf("it is damaged: step %d, %q, cannot be", i, s.Path)
		}
	}
	return nil
}

func (n node) valid() bool {
	switch n.Kind {
	case file:
		return len(n.Digest) == len(digest(nil)) && filepath.Base(n.Digest) == n.Digest
	case link:
		return n.Target != ""
	case directory, absent.Kind:
		return true
	}
	return false
}

// State is how far the journal came.
func (j *Journal) State() State { return j.record.State }

// Paths are those of the steps, in their order, directories that are made
// included, with links on the way followed.
func (j *Journal) Paths() []string {
	list := make([]string, len(j.record.Steps))
	for i, s := range j.record.Steps {
		list[i] = s.Path
	}
	return list
}

func (j *Journal) contentPath(digest string) string {
	return filepath.Join(j.dir, contentName, digest)
}

// content reads a content that is kept, and makes sure that it is the one.
func (j *Journal) content(want string) ([]byte, error) {
	b, err := os.ReadFile(j.contentPath(want))
	if err != nil {
		return nil, fmt.Errorf("read a content that was kept: %w", err)
	}
	if digest(b) != want {
		return nil, fmt.Errorf("the content that was kept in %s was changed", j.contentPath(want))
	}
	return b, nil
}

func (j *Journal) write(r record) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err == nil {
		err = durable.Write(filepath.Join(j.dir, journalName), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// enter announces a state and a step, and leaves the journal as it was when that
// fails.
func (j *Journal) enter(state State, at int) error {
	r := j.record
	r.State, r.At = state, at
	if err := j.write(r); err != nil {
		return err
	}
	j.record = r
	return nil
}
