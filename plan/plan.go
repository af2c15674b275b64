// Package plan is a directory that holds all that a migration will do: the rules
// it starts from, the ruleset it commits, the report of what was shown about
// both, and the state of the host that it was made for.
//
// It is there to be read, to be put under version control, and to be applied
// later. So it holds text where it can, its manifest has a digest of each file,
// and what was edited since is found before anything is committed. Call [Write]
// and [Read].
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nftmigrate/internal/durable"
)

// Schema is the form and version of the manifest.
const Schema = "nftmigrate/plan/1"

// The files of a plan. Those that do not apply are missing.
const (
	manifestName = "plan.json"

	RulesV4   = "rules.v4"       // what the ruleset was made from
	RulesV6   = "rules.v6"       //
	Sets      = "sets.ipset"     //
	Ruleset   = "firewall.nft"   // for people, and for nft -f at boot
	Batch     = "firewall.batch" // the netlink messages that are committed
	Report    = "report.txt"     // what was shown about both
	Diff      = "changes.diff"   // against what runs
	Checklist = "checklist.md"   // before and after
	Disk      = "disk.txt"       // what a confirmation changes on disk
)

// A Manifest says what a plan is for. Fields are only ever added within a version
// of the schema.
type Manifest struct {
	Schema  string    `json:"schema"`
	Created time.Time `json:"created"`
	// Host is the name of the host, Netns that of the network namespace, "" for
	// the host's own.
	Host  string `json:"host"`
	Netns string `json:"netns,omitempty"`
	// Table is the name of the table that is committed.
	Table string `json:"table"`
	// Options are the flags of the translation, as they were given.
	Options []string `json:"options"`
	// Result is the word of the comparison.
	Result string `json:"result"`
	// Deviations are the declared differences that were accepted.
	Deviations []string `json:"deviations,omitempty"`
	// State is what the host had when the plan was made: a digest for each table
	// and set.
	State map[string]string `json:"state"`
	// Empties are the parts of the old plane that are emptied once the new
	// ruleset is in effect.
	Empties []string `json:"empties,omitempty"`
	// Root is where files are changed once it is confirmed, "" when none are.
	Root string `json:"root,omitempty"`
	// Files are the digests of the other files, SHA-256 in hexadecimal.
	Files map[string]string `json:"files"`
}

// A Plan is a manifest and the files.
type Plan struct {
	Manifest Manifest
	Files    map[string][]byte
}

// ErrEdited is wrapped when a file is not what the manifest says.
var ErrEdited = errors.New("the plan was edited after it was made")

// suffix is that of a plan that is not whole yet.
const suffix = ".nftmigrate-new"

// Write writes a plan as a directory that is whole or absent. A plan that is there
// is replaced; anything else that is there is left alone, with an error.
func Write(dir string, p *Plan) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the plan: %w", err)
		}
	}()
	dir = filepath.Clean(dir)
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, manifestName)); err != nil {
			return fmt.Errorf("%s is there and is no plan", dir)
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.Manifest.Schema = Schema
	p.Manifest.Files = map[string]string{}
	for name, data := range p.Files {
		p.Manifest.Files[name] = digest(data)
	}
	manifest, err := json.MarshalIndent(p.Manifest, "", "\t")
	if err != nil {
		return err
	}
	next := dir + suffix
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(next), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(next) // after an error
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		if err := durable.Write(filepath.Join(next, name), p.Files[name], 0o600); err != nil {
			return err
		}
	}
	if err := durable.Write(filepath.Join(next, manifestName), append(manifest, '\n'), 0o600); err != nil {
		return err
	}
	old := dir + ".nftmigrate-old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(next, dir); err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Is reports whether a path is a directory with a manifest.
func Is(path string) bool {
	_, err := os.Stat(filepath.Join(path, manifestName))
	return err == nil
}

// ReadManifest reads the manifest of a plan, and does not look at its other files.
func ReadManifest(dir string) (m Manifest, err error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, fmt.Errorf("read the plan: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the plan: %s: %w", manifestName, err)
	}
	if m.Schema != Schema {
		return m, fmt.Errorf("read the plan: its schema is %q, this program knows %q; make it again", m.Schema, Schema)
	}
	for name := range m.Files {
		if name != filepath.Base(name) {
			return m, fmt.Errorf("read the plan: %s names a file outside of it: %q", manifestName, name)
		}
	}
	return m, nil
}

// Read reads a plan and makes sure that it is what was written. ErrEdited names
// the first file that is not.
func Read(dir string) (*Plan, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	p := &Plan{Manifest: m, Files: map[string][]byte{}}
	for _, name := range slices.Sorted(maps.Keys(p.Manifest.Files)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s is gone", ErrEdited, name)
		}
		if err != nil {
			return nil, fmt.Errorf("read the plan: %w", err)
		}
		if digest(data) != p.Manifest.Files[name] {
			return nil, fmt.Errorf("%w: %s is not what it was; make the plan again from the rules that you want, or check the text by itself with migrate verify", ErrEdited, name)
		}
		p.Files[name] = data
	}
	return p, nil
}
