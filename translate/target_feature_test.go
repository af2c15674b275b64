package translate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFeaturesAreComplete wants a version for every kind of statement and every
// field that nftgen has.
func TestFeaturesAreComplete(t *testing.T) {
	files, err := filepath.Glob("../nftgen/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	kinds, fields := 0, 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "stmt" || f.Recv == nil {
				continue
			}
			kind := f.Recv.List[0].Type.(*ast.Ident).Name
			kinds++
			if _, ok := stmtKinds[kind]; !ok {
				t.Errorf("no version is known of the statement %s", kind)
			}
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Field|Bits|ipv6Header|HeaderField)\("([a-z@][^"]*)"`).FindAllStringSubmatch(string(data), -1) {
			fields++
			if fieldFeature(m[1]) == unknownFeature {
				t.Errorf("no version is known of the field %q", m[1])
			}
		}
	}
	if kinds < 20 || fields < 50 {
		t.Errorf("only %d statements and %d fields were found", kinds, fields)
	}
}
