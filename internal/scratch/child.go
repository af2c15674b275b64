package scratch

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
)

// childVariable marks the process that loads a text inside a user namespace.
// Its value is the path of nft. A process that has it by mistake makes a
// namespace of its own before it does anything, like every other.
const childVariable = "NFTMIGRATE_SCRATCH_NFT"

// hooked says that Main was called, so that running this program again leads
// to the child and not to its main function.
var hooked bool

// Main must be called first in main and in TestMain. In the process that
// [Compile] starts for an ordinary user it does the work and exits; elsewhere
// it returns at once.
func Main() {
	hooked = true
	nft := os.Getenv(childVariable)
	if nft == "" {
		return
	}
	os.Unsetenv(childVariable)
	if err := gob.NewEncoder(os.Stdout).Encode(child(nft)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(nft string) outcome {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return outcome{Failed: fmt.Sprintf("read the text: %v", err)}
	}
	n, err := netns.New()
	if err != nil {
		return outcome{Failed: err.Error()}
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	return load(ctx, n, nft, text)
}

// loadAsUser runs this program again as root of a new user namespace, where it
// may make a network namespace.
//
// Man page: user_namespaces(7).
func loadAsUser(ctx context.Context, nft string, text []byte) (outcome, error) {
	if !hooked {
		return outcome{}, errors.New("compile nft text: the program did not call scratch.Main first")
	}
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = []string{childVariable + "=" + nft, "TMPDIR=" + os.TempDir()}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &messages
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER,
		// A thread may come back only to a namespace of its own user
		// namespace, and that must have its user map when it is made.
		Unshareflags: syscall.CLONE_NEWNET,
		UidMappings:  []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		for _, forbidden := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
			if errors.Is(err, forbidden) {
				return outcome{}, &MissingError{What: "the right to make a user namespace", Err: err}
			}
		}
		return outcome{}, fmt.Errorf("compile nft text: %w", err)
	}
	waitErr := cmd.Wait()
	var o outcome
	if err := gob.NewDecoder(&out).Decode(&o); err != nil {
		if waitErr != nil {
			err = waitErr
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return outcome{}, fmt.Errorf("compile nft text in a user namespace: %w: %s", err, messages.String())
	}
	return o, nil
}
