package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// An Init is what starts services at boot.
type Init string

// The init systems. Any other is one that is not known.
const (
	Systemd Init = "systemd"
	OpenRC  Init = "openrc"
)

// A Kind is what a loader loads.
type Kind string

// The kinds of loaders.
const (
	// LoadsNftables is a service that loads a ruleset of nftables.
	LoadsNftables Kind = "nftables"
	// LoadsIptables is a service that loads rules of iptables, and perhaps sets.
	LoadsIptables Kind = "iptables"
	// LoadsSets is a service that loads sets of ipset and no rules.
	LoadsSets Kind = "ipset"
	// HandMade is anything else that changes rules: a line of rc.local, a job of
	// cron, a hook of an interface. It is told, and never changed.
	HandMade Kind = "hand-made"
)

// A Loader is what brings rules into the kernel at boot.
type Loader struct {
	// Name is that of the service: "nftables.service", "iptables" for OpenRC.
	Name string
	Kind Kind
	// Enabled is that a boot starts it.
	Enabled bool
	// Files are what it loads; the main file of nftables comes first.
	Files []string
	// Unit is its unit file or init script, or the file of a hand-made one.
	Unit string
}

// Rules are what a boot has to load.
type Rules struct {
	// Family and Table name the one table that they are.
	Family, Table string
	// Text is the ruleset as nft reads it. It may delete its own table first.
	Text []byte
	// Batch is a file for "migrate load" instead of a text, for rules that keep
	// expressions of xtables, which no text can say.
	Batch []byte
	// Binary is where the host has the program migrate. A boot runs it to finish or
	// undo changes that were cut off, and to load a batch; a text needs it not.
	Binary string
	// StateDir is the directory of migrations.
	StateDir string
	// SetsInUse is that sets of ipset stay in use.
	SetsInUse bool
}

// A Layout is what has to change for a boot to load the rules.
type Layout struct {
	// Changes are in an order of which any beginning leaves a host that boots with
	// the old rules, the new rules, or both: the new loader is enabled before the
	// old ones are disabled.
	Changes []Change
	// Told are whole sentences: what is different from what an operator expects.
	Told []string
	// ByHand are whole sentences: what is left to do that is not done for her.
	ByHand []string
	// Service is the service that loads the rules, "" when none does.
	Service string
}

// Describe says for people what a layout will do.
func (l *Layout) Describe() string {
	var b strings.Builder
	b.WriteString(Describe(l.Changes))
	for _, s := range l.Told {
		b.WriteString("note    " + s + "\n")
	}
	for _, s := range l.ByHand {
		b.WriteString("by hand " + s + "\n")
	}
	return b.String()
}

// Lay finds out what has to change on a host with an init system and loaders. It
// only reads files below the root.
func Lay(root string, init Init, loaders []Loader, rules Rules) (*Layout, error) {
	b := &builder{root: root, loaders: loaders, rules: rules, layout: new(Layout)}
	if err := b.valid(); err != nil {
		return nil, fmt.Errorf("lay out what a boot loads: %w", err)
	}
	var err error
	switch init {
	case Systemd:
		err = b.systemd()
	case OpenRC:
		err = b.openrc()
	default:
		b.layout.ByHand = append(b.layout.ByHand, b.unknown())
	}
	if err != nil {
		return nil, fmt.Errorf("lay out what a boot loads: %w", err)
	}
	if len(b.layout.Changes) > 0 {
		b.others()
	}
	for _, l := range loaders {
		if l.Kind == HandMade {
			b.layout.ByHand = append(b.layout.ByHand, fmt.Sprintf("%s changes rules when the host starts. It was not touched: remove what loads the old rules from it.", first(l.Unit, l.Name)))
		}
	}
	return b.layout, nil
}

type builder struct {
	root    string
	loaders []Loader
	rules   Rules
	layout  *Layout

	own, nft string // the file with the rules; the program
	lastGood string
}

// plain are paths that need no quoting in units and scripts.
var plain = regexp.MustCompile(`^/[A-Za-z0-9/_.+@-]+$`)

// name are names of tables that need no quoting.
var name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

func (b *builder) valid() error {
	r := b.rules
	if (r.Text == nil) == (r.Batch == nil) {
		return errors.New("the rules have to be a text or a batch")
	}
	if !name.MatchString(r.Family) || !name.MatchString(r.Table) {
		return fmt.Errorf("%q is not a family and a name of a table", r.Family+" "+r.Table)
	}
	for _, path := range []string{r.Binary, r.StateDir} {
		if !plain.MatchString(path) || filepath.Clean(path) != path {
			return fmt.Errorf("%q is not an absolute path of plain letters", path)
		}
	}
	for _, home := range []string{"/home", "/root", "/tmp", "/var/tmp", "/run", "/dev", "/proc"} {
		if inside(home, r.Binary) {
			return fmt.Errorf("the program is in %s, where a boot may not find it; install it as /usr/local/sbin/migrate", home)
		}
	}
	for _, l := range b.loaders {
		if l.Kind != HandMade && (l.Name == "" || strings.ContainsAny(l.Name, "/ \t\n")) {
			return fmt.Errorf("%q is not the name of a service", l.Name)
		}
	}
	b.nft = b.program("nft")
	b.lastGood = filepath.Join(r.StateDir, "last-good"+b.extension())
	return nil
}

func (b *builder) extension() string {
	if b.rules.Batch != nil {
		return ".batch"
	}
	return ".nft"
}

// program is where the host has a program.
func (b *builder) program(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"} {
		if b.exists(filepath.Join(dir, name)) {
			return filepath.Join(dir, name)
		}
	}
	return "/usr/sbin/" + name
}

func (b *builder) exists(path string) bool {
	at, err := resolve(b.root, path, true)
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(b.root, at))
	return err == nil
}

// read reads a file below the root. One that is not there is empty.
func (b *builder) read(path string) (text string, there bool, err error) {
	at, err := resolve(b.root, path, true)
	if err != nil {
		return "", false, err
	}
	data, err := os.ReadFile(filepath.Join(b.root, at))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(data), err == nil, err
}

func (b *builder) write(path string, mode fs.FileMode, text, why string) {
	b.layout.Changes = append(b.layout.Changes, Change{Op: WriteFile, Path: path, Content: []byte(text), Mode: mode, Why: why})
}

func (b *builder) link(path, target, why string) {
	b.layout.Changes = append(b.layout.Changes, Change{Op: MakeLink, Path: path, Target: target, Why: why})
}

func (b *builder) remove(path, why string) {
	b.layout.Changes = append(b.layout.Changes, Change{Op: RemoveFile, Path: path, Why: why})
}

func (b *builder) told(format string, args ...any) {
	b.layout.Told = append(b.layout.Told, fmt.Sprintf(format, args...))
}

// ruleFiles writes the rules, and the copy that a boot falls back to.
func (b *builder) ruleFiles() {
	content := string(b.rules.Batch)
	if b.rules.Batch == nil {
		content = b.text()
	}
	b.write(b.own, 0o600, content, "the rules of table "+b.table())
	b.write(b.lastGood, 0o600, content, "the rules that a boot has when the others cannot be loaded")
}

func (b *builder) table() string { return b.rules.Family + " " + b.rules.Table }

// text is the ruleset in a form that can be loaded again and again, and touches
// its own table alone.
func (b *builder) text() string {
	text := string(b.rules.Text)
	if !regexp.MustCompile(`(?m)^\s*delete table ` + b.table() + `\s*;?\s*$`).MatchString(text) {
		text = fmt.Sprintf("table %s\ndelete table %[1]s\n\n%s", b.table(), text)
	}
	return text
}

// load is the command that loads a file of the rules' form.
func (b *builder) load(path string) string {
	if b.rules.Batch != nil {
		return b.rules.Binary + " load " + path
	}
	return b.nft + " -f " + path
}

// standard are the services of distributions that load the ruleset of nftables, and
// the one that this package makes.
var standard = []string{"nftables.service", "nftables-load.service", "nftables-restore.service", "nftables", loading}

// nftables is the standard service that loads rulesets of nftables, nil when there
// is none. What operators made for their own rulesets is not changed.
func (b *builder) nftables() *Loader {
	for _, name := range standard {
		for i := range b.loaders {
			if b.loaders[i].Kind == LoadsNftables && b.loaders[i].Name == name {
				return &b.loaders[i]
			}
		}
	}
	return nil
}

// others tells of other services that load rulesets of nftables.
func (b *builder) others() {
	for _, l := range b.loaders {
		if l.Kind == LoadsNftables && l.Enabled && !slices.Contains(standard, l.Name) && l.Name != openrcLoad {
			b.layout.ByHand = append(b.layout.ByHand, fmt.Sprintf("%s loads rules of nftables when the host starts, and stays as it is. See that it does not flush the whole ruleset, which would remove table %s.", l.Name, b.table()))
		}
	}
}

// old are the services that load the old rules.
func (b *builder) old() (list []Loader) {
	for _, l := range b.loaders {
		switch l.Kind {
		case LoadsIptables:
			list = append(list, l)
		case LoadsSets:
			if b.rules.SetsInUse {
				if l.Enabled {
					b.told("%s stays enabled, because sets of ipset are still in use.", l.Name)
				}
				continue
			}
			list = append(list, l)
		}
	}
	return list
}

// unknown says what to do where nothing is known of how services are started.
func (b *builder) unknown() string {
	s := fmt.Sprintf("What starts services here is not known, so nothing was changed on disk, and a reboot brings back the old rules. Save the rules in a file, have the host load it before the network comes up (%s), and keep it from loading the old ones", b.load("FILE"))
	var names []string
	for _, l := range b.loaders {
		if l.Enabled && l.Kind != HandMade {
			names = append(names, l.Name)
		}
	}
	if names != nil {
		s += " (" + strings.Join(names, ", ") + ")"
	}
	return s + "."
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
