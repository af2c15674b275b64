package xtables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// LockFile is the file that iptables locks while it changes a table.
//
// Man page: iptables(8), option -w.
const LockFile = "/run/xtables.lock"

// ErrLocked is wrapped when another program kept the lock for too long.
var ErrLocked = errors.New("another program holds the xtables lock")

// lockPause is how long to wait before trying again.
const lockPause = 10 * time.Millisecond

// LockOptions say how the lock of iptables is taken.
type LockOptions struct {
	// Path is the file, [LockFile] when it is "".
	Path string
	// Wait is how long to wait for others, [DefaultWait] when it is 0.
	Wait time.Duration
}

// DefaultWait is how long others may keep the lock when nobody says otherwise.
const DefaultWait = 5 * time.Second

// Take is [Lock] with the options.
func (o LockOptions) Take(ctx context.Context) (unlock func(), err error) {
	return Lock(ctx, cmp.Or(o.Path, LockFile), cmp.Or(o.Wait, DefaultWait))
}

// Lock takes the lock of iptables, waiting for it at most as long as is said.
// The lock ends with unlock, or with the process. It is advice: the kernel does
// not ask for it.
func Lock(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock xtables: %w", err)
	}
	deadline := time.Now().Add(wait)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w after %v; see who does with \"fuser -v %s\"", path, ErrLocked, wait, path)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(lockPause):
		}
	}
}
