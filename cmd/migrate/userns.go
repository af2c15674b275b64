package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// userNamespaceMark is set in the environment of the second process.
const userNamespaceMark = "MIGRATE_USER_NAMESPACE"

// inUserNamespace runs the program again, with the same arguments, as root of a
// user and network namespace of its own, where an ordinary user has the rights
// that kernel machines need. ok is false when this process is root already, is
// that second one, or may not make such namespaces; then the caller goes on by
// itself, and what is missing is named by who needs it.
func inUserNamespace(ctx context.Context, s *streams) (code int, ok bool) {
	if os.Geteuid() == 0 || os.Getenv(userNamespaceMark) != "" || len(os.Args) < 2 {
		return 0, false
	}
	c := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = s.in, s.out, s.errs
	c.Env = append(os.Environ(), userNamespaceMark+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER,
		// Made behind the user map, so that a thread may come back to it.
		Unshareflags: syscall.CLONE_NEWNET,
		UidMappings:  []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings:  []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:    syscall.SIGKILL,
	}
	err := c.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return exitNothing, true
	case errors.As(err, &ended) && ended.ExitCode() >= 0:
		return ended.ExitCode(), true
	}
	return 0, false
}
