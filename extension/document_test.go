package extension_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/extension"
	"nftmigrate/iptables"
)

const document = "../docs/extensions.md"

const head = `# Extensions

Generated from the registry by ` + "`go test ./extension -run TestDocument -update`" + `; do not edit.

Every rule may have the options without an extension: ` + "`-s -d -i -o -p -f`" + ` with their negations, ` + "`-j`" + ` and ` + "`-g`" + ` to chains, and the
targets ACCEPT, DROP, RETURN and QUEUE. The tables below are about ` + "`-m`" + ` and ` + "`-j`" + `.

What each column says: *options* can all be read and printed; ` + "`!`" + ` before one says that it can be negated, and an equals sign that
it is another spelling of others, which is read and never printed. *State* is what became of the rules in
` + "`extension/testdata`" + ` that are about the match or target, each confirmed by iptables, by nft, and by packets in the kernel:

- *exact*: some or all of them become one nft rule each that means the same;
- *exact in an unusual form*: it takes several rules, a helper chain, or a named set;
- *declared deviation*: the nft rule differs in a way that is [declared](deviations.md) by the codes of the last column; ` + "`translate`" + `
  stops until ` + "`--allow`" + ` accepts it;
- *kept as xt*: there is no native form of the option that is named (of the whole, when none is); with ` + "`--keep-xt`" + ` it stays an
  extension of xtables inside the nft rule; *unconfirmed* where no archive holds its bytes, and then verify is undecided;
- *refused*: there is neither; what is behind it is the option, or the part of a rule, that the diagnostic is about;
- *unknown*: it is no extension of iptables 1.8.9 to 1.8.13.

*Declared* are the codes of declared deviations.
`

// TestDocument makes sure that docs/extensions.md says what the registry has.
func TestDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(head)
	declared, states := declaredBy(t), statesByName(t)
	section(t, &b, "Matches", "match", states, declared, extension.Registry.Matches, func(f iptables.Family, name string) part {
		return extension.Registry.NewMatch(f, name)
	})
	section(t, &b, "Targets", "target", states, declared, extension.Registry.Targets, func(f iptables.Family, name string) part {
		return extension.Registry.NewTarget(f, name)
	})
	recognised(&b)
	for file := range declared {
		t.Errorf("%s declares a deviation, and belongs to no match or target by its name", file)
	}
	if *update {
		if err := os.WriteFile(document, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is stale: run go test ./extension -run TestDocument -update", document)
	}
}

// A part is a match or target.
type part interface {
	Name() string
	Options() iptables.Options
}

// section writes the table of the matches or targets that are supplied.
func section(t *testing.T, b *bytes.Buffer, title, kind string, states map[string]*supportStates, declared map[string][]string,
	list func(iptables.Family) []string, fresh func(iptables.Family, string) part) {
	t.Helper()
	v4, v6 := list(iptables.IPv4), list(iptables.IPv6)
	names := slices.Compact(slices.Sorted(slices.Values(slices.Concat(v4, v6))))
	fmt.Fprintf(b, "\n## %s\n\n| name | families | options | state | declared |\n|---|---|---|---|---|\n", title)
	for _, name := range names {
		families, of := "v4, v6", iptables.IPv4
		switch {
		case !slices.Contains(v4, name):
			families, of = "v6", iptables.IPv6
		case !slices.Contains(v6, name):
			families = "v4"
		}
		p := fresh(of, name)
		spelled := spell(p.Options())
		if families == "v4, v6" && spell(fresh(iptables.IPv6, name).Options()) != spelled {
			spelled = "v4: " + spelled + "; v6: " + spell(fresh(iptables.IPv6, name).Options())
		}
		var said []string
		codes := declared[kind+"_"+strings.ToLower(name)]
		if found := states[kind+"_"+strings.ToLower(name)]; found != nil {
			for _, code := range slices.Sorted(maps.Keys(found.codes)) {
				if !slices.Contains(codes, code) {
					codes = append(codes, code)
				}
			}
		}
		for _, code := range codes {
			said = append(said, "`"+code+"`")
		}
		delete(declared, kind+"_"+strings.ToLower(name))
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", name, families, spelled, state(t, kind, p, states), strings.Join(said, ", "))
	}
}

// spell lists options as a person would write them.
func spell(options iptables.Options) string {
	var list []string
	for _, o := range options {
		s := "--" + o.Name
		if o.Flags&iptables.Invertible != 0 {
			s = "! " + s
		}
		if o.Flags&iptables.InputOnly != 0 {
			s = "= " + s
		}
		list = append(list, "`"+s+"`")
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}

// state is how far a match or target is supported.
func state(t *testing.T, kind string, p part, states map[string]*supportStates) string {
	t.Helper()
	_, match := p.(iptsim.Meaning)
	_, target := p.(iptsim.Doing)
	found := states[kind+"_"+strings.ToLower(p.Name())]
	switch {
	case found == nil:
		t.Errorf("%s has no archive", p.Name())
		return ""
	case !match && !target && !found.nowhere():
		t.Errorf("%s is translated, and does not say what it means", p.Name())
	}
	return found.String()
}

// recognised lists what iptables has and the registry does not supply.
func recognised(b *bytes.Buffer) {
	var matches, targets []string
	for _, name := range extension.Known() {
		supplied := false
		for _, f := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			supplied = supplied || slices.Contains(extension.Registry.Matches(f), name) || slices.Contains(extension.Registry.Targets(f), name)
		}
		switch {
		case supplied:
		case strings.ToUpper(name) == name: // iptables spells targets so
			targets = append(targets, "`"+name+"`")
		default:
			matches = append(matches, "`"+name+"`")
		}
	}
	b.WriteString("\n## Not there\n\n")
	if len(matches)+len(targets) > 0 {
		fmt.Fprintf(b, "Known by name, and refused in this version:\n\n- matches: %s\n- targets: %s\n\n", strings.Join(matches, ", "), strings.Join(targets, ", "))
	}
	b.WriteString("Any other name is no extension of iptables 1.8.9 to 1.8.13, and invalid (exit code 2).\n")
}

// declaredBy finds the codes of declared deviations by the match or target whose
// file declares them: match_limit.go, match_recent_translate.go.
func declaredBy(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		owner := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".go"), "_translate"), "_meaning")
		ast.Inspect(file, func(n ast.Node) bool {
			l, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			of, ok := l.Type.(*ast.SelectorExpr)
			if !ok || of.Sel.Name != "Deviation" {
				return true
			}
			for _, e := range l.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok || fmt.Sprint(kv.Key) != "Code" {
					continue
				}
				code, err := strconv.Unquote(kv.Value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				found[owner] = append(found[owner], code)
			}
			return true
		})
	}
	return found
}
