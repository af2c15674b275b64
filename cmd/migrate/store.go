package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nftmigrate/internal/netns"
	"nftmigrate/transaction"
)

// storeFlags say where the migrations of the host are kept.
type storeFlags struct {
	dir string
}

func (f *storeFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "state", transaction.DefaultDir, "`DIR` in which migrations are kept")
}

// flag is how to name the directory to another command, "" for the usual one.
func (f *storeFlags) flag() string {
	if f.dir == transaction.DefaultDir {
		return ""
	}
	return " --state " + f.dir
}

// lockPatience is how long a command waits for another one to end.
const lockPatience = 5 * time.Second

// open opens the store and holds it, until release is called.
func (f *storeFlags) open(ctx context.Context) (s *transaction.Store, release func(), err error) {
	s, err = transaction.OpenStore(f.dir)
	if errors.Is(err, os.ErrPermission) {
		return nil, nil, &exit{exitMissing, fmt.Errorf("%w; run it as root", err)}
	}
	if err != nil {
		return nil, nil, &exit{exitMissing, err}
	}
	wait, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	release, err = s.Lock(wait)
	if errors.Is(err, transaction.ErrBusy) {
		return nil, nil, &exit{exitDifferent, fmt.Errorf("%w; wait for it, and see what it does by migrate status", err)}
	}
	if err != nil {
		return nil, nil, &exit{exitMissing, err}
	}
	return s, release, nil
}

// session is the connection by which the command was given, nil when it was none,
// and all that are open in a namespace.
func session(ns *netns.NS) (*transaction.Connection, []transaction.Connection, error) {
	open, err := transaction.Established(ns)
	if err != nil {
		return nil, nil, err
	}
	w, ok := sshSession("/proc", os.Getpid())
	if !ok {
		return nil, open, nil
	}
	return &transaction.Connection{Local: w.server, Remote: w.client}, open, nil
}
