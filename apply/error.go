package apply

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"nftmigrate/internal/nfnetlink"
)

// A Failure is one message that the kernel refused, or stored otherwise than
// it was sent.
type Failure struct {
	// Index is the place of the message in its batch, -1 for the batch as a
	// whole.
	Index int
	// Label is where the message comes from ("rules.v4:17"), "" when nobody
	// said.
	Label string
	// What is what the message is about, for people.
	What string
	// Expression is the name of the nf_tables expression that was refused, ""
	// when it was something else.
	Expression string
	// Errno is the kernel's answer, 0 when it took the message.
	Errno unix.Errno
	// Meaning says what the answer means here, Remedy what to do about it.
	Meaning, Remedy string
}

// String is one line: place, thing, answer, meaning, remedy.
func (f Failure) String() string {
	var parts []string
	for _, part := range []string{f.Label, f.What} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if f.Expression != "" {
		parts = append(parts, "expression "+f.Expression)
	}
	if f.Errno != 0 {
		parts = append(parts, f.Errno.Error())
	}
	text := strings.Join(parts, ": ")
	if f.Meaning != "" {
		text += " (" + f.Meaning + "; " + f.Remedy + ")"
	}
	return text
}

// An Error is a commit, or an undoing, that did not happen. The ruleset is
// what it was before, unless Undone is an error.
type Error struct {
	// Stage is the stage that failed, counted from 0.
	Stage int
	// Failures are the messages at fault, in the order in which the kernel
	// named them.
	Failures []Failure
	// Missing says that a right or a feature of the kernel is missing; programs
	// exit with 4.
	Missing bool
	// RolledBack says that something was committed and then undone; programs
	// exit with 5.
	RolledBack bool
	// Undone is why the undoing failed, nil when it did not.
	Undone error
	// Err is the cause.
	Err error

	stored bool // the stage itself was committed
}

// Error names each message at fault on a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("commit the ruleset: ")
	if len(e.Failures) == 0 || e.stored {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString("the kernel refuses it")
	}
	for _, f := range e.Failures {
		b.WriteString("\n  " + f.String())
	}
	switch {
	case e.Undone != nil:
		fmt.Fprintf(&b, "\n  and what was committed could not be undone: %v", e.Undone)
	case e.RolledBack:
		b.WriteString("\n  what was committed is undone")
	}
	return b.String()
}

// Unwrap returns the cause, and why the undoing failed.
func (e *Error) Unwrap() []error {
	if e.Undone != nil {
		return []error{e.Err, e.Undone}
	}
	return []error{e.Err}
}

func (e *Error) undo(err error) {
	e.RolledBack, e.Undone = err == nil, err
}

// refusal is an error before anything was sent.
func refusal(err error) *Error {
	right := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	if right {
		err = fmt.Errorf("%w; run as root, or with CAP_NET_ADMIN", err)
	}
	missing := right || errors.Is(err, unix.EMSGSIZE) || errors.Is(err, nfnetlink.ErrUnsupported)
	return &Error{Err: err, Missing: missing}
}

func stale(got, want uint32) *Error {
	f := explainFailure(Batch{}, nfnetlink.Failure{Index: nfnetlink.BatchBegin, Errno: unix.ERESTART})
	return &Error{
		Failures: []Failure{f},
		Err:      fmt.Errorf("generation is %d, want %d: %w", got, want, nfnetlink.ErrStale),
	}
}

// storedWrong is an error after the kernel took a stage.
func storedWrong(err error) *Error { return &Error{Err: err, stored: true} }

// explain turns the kernel's refusal of a stage into words.
func explain(stage Batch, err error) *Error {
	var refused *nfnetlink.CommitError
	if !errors.As(err, &refused) {
		return refusal(err)
	}
	e := &Error{Err: err}
	for _, f := range refused.Failures {
		e.Failures = append(e.Failures, explainFailure(stage, f))
		e.Missing = e.Missing || meaningOf(stage, f).missing
	}
	return e
}

func explainFailure(stage Batch, f nfnetlink.Failure) Failure {
	m := meaningOf(stage, f)
	failure := Failure{Index: f.Index, Label: stage.label(f.Index), Errno: f.Errno, Meaning: m.meaning, Remedy: m.remedy}
	if f.Index >= 0 && f.Index < len(stage.Messages) {
		message := stage.Messages[f.Index]
		failure.What, failure.Expression = describe(message), nfnetlink.Locate(message, f.Offset)
	}
	if failure.Expression != "" {
		failure.Meaning = strings.ReplaceAll(failure.Meaning, "%", failure.Expression)
		failure.Remedy = strings.ReplaceAll(failure.Remedy, "%", failure.Expression)
	}
	return failure
}

// A meaning is what an error number means for a kind of message. In its texts
// "%" is the expression.
type meaning struct {
	errno      unix.Errno
	index      int    // batchBegin for the batch as a whole, anyMessage else
	expression string // "" for any, "*" for some
	meaning    string
	remedy     string
	missing    bool
}

const (
	batchBegin = nfnetlink.BatchBegin
	anyMessage = 0
)

// meanings are tried in order; the first that fits counts.
//
// Kernel: net/netfilter/nf_tables_api.c, nfnetlink.c, nft_compat.c.
var meanings = []meaning{
	{errno: unix.ERESTART, index: batchBegin, meaning: "another program changed the ruleset in between", remedy: "read the ruleset again and make a new plan"},
	{errno: unix.EPERM, index: batchBegin, meaning: "the right to change the firewall of this namespace is missing", remedy: "run as root, or with CAP_NET_ADMIN", missing: true},
	{errno: unix.EPERM, meaning: "the right to change the firewall, or this table, is missing", remedy: "run as root; a table with an owner can only be changed by the program that owns it", missing: true},
	{errno: unix.EOPNOTSUPP, index: batchBegin, meaning: "the kernel has no nf_tables", remedy: "load the module nf_tables", missing: true},
	{errno: unix.ENOMEM, index: batchBegin, meaning: "the kernel is out of memory", remedy: "try again with more memory, or a smaller ruleset"},
	{errno: unix.EMLINK, meaning: "rules jump more than 16 chains deep", remedy: "make the chain of jumps shorter"},
	{errno: unix.ELOOP, meaning: "chains jump in a circle", remedy: "take one of the jumps away"},
	{errno: unix.ENOENT, expression: "immediate", meaning: "the chain that is jumped to does not exist", remedy: "make the chain before the rule"},
	{errno: unix.ENOENT, expression: "lookup", meaning: "the set does not exist", remedy: "make the set before the rule"},
	{errno: unix.ENOENT, expression: "dynset", meaning: "the set does not exist", remedy: "make the set before the rule"},
	{errno: unix.ENOENT, expression: "objref", meaning: "the object does not exist", remedy: "make the object before the rule"},
	{errno: unix.ENOENT, expression: "match", meaning: "the kernel has no such xt match", remedy: "load its module xt_…", missing: true},
	{errno: unix.ENOENT, expression: "target", meaning: "the kernel has no such xt target", remedy: "load its module xt_…", missing: true},
	{errno: unix.ENOENT, expression: "*", meaning: "the kernel has no % expression, or not all of it", remedy: "load the module nft_%, or take a kernel that has it", missing: true},
	{errno: unix.ENOENT, meaning: "what the message refers to does not exist", remedy: "make it before"},
	{errno: unix.EOPNOTSUPP, meaning: "the kernel does not support this here", remedy: "take a newer kernel, or another form of the rule", missing: true},
	{errno: unix.EEXIST, meaning: "there is one already that is not the same", remedy: "remove it first, or use another name"},
	{errno: unix.EBUSY, meaning: "it is still in use", remedy: "remove what refers to it first"},
	{errno: unix.EINVAL, meaning: "the kernel takes the message for malformed, or forbids this combination", remedy: "report the rule as a bug of the translation"},
	{errno: unix.ERANGE, meaning: "a number is out of the kernel's range", remedy: "report the rule as a bug of the translation"},
	{errno: unix.ENOSPC, meaning: "the set is full", remedy: "make the set larger"},
	{errno: unix.ENFILE, meaning: "the set is full", remedy: "make the set larger"},
	{errno: unix.EAFNOSUPPORT, meaning: "the kernel does not filter this family", remedy: "load the modules of the family", missing: true},
}

func meaningOf(stage Batch, f nfnetlink.Failure) meaning {
	expression := ""
	if f.Index >= 0 && f.Index < len(stage.Messages) {
		expression = nfnetlink.Locate(stage.Messages[f.Index], f.Offset)
	}
	for _, m := range meanings {
		if m.errno == f.Errno && (m.index == batchBegin) == (f.Index == batchBegin) &&
			(m.expression == "" || m.expression == expression || m.expression == "*" && expression != "") {
			return m
		}
	}
	return meaning{}
}
