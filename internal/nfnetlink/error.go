package nfnetlink

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrStale is wrapped by the refusal of a batch whose generation is no longer
// that of the ruleset.
var ErrStale = errors.New("the ruleset changed since its generation was read")

// ErrNoReceipt is returned when the kernel neither refused nor confirmed a
// batch, so that only reading back tells what happened.
var ErrNoReceipt = errors.New("the kernel did not confirm the batch")

// ErrUnsupported is wrapped when the kernel has no nf_tables at all.
var ErrUnsupported = errors.New("the kernel has no nf_tables")

// BatchBegin is the index of a failure of the batch as a whole.
const BatchBegin = -1

// A Failure is one message that the kernel refused.
type Failure struct {
	// Index is the place of the message in the batch that was sent, or
	// BatchBegin.
	Index int
	// Errno is the kernel's error number.
	Errno unix.Errno
	// Offset is where the guilty attribute starts, in bytes from the start of
	// the message header, 0 when the kernel did not say.
	Offset int
}

// A CommitError is the refusal of a batch. Nothing of the batch is in effect.
// errors.Is finds each error number, and [ErrStale].
type CommitError struct {
	// Failures are in the order in which the kernel reported them.
	Failures []Failure
	// Incomplete says that there were more failures than the socket could
	// hold.
	Incomplete bool
}

// Error names each failure, up to ten.
func (e *CommitError) Error() string {
	const shown = 10
	var b strings.Builder
	b.WriteString("commit a batch: refused")
	for i, f := range e.Failures {
		if i == shown {
			fmt.Fprintf(&b, "; and %d more", len(e.Failures)-shown)
			break
		}
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator + f.String())
	}
	if e.Incomplete {
		b.WriteString("; and failures that were lost")
	}
	return b.String()
}

// String says which message failed, and why.
func (f Failure) String() string {
	if f.Index == BatchBegin {
		if f.Errno == unix.ERESTART {
			return ErrStale.Error()
		}
		return "whole batch: " + f.Errno.Error()
	}
	place := fmt.Sprintf("message %d", f.Index)
	if f.Offset > 0 {
		place += fmt.Sprintf(", attribute at byte %d", f.Offset)
	}
	return place + ": " + f.Errno.Error()
}

// Unwrap returns the error numbers, and [ErrStale] for a lost race.
func (e *CommitError) Unwrap() []error {
	var all []error
	for _, f := range e.Failures {
		if f.Index == BatchBegin && f.Errno == unix.ERESTART {
			all = append(all, ErrStale)
		}
		all = append(all, f.Errno)
	}
	return all
}

// A SizeError says that a batch is larger than the send buffer may become.
// Nothing was sent.
type SizeError struct {
	Size  int // bytes of the batch
	Limit int // bytes that the kernel would take
}

// Error says what would help.
func (e *SizeError) Error() string {
	return fmt.Sprintf("send a batch of %d bytes: the send buffer holds %d; raise net.core.wmem_max, or run with CAP_NET_ADMIN outside of a user namespace", e.Size, e.Limit)
}

// Unwrap returns EMSGSIZE.
func (e *SizeError) Unwrap() error { return unix.EMSGSIZE }
