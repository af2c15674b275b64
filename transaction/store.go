package transaction

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/durable"
)

// DefaultDir is where migrations are kept when nobody says otherwise.
const DefaultDir = "/var/lib/nftmigrate"

// ErrBusy is returned when another command holds the store.
var ErrBusy = errors.New("another migrate command is at work")

// ErrNone is returned when there is no migration of the kind that is asked for.
var ErrNone = errors.New("there is no such migration")

// ErrOpen is wrapped when a migration is begun while another one is open.
var ErrOpen = errors.New("a migration is open")

// A Store is the directory of all migrations of a host.
type Store struct {
	dir string
}

// OpenStore opens the directory of migrations, and makes it, readable for its
// owner alone. A directory that others may write to is refused: what stands in it
// is done with all rights.
func OpenStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "migrations"), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of migrations: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s may be written by others than its owner (mode %v); take that right away: chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("use %s: %w", dir, err)
	}
	return &Store{dir}, nil
}

// Dir is the directory.
func (s *Store) Dir() string { return s.dir }

// Lock keeps every other command, and the guards, from acting until it is given
// back, or the process ends. It waits as long as ctx lets it, then returns
// ErrBusy. The file of the lock tells who holds it.
//
// Man page: flock(2).
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	const pause = 50 * time.Millisecond
	self, err := Self()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.lockPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", s.dir, err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			// A disk that is full does not keep a rollback from its work.
			b, _ := json.Marshal(self)
			_, _ = f.WriteAt(append(b, make([]byte, 64-len(b)%64)...), 0)
			return func() { f.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", s.dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%w (process %d)", ErrBusy, s.holder().PID)
		case <-time.After(pause):
		}
	}
}

func (s *Store) lockPath() string { return filepath.Join(s.dir, "lock") }

// holder is the process that held the lock last.
func (s *Store) holder() (p Process) {
	b, err := os.ReadFile(s.lockPath())
	if err == nil {
		_ = json.Unmarshal(bytes.TrimRight(b, "\x00"), &p)
	}
	return p
}

func (s *Store) migrationDir(id string) string { return filepath.Join(s.dir, "migrations", id) }

// List returns all migrations, the oldest first. One whose record cannot be read
// is an error: nothing is done beside what is not understood. A directory
// without a record is of a migration that never began.
func (s *Store) List() ([]*Migration, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "migrations"))
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	var list []*Migration
	for _, e := range entries {
		m := &Migration{store: s, dir: s.migrationDir(e.Name())}
		m.Record, err = readRecord(m.dir)
		if notThere(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the migrations: %w", err)
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Migration) int { return number(a.Record.ID) - number(b.Record.ID) })
	return list, nil
}

func number(id string) int {
	n, _ := strconv.Atoi(id)
	return n
}

// Open returns the migration that something is left to do of, or ErrNone.
func (s *Store) Open() (*Migration, error) {
	return s.last(func(m *Migration) bool { return m.Record.State.Open() })
}

// Last returns the newest migration that is in effect: one that is open, or was
// confirmed. Else it returns ErrNone.
func (s *Store) Last() (*Migration, error) {
	return s.last(func(m *Migration) bool { return m.Record.State != RolledBack })
}

func (s *Store) last(is func(*Migration) bool) (*Migration, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Backward(list) {
		if is(m) {
			return m, nil
		}
	}
	return nil, ErrNone
}

// Get returns the migration of an ID, or ErrNone.
func (s *Store) Get(id string) (*Migration, error) {
	return s.last(func(m *Migration) bool { return m.Record.ID == id })
}
