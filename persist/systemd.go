package persist

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// units is where an operator's units, drop-ins and links are.
const units = "/etc/systemd/system"

// alarm and recovery are units of our own; loading is one where the host has none
// for nftables.
const (
	alarm    = "nftmigrate-alarm.service"
	recovery = "nftmigrate-recover.service"
	loading  = "nftmigrate.service"
	setUnit  = "nftmigrate-sets.service"
)

func (b *builder) systemd() error {
	nftables := b.nftables()
	if nftables == nil {
		nftables = &Loader{Name: loading, Kind: LoadsNftables}
	}
	b.layout.Service = nftables.Name
	main, text, there := "", "", false
	if len(nftables.Files) > 0 {
		main = nftables.Files[0]
		var err error
		if text, there, err = b.read(main); err != nil {
			return err
		}
	}
	b.own = b.place(main, text)
	if isOwn(main) { // what a migration before this one made it load
		b.own = filepath.Join(filepath.Dir(main), "nftmigrate"+b.extension())
		main, there = "", false
	}
	dropIn := filepath.Join(units, nftables.Name+".d", "90-nftmigrate.conf")
	earlier, migrated, err := b.read(dropIn)
	if err != nil {
		return err
	}
	loaded := nftables.Enabled && there
	if migrated {
		// A migration before this one decided whether a boot loads the main file.
		loaded = loaded && strings.Contains(earlier, "\nExecStart="+b.nft+" -f "+main+"\n")
	}

	// What finishes or undoes the rest comes first, and its undoing last.
	b.write(filepath.Join(units, recovery), 0o644, b.recoveryUnit(nftables.Name), "a boot finishes or undoes changes that were cut off")
	b.link(filepath.Join(units, "sysinit.target.wants", recovery), filepath.Join(units, recovery), "enabled")

	b.ruleFiles()
	// A main file in /var is a dump that a service writes, not an operator's text.
	if main != "" && !inside("/var", main) {
		include := b.own
		if b.rules.Batch != nil {
			include = ""
		}
		edited, told, err := b.editMain(main, text, include)
		if err != nil {
			return err
		}
		if edited != text {
			b.write(main, 0o644, edited, "loading it by hand keeps the rules, and those of others")
		}
		b.layout.Told = append(b.layout.Told, told...)
	}
	load := []string{b.load(b.own)}
	if loaded {
		load = []string{b.nft + " -f " + main}
		if b.rules.Batch != nil || inside("/var", main) {
			load = append(load, b.load(b.own))
		}
	} else if there {
		b.told("%s was not loaded at boot before, and is not now: %s loads %s alone.", main, nftables.Name, b.own)
	}
	if nftables.Name == loading {
		b.write(filepath.Join(units, loading), 0o644, b.loadingUnit(load), "loads the rules before the network comes up")
	} else {
		b.write(dropIn, 0o644, b.dropIn(load), "it loads the rules before the network comes up, and never flushes those of others")
		b.told("Stopping %s leaves the rules in effect, so that a restart or an update of its package does not open the host. To remove them: nft delete table %s", nftables.Name, b.table())
	}
	b.write(filepath.Join(units, alarm), 0o644, b.alarmUnit(nftables.Name), "tells everybody when the rules could not be loaded")
	if b.rules.SetsInUse {
		b.setsUnit(nftables.Name)
	}
	if err := b.enable(nftables); err != nil {
		return err
	}
	for _, l := range b.old() {
		if _, err := b.saveNoMore(l.Name); err != nil {
			return err
		}
		links, err := b.links(l.Name)
		if err != nil {
			return err
		}
		for _, link := range links {
			b.remove(link, l.Name+" no longer loads the old rules; its files stay")
		}
		if l.Enabled && len(links) == 0 {
			b.layout.ByHand = append(b.layout.ByHand, fmt.Sprintf("%s is enabled by something else than links in %s. It was not touched: keep it from loading the old rules.", l.Name, units))
		}
	}
	return nil
}

// isOwn reports whether a file is one that a migration wrote.
func isOwn(path string) bool {
	return slices.Contains([]string{"nftmigrate.nft", "nftmigrate.batch"}, filepath.Base(path))
}

// before orders a unit so that no packet passes before it.
//
// Man page: systemd.special(7), network-pre.target.
const before = `DefaultDependencies=no
Wants=network-pre.target local-fs.target
Before=network-pre.target shutdown.target
After=local-fs.target systemd-modules-load.service
Conflicts=shutdown.target
`

// commands are the settings of a service that loads the rules. The last good rules
// come first: when the file cannot be loaded, which changes nothing, they stay, and
// the service fails for everybody to see. It needs no program but nft for that.
func (b *builder) commands(load []string) string {
	var s strings.Builder
	s.WriteString("Type=oneshot\nRemainAfterExit=yes\n")
	fmt.Fprintf(&s, "ExecStartPre=-%s\n", b.load(b.lastGood))
	s.WriteString("ExecStart=\n")
	for _, l := range load {
		s.WriteString("ExecStart=" + l + "\n")
	}
	fmt.Fprintf(&s, "ExecStartPost=-/bin/cp -p %s %s.new\n", b.own, b.lastGood)
	fmt.Fprintf(&s, "ExecStartPost=-/bin/mv -f %s.new %[1]s\n", b.lastGood)
	s.WriteString("ExecReload=\n")
	for _, l := range load {
		s.WriteString("ExecReload=" + l + "\n")
	}
	// None: a restart, which an update of the package does, would open the host.
	s.WriteString("ExecStop=\n")
	return s.String()
}

const madeBy = "# Made by nftmigrate; \"migrate rollback\" removes it.\n"

func (b *builder) dropIn(load []string) string {
	return madeBy + "[Unit]\n" +
		"Wants=network-pre.target local-fs.target\nBefore=network-pre.target\nAfter=local-fs.target\nOnFailure=" + alarm + "\n\n" +
		"[Service]\n" + b.commands(load)
}

func (b *builder) loadingUnit(load []string) string {
	return madeBy + "[Unit]\nDescription=Rules of nftables that were migrated from iptables\n" + before +
		"OnFailure=" + alarm + "\n\n[Service]\n" + b.commands(load) + "\n[Install]\nWantedBy=sysinit.target\n"
}

// alarmUnit is a message with the priority that reaches every terminal.
//
// Man page: journald.conf(5), ForwardToWall.
func (b *builder) alarmUnit(service string) string {
	return madeBy + "[Unit]\nDescription=Alarm: the rules of the firewall could not be loaded\nDefaultDependencies=no\n\n" +
		"[Service]\nType=oneshot\nSyslogLevel=emerg\nStandardOutput=journal+console\n" +
		fmt.Sprintf("ExecStart=/bin/echo \"The firewall's rules could not be loaded. The last good ones were tried instead. See: journalctl -u %s\"\n", service)
}

// recoveryUnit only orders itself before all that loads rules; nothing waits for
// its success.
func (b *builder) recoveryUnit(service string) string {
	services := []string{service}
	for _, l := range b.loaders {
		if l.Kind != HandMade && !slices.Contains(services, l.Name) {
			services = append(services, l.Name)
		}
	}
	return madeBy + "[Unit]\nDescription=Finish or undo a migration of firewall rules that was cut off\n" + before +
		"Before=" + strings.Join(services, " ") + "\n" +
		"ConditionFileIsExecutable=" + b.rules.Binary + "\n\n" +
		"[Service]\nType=oneshot\nTimeoutStartSec=90\n" +
		fmt.Sprintf("ExecStart=%s recover --state %s\n", b.rules.Binary, b.rules.StateDir) +
		"\n[Install]\nWantedBy=sysinit.target\n"
}

// setsUnit goes on loading the sets of a service that loads rules as well.
func (b *builder) setsUnit(service string) {
	var files []string
	for _, l := range b.loaders {
		if l.Kind != LoadsIptables || !l.Enabled {
			continue
		}
		for _, f := range l.Files {
			if strings.Contains(filepath.Base(f), "ipset") && plain.MatchString(f) {
				files = append(files, f)
			}
		}
	}
	if files == nil {
		return
	}
	var load strings.Builder
	for _, f := range files {
		fmt.Fprintf(&load, "ExecStart=%s restore -exist -file %s\n", b.program("ipset"), f)
	}
	path := filepath.Join(units, setUnit)
	b.write(path, 0o644, madeBy+"[Unit]\nDescription=Sets of ipset that are still in use\n"+before+
		"Before="+service+"\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"+load.String()+
		"\n[Install]\nWantedBy=sysinit.target\n", "sets of ipset that are still in use are loaded as before")
	b.link(filepath.Join(units, "sysinit.target.wants", setUnit), path, "enabled")
}

// enable makes the links that the unit's [Install] section asks for.
//
// Man page: systemd.unit(5), [INSTALL] SECTION OPTIONS.
func (b *builder) enable(l *Loader) error {
	mask := filepath.Join(units, l.Name)
	if at, err := os.Readlink(filepath.Join(b.root, mask)); err == nil && at == "/dev/null" {
		b.remove(mask, l.Name+" was masked and has to run now")
	}
	if l.Enabled {
		return nil
	}
	install := map[string][]string{"WantedBy": {"sysinit.target"}}
	unit := filepath.Join(units, loading)
	if l.Name != loading {
		if unit = b.unitFile(l); unit == "" {
			return fmt.Errorf("%s has no unit file below %s", l.Name, b.root)
		}
		text, _, err := b.read(unit)
		if err != nil {
			return err
		}
		install = installSection(text)
		if len(install["WantedBy"])+len(install["RequiredBy"]) == 0 {
			// A unit that only others start.
			install = map[string][]string{"WantedBy": {"sysinit.target"}}
		}
	}
	for _, key := range []struct{ key, dir string }{{"WantedBy", ".wants"}, {"RequiredBy", ".requires"}} {
		for _, target := range install[key.key] {
			b.link(filepath.Join(units, target+key.dir, l.Name), unit, l.Name+" is enabled")
		}
	}
	for _, alias := range install["Alias"] {
		b.link(filepath.Join(units, alias), unit, l.Name+" is enabled under another name")
	}
	return nil
}

// unitFile is where a unit of a package is, in the order in which systemd looks.
func (b *builder) unitFile(l *Loader) string {
	if l.Unit != "" {
		return l.Unit
	}
	for _, dir := range []string{units, "/usr/local/lib/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"} {
		path := filepath.Join(dir, l.Name)
		if at, err := resolve(b.root, path, true); err == nil && at != "/dev/null" && b.exists(path) {
			return path
		}
	}
	return ""
}

// installSection reads the lists of a unit's [Install] section. Specifiers are not
// followed: units that load rules have none.
func installSection(text string) map[string][]string {
	lists := map[string][]string{}
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Install]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		key = strings.TrimSpace(key)
		if strings.TrimSpace(value) == "" {
			delete(lists, key)
		}
		lists[key] = append(lists[key], strings.Fields(value)...)
	}
	return lists
}

// links are those that make a boot start a unit: in directories of what wants it,
// and other names of it. A link under the unit's own name is where its file is.
func (b *builder) links(unit string) (list []string, err error) {
	entries, err := os.ReadDir(filepath.Join(b.root, units))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	is := func(path string) bool {
		target, err := os.Readlink(filepath.Join(b.root, path))
		return err == nil && target != "/dev/null" && (filepath.Base(target) == unit || filepath.Base(path) == unit)
	}
	for _, e := range entries {
		path := filepath.Join(units, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".wants", ".requires", ".upholds":
			inner, err := os.ReadDir(filepath.Join(b.root, path))
			if err != nil {
				return nil, err
			}
			for _, i := range inner {
				if is(filepath.Join(path, i.Name())) {
					list = append(list, filepath.Join(path, i.Name()))
				}
			}
		default:
			if e.Name() != unit && is(path) {
				list = append(list, path)
			}
		}
	}
	return list, nil
}
