package kernel

import (
	"errors"
	"fmt"
)

// A MissingError says what the host lacks for a kernel machine.
type MissingError struct {
	// Kind is "right", "tool", "device node" or "kernel feature".
	Kind string
	// Name is what is missing: a capability, a program, a path, a subsystem.
	Name string
	Err  error
}

// Error names what is missing and what the kernel said.
func (e *MissingError) Error() string {
	return fmt.Sprintf("set up a kernel machine: missing %s %s: %v", e.Kind, e.Name, e.Err)
}

// Unwrap returns what the kernel or the search for a tool said.
func (e *MissingError) Unwrap() error { return e.Err }

// ErrNotRunnable is wrapped by the error for a packet that cannot be brought
// into the kernel in the circumstances it asks for. The machine goes on.
var ErrNotRunnable = errors.New("packet cannot be run in the kernel")

// notRunnable returns an error for a reason, which is also what [Stats] counts
// under.
func notRunnable(reason string) error { return &skipError{reason} }

type skipError struct{ reason string }

func (e *skipError) Error() string { return ErrNotRunnable.Error() + ": " + e.reason }
func (e *skipError) Unwrap() error { return ErrNotRunnable }
