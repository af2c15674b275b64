package persist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/durable"
)

// A Changed error says that others changed files that a journal is about.
type Changed struct {
	// Paths are the files, below the root.
	Paths []string
}

// Error names the files.
func (c *Changed) Error() string {
	return "changed by somebody else: " + strings.Join(c.Paths, ", ")
}

// Run makes the changes on disk under a root, with their journal in a directory,
// or goes on with the journal that is there. It is to be called again after it was
// cut off.
func Run(ctx context.Context, dir, root string, changes []Change) error {
	j, err := Open(dir)
	if errors.Is(err, ErrNoJournal) || err == nil && j.State() == Undone {
		j, err = Prepare(dir, root, changes)
	}
	if err != nil {
		return err
	}
	return j.Run(ctx)
}

// Undo takes back the changes of the journal in a directory; without one there is
// nothing to take back. See [Journal.Undo].
func Undo(ctx context.Context, dir string, force bool) (*Taken, error) {
	j, err := Open(dir)
	if errors.Is(err, ErrNoJournal) {
		return new(Taken), nil
	}
	if err != nil {
		return nil, err
	}
	return j.Undo(ctx, force)
}

// Run makes the changes that were not made yet. It goes on where a run before was
// cut off, and stops at the first change that cannot be made; what was made then
// stays until it is called again, or Undo is. A file that is neither as it was
// when the journal was prepared nor as it will be is a [Changed] error.
func (j *Journal) Run(ctx context.Context) error {
	switch j.State() {
	case Done:
		return nil
	case Undoing, Undone:
		return fmt.Errorf("the journal in %s is %s, so its changes are not made", j.dir, j.State())
	}
	for at := j.record.At; at < len(j.record.Steps); at++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.enter(Running, at); err != nil {
			return err
		}
		if err := j.do(&j.record.Steps[at]); err != nil {
			return err
		}
	}
	return j.enter(Done, len(j.record.Steps))
}

func (j *Journal) do(s *step) error {
	path, err := j.path(s)
	if err != nil {
		return err
	}
	now, _, err := readNode(path)
	if err != nil {
		return err
	}
	switch {
	case now.same(s.After):
		// Made by a run that was cut off, perhaps before the disk had it.
		return durable.SyncDir(filepath.Dir(path))
	case !now.same(s.Before):
		return &Changed{[]string{s.Path}}
	}
	if err := s.After.put(path, j.content); err != nil {
		return err
	}
	return is(path, s.After)
}

// path is where a step takes place. Leftovers of a crash are removed from beside
// it. A directory on the way that became a link leads somewhere else than what was
// planned.
func (j *Journal) path(s *step) (string, error) {
	at, err := resolve(j.record.Root, s.Path, false)
	if err != nil {
		return "", err
	}
	if at != s.Path {
		return "", &Changed{[]string{s.Path + " (a link on the way leads to " + at + ")"}}
	}
	path := filepath.Join(j.record.Root, s.Path)
	if _, err := os.Lstat(filepath.Dir(path)); err == nil {
		if err := durable.Clean(path); err != nil {
			return "", err
		}
	}
	return path, nil
}

// is makes sure that a path holds a node.
func is(path string, want node) error {
	got, _, err := readNode(path)
	if err != nil {
		return err
	}
	if !got.same(want) {
		return fmt.Errorf("%s was changed, but read back otherwise (%s, mode %o)", path, got.Kind, got.Mode)
	}
	return nil
}

// Taken says what else came of taking changes back.
type Taken struct {
	// Kept are files with the versions of others, which were in the way.
	Kept []string
	// Left are directories that were made and stay, because others use them.
	Left []string
}

// Undo takes back what was made, the last first: content, mode, owner, labels and
// times are those of before. It can be called after Run was cut off, and again
// after it was cut off itself. Where somebody else changed a file since, it changes
// nothing at all and returns a [Changed] error; with force it keeps their version
// beside the file. A journal that cannot be written does not keep it from its work,
// and what can be restored is, whatever else cannot.
func (j *Journal) Undo(ctx context.Context, force bool) (*Taken, error) {
	taken := new(Taken)
	if j.State() == Undone {
		return taken, nil
	}
	made := j.record.Steps[:min(j.record.At+1, len(j.record.Steps))]
	if j.State() == Planned {
		made = nil
	}
	if !force {
		if err := j.untouched(made); err != nil {
			return nil, err
		}
	}
	noted := j.enter(Undoing, j.record.At)
	left := make([]int, len(made))
	for i := range left {
		left[i] = len(made) - 1 - i
	}
	// A full disk has room again when the last of a list was removed, so what
	// failed is tried again for as long as something succeeds.
	for {
		var failed []int
		var errs []error
		for _, i := range left {
			if err := ctx.Err(); err != nil {
				return taken, errors.Join(err, noted)
			}
			if err := j.takeBack(&made[i], taken); err != nil {
				failed, errs = append(failed, i), append(errs, err)
			}
		}
		if len(failed) == 0 {
			break
		}
		if len(failed) == len(left) {
			return taken, errors.Join(append(errs, noted)...)
		}
		left = failed
	}
	return taken, j.enter(Undone, 0)
}

// untouched returns a Changed error with all the files that others changed.
func (j *Journal) untouched(made []step) error {
	var changed []string
	for i := range made {
		s := &made[i]
		path, err := j.path(s)
		var c *Changed
		if errors.As(err, &c) {
			changed = append(changed, c.Paths...)
			continue
		}
		if err != nil {
			return err
		}
		now, _, err := readNode(path)
		if err != nil {
			return err
		}
		if !now.same(s.Before) && !now.same(s.After) && !s.gone(now) {
			changed = append(changed, s.Path)
		}
	}
	if changed != nil {
		return &Changed{changed}
	}
	return nil
}

// gone reports whether nothing is left to take back of what somebody else removed.
func (s *step) gone(now node) bool {
	return now.Kind == absent.Kind && s.Before.Kind == absent.Kind
}

func (j *Journal) takeBack(s *step, taken *Taken) error {
	path, err := j.path(s)
	if err != nil {
		return err
	}
	now, _, err := readNode(path)
	if err != nil {
		return err
	}
	switch {
	case now.same(s.Before):
		if now.Kind == absent.Kind {
			if _, err := os.Lstat(filepath.Dir(path)); err != nil {
				return nil
			}
		}
		return durable.SyncDir(filepath.Dir(path))
	case now.Kind == directory && s.After.Kind == directory:
		err := durable.Remove(path)
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			taken.Left = append(taken.Left, s.Path)
			return nil
		}
		return err
	case now.Kind == directory || now.Kind == other:
		return fmt.Errorf("restore %s: it is neither a file nor a link now; move it away and undo again", s.Path)
	case !now.same(s.After) && now.Kind != absent.Kind:
		kept, err := keep(path)
		if err != nil {
			return err
		}
		taken.Kept = append(taken.Kept, strings.TrimPrefix(kept, strings.TrimSuffix(j.record.Root, "/")))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("restore %s: %w", s.Path, err)
	}
	if err := s.Before.put(path, j.content); err != nil {
		return err
	}
	return is(path, s.Before)
}

// keep gives a file a second name, so that it is still there when the first is
// taken.
func keep(path string) (string, error) {
	for i := 1; ; i++ {
		name := fmt.Sprintf("%s.nftmigrate-kept-%d", path, i)
		err := os.Link(path, name)
		if errors.Is(err, os.ErrExist) {
			if a, err := os.Lstat(path); err == nil {
				if b, err := os.Lstat(name); err == nil && os.SameFile(a, b) {
					return name, nil
				}
			}
			continue
		}
		if err == nil {
			err = durable.SyncDir(filepath.Dir(path))
		}
		if err != nil {
			return "", fmt.Errorf("keep the present %s: %w", path, err)
		}
		return name, nil
	}
}
