package iptables

import (
	"errors"
	"fmt"

	"nftmigrate/diag"
)

// A Value is the argument of an option, like flag.Value: Set reads one
// argument as iptables reads it, String writes it as iptables-save prints it,
// quotes included.
// An error of Set is a sentence fragment that says what is wrong and what is
// expected ("65536 is out of range 0-65535").
type Value interface {
	Set(arg string) error
	String() string
}

// A MultiValue is a Value of more or fewer than one argument (Flag has none,
// the flags of "--tcp-flags MASK COMP" have two).
type MultiValue interface {
	Value
	// Count is the number of arguments.
	Count() int
	// SetArgs reads them; len(args) is Count().
	SetArgs(args []string) error
	// Args writes them.
	Args() []string
}

// A Defaulter is a Value that iptables-save leaves out when it has its default,
// also when it is negated.
type Defaulter interface {
	IsDefault() bool
}

// An UnnegatedDefaulter is a Value that iptables-save leaves out when it has
// its default and is not negated.
type UnnegatedDefaulter interface {
	IsUnnegatedDefault() bool
}

// An Opt is an option of a match, target or rule as it was given.
type Opt[T any] struct {
	Value   T
	Present bool
	Negated bool
	Range   diag.Range // of the argument, or of the option when it has none
}

// Flags say how an option may be used.
type Flags uint8

// The flags of an option.
const (
	// Required: without the option the match or target is not valid.
	Required Flags = 1 << iota
	// Invertible: "!" may stand before it (or, as old versions printed it,
	// before its argument).
	Invertible
	// Repeatable: may be given more than once; the value collects. Without it
	// a second use is an error, as in iptables.
	Repeatable
	// InputOnly: read, never printed.
	InputOnly
	// Bare: its argument may be missing, and the value then stays as it is. What
	// begins like an option, or is "!", is no argument of it.
	Bare
)

// Options is the grammar of an extension: the list is its parser and its
// canonical printer at once.
type Options []Option

// An Option is one entry of the grammar. Make one by [Bind], [Alias] or
// [Rewrite].
type Option struct {
	Name  string // without the two dashes
	Flags Flags

	count   int
	alias   string
	value   Value
	present *bool
	negated *bool
	where   *diag.Range
	rewrite func(args []string, negated bool) ([]Replacement, error)
}

// A Replacement is an option in the canonical spelling.
type Replacement struct {
	Name    string
	Args    []string
	Negated bool
}

// Bind binds an option to a field.
func Bind[T any, P interface {
	*T
	Value
}](name string, field *Opt[T], flags Flags) Option {
	o := Option{
		Name:    name,
		Flags:   flags,
		count:   1,
		value:   P(&field.Value),
		present: &field.Present,
		negated: &field.Negated,
		where:   &field.Range,
	}
	if m, ok := o.value.(MultiValue); ok {
		o.count = m.Count()
	}
	return o
}

// Alias is another spelling of an option, for input only.
func Alias(name, option string) Option {
	return Option{Name: name, alias: option, Flags: InputOnly}
}

// Rewrite is an option that iptables-save prints in other words: it stands for
// other options of the same extension ("--syn" is "--tcp-flags FIN,SYN,RST,ACK
// SYN"). It takes count arguments.
func Rewrite(name string, count int, flags Flags, to func(args []string, negated bool) ([]Replacement, error)) Option {
	return Option{Name: name, count: count, rewrite: to, Flags: flags | InputOnly}
}

// Find returns the option of a name, with aliases followed.
func (o Options) Find(name string) (Option, bool) {
	for _, opt := range o {
		if opt.Name != name {
			continue
		}
		if opt.alias != "" {
			return o.Find(opt.alias)
		}
		return opt, true
	}
	return Option{}, false
}

// Set applies one use of an option. where is the range of its arguments.
func (o Options) Set(name string, args []string, negated bool, where diag.Range) error {
	opt, ok := o.Find(name)
	if !ok {
		return fmt.Errorf("there is no option --%s", name)
	}
	if len(args) != opt.count && (len(args) != 0 || opt.Flags&Bare == 0) {
		return fmt.Errorf("--%s takes %d arguments, not %d", name, opt.count, len(args))
	}
	if negated && opt.Flags&Invertible == 0 {
		return fmt.Errorf("--%s cannot be negated", name)
	}
	if opt.rewrite != nil {
		list, err := opt.rewrite(args, negated)
		if err != nil {
			return err
		}
		for _, r := range list {
			if err := o.Set(r.Name, r.Args, r.Negated, where); err != nil {
				return err
			}
		}
		return nil
	}
	return opt.set(args, negated, where)
}

// errRepeated is the cause when an option is given twice that may not be.
var errRepeated = errors.New("it may be given only once")

// set applies one use of a bound option.
func (o Option) set(args []string, negated bool, where diag.Range) error {
	if *o.present && !o.where.IsZero() && o.Flags&Repeatable == 0 {
		return fmt.Errorf("--%s is there already, and %w", o.Name, errRepeated)
	}
	if m, ok := o.value.(MultiValue); ok {
		if err := m.SetArgs(args); err != nil {
			return err
		}
	} else if len(args) > 0 {
		if err := o.value.Set(args[0]); err != nil {
			return err
		}
	}
	*o.present, *o.negated, *o.where = true, negated, where
	return nil
}

// printed reports whether iptables-save prints the option.
func (o Option) printed() bool {
	if o.Flags&InputOnly != 0 || o.present == nil || !*o.present {
		return false
	}
	if d, ok := o.value.(Defaulter); ok && d.IsDefault() {
		return false
	}
	d, ok := o.value.(UnnegatedDefaulter)
	return !ok || *o.negated || !d.IsUnnegatedDefault()
}

// A Printed is one option as iptables-save prints it.
type Printed struct {
	Name    string // without dashes
	Negated bool
	Args    []string
}

// Print lists the options that are present, in the order of the list.
func (o Options) Print() []Printed {
	var out []Printed
	for _, opt := range o {
		if !opt.printed() {
			continue
		}
		p := Printed{Name: opt.Name, Negated: *opt.negated}
		if m, ok := opt.value.(MultiValue); ok {
			p.Args = m.Args()
		} else {
			p.Args = []string{opt.value.String()}
		}
		out = append(out, p)
	}
	return out
}

// Arguments returns how many arguments the option takes.
func (o Option) Arguments() int { return o.count }

// Missing returns the required options that were not given.
func (o Options) Missing() []string {
	var names []string
	for _, opt := range o {
		if opt.Flags&Required == 0 || opt.present == nil {
			continue
		}
		if !*opt.present {
			names = append(names, opt.Name)
		}
	}
	return names
}

// A Printer is a match or target whose canonical form the order of its options
// cannot state.
type Printer interface {
	PrintOptions() []Printed
}
