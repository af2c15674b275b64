package hosttest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const oldRules = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n"

// own is the file with the migrated rules.
const own = "/etc/nftables.d/nftmigrate.nft"

// install puts the old rules and the program into a machine that is down.
func install(t *testing.T, m *machine) {
	t.Helper()
	program := filepath.Join(m.root, "usr/sbin/migrate")
	build := exec.Command("go", "build", "-o", program, "./guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(m.root, "etc/iptables"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.root, "etc/iptables/rules.v4"), []byte(oldRules), 0o640); err != nil {
		t.Fatal(err)
	}
}

// What a machine has.
type firewall struct{ old, native bool }

func (f firewall) String() string {
	switch f {
	case firewall{true, false}:
		return "the old rules"
	case firewall{false, true}:
		return "the new rules"
	case firewall{true, true}:
		return "both"
	}
	return "none"
}

func (m *machine) firewall() firewall {
	return firewall{
		old:    strings.Contains(m.run("iptables-save"), "--dport 22 -j ACCEPT"),
		native: strings.Contains(m.run("nft", "list", "tables"), "table inet firewall"),
	}
}

// want checks what a boot made of it.
func (m *machine) want(want firewall) {
	m.t.Helper()
	if got := m.firewall(); got != want {
		m.t.Fatalf("after the start there are %v, want %v\n%s", got, want, m.run("journalctl", "-b", "--no-pager", "-n", "60"))
	}
}

// etc is everything in /etc, but for what a boot itself writes there.
func (m *machine) etc() string {
	m.t.Helper()
	var b strings.Builder
	dir := filepath.Join(m.root, "etc")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %o %d:%d", name, st.Mode, st.Uid, st.Gid)
		if d.Type()&fs.ModeSymlink != 0 {
			to, _ := os.Readlink(path)
			fmt.Fprintf(&b, " -> %s", to)
		} else if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %q", st.Mtim.Nano(), text)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return b.String()
}

// A record collects what was done and seen, for the file of results.
type record struct{ strings.Builder }

func (r *record) say(t *testing.T, format string, args ...any) {
	t.Logf(format, args...)
	fmt.Fprintf(r, "- "+format+"\n", args...)
}

// TestDebian: G8, G9, G16, G27, G30, in a real system.
func TestDebian(t *testing.T) {
	m := newMachine(t)
	install(t, m)
	m.start()
	r := new(record)
	version := strings.TrimSpace(m.run("cat", "/etc/debian_version"))
	systemd, _, _ := strings.Cut(m.run("systemctl", "--version"), "\n")
	nft := strings.TrimSpace(m.run("nft", "--version"))
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		t.Fatal(err)
	}
	m.want(firewall{old: true})
	m.reboot() // what a first boot writes is written
	before := m.etc()
	r.say(t, "Started with netfilter-persistent enabled: %v.", m.firewall())

	r.WriteString("\n## Made to last\n\n")
	plan := m.run("migrate", "describe")
	m.run("migrate", "persist")
	m.reboot()
	m.want(firewall{native: true})
	if want, got := m.run("unshare", "-n", "sh", "-c", "nft -f "+own+" && nft list ruleset"), m.run("nft", "list", "ruleset"); got != want {
		t.Fatalf("the ruleset is not the one of the file:\n%s", cmp.Diff(want, got))
	}
	r.say(t, "After a reboot: %v; `nft list ruleset` is that of the file, loaded into a namespace of its own.", m.firewall())
	m.run("nft", "add", "table", "ip", "other")
	m.run("systemctl", "restart", "nftables")
	if tables := m.run("nft", "list", "tables"); !strings.Contains(tables, "table ip other") || !strings.Contains(tables, "table inet firewall") {
		t.Fatalf("a restart of nftables left %q", tables)
	}
	m.run("nft", "-f", "/etc/nftables.conf")
	m.run("systemctl", "reload", "nftables")
	m.run("systemctl", "stop", "nftables")
	if tables := m.run("nft", "list", "tables"); !strings.Contains(tables, "table ip other") || !strings.Contains(tables, "table inet firewall") {
		t.Fatalf("reloading and stopping nftables left %q", tables)
	}
	r.say(t, "`systemctl restart`, `reload` and `stop` of nftables, and `nft -f /etc/nftables.conf`: the rules and the table of another program stay.")

	r.WriteString("\n## A file that is broken at boot\n\n")
	file := filepath.Join(m.root, own)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ what, text string }{
		{"broken by a word that nft does not know", string(good) + "nonsense\n"},
		{"cut off in the middle", string(good[:len(good)/2])},
		{"gone", ""},
	} {
		if broken.text == "" {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, []byte(broken.text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.reboot()
		m.want(firewall{native: true})
		state, _ := m.try("systemctl", "is-failed", "nftables")
		journal := m.run("journalctl", "-b", "--no-pager", "-p", "emerg")
		if strings.TrimSpace(state) != "failed" || !strings.Contains(journal, "rules could not be loaded") {
			t.Fatalf("%s: nftables is %q, the journal has\n%s", broken.what, state, journal)
		}
		r.say(t, "The file of the rules is %s: %v (the last good ones), nftables.service is failed, the journal has the alarm with priority emerg.", broken.what, m.firewall())
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}

	r.WriteString("\n## Undone\n\n")
	m.run("migrate", "undo")
	if diff := cmp.Diff(before, m.etc()); diff != "" {
		t.Fatalf("/etc is not as before:\n%s", diff)
	}
	m.reboot()
	m.want(firewall{old: true})
	r.say(t, "/etc is what it was, every file, link, mode, owner and time; after a reboot: %v.", m.firewall())

	r.WriteString("\n## Power cuts while the changes are made\n\n")
	points := 0
	for sync := 3; ; sync += 9 {
		_, err := m.try("strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", fmt.Sprintf("inject=fsync:signal=KILL:when=%d", sync), "migrate", "persist")
		m.cut()
		m.start()
		first := m.firewall()
		if first == (firewall{}) {
			t.Fatalf("cut at fsync %d: no firewall after the start", sync)
		}
		if err == nil && points < 4 {
			t.Fatalf("it was over after %d points", points)
		}
		said := strings.ReplaceAll(strings.TrimSpace(m.run("journalctl", "-b", "--no-pager", "-o", "cat", "-t", "migrate")), "\n", ", ")
		if enabled, _ := m.try("systemctl", "is-enabled", "nftmigrate-recover"); strings.TrimSpace(enabled) != "enabled" {
			// Cut before the unit that recovers was in place: nothing that a boot
			// loads had changed, and the next command finishes it.
			if first != (firewall{old: true}) {
				t.Fatalf("cut at fsync %d: no unit to recover, and the boot has %v", sync, first)
			}
			// Cut before the journal was written, there is that of the round before.
			said = "not in place yet; by hand: " + strings.TrimSpace(m.run("migrate", "recover"))
		}
		m.reboot()
		then := m.firewall()
		if state := strings.TrimSpace(m.run("migrate", "recover")); !(state == "the journal is done" && then == firewall{native: true}) && !(state == "the journal is undone" && then == firewall{old: true}) {
			t.Fatalf("cut at fsync %d: %s; the next boot has %v", sync, state, then)
		}
		r.say(t, "Cut before fsync %d: that boot had %v (recovery: %s), the next one %v.", sync, first, said, then)
		m.run("migrate", "undo")
		if diff := cmp.Diff(before, m.etc()); diff != "" {
			t.Fatalf("cut at fsync %d, finished, undone: /etc is not as before:\n%s", sync, diff)
		}
		points++
		if err == nil {
			break
		}
		m.reboot()
	}
	r.say(t, "At each of these %d points undoing brought back /etc as it was.", points)

	if path := os.Getenv("MIGRATE_HOSTS_LOG"); path != "" {
		text := "# What a boot makes of the changes on disk\n\nWritten by `make test-hosts`, which starts a real system, reboots it and cuts it off. A cut kills all processes at once;\n" +
			"what they had written stays, so that this says nothing about a disk that loses what was not synced (see `TestOrderOfSyncs` of\npackage `persist` for that).\n\n" +
			fmt.Sprintf("Debian %s, %s, %s, Linux %s, in systemd-nspawn.\n\n## What is changed\n\n```\n%s```\n\n", version, strings.Split(systemd, " (")[0], nft, unix.ByteSliceToString(kernel.Release[:]), plan) + "## Before\n\n" + r.String()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
