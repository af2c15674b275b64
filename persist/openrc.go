package persist

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of our own services of OpenRC. The distributions' services of nftables
// differ too much, also between releases, in what they load, flush and save; so
// the rules have one of their own, which starts behind it.
const (
	openrcLoad    = "nftmigrate"
	openrcRecover = "nftmigrate-recover"
)

// openrc lays out a host of OpenRC. Services of the runlevel boot start before the
// network does.
//
// Man pages: openrc-run(8), rc-update(8).
func (b *builder) openrc() error {
	b.layout.Service = openrcLoad
	b.own = "/etc/nftables.d/nftmigrate" + b.extension()
	nftables := b.nftables()
	if nftables != nil && nftables.Enabled && b.rules.Batch == nil && len(nftables.Files) > 0 {
		// A main file that takes the whole directory would load the rules itself.
		if text, _, err := b.read(nftables.Files[0]); err == nil && b.includes(statements(text), b.own) {
			b.own = filepath.Join("/etc/nftmigrate", filepath.Base(b.own))
		}
	}
	b.write("/etc/init.d/"+openrcRecover, 0o755, b.openrcRecovery(), "a boot finishes or undoes changes that were cut off")
	b.link("/etc/runlevels/boot/"+openrcRecover, "/etc/init.d/"+openrcRecover, "enabled")
	b.ruleFiles()
	b.write("/etc/init.d/"+openrcLoad, 0o755, b.openrcScript(), "loads the rules before the network comes up")
	b.told("Stopping the service %s leaves the rules in effect. To remove them: nft delete table %s", openrcLoad, b.table())
	if nftables != nil && nftables.Enabled {
		changed, err := b.saveNoMore(nftables.Name)
		if err != nil {
			return err
		}
		if changed {
			b.told("%s no longer saves the running rules when it stops: it would save those of table %s among its own.", nftables.Name, b.table())
		}
		b.told("%s stays enabled. Reloading or stopping it may flush all rules; start %s afterwards.", nftables.Name, openrcLoad)
	}
	b.link("/etc/runlevels/boot/"+openrcLoad, "/etc/init.d/"+openrcLoad, "enabled")
	for _, l := range b.old() {
		if b.rules.SetsInUse && hasSets(l) {
			b.layout.ByHand = append(b.layout.ByHand, fmt.Sprintf("%s loads sets of ipset that are still in use, and no longer will: have a service load %s.", l.Name, strings.Join(l.Files, ", ")))
		}
		if _, err := b.saveNoMore(l.Name); err != nil {
			return err
		}
		links, err := b.runlevels(l.Name)
		if err != nil {
			return err
		}
		for _, link := range links {
			b.remove(link, l.Name+" no longer loads the old rules; its files stay")
		}
	}
	return nil
}

func hasSets(l Loader) bool {
	for _, f := range l.Files {
		if strings.Contains(filepath.Base(f), "ipset") {
			return true
		}
	}
	return false
}

// runlevels are the links that start a service.
func (b *builder) runlevels(service string) (list []string, err error) {
	const dir = "/etc/runlevels"
	levels, err := os.ReadDir(filepath.Join(b.root, dir))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, l := range levels {
		path := filepath.Join(dir, l.Name(), service)
		if _, err := os.Readlink(filepath.Join(b.root, path)); err == nil {
			list = append(list, path)
		}
	}
	return list, nil
}

func (b *builder) openrcScript() string {
	return fmt.Sprintf(`#!/sbin/openrc-run
%[1]s
description="Rules of nftables that were migrated from iptables"
extra_started_commands="reload"

depend() {
	need localmount
	before net
	after bootmisc modules nftables iptables ip6tables ipset %[2]s
}

# The last good rules are loaded when the others cannot be, and the service fails
# only when there are none at all, so that OpenRC goes on with what needs it.
start() {
	ebegin "Loading the rules of table %[3]s"
	if %[4]s; then
		cp -p %[5]s %[6]s.new && mv -f %[6]s.new %[6]s
		eend 0
		return
	fi
	eerror "%[5]s could not be loaded; loading the last good rules"
	logger -p user.emerg -t nftmigrate "%[5]s could not be loaded; the last good rules were tried instead" || true
	%[7]s
	eend $? "the last good rules could not be loaded either: there is no firewall"
}

reload() {
	ebegin "Loading the rules of table %[3]s again"
	%[4]s
	eend $?
}

# The rules stay, so that a restart does not open the host.
stop() {
	return 0
}
`, strings.TrimSpace(madeBy), openrcRecover, b.table(), b.load(b.own), b.own, b.lastGood, b.load(b.lastGood))
}

func (b *builder) openrcRecovery() string {
	return fmt.Sprintf(`#!/sbin/openrc-run
%[1]s
description="Finish or undo a migration of firewall rules that was cut off"

depend() {
	need localmount
	before net nftables iptables ip6tables ipset %[2]s
}

# Whatever comes of it, the host goes on starting.
start() {
	ebegin "Looking for a migration that was cut off"
	if [ -x %[3]s ]; then
		%[3]s recover --state %[4]s || ewarn "see: migrate status"
	fi
	eend 0
}
`, strings.TrimSpace(madeBy), openrcLoad, b.rules.Binary, b.rules.StateDir)
}
