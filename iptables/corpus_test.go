package iptables_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nftmigrate/diag"
	"nftmigrate/extension"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/iptables"
)

// corpusFiles lists the rulesets of the corpus that a legacy kernel accepts,
// with their families.
func corpusFiles(t *testing.T, dir string) map[string]iptables.Family {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const file, family, loads = 0, 2, 8
	files := make(map[string]iptables.Family)
	for _, row := range rows[1:] {
		if row[loads] == "yes" {
			files[row[file]] = map[string]iptables.Family{"v4": iptables.IPv4, "v6": iptables.IPv6}[row[family]]
		}
	}
	return files
}

// TestCorpus parses real rulesets: the family is told by the content, and
// nothing is reported but extensions that are not supplied.
func TestCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	complete := 0
	files := corpusFiles(t, dir)
	for name, family := range files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, list := iptables.Parse(diag.NewSource(name, text), 0, extension.Registry)
		if r.Family != family {
			t.Errorf("%s: family is %v, want %v", name, r.Family, family)
		}
		if !list.HasErrors() {
			complete++
		}
		var invalid diag.List
		for _, d := range list {
			if d.Severity == diag.Error && d.Class == diag.Invalid {
				invalid.Add(d)
			}
		}
		if invalid != nil {
			var b strings.Builder
			if err := diag.Write(&b, invalid[:min(3, len(invalid))]); err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s: %d errors, first\n%s", name, len(invalid), b.String())
		}
	}
	t.Logf("%d of %d rulesets have only extensions that are supplied", complete, len(files))
}

// TestConfirmCorpus compares what real rulesets print as with what
// iptables-legacy-save prints after iptables-legacy-restore has read them.
func TestConfirmCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	testkit.Need(t, testkit.Root, testkit.NetNS,
		testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"),
		testkit.Tool("ip6tables-legacy-restore"), testkit.Tool("ip6tables-legacy-save"))
	for name, family := range corpusFiles(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, list := iptables.Parse(diag.NewSource(name, text), family, extension.Registry)
		if list.HasErrors() {
			continue
		}
		var printed bytes.Buffer
		if err := iptables.Print(&printed, r, iptables.PrintOptions{}); err != nil {
			t.Fatal(err)
		}
		saved, stderr, err := restoreAndSave(t, family, text)
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, stderr)
			continue
		}
		got, want := byTable(printed.String()), byTable(saved)
		for table := range want {
			if got[table] != want[table] {
				t.Errorf("%s: table %s %s", name, table, firstDifference(got[table], want[table]))
			}
		}
	}
}

// restoreAndSave loads a text in a namespace of its own and saves it again.
func restoreAndSave(t *testing.T, family iptables.Family, text []byte) (saved, stderr string, err error) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}()
	prefix := map[iptables.Family]string{iptables.IPv4: "iptables-legacy-", iptables.IPv6: "ip6tables-legacy-"}[family]
	env := append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	var out, complaints bytes.Buffer
	restore := ns.Command(prefix + "restore")
	restore.Env, restore.Stdin, restore.Stderr = env, bytes.NewReader(text), &complaints
	if err := restore.Run(); err != nil {
		return "", complaints.String(), err
	}
	save := ns.Command(prefix + "save")
	save.Env, save.Stdout, save.Stderr = env, &out, &complaints
	err = save.Run()
	return out.String(), complaints.String(), err
}

// byTable splits a text by tables and leaves out comments and counters, which
// differ: iptables-restore sets them only when asked to.
func byTable(text string) map[string]string {
	tables := make(map[string]string)
	table := ""
	for line := range strings.Lines(text) {
		switch line[0] {
		case '#':
			continue
		case '*':
			table = strings.TrimSpace(line[1:])
		case ':':
			line = line[:strings.IndexByte(line, '[')] + "\n"
		}
		tables[table] += line
	}
	return tables
}

// firstDifference shows the first line in which two texts differ.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			return "prints\n  " + strings.Join(g[min(i, len(g)):min(i+1, len(g))], "") + "\nsave prints\n  " + w[i]
		}
	}
	return "prints more lines than save"
}
