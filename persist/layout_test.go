package persist_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/persist"
)

const ruleset = `table inet firewall {
	chain INPUT {
		type filter hook input priority filter; policy drop;

		tcp dport 22 accept
	}
}
`

var ours = persist.Rules{
	Family: "inet", Table: "firewall", Text: []byte(ruleset),
	Binary: "/usr/sbin/migrate", StateDir: "/var/lib/nftmigrate",
}

// asBatch are rules that no text can say.
func asBatch(r persist.Rules) persist.Rules {
	r.Text, r.Batch = nil, []byte("a batch\n")
	return r
}

// A system is a host as a distribution makes it.
type system struct {
	name    string
	init    persist.Init
	loaders []persist.Loader
	files   map[string]string // a text that begins with "-> " is a link
}

func (s system) build(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{"etc", "var/lib", "usr/sbin", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	putLink(t, root, "sbin", "usr/sbin")
	putLink(t, root, "bin", "usr/bin")
	putLink(t, root, "lib", "usr/lib")
	for _, program := range []string{"usr/sbin/nft", "usr/sbin/migrate", "usr/sbin/ipset", "usr/sbin/loader", "usr/bin/cp", "usr/bin/mv", "usr/bin/echo"} {
		put(t, root, program, "#!/bin/sh\n")
		if err := os.Chmod(filepath.Join(root, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range s.files {
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			putLink(t, root, path, target)
		} else {
			put(t, root, path, text)
		}
	}
}

// stock is the main file that Debian ships.
const stock = "#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter;\n\t}\n}\n"

// unit is a unit file with what matters here.
func unit(before, service, install string) string {
	return "[Unit]\nDescription=a unit\nDefaultDependencies=no\n" + before + "\n[Service]\nType=oneshot\n" + service + "\n[Install]\n" + install + "\n"
}

const (
	preNetwork = "Wants=network-pre.target\nBefore=network-pre.target shutdown.target\nConflicts=shutdown.target\n"
	loads      = "RemainAfterExit=yes\nExecStart=/usr/sbin/loader start\nExecStop=/usr/sbin/loader stop\n"
)

// The facts are those of the packages nftables 1.0.6, netfilter-persistent and
// iptables-persistent 1.0.20 of Debian 12.
var debian = system{
	name: "Debian", init: persist.Systemd,
	loaders: []persist.Loader{
		{Name: "netfilter-persistent.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules.v4", "/etc/iptables/rules.v6", "/etc/iptables/ipsets"}},
		{Name: "nftables.service", Kind: persist.LoadsNftables, Files: []string{"/etc/nftables.conf"}},
	},
	files: map[string]string{
		"etc/nftables.conf":                                                       stock,
		"etc/iptables/rules.v4":                                                   "*filter\nCOMMIT\n",
		"etc/iptables/ipsets":                                                     "create a hash:ip\n",
		"etc/default/netfilter-persistent":                                        "FLUSH_ON_STOP=0\n",
		"usr/lib/systemd/system/nftables.service":                                 unit(preNetwork, "RemainAfterExit=yes\nExecStart=/usr/sbin/nft -f /etc/nftables.conf\nExecReload=/usr/sbin/nft -f /etc/nftables.conf\nExecStop=/usr/sbin/nft flush ruleset\n", "WantedBy=sysinit.target"),
		"usr/lib/systemd/system/netfilter-persistent.service":                     unit(preNetwork, loads, "WantedBy=multi-user.target"),
		"usr/lib/systemd/system/netfilter-persistent.service.d/iptables.conf":     "[Install]\nAlias=iptables.service ip6tables.service\n",
		"usr/lib/systemd/system/netfilter-persistent.service.d/ipset.conf":        "[Install]\nAlias=ipset.service\n",
		"etc/systemd/system/multi-user.target.wants/netfilter-persistent.service": "-> /lib/systemd/system/netfilter-persistent.service",
		"etc/systemd/system/iptables.service":                                     "-> /lib/systemd/system/netfilter-persistent.service",
		"etc/systemd/system/ip6tables.service":                                    "-> /lib/systemd/system/netfilter-persistent.service",
		"etc/systemd/system/ipset.service":                                        "-> /lib/systemd/system/netfilter-persistent.service",
		"etc/systemd/system/multi-user.target.wants/ssh.service":                  "-> /lib/systemd/system/ssh.service",
	},
}

var rhel = system{
	name: "RHEL", init: persist.Systemd,
	loaders: []persist.Loader{
		{Name: "iptables.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/sysconfig/iptables"}},
		{Name: "ip6tables.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/sysconfig/ip6tables"}},
		{Name: "ipset.service", Kind: persist.LoadsSets, Enabled: true, Files: []string{"/etc/sysconfig/ipset"}},
		{Name: "nftables.service", Kind: persist.LoadsNftables, Files: []string{"/etc/sysconfig/nftables.conf"}},
	},
	files: map[string]string{
		"etc/sysconfig/nftables.conf":                                  "# Uncomment the include statement here to load the default config sample\n# include \"/etc/nftables/main.nft\"\n",
		"etc/nftables/main.nft":                                        "table inet sample {\n}\n",
		"etc/sysconfig/iptables":                                       "*filter\nCOMMIT\n",
		"etc/sysconfig/iptables-config":                                "# Save current firewall rules on stop.\n#   Value: yes|no,  default: no\nIPTABLES_SAVE_ON_STOP=\"yes\"\nIPTABLES_SAVE_ON_RESTART=\"yes\"\nIPTABLES_STATUS_NUMERIC=\"yes\"\n",
		"etc/sysconfig/ip6tables-config":                               "IP6TABLES_SAVE_ON_STOP=\"no\"\n",
		"usr/lib/systemd/system/nftables.service":                      unit(preNetwork, "RemainAfterExit=yes\nExecStart=/sbin/nft -f /etc/sysconfig/nftables.conf\nExecReload=/sbin/nft 'flush ruleset; include \"/etc/sysconfig/nftables.conf\";'\nExecStop=/sbin/nft flush ruleset\n", "WantedBy=multi-user.target"),
		"usr/lib/systemd/system/iptables.service":                      unit(preNetwork, loads, "WantedBy=multi-user.target"),
		"usr/lib/systemd/system/ip6tables.service":                     unit(preNetwork, loads, "WantedBy=multi-user.target"),
		"usr/lib/systemd/system/ipset.service":                         unit(preNetwork, loads, "WantedBy=basic.target\nRequiredBy=iptables.service"),
		"etc/systemd/system/multi-user.target.wants/iptables.service":  "-> /usr/lib/systemd/system/iptables.service",
		"etc/systemd/system/multi-user.target.wants/ip6tables.service": "-> /usr/lib/systemd/system/ip6tables.service",
		"etc/systemd/system/basic.target.wants/ipset.service":          "-> /usr/lib/systemd/system/ipset.service",
		"etc/systemd/system/iptables.service.requires/ipset.service":   "-> /usr/lib/systemd/system/ipset.service",
	},
}

// Arch's unit of nftables is done when its command is.
var arch = system{
	name: "Arch", init: persist.Systemd,
	loaders: []persist.Loader{
		{Name: "iptables.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/iptables.rules"}},
		{Name: "nftables.service", Kind: persist.LoadsNftables, Enabled: true, Files: []string{"/etc/nftables.conf"}},
	},
	files: map[string]string{
		"etc/nftables.conf":                                           "#!/usr/bin/nft -f\n\ntable inet mine\ndelete table inet mine\ntable inet mine {\n\tchain c {\n\t}\n}\n",
		"usr/lib/systemd/system/nftables.service":                     unit(preNetwork, "ExecStart=/usr/bin/nft -f /etc/nftables.conf\n", "WantedBy=multi-user.target"),
		"usr/lib/systemd/system/iptables.service":                     unit(preNetwork, loads, "WantedBy=multi-user.target"),
		"etc/systemd/system/multi-user.target.wants/nftables.service": "-> /usr/lib/systemd/system/nftables.service",
		"etc/systemd/system/multi-user.target.wants/iptables.service": "-> /usr/lib/systemd/system/iptables.service",
	},
}

// bare has systemd, but no service for nftables.
var bare = system{
	name: "systemd without a service for nftables", init: persist.Systemd,
	loaders: []persist.Loader{{Name: "iptables.service", Kind: persist.LoadsIptables, Enabled: true}},
	files: map[string]string{
		"usr/lib/systemd/system/iptables.service":                     unit(preNetwork, loads, "WantedBy=multi-user.target"),
		"etc/systemd/system/multi-user.target.wants/iptables.service": "-> /usr/lib/systemd/system/iptables.service",
	},
}

var alpine = system{
	name: "Alpine", init: persist.OpenRC,
	loaders: []persist.Loader{
		{Name: "iptables", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules-save"}},
		{Name: "ip6tables", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules6-save"}},
		{Name: "nftables", Kind: persist.LoadsNftables, Files: []string{"/etc/nftables.nft"}},
	},
	files: map[string]string{
		"etc/conf.d/iptables":            "# Save state on stopping iptables\nSAVE_ON_STOP=\"yes\"\nIPFORWARD=\"no\"\n",
		"etc/conf.d/ip6tables":           "IPTABLES_SAVE=\"/etc/iptables/rules6-save\"\n",
		"etc/nftables.nft":               "#!/usr/sbin/nft -f\nflush ruleset\ninclude \"/etc/nftables.d/*.nft\"\n",
		"etc/init.d/iptables":            "#!/sbin/openrc-run\n",
		"etc/runlevels/default/iptables": "-> /etc/init.d/iptables",
		"etc/runlevels/boot/ip6tables":   "-> /etc/init.d/ip6tables",
		"etc/runlevels/boot/networking":  "-> /etc/init.d/networking",
	},
}

var gentoo = system{
	name: "Gentoo", init: persist.OpenRC,
	loaders: []persist.Loader{
		{Name: "iptables", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/var/lib/iptables/rules-save"}},
		{Name: "nftables", Kind: persist.LoadsNftables, Enabled: true, Files: []string{"/var/lib/nftables/rules-save"}},
	},
	files: map[string]string{
		"etc/conf.d/iptables":            "IPTABLES_SAVE=\"/var/lib/iptables/rules-save\"\nSAVE_ON_STOP=\"yes\"\n",
		"etc/conf.d/nftables":            "NFTABLES_SAVE=\"/var/lib/nftables/rules-save\"\nSAVE_ON_STOP=\"yes\"\n",
		"etc/runlevels/default/iptables": "-> /etc/init.d/iptables",
		"etc/runlevels/default/nftables": "-> /etc/init.d/nftables",
	},
}

var systems = []system{debian, rhel, arch, bare, alpine, gentoo}

// laid builds a system and lays out its changes.
func laid(t *testing.T, s system, rules persist.Rules) (*persist.Layout, string) {
	t.Helper()
	root := t.TempDir()
	s.build(t, root)
	l, err := persist.Lay(root, s.init, s.loaders, rules)
	if err != nil {
		t.Fatal(err)
	}
	return l, root
}

// starts reports whether a boot loads the old rules and the new ones, from the
// files alone.
func starts(t *testing.T, root string, s system) (before, after bool) {
	t.Helper()
	there := func(path string) bool {
		list, err := filepath.Glob(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		return len(list) > 0
	}
	dirs := []string{"/etc/systemd/system/*.wants/", "/etc/runlevels/*/"}
	before = true
	for _, l := range s.loaders {
		if l.Kind == persist.LoadsIptables && !there(dirs[0]+l.Name) && !there(dirs[1]+l.Name) {
			before = false
		}
	}
	files := there("/etc/nftables*/nftmigrate.*") && there("/var/lib/nftmigrate/last-good.*")
	switch {
	case s.init == persist.OpenRC:
		after = there(dirs[1]+"nftmigrate") && there("/etc/init.d/nftmigrate")
	case there(dirs[0] + "nftables.service"):
		after = there("/etc/systemd/system/nftables.service.d/90-nftmigrate.conf")
	default:
		after = there(dirs[0]+"nftmigrate.service") && there("/etc/systemd/system/nftmigrate.service")
	}
	return before, after && files
}

// TestOrder: G9. Whatever number of changes a power cut leaves, a boot loads the
// old rules, or the new ones, or both.
func TestOrder(t *testing.T) {
	testkit.Need(t, testkit.Root)
	for _, s := range systems {
		for _, rules := range []persist.Rules{ours, asBatch(ours)} {
			check := func(order func([]persist.Change)) (bad int, ends [2]bool) {
				l, root := laid(t, s, rules)
				order(l.Changes)
				for i := range len(l.Changes) + 1 {
					if i > 0 {
						if err := persist.Run(background, filepath.Join(t.TempDir(), "journal"), root, l.Changes[i-1:i]); err != nil {
							t.Fatalf("%s: %v", s.name, err)
						}
					}
					before, after := starts(t, root, s)
					if !before && !after {
						bad++
					}
					ends = [2]bool{before, after}
				}
				return bad, ends
			}
			if bad, ends := check(func([]persist.Change) {}); bad != 0 || ends != [2]bool{false, true} {
				t.Errorf("%s: %d points at which a boot loads no rules; in the end it loads the old: %v, the new: %v", s.name, bad, ends[0], ends[1])
			}
			if bad, _ := check(func(c []persist.Change) { slices.Reverse(c) }); bad == 0 {
				t.Errorf("%s: the other order passes as well, so this shows nothing", s.name)
			}
		}
	}
}

// TestLayouts: G30. On each system the changes are made and taken back, and then
// the host is as it was.
func TestLayouts(t *testing.T) {
	testkit.Need(t, testkit.Root)
	for _, s := range systems {
		for _, rules := range []persist.Rules{ours, asBatch(ours)} {
			l, root := laid(t, s, rules)
			before := tree(t, root)
			dir := filepath.Join(t.TempDir(), "journal")
			if err := persist.Run(background, dir, root, l.Changes); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if _, err := persist.Undo(background, dir, false); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("%s: not as before:\n%s", s.name, diff)
			}
		}
	}
}

// ownOf is where a layout puts the rules.
func ownOf(t *testing.T, l *persist.Layout) string {
	t.Helper()
	for _, c := range l.Changes {
		if strings.HasPrefix(filepath.Base(c.Path), "nftmigrate.") && strings.HasPrefix(c.Why, "the rules of") {
			return c.Path
		}
	}
	t.Fatal("no file of rules")
	return ""
}

// TestOperatorsOwn: a service that an operator made for a ruleset of hers is not
// taken for the one that loads the migrated rules.
func TestOperatorsOwn(t *testing.T) {
	s := debian
	s.loaders = append([]persist.Loader{{Name: "firewall.service", Kind: persist.LoadsNftables, Enabled: true, Files: []string{"/etc/my.nft"}}}, debian.loaders...)
	l, _ := laid(t, s, ours)
	if l.Service != "nftables.service" || !strings.Contains(strings.Join(l.ByHand, "\n"), "firewall.service loads rules of nftables") {
		t.Errorf("%s: %s", l.Service, l.Describe())
	}
	for _, c := range l.Changes {
		if strings.Contains(c.Path, "firewall.service") {
			t.Errorf("%s is changed", c.Path)
		}
	}
}

// TestAgain: a second migration, of other rules, changes the rules alone.
func TestAgain(t *testing.T) {
	testkit.Need(t, testkit.Root)
	for _, s := range systems {
		l, root := laid(t, s, ours)
		if err := persist.Run(background, filepath.Join(t.TempDir(), "journal"), root, l.Changes); err != nil {
			t.Fatal(err)
		}
		rules, loaders := ours, slices.Clone(s.loaders)
		rules.Text = []byte(strings.Replace(ruleset, "22", "2222", 1))
		for i := range loaders {
			switch {
			case loaders[i].Kind != persist.LoadsNftables:
				loaders[i].Enabled = false
			case s.init == persist.Systemd:
				loaders[i].Enabled = true
				if s.name != "Arch" { // as its drop-in says then
					loaders[i].Files = []string{filepath.Join(filepath.Dir(ownOf(t, l)), "nftmigrate.nft")}
				}
			}
		}
		if s.name == bare.name {
			loaders = append(loaders, persist.Loader{Name: "nftmigrate.service", Kind: persist.LoadsNftables, Enabled: true, Files: []string{ownOf(t, l)}})
		}
		l, err := persist.Lay(root, s.init, loaders, rules)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		j, err := persist.Prepare(filepath.Join(t.TempDir(), "journal"), root, l.Changes)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		paths := j.Paths()
		if len(paths) != 2 || !strings.HasSuffix(paths[0], "/nftmigrate.nft") || paths[1] != "/var/lib/nftmigrate/last-good.nft" {
			t.Errorf("%s: the second time %v change, want the rules alone", s.name, paths)
		}
	}
}

// TestFlushesNothing: G16. Nothing that is written flushes what belongs to others.
func TestFlushesNothing(t *testing.T) {
	testkit.Need(t, testkit.Root)
	for _, s := range systems {
		for _, rules := range []persist.Rules{ours, asBatch(ours)} {
			l, _ := laid(t, s, rules)
			for _, c := range l.Changes {
				for line := range strings.Lines(string(c.Content)) {
					if code, _, _ := strings.Cut(line, "#"); strings.Contains(code, "flush") {
						t.Errorf("%s: %s has %q", s.name, c.Path, line)
					}
				}
			}
		}
	}
}

// in runs a program in a namespace.
func in(t *testing.T, n *netns.NS, name string, args ...string) string {
	t.Helper()
	out, err := n.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestMainFile loads main files with nft itself, twice, beside the table of another
// program: the same rules each time, and the other table stays.
func TestMainFile(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("nft"))
	const other = "table ip docker {\n\tchain x {\n\t}\n}\n"
	for _, c := range []struct {
		name, text string
		files      map[string]string
		own        string   // "" for the usual place
		tables     []string // that the file is to load, beside our own
		stays      bool     // the table of others
		told       string
	}{
		{name: "Debian's", text: stock, tables: []string{"inet filter"}, stays: true, told: "inet filter"},
		{name: "empty", text: "", stays: true},
		{name: "no newline at the end", text: "table inet a", tables: []string{"inet a"}, stays: true},
		{name: "without flush", text: "table inet a\ndelete table inet a\ntable inet a {\n}\n", tables: []string{"inet a"}, stays: true},
		{name: "flush that is a comment", text: "# flush ruleset\ntable inet a { # flush ruleset\n}\n", tables: []string{"inet a"}, stays: true},
		{name: "several tables", text: "flush ruleset;\ntable ip a {\n\tset s { type ipv4_addr; elements = { 10.0.0.1 }; }\n}\ntable ip6 b {}\nadd table netdev c\n", tables: []string{"ip a", "ip6 b", "netdev c"}, stays: true, told: "ip a, ip6 b, netdev c"},
		{name: "table without a family", text: "flush ruleset # all\ntable a {\n\tchain c { }\n}\n", tables: []string{"ip a"}, stays: true, told: "ip a"},
		{name: "includes", text: "flush ruleset\ninclude \"/etc/nft/*.conf\"\ndefine x = 1\n", files: map[string]string{"etc/nft/a.conf": "table ip a { }\n", "etc/nft/b.txt": "table ip b { }\n"}, tables: []string{"ip a"}, stays: true, told: "ip a"},
		{name: "includes the directory", text: "flush ruleset\ninclude \"/etc/firewall/*.nft\"\n", files: map[string]string{"etc/firewall/a.nft": "table ip a { }\n"}, own: "/etc/firewall/nftmigrate.nft", tables: []string{"ip a"}, stays: true, told: "ip a"},
		{name: "a brace in a comment and in a string", text: "flush ruleset\ntable ip a { # }\n\tchain c {\n\t\tcounter comment \"} {\"\n\t}\n}\ntable ip b { }\n", tables: []string{"ip a", "ip b"}, stays: true, told: "ip a, ip b"},
		// What cannot be understood is left as it is, and told.
		{name: "rules by commands", text: "flush ruleset\nadd table ip a\nadd chain ip a c\n", tables: []string{"ip a"}, stays: false, told: "as it always did"},
		{name: "flush of more than a line", text: "flush ruleset; table ip a { }\n", tables: []string{"ip a"}, stays: false, told: "as it always did"},
		{name: "flush of a family", text: "flush ruleset ip\ntable ip a { }\n", tables: []string{"ip a"}, stays: false, told: "as it always did"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := debian
			s.files = map[string]string{
				"etc/nftables.conf":                       c.text,
				"usr/lib/systemd/system/nftables.service": debian.files["usr/lib/systemd/system/nftables.service"],
			}
			for path, text := range c.files {
				s.files[path] = text
			}
			s.loaders = debian.loaders[1:]
			l, root := laid(t, s, ours)
			if told := strings.Join(l.Told, "\n"); !strings.Contains(told, c.told) {
				t.Errorf("told is %q, want %q", told, c.told)
			}
			if err := persist.Run(background, filepath.Join(t.TempDir(), "journal"), root, l.Changes); err != nil {
				t.Fatal(err)
			}
			own := c.own
			if own == "" {
				own = "/etc/nftables.d/nftmigrate.nft"
			}
			get(t, root, own)
			// nft reads the files of the root when it is told their real names.
			_ = filepath.WalkDir(filepath.Join(root, "etc"), func(path string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					text, _ := os.ReadFile(path)
					err = os.WriteFile(path, bytes.ReplaceAll(text, []byte(`include "/etc/`), []byte(`include "`+root+`/etc/`)), 0o600)
				}
				return err
			})
			n, err := netns.New()
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			main := filepath.Join(root, "etc/nftables.conf")
			put(t, root, "other.nft", other)
			in(t, n, "nft", "-f", filepath.Join(root, "other.nft"))
			in(t, n, "nft", "-c", "-f", main)
			in(t, n, "nft", "-f", main)
			once := in(t, n, "nft", "list", "ruleset")
			in(t, n, "nft", "-f", main)
			twice := in(t, n, "nft", "list", "ruleset")
			if diff := cmp.Diff(once, twice); diff != "" && c.stays {
				t.Errorf("loading it again makes a difference:\n%s", diff)
			}
			for _, table := range append(c.tables, "inet firewall") {
				if strings.Count(twice, "table "+table+" {") != 1 {
					t.Errorf("table %s is not there once:\n%s", table, twice)
				}
			}
			if got := strings.Contains(twice, "table ip docker"); got != c.stays {
				t.Errorf("the table of another program is there: %v, want %v", got, c.stays)
			}
		})
	}
}

// TestUnknown: nothing is changed where nothing is known, and that is said.
func TestUnknown(t *testing.T) {
	s := debian
	s.init = "runit"
	s.loaders = append([]persist.Loader{{Name: "rc.local", Kind: persist.HandMade, Enabled: true, Unit: "/etc/rc.local"}}, s.loaders...)
	l, _ := laid(t, s, ours)
	said := strings.Join(l.ByHand, "\n")
	if len(l.Changes) != 0 || !strings.Contains(said, "reboot brings back the old rules") || !strings.Contains(said, "netfilter-persistent.service") || !strings.Contains(said, "/etc/rc.local") {
		t.Errorf("%s", l.Describe())
	}
}

// TestRefused: what would make a boot fail, or write nonsense into a unit.
func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(*persist.Rules, *[]persist.Loader){
		"neither text nor batch": func(r *persist.Rules, _ *[]persist.Loader) { r.Text = nil },
		"text and batch":         func(r *persist.Rules, _ *[]persist.Loader) { r.Batch = []byte{1} },
		"program of a user":      func(r *persist.Rules, _ *[]persist.Loader) { r.Binary = "/run/migrate" },
		"program of a build":     func(r *persist.Rules, _ *[]persist.Loader) { r.Binary = "/tmp/go-build/migrate" },
		"program by its name":    func(r *persist.Rules, _ *[]persist.Loader) { r.Binary = "migrate" },
		"state with a blank":     func(r *persist.Rules, _ *[]persist.Loader) { r.StateDir = "/var/lib/nft migrate" },
		"state with a specifier": func(r *persist.Rules, _ *[]persist.Loader) { r.StateDir = "/var/lib/%n" },
		"table with a semicolon": func(r *persist.Rules, _ *[]persist.Loader) { r.Table = "x;flush" },
		"service with a path":    func(_ *persist.Rules, l *[]persist.Loader) { (*l)[0].Name = "../x.service" },
		"no unit": func(_ *persist.Rules, l *[]persist.Loader) {
			*l = []persist.Loader{{Name: "nftables-load.service", Kind: persist.LoadsNftables}}
		},
	} {
		root := t.TempDir()
		debian.build(t, root)
		rules, loaders := ours, slices.Clone(debian.loaders)
		spoil(&rules, &loaders)
		if l, err := persist.Lay(root, persist.Systemd, loaders, rules); err == nil {
			t.Errorf("%s: %s", name, l.Describe())
		}
	}
}

// run runs a program, for its output.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	testkit.Need(t, testkit.Tool(name))
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}
