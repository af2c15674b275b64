package persist_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/internal/testkit"
	"nftmigrate/persist"
)

// linksOf are all links below the directory of units, with the place that each
// leads to.
func linksOf(t *testing.T, root string) (list []string) {
	t.Helper()
	dir := filepath.Join(root, "etc/systemd/system")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if target, err := os.Readlink(path); err == nil {
			name, _ := filepath.Rel(dir, path)
			// /lib is a link to /usr/lib.
			list = append(list, name+" -> "+strings.Replace(target, "/usr/lib/", "/lib/", 1))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSystemctl: the links are those that systemctl makes and removes.
func TestSystemctl(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.Tool("systemctl"))
	for _, s := range []system{debian, rhel, arch} {
		t.Run(s.name, func(t *testing.T) {
			l, root := laid(t, s, ours)
			if err := persist.Run(background, filepath.Join(t.TempDir(), "journal"), root, l.Changes); err != nil {
				t.Fatal(err)
			}
			theirs := t.TempDir()
			s.build(t, theirs)
			for _, loader := range s.loaders {
				what, want := "disable", "disabled"
				if loader.Kind == persist.LoadsNftables {
					what, want = "enable", "enabled"
				}
				if out, err := run(t, "systemctl", "--root="+theirs, what, loader.Name); err != nil {
					t.Fatalf("systemctl %s %s: %v\n%s", what, loader.Name, err, out)
				}
				out, _ := run(t, "systemctl", "--root="+root, "is-enabled", loader.Name)
				if strings.TrimSpace(out) != want {
					t.Errorf("systemctl says that %s is %q, want %s", loader.Name, out, want)
				}
			}
			got := slices.DeleteFunc(linksOf(t, root), func(l string) bool { return strings.Contains(l, "nftmigrate") })
			if diff := cmp.Diff(linksOf(t, theirs), got); diff != "" {
				t.Errorf("links (-systemctl +ours):\n%s", diff)
			}
			if out, _ := run(t, "systemctl", "--root="+root, "is-enabled", "nftmigrate-recover.service"); strings.TrimSpace(out) != "enabled" {
				t.Errorf("the unit that recovers is %q", out)
			}
		})
	}
}

// targets are units that systemd itself brings.
var targets = []string{"network-pre.target", "local-fs.target", "shutdown.target", "sysinit.target", "systemd-modules-load.service", "basic.target", "multi-user.target"}

// TestUnits has systemd itself read the units. A unit with a mistake is noticed.
func TestUnits(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.Tool("systemd-analyze"))
	for _, s := range []system{debian, rhel, arch, bare} {
		for _, rules := range []persist.Rules{ours, asBatch(ours), {Family: "ip", Table: "firewall", Text: []byte("table ip firewall {\n}\n"), Binary: ours.Binary, StateDir: ours.StateDir, SetsInUse: true}} {
			l, root := laid(t, s, rules)
			if err := persist.Run(background, filepath.Join(t.TempDir(), "journal"), root, l.Changes); err != nil {
				t.Fatal(err)
			}
			for _, target := range targets {
				text := "[Unit]\nDescription=x\nDefaultDependencies=no\n"
				if strings.HasSuffix(target, ".service") {
					text += "[Service]\nType=oneshot\nExecStart=/usr/sbin/loader\n"
				}
				put(t, root, "usr/lib/systemd/system/"+target, text)
			}
			list := []string{"--root=" + root, "--man=no", "--recursive-errors=yes", "verify", l.Service, "nftmigrate-recover.service", "nftmigrate-alarm.service"}
			if rules.SetsInUse && s.name == "Debian" {
				list = append(list, "nftmigrate-sets.service")
			}
			out, err := run(t, "systemd-analyze", list...)
			if err != nil || strings.TrimSpace(out) != "" {
				t.Errorf("%s: systemd-analyze: %v\n%s", s.name, err, out)
			}
			put(t, root, "etc/systemd/system/"+l.Service+".d/99-bad.conf", "[Service]\nExecStart=no-such-program\nExecStrat=x\n")
			if out, err := run(t, "systemd-analyze", list...); err == nil && strings.TrimSpace(out) == "" {
				t.Errorf("%s: a unit with a mistake passes", s.name)
			}
		}
	}
}

// content is what a layout writes to a path, "" when nothing.
func content(l *persist.Layout, path string) string {
	for _, c := range l.Changes {
		if c.Op == persist.WriteFile && c.Path == path {
			return string(c.Content)
		}
	}
	return ""
}

// lines wants a text to have all of some lines, and in that order.
func lines(t *testing.T, text string, want ...string) {
	t.Helper()
	rest := text
	for _, w := range want {
		_, after, ok := strings.Cut("\n"+rest, "\n"+w+"\n")
		if !ok {
			t.Errorf("no line %q behind those before it in\n%s", w, text)
			return
		}
		rest = after
	}
}

// TestDebian: the whole list for the most usual host, as people see it.
func TestDebian(t *testing.T) {
	l, root := laid(t, debian, ours)
	want := `write   /etc/systemd/system/nftmigrate-recover.service: a boot finishes or undoes changes that were cut off
link    /etc/systemd/system/sysinit.target.wants/nftmigrate-recover.service -> /etc/systemd/system/nftmigrate-recover.service: enabled
write   /etc/nftables.d/nftmigrate.nft: the rules of table inet firewall
write   /var/lib/nftmigrate/last-good.nft: the rules that a boot has when the others cannot be loaded
write   /etc/nftables.conf: loading it by hand keeps the rules, and those of others
write   /etc/systemd/system/nftables.service.d/90-nftmigrate.conf: it loads the rules before the network comes up, and never flushes those of others
write   /etc/systemd/system/nftmigrate-alarm.service: tells everybody when the rules could not be loaded
link    /etc/systemd/system/sysinit.target.wants/nftables.service -> /lib/systemd/system/nftables.service: nftables.service is enabled
remove  /etc/systemd/system/ip6tables.service: netfilter-persistent.service no longer loads the old rules; its files stay
remove  /etc/systemd/system/ipset.service: netfilter-persistent.service no longer loads the old rules; its files stay
remove  /etc/systemd/system/iptables.service: netfilter-persistent.service no longer loads the old rules; its files stay
remove  /etc/systemd/system/multi-user.target.wants/netfilter-persistent.service: netfilter-persistent.service no longer loads the old rules; its files stay
note    "flush ruleset" in /etc/nftables.conf removed the tables of all other programs. It is replaced by the deletion of the tables that it declares: inet filter.
note    /etc/nftables.conf was not loaded at boot before, and is not now: nftables.service loads /etc/nftables.d/nftmigrate.nft alone.
note    Stopping nftables.service leaves the rules in effect, so that a restart or an update of its package does not open the host. To remove them: nft delete table inet firewall
`
	if diff := cmp.Diff(want, l.Describe()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	lines(t, content(l, "/etc/systemd/system/nftables.service.d/90-nftmigrate.conf"),
		"Before=network-pre.target", "RemainAfterExit=yes", "ExecStartPre=-/usr/sbin/nft -f /var/lib/nftmigrate/last-good.nft",
		"ExecStart=", "ExecStart=/usr/sbin/nft -f /etc/nftables.d/nftmigrate.nft", "ExecReload=", "ExecReload=/usr/sbin/nft -f /etc/nftables.d/nftmigrate.nft", "ExecStop=")
	lines(t, content(l, "/etc/systemd/system/nftmigrate-recover.service"),
		"Before=network-pre.target shutdown.target", "Before=nftables.service netfilter-persistent.service", "ExecStart=/usr/sbin/migrate recover --state /var/lib/nftmigrate")
	lines(t, content(l, "/etc/nftables.d/nftmigrate.nft"), "table inet firewall", "delete table inet firewall", "table inet firewall {")
	// A boot that loads text needs our program for nothing.
	for _, c := range l.Changes {
		if c.Path != "/etc/systemd/system/nftmigrate-recover.service" && strings.Contains(string(c.Content), "/usr/sbin/migrate") {
			t.Errorf("%s needs the program", c.Path)
		}
	}
	// Sets that stay in use are loaded by a unit of their own.
	rules := ours
	rules.SetsInUse = true
	if l, err := persist.Lay(root, persist.Systemd, debian.loaders, rules); err != nil {
		t.Error(err)
	} else {
		lines(t, content(l, "/etc/systemd/system/nftmigrate-sets.service"), "Before=nftables.service", "ExecStart=/usr/sbin/ipset restore -exist -file /etc/iptables/ipsets")
	}
}

// TestOthers: what differs on the other systems.
func TestOthers(t *testing.T) {
	t.Run("RHEL", func(t *testing.T) {
		l, _ := laid(t, rhel, ours)
		lines(t, content(l, "/etc/sysconfig/iptables-config"), "#   Value: yes|no,  default: no", `IPTABLES_SAVE_ON_STOP="no"`, `IPTABLES_SAVE_ON_RESTART="no"`, `IPTABLES_STATUS_NUMERIC="yes"`)
		if got := content(l, "/etc/sysconfig/ip6tables-config"); got != "" {
			t.Errorf("ip6tables-config, which saves nothing, becomes %q", got)
		}
		lines(t, content(l, "/etc/sysconfig/nftables.conf"), `# include "/etc/nftables/main.nft"`, `include "/etc/nftables/nftmigrate.nft"`)
		// What keeps a stop from overwriting comes before the disabling.
		order := persist.Describe(l.Changes)
		if strings.Index(order, "write   /etc/sysconfig/iptables-config") > strings.Index(order, "remove  /etc/systemd/system/multi-user.target.wants/iptables.service") {
			t.Errorf("iptables.service is disabled before it is kept from saving:\n%s", order)
		}
		rules := ours
		rules.SetsInUse = true
		l, _ = laid(t, rhel, rules)
		if strings.Contains(persist.Describe(l.Changes), "ipset.service:") || !strings.Contains(strings.Join(l.Told, "\n"), "ipset.service stays enabled") {
			t.Errorf("sets that are in use are not loaded any more:\n%s", l.Describe())
		}
	})
	t.Run("Arch", func(t *testing.T) {
		l, _ := laid(t, arch, ours)
		// The operator's own table was loaded at boot, so it is now.
		lines(t, content(l, "/etc/systemd/system/nftables.service.d/90-nftmigrate.conf"), "RemainAfterExit=yes", "ExecStart=", "ExecStart=/usr/sbin/nft -f /etc/nftables.conf", "ExecReload=", "ExecReload=/usr/sbin/nft -f /etc/nftables.conf", "ExecStop=")
		lines(t, content(l, "/etc/nftables.conf"), "table inet mine {", `include "/etc/nftables.d/nftmigrate.nft"`)
		l, _ = laid(t, arch, asBatch(ours))
		lines(t, content(l, "/etc/systemd/system/nftables.service.d/90-nftmigrate.conf"), "ExecStartPre=-/usr/sbin/migrate load /var/lib/nftmigrate/last-good.batch", "ExecStart=/usr/sbin/nft -f /etc/nftables.conf", "ExecStart=/usr/sbin/migrate load /etc/nftables.d/nftmigrate.batch")
	})
	t.Run("masked", func(t *testing.T) {
		s := debian
		s.files = map[string]string{"etc/systemd/system/nftables.service": "-> /dev/null"}
		for path, text := range debian.files {
			s.files[path] = text
		}
		l, _ := laid(t, s, ours)
		if !strings.Contains(l.Describe(), "remove  /etc/systemd/system/nftables.service: nftables.service was masked") || !strings.Contains(l.Describe(), "nftables.service -> /lib/systemd/system/nftables.service") {
			t.Errorf("%s", l.Describe())
		}
	})
	t.Run("Alpine", func(t *testing.T) {
		l, _ := laid(t, alpine, ours)
		lines(t, content(l, "/etc/conf.d/iptables"), `SAVE_ON_STOP="no"`, `IPFORWARD="no"`)
		lines(t, content(l, "/etc/conf.d/ip6tables"), `IPTABLES_SAVE="/etc/iptables/rules6-save"`, `SAVE_ON_STOP="no"`)
		order := persist.Describe(l.Changes)
		for _, want := range []string{"link    /etc/runlevels/boot/nftmigrate -> /etc/init.d/nftmigrate", "remove  /etc/runlevels/default/iptables", "remove  /etc/runlevels/boot/ip6tables"} {
			if !strings.Contains(order, want) {
				t.Errorf("no %q in\n%s", want, order)
			}
		}
	})
	t.Run("Gentoo", func(t *testing.T) {
		l, _ := laid(t, gentoo, ours)
		lines(t, content(l, "/etc/conf.d/nftables"), `SAVE_ON_STOP="no"`)
		if !strings.Contains(strings.Join(l.Told, "\n"), "nftables no longer saves the running rules") {
			t.Errorf("%v", l.Told)
		}
	})
}

// TestScript runs the service of OpenRC in a shell, with programs that note how
// they were called: G27.
func TestScript(t *testing.T) {
	testkit.Need(t, testkit.Tool("sh"))
	l, root := laid(t, alpine, ours)
	script := content(l, "/etc/init.d/nftmigrate")
	put(t, root, "script", script)
	const harness = `ebegin() { :; }; eend() { return "$1"; }; eerror() { echo "error: $1"; }; ewarn() { :; }
logger() { echo "logger: $*"; }
cp() { echo "cp $*"; }; mv() { echo "mv $*"; }
nft_() { echo "nft $*"; case "$2" in $BAD) return 1;; esac; return 0; }
`
	for _, c := range []struct {
		name, bad, call, want string
		fails                 bool
	}{
		{"good", "none", "start", "nft -f OWN\ncp -p OWN LAST.new\nmv -f LAST.new LAST\n", false},
		{"broken", "/etc/*", "start", "nft -f OWN\nerror: OWN could not be loaded; loading the last good rules\nlogger: -p user.emerg -t nftmigrate OWN could not be loaded; the last good rules were tried instead\nnft -f LAST\n", false},
		{"both broken", "*", "start", "nft -f OWN\nerror: OWN could not be loaded; loading the last good rules\nlogger: -p user.emerg -t nftmigrate OWN could not be loaded; the last good rules were tried instead\nnft -f LAST\n", true},
		{"stop", "none", "stop", "", false},
		{"reload", "none", "reload", "nft -f OWN\n", false},
		{"bad reload", "*", "reload", "nft -f OWN\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := harness + strings.ReplaceAll(script, "/usr/sbin/nft -f", "nft_ -f") + "\n" + c.call + "\n"
			cmd := exec.Command("sh", "-u", "-c", text)
			cmd.Env = append(os.Environ(), "BAD="+c.bad)
			out, err := cmd.CombinedOutput()
			got := strings.NewReplacer("/etc/nftables.d/nftmigrate.nft", "OWN", "/var/lib/nftmigrate/last-good.nft", "LAST").Replace(string(out))
			// Alpine's main file takes the whole directory, but is not loaded.
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("%v, output\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
	for _, name := range []string{"nftmigrate", "nftmigrate-recover"} {
		text := content(l, "/etc/init.d/"+name)
		if out, err := exec.Command("sh", "-n", "-c", text).CombinedOutput(); err != nil || text == "" {
			t.Errorf("%s: %v %s", name, err, out)
		}
		for _, c := range l.Changes {
			if c.Path == "/etc/init.d/"+name && fmt.Sprint(c.Mode) != "-rwxr-xr-x" {
				t.Errorf("%s has the mode %v", name, c.Mode)
			}
		}
	}
}
