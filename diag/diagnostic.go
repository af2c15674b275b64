package diag

import "fmt"

// Severity says how bad a diagnostic is. The zero value is invalid.
type Severity uint8

// The severities.
const (
	Error   Severity = iota + 1 // the input cannot be used as it is
	Warning                     // used, with a declared difference
	Note
)

// String returns the severity in lower case.
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Note:
		return "note"
	}
	return "invalid severity"
}

// A Class says what kind of problem a diagnostic is, and so which exit code it
// leads to.
type Class uint8

// The classes.
const (
	// Invalid is an input that iptables would not accept either.
	Invalid Class = iota
	// Unsupported is valid iptables that nftables, our translator or our
	// model has no counterpart for.
	Unsupported
)

// A Diagnostic is one thing to say about an input.
type Diagnostic struct {
	Severity Severity
	Class    Class
	// Code is a constant in kebab case, documented in docs/diagnostics.md.
	Code string
	// Summary is short and constant for the code, apart from the name it is about.
	Summary string
	// Detail is whole sentences: the reason, and what to do.
	Detail string
	// Subject is the tight range, Context the rule or line around it.
	Subject Range
	Context Range
}

// String returns the diagnostic on one line: place, severity, summary and code.
func (d Diagnostic) String() string {
	where := d.Subject.String()
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s%s: %s [%s]", where, d.Severity, d.Summary, d.Code)
}

// A List collects diagnostics.
type List []Diagnostic

// Add appends a diagnostic.
func (l *List) Add(d Diagnostic) { *l = append(*l, d) }

// HasErrors reports whether any diagnostic is an error.
func (l List) HasErrors() bool {
	for _, d := range l {
		if d.Severity == Error {
			return true
		}
	}
	return false
}

// HasInvalid reports whether any error is of class Invalid.
func (l List) HasInvalid() bool {
	for _, d := range l {
		if d.Severity == Error && d.Class == Invalid {
			return true
		}
	}
	return false
}
