package extension

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

const module = "nftmigrate/"

// TestIndependence checks that no function and no table of this module is
// reachable both from what states a meaning (Meaning, Action) and from what
// translates (Translate, Collect): such a thing makes both wrong alike, and
// then the check of the translation sees nothing. Reading and writing an
// argument (Set, String) is what both start from.
func TestIndependence(t *testing.T) {
	program := loadModule(t, ".")
	meaning, translation := program.roots("nftmigrate/extension")
	if len(meaning) < 20 || len(translation) < 20 {
		t.Fatalf("found %d meanings and %d translations, so the search for them is broken", len(meaning), len(translation))
	}
	for _, name := range program.shared(meaning, translation) {
		t.Errorf("%s is reachable both from a meaning and from a translation", name)
	}
}

// TestIndependenceNotices shows that the test above notices what it is for.
func TestIndependenceNotices(t *testing.T) {
	const planted = `package planted

type value int

func (v value) String() string { return names[v] }

var names = map[value]string{1: "one"}

type match struct{ v value }

func (m match) Meaning() string   { return m.v.String() + inner() + onlyMeaning() }
func (m match) Translate() string { return m.v.String() + func() string { return outer() }() + weights["x"] }

type target struct{}

func (target) Action()  { _ = weights }
func (target) Collect() {}

func outer() string       { f := convert[int]; return f(1) }
func inner() string       { return convert(2) }
func onlyMeaning() string { return "" }

func convert[T any](T) string { return "" }

var weights = map[string]string{"x": onlyTable()}

func onlyTable() string { return "" }
`
	p := newProgram()
	file, err := parser.ParseFile(p.fset, "planted.go", planted, 0)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	if _, err := p.check("nftmigrate/planted", []*ast.File{file}, nil); err != nil {
		t.Fatalf("check: %v", err)
	}
	got := strings.Join(p.shared(p.roots("nftmigrate/planted")), " ")
	want := "nftmigrate/planted.convert nftmigrate/planted.onlyTable nftmigrate/planted.weights"
	if got != want {
		t.Errorf("shared(planted) = %q, want %q", got, want)
	}
}

// A program is type-checked source, with what each function and each variable
// of package level mentions.
type program struct {
	fset     *token.FileSet
	packages map[string]*types.Package
	mentions map[types.Object][]types.Object
}

func newProgram() *program {
	return &program{
		fset:     token.NewFileSet(),
		packages: make(map[string]*types.Package),
		mentions: make(map[types.Object][]types.Object),
	}
}

// loadModule type-checks the package in a directory, and those of this module
// that it imports, from source.
func loadModule(t *testing.T, dir string) *program {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-export", "-f", "{{.ImportPath}}\t{{.Dir}}\t{{.Export}}\t{{join .GoFiles \" \"}}", dir)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	p := newProgram()
	exports := make(map[string]string)
	compiled := importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	lookup := importerFunc(func(path string) (*types.Package, error) {
		if pkg := p.packages[path]; pkg != nil {
			return pkg, nil
		}
		return compiled.Import(path)
	})
	// go list names dependencies first.
	for line := range strings.Lines(string(out)) {
		column := strings.Split(strings.TrimSpace(line), "\t")
		path, source := column[0], column[1]
		if !strings.HasPrefix(path, module) {
			exports[path] = column[2]
			continue
		}
		var files []*ast.File
		for _, name := range strings.Fields(column[3]) {
			file, err := parser.ParseFile(p.fset, filepath.Join(source, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			files = append(files, file)
		}
		if _, err := p.check(path, files, lookup); err != nil {
			t.Fatalf("check %s: %v", path, err)
		}
	}
	return p
}

type importerFunc func(path string) (*types.Package, error)

func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }

// check type-checks a package and records what its objects mention.
func (p *program) check(path string, files []*ast.File, imports types.Importer) (*types.Package, error) {
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	pkg, err := (&types.Config{Importer: imports}).Check(path, p.fset, files, info)
	if err != nil {
		return nil, err
	}
	p.packages[path] = pkg
	for _, file := range files {
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				p.record(info, []*ast.Ident{decl.Name}, decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && decl.Tok == token.VAR {
						p.record(info, v.Names, v)
					}
				}
			}
		}
	}
	return pkg, nil
}

func (p *program) record(info *types.Info, names []*ast.Ident, node ast.Node) {
	var mentioned []types.Object
	ast.Inspect(node, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if o := followed(info.Uses[id]); o != nil {
				mentioned = append(mentioned, o)
			}
		}
		return true
	})
	for _, name := range names {
		if o := info.Defs[name]; o != nil {
			p.mentions[o] = append(p.mentions[o], mentioned...)
		}
	}
}

// followed returns the function or variable of package level, of this module,
// that o is, or nil. Reading and writing an argument is not followed.
func followed(o types.Object) types.Object {
	if o == nil || o.Pkg() == nil || !strings.HasPrefix(o.Pkg().Path(), module) {
		return nil
	}
	switch o := o.(type) {
	case *types.Func:
		if method := o.Signature().Recv() != nil; method && (o.Name() == "Set" || o.Name() == "String") {
			return nil
		}
		return o.Origin()
	case *types.Var:
		if o.Parent() == o.Pkg().Scope() {
			return o
		}
	}
	return nil
}

// roots returns the methods of a package that state meanings, and those that
// translate.
func (p *program) roots(path string) (meaning, translation []types.Object) {
	for o := range p.mentions {
		f, ok := o.(*types.Func)
		if !ok || f.Pkg().Path() != path || f.Signature().Recv() == nil {
			continue
		}
		switch f.Name() {
		case "Meaning", "Action":
			meaning = append(meaning, f)
		case "Translate", "Collect", "Keep":
			translation = append(translation, f)
		}
	}
	return meaning, translation
}

// shared names what is reachable from both groups.
func (p *program) shared(meaning, translation []types.Object) []string {
	left, right := p.reachable(meaning), p.reachable(translation)
	var names []string
	for o := range left {
		if right[o] {
			names = append(names, objectName(o))
		}
	}
	sort.Strings(names)
	return names
}

func (p *program) reachable(roots []types.Object) map[types.Object]bool {
	seen := make(map[types.Object]bool)
	todo := append([]types.Object(nil), roots...)
	for len(todo) > 0 {
		o := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[o] {
			continue
		}
		seen[o] = true
		todo = append(todo, p.mentions[o]...)
	}
	return seen
}

func objectName(o types.Object) string {
	if f, ok := o.(*types.Func); ok {
		return f.FullName()
	}
	return fmt.Sprintf("%s.%s", o.Pkg().Path(), o.Name())
}
