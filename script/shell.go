package script

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"nftmigrate/diag"
	"nftmigrate/ipset"
	"nftmigrate/iptables"
)

// A status is how a command ended.
type status uint8

const (
	unknown status = iota
	succeeded
	failed
)

// A shell follows a script.
type shell struct {
	src      *diag.Source
	reg      iptables.Registry
	sessions [2]*iptables.Session // of iptables and ip6tables
	sets     *ipset.Reader        // nil before the first set
	vars     map[string]variable

	diags         diag.List
	counts        map[diag.Severity]int
	hiddenInvalid bool

	errexit bool // set -e
	stopped bool // by exit, or by a command that failed under set -e
	// lost: a part of the script was not followed, so that it is not known what
	// there is.
	lost bool
	// asked: the script looks at the status of the command.
	asked int
	// excused: another command takes its place when the command fails.
	excused   int
	functions map[string]bool // that the script declares
	// quiet: what the command complains of is thrown away.
	quiet bool
}

// list follows statements.
func (s *shell) list(stmts []*syntax.Stmt) status {
	last := succeeded
	for i, st := range stmts {
		last = s.stmt(st)
		if !s.stopped {
			continue
		}
		if i+1 < len(stmts) {
			s.report(diag.Diagnostic{Severity: diag.Warning, Code: "unreachable-command", Summary: "the script ends before this",
				Detail: "What stands from here on is not run. Remove it, or the end above.", Subject: s.of(stmts[i+1])})
		}
		break
	}
	return last
}

// stmt follows one statement.
func (s *shell) stmt(st *syntax.Stmt) status {
	if st.Background || st.Coprocess || st.Disown {
		return s.construct(st, "a command in the background", "Nobody can say when it is carried out. Remove the & at its end.")
	}
	r, ok := s.redirections(st.Redirs)
	if !ok {
		return s.lose(st)
	}
	quiet := s.quiet
	s.quiet = quiet || r.quiet
	if st.Negated {
		s.asked++
	}
	result := s.command(st, r)
	if st.Negated {
		s.asked--
		switch result {
		case succeeded:
			result = failed
		case failed:
			result = succeeded
		}
	}
	s.quiet = quiet
	return result
}

// command follows the command of a statement.
func (s *shell) command(st *syntax.Stmt, r redirections) status {
	switch c := st.Cmd.(type) {
	case nil:
		return succeeded // only redirections
	case *syntax.CallExpr:
		return s.call(c, r)
	case *syntax.DeclClause:
		return s.declare(c)
	case *syntax.Block:
		return s.list(c.Stmts)
	case *syntax.BinaryCmd:
		return s.binary(c)
	default:
		what := "this"
		switch c.(type) {
		case *syntax.IfClause, *syntax.CaseClause, *syntax.TestClause, *syntax.ArithmCmd, *syntax.LetClause:
			what = "a condition"
		case *syntax.WhileClause, *syntax.ForClause:
			what = "a loop"
		case *syntax.FuncDecl:
			what = "a function"
		case *syntax.Subshell:
			what = "a subshell"
		}
		return s.construct(st, what, "")
	}
}

// construct reports a part of the script that is not followed.
func (s *shell) construct(n syntax.Node, what, why string) status {
	detail := "Only commands that are run one after the other are followed. " + s.remedy()
	if why != "" {
		detail = why
	}
	subject := s.of(n)
	// The first line is enough to find it.
	if i := strings.IndexByte(subject.Text(), '\n'); i >= 0 {
		subject.End = subject.Start + int32(i)
	}
	s.report(diag.Diagnostic{Class: diag.Unsupported, Code: "shell-construct", Summary: what + " is not followed",
		Detail: detail, Subject: subject, Context: s.of(n)})
	return s.lose(n)
}

// lose notes that a part of the script is not followed: what it assigns and what
// it makes is not known.
func (s *shell) lose(n syntax.Node) status {
	s.lost = true
	if n == nil {
		return unknown
	}
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Assign:
			if n.Name != nil {
				s.vars[n.Name.Value] = variable{unknown: true}
			}
		case *syntax.WordIter:
			s.vars[n.Name.Value] = variable{unknown: true}
		case *syntax.FuncDecl:
			for _, name := range append(n.Names, n.Name) {
				if name != nil {
					s.declareFunction(name.Value)
				}
			}
		case *syntax.CallExpr:
			if len(n.Args) > 1 && n.Args[0].Lit() == "read" {
				for _, w := range n.Args[1:] {
					s.vars[w.Lit()] = variable{unknown: true}
				}
			}
		}
		return true
	})
	return unknown
}

func (s *shell) declareFunction(name string) {
	if s.functions == nil {
		s.functions = make(map[string]bool)
	}
	s.functions[name] = true
}

// binary follows "a && b", "a || b" and "a | b".
func (s *shell) binary(c *syntax.BinaryCmd) status {
	switch c.Op {
	case syntax.AndStmt, syntax.OrStmt:
	case syntax.Pipe, syntax.PipeAll:
		s.asked++
		s.stmt(c.X)
		s.asked--
		if s.stopped {
			return unknown
		}
		return s.stmt(c.Y)
	default:
		return s.construct(c, "this", "")
	}
	s.asked++
	if c.Op == syntax.OrStmt {
		s.excused++
	}
	left := s.stmt(c.X)
	s.asked--
	if c.Op == syntax.OrStmt {
		s.excused--
	}
	switch {
	case s.stopped:
		return left
	case left == unknown && !s.lost && !s.harmless(c.Y):
		return s.construct(c, "a condition", "Whether the second command is run depends on the first, whose status is not known here. "+s.remedy())
	case left == unknown:
		return unknown
	case (left == succeeded) == (c.Op == syntax.AndStmt):
		return s.stmt(c.Y)
	}
	return left
}

// harmless reports whether a statement has no influence on the firewall, also
// when it is run.
func (s *shell) harmless(st *syntax.Stmt) bool {
	call, ok := st.Cmd.(*syntax.CallExpr)
	return ok && len(call.Args) > 0 && len(call.Assigns) == 0 && effects[call.Args[0].Lit()] == noEffect && call.Args[0].Lit() != ""
}

// ended notes how a command ended: under set -e, the script ends with the first
// that fails.
func (s *shell) ended(n syntax.Node, result status) status {
	if result != failed || !s.errexit || s.asked > 0 {
		return result
	}
	s.stopped = true
	if !s.lost {
		s.report(diag.Diagnostic{Code: "script-stops", Summary: "the script ends here, because this command fails",
			Detail:  "It runs under \"set -e\", by which a shell ends with the first command that fails, and nothing below is carried out. Correct the command, or write \"|| true\" behind it.",
			Subject: s.of(n)})
	}
	return result
}

// redirections are what matters of where a command reads and writes.
type redirections struct {
	quiet    bool             // complaints go to /dev/null
	document *syntax.Redirect // a here-document
	input    *syntax.Redirect // any other input
	output   string           // the last file that is written
}

func (s *shell) redirections(list []*syntax.Redirect) (r redirections, ok bool) {
	for _, d := range list {
		target := ""
		if d.Word != nil && d.Hdoc == nil {
			var ok bool
			if target, ok = s.text(d.Word); !ok {
				return r, false
			}
		}
		fd := ""
		if d.N != nil {
			fd = d.N.Value
		}
		switch d.Op {
		case syntax.Hdoc, syntax.DashHdoc:
			r.document, r.input = d, nil
		case syntax.RdrIn, syntax.WordHdoc, syntax.RdrInOut:
			r.input, r.document = d, nil
		case syntax.RdrAll, syntax.AppAll:
			r.quiet, r.output = target == "/dev/null", target
		case syntax.RdrOut, syntax.AppOut, syntax.RdrClob:
			if fd == "2" {
				r.quiet = target == "/dev/null"
			} else {
				r.output = target
			}
		case syntax.DplOut:
			if fd == "2" && target == "1" {
				r.quiet = r.output == "/dev/null"
			}
		}
	}
	return r, true
}

// tell reports what iptables says. That a command fails because there is nothing to
// take away is no error; that nothing is added is one, unless the script says
// what to do then.
func (s *shell) tell(o iptables.Outcome) {
	for _, d := range o.Diags {
		if d.Severity == diag.Error && d.Class == diag.Invalid && o.ByState {
			if s.lost {
				continue
			}
			switch {
			case o.Removal && (s.quiet || s.excused > 0):
				d.Severity = diag.Note
			case o.Removal || s.excused > 0:
				d.Severity = diag.Warning
			}
			if d.Severity != diag.Error {
				d.Detail = fmt.Sprintf("%s\nThe command fails, changes nothing, and the script goes on.", d.Detail)
			}
		}
		s.report(d)
	}
}
