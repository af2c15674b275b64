package hosttest

import (
	"strings"
	"testing"
)

// filesOf lists what decides the rules of a boot, with its content.
const filesOf = "cd / && find etc/iptables etc/nftables* etc/systemd ! -type d -printf '%p %l %m %s\\n' | sort && find etc/iptables etc/nftables* etc/systemd -type f -exec sha256sum {} + | sort"

// unsynced makes a file that a power cut takes away, to see that it was one.
const unsynced = "echo text > unsynced"

// lost checks that the power cut was one: a file that nobody synced is empty or gone.
func (v *virtual) lost() {
	v.t.Helper()
	v.must("test ! -s unsynced && rm -f unsynced", 0)
}

// TestPowerCutWaiting: the power goes while a migration waits for its confirmation,
// with a disk that loses what was not synced (G8).
func TestPowerCutWaiting(t *testing.T) {
	v := newVirtual(t, nil)
	v.start()
	saved := rulesOnly(v.must("iptables-save", 0, "--dport 22 -j ACCEPT"))
	files := v.must(filesOf, 0)
	v.must("migrate plan -o good", 0, "equivalent: rules.v4 and its translation")
	v.must("sync", 0)

	v.must("migrate apply --no-wait --timeout 10m good", 0, "migrate confirm")
	v.must("migrate status", 1, "waiting")
	v.must(unsynced, 0) // last, so that nothing has time to write it back
	v.cut()
	v.start()
	v.lost()
	if now := rulesOnly(v.must("iptables-save", 0)); now != saved {
		t.Errorf("after a power cut while it waited there are\n%s\nwant\n%s", now, saved)
	}
	if tables := v.must("nft list tables", 0); strings.Contains(tables, "firewall") {
		t.Errorf("our table is left: %s", tables)
	}
	if now := v.must(filesOf, 0); now != files {
		t.Errorf("files are\n%s\nwant\n%s", now, files)
	}
	v.must("migrate status", 1, "the machine was started again before the confirmation")
	v.must("migrate apply --no-wait --timeout 10m good", 0, "migrate confirm") // it can be done again
	v.result("A power cut while a migration waits for its confirmation",
		"The next boot had the old rules; /etc/iptables, /etc/nftables* and /etc/systemd were as before; `migrate apply` could be done again.",
		"A file that nobody had synced was lost.")
}

// TestPowerCutConfirmed: the power goes right after a confirmation, with a disk that
// loses what was not synced (G9).
func TestPowerCutConfirmed(t *testing.T) {
	v := newVirtual(t, nil)
	v.start()
	v.must("migrate plan -o good", 0, "equivalent: rules.v4 and its translation")
	out := v.must("migrate apply --no-wait --timeout 10m good", 0)
	token := tokenOf.FindStringSubmatch(out)
	if token == nil {
		t.Fatalf("no token:\n%s", out)
	}
	ruleset := v.must("nft list table ip firewall", 0, "tcp dport 22 accept")
	v.must("migrate confirm "+token[1]+" && "+unsynced, 0, "confirmed")
	v.cut()
	v.start()
	v.lost()
	if again := v.must("nft list table ip firewall", 0); again != ruleset {
		t.Errorf("after a power cut there are\n%s\nwant\n%s", again, ruleset)
	}
	v.must("for f in /etc/nftables.conf /etc/nftables.d/nftmigrate.nft /var/lib/nftmigrate/last-good.nft /etc/systemd/system/nftmigrate-*.service /etc/systemd/system/nftables.service.d/*.conf; do test -s $f || exit 9; done", 0)
	if now := v.must("iptables-save", 0); strings.Contains(now, "--dport 22") {
		t.Errorf("the old rules are there as well:\n%s", now)
	}
	v.must("migrate status", 0, "confirmed")
	v.result("A power cut right after `migrate confirm`",
		"The next boot had the new rules alone, and no file of theirs was empty.",
		"A file that nobody had synced was lost.")
}
