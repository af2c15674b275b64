package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "nftmigrate"

// A source is one Go file of the project.
type source struct {
	path    string // from the root, with slashes
	text    []byte
	syntax  *ast.File
	test    bool
	imports []string
}

// dir is the package directory, "." for the root.
func (s source) dir() string { return path.Dir(s.path) }

var fileSet = token.NewFileSet()

// root is the directory of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// walk calls f for each file of the project, with its path from the root.
// Hidden directories and what a build leaves behind are not of the project.
func walk(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	tree := os.DirFS(root(t))
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(d.Name(), ".") || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof") || name == "migrate" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f(name, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var load = sync.OnceValue(func() *[]source { return new([]source) })

// sources returns the Go files of the project.
func sources(t *testing.T) []source {
	t.Helper()
	list := load()
	if len(*list) > 0 {
		return *list
	}
	walk(t, func(name string, text []byte) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			return
		}
		syntax, err := parser.ParseFile(fileSet, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: name, text: text, syntax: syntax, test: strings.HasSuffix(name, "_test.go")}
		for _, i := range syntax.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			s.imports = append(s.imports, imported)
		}
		*list = append(*list, s)
	})
	if len(*list) < 10 {
		t.Fatalf("only %d Go files found", len(*list))
	}
	return *list
}

// imports returns, for each package of the module, what its files other than
// tests import.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	graph := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		name := module
		if s.dir() != "." {
			name += "/" + s.dir()
		}
		for _, i := range s.imports {
			if !slices.Contains(graph[name], i) {
				graph[name] = append(graph[name], i)
			}
		}
	}
	return graph
}
