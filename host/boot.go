package host

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nftmigrate/persist"
)

// A Boot is what brings rules into the kernel when a host starts. It is read from its
// units, scripts and files, since distributions differ, and operators more.
type Boot struct {
	Init    persist.Init
	Loaders []persist.Loader
}

// ReadBoot reads it below a root directory, "/" on the host itself.
func ReadBoot(root string) (*Boot, error) {
	r := &bootReader{root: root}
	b := &Boot{Init: r.init()}
	switch b.Init {
	case persist.Systemd:
		b.Loaders = r.units()
	case persist.OpenRC:
		b.Loaders = r.openrc()
	}
	b.Loaders = append(b.Loaders, r.byHand()...)
	slices.SortStableFunc(b.Loaders, func(x, y persist.Loader) int { return strings.Compare(x.Name, y.Name) })
	return b, r.err
}

// A bootReader reads files below a root. What is not there is empty; any other error is
// kept.
type bootReader struct {
	root string
	err  error
}

func (r *bootReader) at(path string) string { return filepath.Join(r.root, path) }

func (r *bootReader) exists(path string) bool {
	_, err := os.Stat(r.at(path))
	return err == nil
}

// textMost bounds what is read of a unit or script; programs are larger.
const textMost = 1 << 20

// text reads a unit, a script or a setting; "" when it is none, or is not there.
func (r *bootReader) text(path string) string {
	info, err := os.Stat(r.at(path))
	if err != nil || !info.Mode().IsRegular() || info.Size() > textMost {
		return ""
	}
	b, err := os.ReadFile(r.at(path))
	if err != nil {
		r.err = errors.Join(r.err, err)
		return ""
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "" // a program
	}
	return string(b)
}

// files lists a directory, sorted.
func (r *bootReader) files(dir string) (names []string) {
	entries, err := os.ReadDir(r.at(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.err = errors.Join(r.err, err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// init finds out what starts services: what runs, or else what is installed.
func (r *bootReader) init() persist.Init {
	for _, x := range []struct {
		path string
		init persist.Init
	}{
		{"/run/systemd/system", persist.Systemd}, {"/run/openrc", persist.OpenRC},
		{"/usr/lib/systemd/systemd", persist.Systemd}, {"/lib/systemd/systemd", persist.Systemd},
		{"/sbin/openrc-run", persist.OpenRC}, {"/etc/runlevels", persist.OpenRC},
	} {
		if r.exists(x.path) {
			return x.init
		}
	}
	return ""
}

// unitDirs are where systemd looks for units, in its order.
//
// Man page: systemd.unit(5), UNIT FILE LOAD PATH.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"}

// converted are services of programs whose rules are the operator's, and that write
// them by scripts of their own.
var converted = map[string]bool{"ufw.service": true, "shorewall.service": true, "shorewall6.service": true, "ferm.service": true, "firehol.service": true, "csf.service": true, "arno-iptables-firewall.service": true}

// units finds the services that load rules.
func (r *bootReader) units() (list []persist.Loader) {
	seen := map[string]bool{}
	links := r.wanted()
	for _, dir := range unitDirs {
		for _, name := range r.files(dir) {
			path := filepath.Join(dir, name)
			target, _ := os.Readlink(r.at(path))
			if !strings.HasSuffix(name, ".service") || seen[name] || target == "/dev/null" || target != "" && filepath.Base(target) != name {
				continue // another kind, masked, or another name of a unit
			}
			seen[name] = true
			l := persist.Loader{Name: name, Unit: path, Enabled: links[name]}
			l.Kind, l.Files = r.loads(r.commands(name, path))
			if converted[name] {
				l.Kind = persist.LoadsIptables
			}
			if l.Kind == persist.HandMade && !l.Enabled {
				continue // nothing starts it
			}
			if l.Kind != "" {
				list = append(list, l)
			}
		}
	}
	return list
}

// wanted are the units that links have a boot start, by their names.
func (r *bootReader) wanted() map[string]bool {
	all := map[string]bool{}
	for _, dir := range unitDirs {
		for _, name := range r.files(dir) {
			switch filepath.Ext(name) {
			case ".wants", ".requires":
				for _, unit := range r.files(filepath.Join(dir, name)) {
					target, _ := os.Readlink(r.at(filepath.Join(dir, name, unit)))
					if target != "/dev/null" {
						all[unit], all[filepath.Base(target)] = true, true
					}
				}
			}
		}
	}
	return all
}

// commands are what a unit starts, drop-ins included: an empty setting takes back what
// was said before.
func (r *bootReader) commands(name, path string) (list []string) {
	texts := []string{r.text(path)}
	for _, dir := range slices.Backward(unitDirs) {
		for _, drop := range r.files(filepath.Join(dir, name+".d")) {
			if strings.HasSuffix(drop, ".conf") {
				texts = append(texts, r.text(filepath.Join(dir, name+".d", drop)))
			}
		}
	}
	for _, text := range texts {
		section := ""
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			key, value, ok := strings.Cut(line, "=")
			if !ok || section != "[Service]" || strings.TrimSpace(key) != "ExecStart" && strings.TrimSpace(key) != "ExecStartPre" {
				continue
			}
			if value = strings.TrimSpace(value); value == "" {
				list = nil
			} else {
				list = append(list, strings.TrimLeft(value, "-@:+!"))
			}
		}
	}
	return list
}

// What commands and scripts do with rules.
var (
	loadsRuleset = regexp.MustCompile(`(^|[/\s'"$({;&|])nft\s+(-\S+\s+)*(-f|--file|'?flush ruleset)`)
	loadsRules   = regexp.MustCompile(`(^|[/\s'"$({;&|])(ip6?tables(-nft|-legacy)?-restore|ip6?tables-apply)\b|netfilter-persistent\s+(start|restart)|\$IPTABLES-restore`)
	loadsSets    = regexp.MustCompile(`(^|[/\s'"$({;&|])ipset\s+(-\S+\s+)*restore\b`)
	changesRules = regexp.MustCompile(`(^|[/\s'"$({;&|])ip6?tables(-nft|-legacy)?\s+(-\S+\s+|\S+\s+)*(-[AIDPF]|--append|--insert|--policy|--flush)\b`)
	mentioned    = regexp.MustCompile(`/(?:etc|var/lib|usr/share|opt|srv|root|home)/[A-Za-z0-9/_.+@-]+`)
)

// loads says what commands load, and from which files. A script is looked into, and
// the plugins of netfilter-persistent.
func (r *bootReader) loads(commands []string) (kind persist.Kind, files []string) {
	var scripts []string
	for _, c := range commands {
		scripts = append(scripts, c)
		program := strings.Trim(strings.Fields(c + " x")[0], `"'`)
		if text := r.text(program); strings.HasPrefix(text, "#!") {
			scripts = append(scripts, text)
		}
		if filepath.Base(program) == "netfilter-persistent" {
			const plugins = "/usr/share/netfilter-persistent/plugins.d"
			for _, name := range r.files(plugins) {
				scripts = append(scripts, r.text(filepath.Join(plugins, name)))
			}
		}
	}
	var nft, rules, sets, changes bool
	for _, s := range scripts {
		s = uncommented(s)
		found := loadsRuleset.MatchString(s) || loadsRules.MatchString(s) || loadsSets.MatchString(s)
		nft = nft || loadsRuleset.MatchString(s)
		rules = rules || loadsRules.MatchString(s)
		sets = sets || loadsSets.MatchString(s)
		changes = changes || changesRules.MatchString(s)
		if !found {
			continue
		}
		for _, path := range mentioned.FindAllString(s, -1) {
			if strings.HasPrefix(path, "/etc/default/") || strings.HasSuffix(path, "-config") {
				continue // settings of the script
			}
			if info, err := os.Stat(r.at(path)); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 == 0 || strings.HasSuffix(path, ".conf") && r.exists(path) {
				if !slices.Contains(files, path) {
					files = append(files, path)
				}
			}
		}
	}
	switch {
	case rules:
		return persist.LoadsIptables, files
	case nft:
		return persist.LoadsNftables, files
	case sets:
		return persist.LoadsSets, files
	case changes:
		return persist.HandMade, files
	}
	return "", nil
}

// uncommented leaves out lines that are comments.
func uncommented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// saveFile is how the settings of services of OpenRC name the file that they load.
var saveFile = regexp.MustCompile(`(?m)^\s*(?:IPTABLES_SAVE|IP6TABLES_SAVE|NFTABLES_SAVE|IPSET_SAVE|rules_file)=["']?([^"'\s#]+)`)

// openrc finds the services of OpenRC that load rules.
func (r *bootReader) openrc() (list []persist.Loader) {
	for _, name := range r.files("/etc/init.d") {
		text := r.text(filepath.Join("/etc/init.d", name))
		l := persist.Loader{Name: name, Unit: filepath.Join("/etc/init.d", name)}
		kinds := map[string]persist.Kind{"iptables": persist.LoadsIptables, "ip6tables": persist.LoadsIptables, "nftables": persist.LoadsNftables, "ipset": persist.LoadsSets}
		if l.Kind = kinds[name]; l.Kind == "" {
			if l.Kind, _ = r.loads([]string{text}); l.Kind == "" {
				continue
			}
		}
		for _, level := range r.files("/etc/runlevels") {
			l.Enabled = l.Enabled || slices.Contains(r.files(filepath.Join("/etc/runlevels", level)), name)
		}
		for _, settings := range []string{r.text("/etc/conf.d/" + name), text} {
			if found := saveFile.FindStringSubmatch(uncommented(settings)); found != nil && len(l.Files) == 0 && strings.HasPrefix(found[1], "/") {
				l.Files = []string{found[1]}
			}
		}
		if l.Kind != persist.HandMade || l.Enabled {
			list = append(list, l)
		}
	}
	return list
}

// handMade are the places where operators put commands that a boot runs, and reports
// whether only some lines of the file are commands.
var handMade = []string{
	"/etc/rc.local", "/etc/rc.d/rc.local", "/etc/network/interfaces", "/etc/crontab",
	"/etc/network/interfaces.d/*", "/etc/network/if-pre-up.d/*", "/etc/network/if-up.d/*", "/etc/network/if-post-down.d/*",
	"/etc/NetworkManager/dispatcher.d/*", "/etc/NetworkManager/dispatcher.d/pre-up.d/*", "/etc/networkd-dispatcher/*/*",
	"/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/etc/local.d/*.start", "/etc/cloud/cloud.cfg.d/*",
	"/etc/dhcp/dhclient-enter-hooks.d/*", "/etc/dhcp/dhclient-exit-hooks.d/*", "/etc/ppp/ip-up.d/*", "/etc/wireguard/*.conf", "/etc/openvpn/*.sh",
}

// byHand finds commands that change rules in such places.
func (r *bootReader) byHand() (list []persist.Loader) {
	for _, pattern := range handMade {
		paths, err := filepath.Glob(r.at(pattern))
		if err != nil {
			r.err = errors.Join(r.err, err)
		}
		for _, path := range paths {
			name := strings.TrimPrefix(path, strings.TrimSuffix(r.root, "/"))
			text := uncommented(r.text(name))
			if strings.Contains(name, "cron") {
				text = rebootJobs(text)
			}
			if loadsRules.MatchString(text) || changesRules.MatchString(text) || loadsSets.MatchString(text) || loadsRuleset.MatchString(text) {
				list = append(list, persist.Loader{Name: name, Kind: persist.HandMade, Enabled: true, Unit: name})
			}
		}
	}
	return list
}

// rebootJobs are the jobs of a table of cron that a boot runs.
//
// Man page: crontab(5).
func rebootJobs(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "@reboot") {
			b.WriteString(line)
		}
	}
	return b.String()
}
