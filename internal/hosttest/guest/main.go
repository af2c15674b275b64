// Command guest does inside of a test's host what the changes on disk need: it
// makes them, finishes them at boot, and takes them back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"nftmigrate/persist"
)

const state = "/var/lib/nftmigrate"

// loaders are those of Debian with its packages nftables and iptables-persistent.
var loaders = []persist.Loader{
	{Name: "netfilter-persistent.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules.v4", "/etc/iptables/rules.v6", "/etc/iptables/ipsets"}},
	{Name: "nftables.service", Kind: persist.LoadsNftables, Files: []string{"/etc/nftables.conf"}},
}

var rules = persist.Rules{
	Family: "inet", Table: "firewall", Binary: "/usr/sbin/migrate", StateDir: state,
	Text: []byte(`table inet firewall {
	set admins {
		type ipv4_addr
		flags interval
		elements = { 192.0.2.0/24, 198.51.100.7 }
	}

	chain INPUT {
		type filter hook input priority filter; policy drop;

		iifname "lo" accept
		ct state established,related accept
		ip saddr @admins tcp dport 22 accept
	}
}
`),
}

func main() {
	runtime.LockOSThread() // whoever counts calls counts those of one thread
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: guest persist|recover|undo|describe")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(command string) error {
	ctx, journal := context.Background(), filepath.Join(state, "disk")
	switch command {
	case "persist", "describe":
		l, err := persist.Lay("/", persist.Systemd, loaders, rules)
		if err != nil {
			return err
		}
		if command == "describe" {
			fmt.Print(l.Describe())
			return nil
		}
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		return persist.Run(ctx, journal, "/", l.Changes)
	case "recover":
		j, err := persist.Open(journal)
		if errors.Is(err, persist.ErrNoJournal) {
			fmt.Println("no journal")
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println("the journal is", j.State())
		switch j.State() {
		case persist.Planned, persist.Running:
			return j.Run(ctx)
		case persist.Undoing:
			_, err := j.Undo(ctx, false)
			return err
		}
		return nil
	case "undo":
		_, err := persist.Undo(ctx, journal, false)
		return err
	}
	return fmt.Errorf("there is no command %q", command)
}
