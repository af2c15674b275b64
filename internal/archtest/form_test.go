package archtest

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGofmt(t *testing.T) {
	for _, s := range sources(t) {
		formatted, err := format.Source(s.text)
		if err != nil || !bytes.Equal(formatted, s.text) {
			t.Errorf("%s: not as gofmt writes it (%v)", s.path, err)
		}
	}
}

// TestPackageComments wants one package comment per package: none leaves a
// reader without a start, two contradict each other sooner or later.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			if s.syntax.Doc != nil {
				t.Errorf("%s: a test file has a package comment", s.path)
			}
			continue
		}
		comments[s.dir()] = append(comments[s.dir()], "")
		if s.syntax.Doc != nil {
			comments[s.dir()] = append(comments[s.dir()], s.path)
		}
	}
	for dir, list := range comments {
		list = slices.DeleteFunc(list, func(name string) bool { return name == "" })
		if len(list) != 1 {
			t.Errorf("%s: %d package comments %v, want 1", dir, len(list), list)
		}
	}
}

// TestSkips wants every skip to go through testkit, which names what is
// missing and fails in CI.
func TestSkips(t *testing.T) {
	receivers := []string{"t", "b", "f", "tb"}
	for _, s := range sources(t) {
		if s.dir() == "internal/testkit" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok && strings.HasPrefix(selector.Sel.Name, "Skip") {
				if on, ok := selector.X.(*ast.Ident); ok && slices.Contains(receivers, on.Name) {
					t.Errorf("%s: skips by itself; call testkit.Need, or testkit.NotHere", fileSet.Position(call.Pos()))
				}
			}
			return true
		})
	}
}

// conventional are methods whose meaning is that of the interface they are
// for.
var conventional = []string{"String", "Error", "Unwrap", "Set", "Is", "As", "Len", "Less", "Swap"}

func TestDocComments(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.syntax.Name.Name == "main" {
			continue
		}
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && (!ast.IsExported(receiver(d)) || slices.Contains(conventional, d.Name.Name)) {
					continue
				}
				wantDoc(t, d.Name, d.Doc)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						switch {
						case spec.Doc != nil:
							wantDoc(t, spec.Name, spec.Doc)
						case len(d.Specs) == 1 || d.Doc == nil: // else the group says it
							wantDoc(t, spec.Name, d.Doc)
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
								t.Errorf("%s: %s has no doc comment", fileSet.Position(name.Pos()), name.Name)
							}
						}
					}
				}
			}
		}
	}
}

func receiver(d *ast.FuncDecl) string {
	of := d.Recv.List[0].Type
	for {
		switch x := of.(type) {
		case *ast.StarExpr:
			of = x.X
		case *ast.IndexExpr:
			of = x.X
		case *ast.IndexListExpr:
			of = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// wantDoc wants an exported name to have a comment that starts with it.
func wantDoc(t *testing.T, name *ast.Ident, doc *ast.CommentGroup) {
	t.Helper()
	if !name.IsExported() {
		return
	}
	words := strings.Fields(doc.Text())
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if len(words) == 0 || strings.TrimRight(words[0], ",.:;") != name.Name {
		t.Errorf("%s: %s has no doc comment that starts with its name", fileSet.Position(name.Pos()), name.Name)
	}
}

// The words are put together here so that this file does not hold them.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	// machinePath is a place that only exists where it was written.
	machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9._/-])/(wo` + `rk|ho` + `me|ro` + `ot|Us` + `ers)/[A-Za-z0-9._]`)
)

// TestUnfinished wants nothing in the sources that says it is not done.
func TestUnfinished(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.syntax.Comments {
			for _, c := range group.List {
				if found := unfinished.FindString(c.Text); found != "" {
					t.Errorf("%s: %s", fileSet.Position(c.Pos()), found)
				}
			}
		}
	}
}

func TestMachinePaths(t *testing.T) {
	walk(t, func(name string, text []byte) {
		if !utf8.Valid(text) {
			return
		}
		for number, line := range strings.Split(string(text), "\n") {
			if found := machinePath.FindString(line); found != "" {
				t.Errorf("%s:%d: %q is a path of one machine", name, number+1, strings.TrimSpace(found))
			}
		}
	})
}

// TestFormBites plants what the tests of this file look for.
func TestFormBites(t *testing.T) {
	for _, text := range []string{"// TO" + "DO: later", "// FIX" + "ME"} {
		if !unfinished.MatchString(text) {
			t.Errorf("%q is not noticed", text)
		}
	}
	for _, text := range []string{"see /wo" + "rk/main/x", `"/ho` + `me/me/x"`, "/ro" + "ot/go"} {
		if !machinePath.MatchString(text) {
			t.Errorf("%q is not noticed", text)
		}
	}
	for _, text := range []string{"a/wo" + "rk/b", "https://example.org/ho" + "me/x"} {
		if machinePath.MatchString(text) {
			t.Errorf("%q is taken for a path of a machine", text)
		}
	}
	if token.IsExported("x") || receiver(&ast.FuncDecl{Recv: &ast.FieldList{List: []*ast.Field{{Type: &ast.StarExpr{X: ast.NewIdent("T")}}}}}) != "T" {
		t.Error("receivers are not recognised")
	}
}
