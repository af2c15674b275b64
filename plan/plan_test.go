package plan_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/plan"
)

func example() *plan.Plan {
	return &plan.Plan{
		Manifest: plan.Manifest{Host: "web1", Table: "firewall", Result: "equivalent", State: map[string]string{"legacy ip filter": "ab"}},
		Files:    map[string][]byte{plan.Ruleset: []byte("table ip firewall {\n}\n"), plan.Batch: {0, 1, 2, 255}},
	}
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plans", "web1")
	for range 2 { // the second replaces the first
		want := example()
		if err := plan.Write(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := plan.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
	}
	beside, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(beside) != 1 {
		t.Errorf("beside the plan there are %v (%v)", beside, err)
	}
	less := example()
	delete(less.Files, plan.Batch)
	if err := plan.Write(dir, less); err != nil {
		t.Fatal(err)
	}
	if got, err := plan.Read(dir); err != nil || !maps.Equal(got.Manifest.Files, less.Manifest.Files) {
		t.Errorf("files of the plan before are left: %v (%v)", got, err)
	}
}

// TestEdited plants one change each and wants it to be found.
func TestEdited(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"text": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, plan.Ruleset), []byte("table ip firewall {\n \n}\n"), 0o600)
		},
		"emptied":   func(dir string) error { return os.Truncate(filepath.Join(dir, plan.Batch), 0) },
		"file gone": func(dir string) error { return os.Remove(filepath.Join(dir, plan.Batch)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "p")
			if err := plan.Write(dir, example()); err != nil {
				t.Fatal(err)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Read(dir); !errors.Is(err, plan.ErrEdited) {
				t.Errorf("error %v, want ErrEdited", err)
			}
		})
	}
}

func TestNoPlan(t *testing.T) {
	for name, manifest := range map[string]string{
		"empty": "", "cut": `{"schema": "nftmigrate/pl`, "another version": `{"schema": "nftmigrate/plan/9"}`,
		"outside": `{"schema": "nftmigrate/plan/1", "files": {"../passwd": "00"}}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "plan.json"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := plan.Read(dir); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "letters.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := plan.Write(other, example()); err == nil {
		t.Error("a directory of something else was replaced")
	}
	if plan.Is(other) {
		t.Error("a directory of something else is called a plan")
	}
}
