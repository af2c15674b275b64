package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/host"
	"nftmigrate/persist"
)

// tree makes files below a directory: texts, or links where a text begins with "-> ".
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range files {
		at := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err == nil && strings.HasPrefix(text, "#!") {
			err = os.Chmod(at, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func service(lines string) string {
	return "[Unit]\nDescription=a unit\n\n[Service]\nType=oneshot\n" + lines + "\n[Install]\nWantedBy=multi-user.target\n"
}

// TestReadBoot reads hosts as distributions and operators make them.
func TestReadBoot(t *testing.T) {
	const lib = "usr/lib/systemd/system/"
	for name, c := range map[string]struct {
		files map[string]string
		init  persist.Init
		want  []persist.Loader
	}{
		"nothing": {},
		"Debian": {
			files: map[string]string{
				"usr/lib/systemd/systemd": "", "etc/nftables.conf": "#!/usr/sbin/nft -f\nflush ruleset\n", "etc/iptables/rules.v4": "", "etc/iptables/rules.v6": "",
				lib + "nftables.service":                                                  service("ExecStart=/usr/sbin/nft -f /etc/nftables.conf\nExecReload=/usr/sbin/nft -f /etc/nftables.conf\nExecStop=/usr/sbin/nft flush ruleset\n"),
				lib + "netfilter-persistent.service":                                      service("ExecStart=/usr/sbin/netfilter-persistent start\nExecStop=/usr/sbin/netfilter-persistent stop\n"),
				lib + "ssh.service":                                                       service("ExecStart=/usr/sbin/sshd -D\n"),
				"usr/sbin/netfilter-persistent":                                           "#!/bin/sh\n. /etc/default/netfilter-persistent\nrun-parts plugins\n",
				"etc/default/netfilter-persistent":                                        "X=1\n",
				"usr/share/netfilter-persistent/plugins.d/15-ip4tables":                   "#!/bin/sh\n# runs iptables-restore\niptables-restore < /etc/iptables/rules.v4\n",
				"usr/share/netfilter-persistent/plugins.d/25-ip6tables":                   "#!/bin/sh\nip6tables-restore < /etc/iptables/rules.v6\n",
				"etc/systemd/system/multi-user.target.wants/netfilter-persistent.service": "-> /lib/systemd/system/netfilter-persistent.service",
			},
			init: persist.Systemd,
			want: []persist.Loader{
				{Name: "netfilter-persistent.service", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules.v4", "/etc/iptables/rules.v6"}, Unit: "/usr/lib/systemd/system/netfilter-persistent.service"},
				{Name: "nftables.service", Kind: persist.LoadsNftables, Files: []string{"/etc/nftables.conf"}, Unit: "/usr/lib/systemd/system/nftables.service"},
			},
		},
		"RHEL": {
			files: map[string]string{
				"usr/lib/systemd/systemd": "", "etc/sysconfig/nftables.conf": "",
				lib + "nftables.service":                                      service("ExecStart=/sbin/nft -f /etc/sysconfig/nftables.conf\nExecReload=/sbin/nft 'flush ruleset; include \"/etc/sysconfig/nftables.conf\";'\n"),
				lib + "iptables.service":                                      service("ExecStart=/usr/libexec/iptables/iptables.init start\n"),
				lib + "ip6tables.service":                                     service("ExecStart=/usr/libexec/iptables/ip6tables.init start\n"),
				lib + "ipset.service":                                         service("ExecStart=/usr/libexec/ipset/ipset.start-stop start\n"),
				"usr/libexec/iptables/iptables.init":                          "#!/bin/bash\nIPTABLES=iptables\nIPTABLES_DATA=/etc/sysconfig/$IPTABLES\n$IPTABLES-restore $OPT $IPTABLES_DATA\n",
				"usr/libexec/iptables/ip6tables.init":                         "#!/bin/bash\nIPTABLES=ip6tables\n$IPTABLES-restore $OPT $IPTABLES_DATA\n",
				"usr/libexec/ipset/ipset.start-stop":                          "#!/bin/bash\nipset restore -! < ${IPSET_FILE}\n",
				"etc/systemd/system/multi-user.target.wants/iptables.service": "-> /usr/lib/systemd/system/iptables.service",
				"etc/systemd/system/basic.target.wants/ipset.service":         "-> /usr/lib/systemd/system/ipset.service",
				"etc/systemd/system/multi-user.target.wants/nftables.service": "-> /dev/null",
			},
			init: persist.Systemd,
			want: []persist.Loader{
				{Name: "ip6tables.service", Kind: persist.LoadsIptables, Unit: "/usr/lib/systemd/system/ip6tables.service"},
				{Name: "ipset.service", Kind: persist.LoadsSets, Enabled: true, Unit: "/usr/lib/systemd/system/ipset.service"},
				{Name: "iptables.service", Kind: persist.LoadsIptables, Enabled: true, Unit: "/usr/lib/systemd/system/iptables.service"},
				{Name: "nftables.service", Kind: persist.LoadsNftables, Files: []string{"/etc/sysconfig/nftables.conf"}, Unit: "/usr/lib/systemd/system/nftables.service"},
			},
		},
		"drop-in and another name": {
			files: map[string]string{
				"run/systemd/system/x": "", "etc/nftables.conf": "", "srv/rules.nft": "",
				lib + "nftables.service":                                service("ExecStart=/usr/sbin/nft -f /etc/nftables.conf\n"),
				"etc/systemd/system/nftables.service.d/mine.conf":       "[Service]\nExecStart=\nExecStart=-/usr/sbin/nft \\\n  -f /srv/rules.nft\n",
				"etc/systemd/system/multi-user.target.wants/fw.service": "-> ../nftables.service",
				"etc/systemd/system/fw.service":                         "-> /usr/lib/systemd/system/nftables.service",
				"etc/systemd/system/masked.service":                     "-> /dev/null",
				lib + "masked.service":                                  service("ExecStart=/usr/sbin/iptables-restore /etc/rules\n"),
			},
			init: persist.Systemd,
			want: []persist.Loader{
				{Name: "masked.service", Kind: persist.LoadsIptables, Unit: "/usr/lib/systemd/system/masked.service"},
				{Name: "nftables.service", Kind: persist.LoadsNftables, Enabled: true, Files: []string{"/srv/rules.nft"}, Unit: "/usr/lib/systemd/system/nftables.service"},
			},
		},
		"Alpine": {
			files: map[string]string{
				"run/openrc/softlevel": "default\n", "etc/init.d/iptables": "#!/sbin/openrc-run\n", "etc/init.d/nftables": "#!/sbin/openrc-run\nrules_file=\"/etc/nftables.nft\"\n", "etc/init.d/sshd": "#!/sbin/openrc-run\n",
				"etc/conf.d/iptables": "# IPTABLES_SAVE=\"/other\"\nIPTABLES_SAVE=\"/etc/iptables/rules-save\"\n", "etc/runlevels/default/iptables": "-> /etc/init.d/iptables",
			},
			init: persist.OpenRC,
			want: []persist.Loader{
				{Name: "iptables", Kind: persist.LoadsIptables, Enabled: true, Files: []string{"/etc/iptables/rules-save"}, Unit: "/etc/init.d/iptables"},
				{Name: "nftables", Kind: persist.LoadsNftables, Files: []string{"/etc/nftables.nft"}, Unit: "/etc/init.d/nftables"},
			},
		},
		"by hand": {
			files: map[string]string{
				"usr/lib/systemd/systemd": "",
				"etc/rc.local":            "#!/bin/sh\n# iptables -F\nsh /opt/firewall.sh\n",
				"etc/rc.d/rc.local":       "#!/bin/sh\n/sbin/iptables -t nat -A POSTROUTING -j MASQUERADE\n",
				"etc/network/interfaces":  "iface eth0 inet dhcp\n  pre-up iptables-restore < /etc/rules\n",
				"etc/cron.d/fw":           "@reboot root /usr/sbin/ipset restore -file /etc/sets\n",
				"etc/cron.d/hourly":       "0 * * * * root iptables -F\n",
				"etc/wireguard/wg0.conf":  "PostUp = iptables -A FORWARD -i %i -j ACCEPT; true\n",
				lib + "mine.service":      service("ExecStart=/usr/local/bin/mine\n"),
				lib + "idle.service":      service("ExecStart=/usr/sbin/iptables -A INPUT -j DROP\n"),
				"usr/local/bin/mine":      "#!/bin/sh\nip6tables -w -P INPUT DROP\n",
				"etc/systemd/system/multi-user.target.wants/mine.service": "-> /usr/lib/systemd/system/mine.service",
			},
			init: persist.Systemd,
			want: []persist.Loader{
				{Name: "/etc/cron.d/fw", Kind: persist.HandMade, Enabled: true, Unit: "/etc/cron.d/fw"},
				{Name: "/etc/network/interfaces", Kind: persist.HandMade, Enabled: true, Unit: "/etc/network/interfaces"},
				{Name: "/etc/rc.d/rc.local", Kind: persist.HandMade, Enabled: true, Unit: "/etc/rc.d/rc.local"},
				{Name: "/etc/wireguard/wg0.conf", Kind: persist.HandMade, Enabled: true, Unit: "/etc/wireguard/wg0.conf"},
				{Name: "mine.service", Kind: persist.HandMade, Enabled: true, Unit: "/usr/lib/systemd/system/mine.service"},
			},
		},
	} {
		got, err := host.ReadBoot(tree(t, c.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&host.Boot{Init: c.init, Loaders: c.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
