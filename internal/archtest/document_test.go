package archtest

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// codes are the diagnostic codes and the declared deviations of the sources.
type codes struct {
	diagnostics map[string]string // code to place
	prefixes    map[string]string // of codes that are put together
	declared    map[string]string // by a translation
	engine      map[string]string // known to the checker without a declaration
	recognised  map[string]string // known to the checker
}

// collectCodes finds them: "Code" of composite literals and assignments, and
// "code" of the checker's table of deviations.
func collectCodes(list []source) *codes {
	c := &codes{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}}
	for _, s := range list {
		if s.test || s.dir() == "report" {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				c.literal(s, n)
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if selector, ok := left.(*ast.SelectorExpr); ok && selector.Sel.Name == "Code" && i < len(n.Rhs) {
						c.diagnostic(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return c
}

func (c *codes) literal(s source, l *ast.CompositeLit) {
	field := func(l *ast.CompositeLit, name string) ast.Expr {
		for _, e := range l.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == name {
					return kv.Value
				}
			}
		}
		return nil
	}
	if array, ok := l.Type.(*ast.ArrayType); ok && s.dir() == "equivalence" {
		if of, ok := array.Elt.(*ast.Ident); ok && of.Name == "deviation" {
			for _, e := range l.Elts {
				row, ok := e.(*ast.CompositeLit)
				if !ok {
					continue
				}
				code, where := text(field(row, "code")), fileSet.Position(row.Pos()).String()
				c.recognised[code] = where
				if field(row, "engine") != nil {
					c.engine[code] = where
				}
			}
		}
	}
	code := field(l, "Code")
	if code == nil {
		return
	}
	of, _ := l.Type.(*ast.Ident)
	if selector, ok := l.Type.(*ast.SelectorExpr); ok {
		of = selector.Sel
	}
	if of != nil && of.Name == "Deviation" {
		c.declared[text(code)] = fileSet.Position(l.Pos()).String()
		return
	}
	c.diagnostic(code)
}

func (c *codes) diagnostic(e ast.Expr) {
	where := fileSet.Position(e.Pos()).String()
	if sum, ok := e.(*ast.BinaryExpr); ok && text(sum.X) != "" {
		c.prefixes[text(sum.X)] = where
		return
	}
	if code := text(e); code != "" {
		c.diagnostics[code] = where
	}
}

// text is the value of a string literal, "" for anything else.
func text(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(l.Value)
	if err != nil {
		return ""
	}
	return s
}

var row = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|")

// rows are the codes in the first column of a document's tables.
func rows(document []byte) []string {
	var list []string
	for _, m := range row.FindAllSubmatch(document, -1) {
		list = append(list, string(m[1]))
	}
	return list
}

// documents returns the texts of a kind, by path.
func documents(t *testing.T, suffix string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	walk(t, func(name string, text []byte) {
		if strings.HasSuffix(name, suffix) {
			all[name] = text
		}
	})
	return all
}

// TestDiagnosticsDocumented wants every code of a diagnostic to have a row in
// docs/diagnostics.md, and every row a code.
func TestDiagnosticsDocumented(t *testing.T) {
	c := collectCodes(sources(t))
	if len(c.diagnostics) < 50 || len(c.prefixes) == 0 {
		t.Fatalf("found %d codes and %d prefixes, so the search for them is broken", len(c.diagnostics), len(c.prefixes))
	}
	documented := rows(documents(t, ".md")["docs/diagnostics.md"])
	for code, where := range c.diagnostics {
		if !slices.Contains(documented, code) {
			t.Errorf("%s: %s has no row in docs/diagnostics.md", where, code)
		}
	}
	for prefix, where := range c.prefixes {
		if !slices.ContainsFunc(documented, func(code string) bool { return strings.HasPrefix(code, prefix) }) {
			t.Errorf("%s: no code that begins with %s has a row in docs/diagnostics.md", where, prefix)
		}
	}
	for _, code := range documented {
		made := slices.ContainsFunc(slices.Collect(maps.Keys(c.prefixes)), func(p string) bool { return strings.HasPrefix(code, p) })
		if c.diagnostics[code] == "" && !made {
			t.Errorf("docs/diagnostics.md: %s is the code of no diagnostic", code)
		}
	}
}

// TestDeviationsDocumented wants the same of docs/deviations.md and the declared
// deviations, and that the checker recognises none that nobody declares.
func TestDeviationsDocumented(t *testing.T) {
	c := collectCodes(sources(t))
	if len(c.declared) < 5 || len(c.engine) == 0 {
		t.Fatalf("found %d declared deviations and %d of the engines, so the search for them is broken", len(c.declared), len(c.engine))
	}
	documented := rows(documents(t, ".md")["docs/deviations.md"])
	for _, some := range []map[string]string{c.declared, c.engine} {
		for code, where := range some {
			if !slices.Contains(documented, code) {
				t.Errorf("%s: %s has no row in docs/deviations.md", where, code)
			}
		}
	}
	for _, code := range documented {
		if c.declared[code] == "" && c.engine[code] == "" {
			t.Errorf("docs/deviations.md: nothing declares %s", code)
		}
	}
	for code, where := range c.recognised {
		if c.declared[code] == "" && c.engine[code] == "" {
			t.Errorf("%s: nothing declares %s", where, code)
		}
	}
}

// linked finds the targets of links, and namedTest the tests that a document
// names.
var (
	linked    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	namedTest = regexp.MustCompile("`(?:[a-z/]+\\.)?((?:Test|Benchmark|Fuzz)[A-Z][A-Za-z0-9]*)")
)

// TestDocumentsPoint wants the files that documents link to, and the tests that
// they name, to exist.
func TestDocumentsPoint(t *testing.T) {
	tests := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	}
	files := map[string]bool{}
	walk(t, func(name string, _ []byte) {
		for at := name; at != "."; at = path.Dir(at) {
			files[at] = true
		}
	})
	for name, text := range documents(t, ".md") {
		for _, m := range linked.FindAllSubmatch(text, -1) {
			target, _, _ := strings.Cut(string(m[1]), "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if at := path.Join(path.Dir(name), target); !files[at] {
				t.Errorf("%s: links to %s, which does not exist", name, at)
			}
		}
		for _, m := range namedTest.FindAllSubmatch(text, -1) {
			if !tests[string(m[1])] {
				t.Errorf("%s: names %s, which does not exist", name, m[1])
			}
		}
	}
}
