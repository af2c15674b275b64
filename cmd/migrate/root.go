package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nftmigrate/diag"
	"nftmigrate/report"
)

// The exit codes.
const (
	exitNothing   = 0 // nothing to report
	exitDifferent = 1 // different, or findings
	exitUsage     = 2 // usage, or input that cannot be read
	exitUndecided = 3 // undecided, or not translatable
	exitMissing   = 4 // a right or a kernel feature is missing
)

// An exit ends a command with a code. err is nil when everything was said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// A stream bundle is what commands read and write. Results go to out, all else
// to errs.
type streams struct {
	in        io.Reader
	out, errs io.Writer
}

// run executes the command line and returns the exit code.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	s := &streams{in: in, out: &sticky{w: out}, errs: errs}
	root := &cobra.Command{
		Use:           "migrate",
		Short:         "Move a host from iptables to nftables, and show that nothing changed",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(s.out)
	root.SetErr(errs)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(translateCommand(s), verifyCommand(s), traceCommand(s), planCommand(s), applyCommand(s), confirmCommand(s), rollbackCommand(s), statusCommand(s), guardCommand(s), recoverCommand(s), loadCommand(s))
	err := root.ExecuteContext(context.Background())
	if w := s.out.(*sticky); w.err != nil {
		err = &exit{exitUsage, fmt.Errorf("write the result: %w", w.err)}
	}
	var e *exit
	switch {
	case err == nil:
		return exitNothing
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintf(errs, "migrate: %v\n", e.err)
		}
		return e.code
	}
	fmt.Fprintf(errs, "migrate: %v\nRun \"migrate --help\" for usage.\n", err)
	return exitUsage
}

// flagError says what is wrong with a flag, and which one may have been meant.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	hint := ""
	if errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := diag.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			hint = fmt.Sprintf("; did you mean --%s?", near)
		}
	}
	return usage("%v%s\nRun %q for the flags.", err, hint, c.CommandPath()+" --help")
}

// A sticky writer remembers the first error, so that a full disk or a closed
// pipe is not taken for success.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	if err != nil {
		s.err = err
	}
	return n, err
}

// fail reports diagnostics and returns the exit that they lead to: unreadable
// input before input that is right but has no counterpart.
func fail(s *streams, asJSON bool, schema string, list diag.List) error {
	if err := tell(s, asJSON, list); err != nil {
		return err
	}
	if asJSON {
		if err := (report.Document{Schema: schema, Diagnostics: report.Diagnostics(list)}).Write(s.out); err != nil {
			return err
		}
	}
	if list.HasInvalid() {
		return &exit{code: exitUsage}
	}
	return &exit{code: exitUndecided}
}

// tell writes diagnostics for people, unless they go into a JSON document.
func tell(s *streams, asJSON bool, list diag.List) error {
	if asJSON {
		return nil
	}
	return diag.Write(s.errs, list)
}
