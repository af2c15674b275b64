package host_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nftmigrate/host"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
	"nftmigrate/ipset/live"
	"nftmigrate/snapshot"
)

func newNS(t *testing.T) *netns.NS {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-nft-restore"), testkit.Tool("ipset"))
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func run(t *testing.T, n *netns.NS, input, name string, args ...string) string {
	t.Helper()
	cmd := n.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func take(t *testing.T, n *netns.NS) *snapshot.Snapshot {
	t.Helper()
	s, err := snapshot.Take(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	rules4 = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[0:0] -A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT DROP [3:180]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:GUARD - [0:0]
[5:300] -A INPUT -m set --match-set hosts src -j ACCEPT
[1:60] -A INPUT -p tcp -m tcp --dport 22 -j GUARD
[1:60] -A GUARD -m recent --set --name ssh --mask 255.255.255.255 --rsource -j ACCEPT
COMMIT
`
	rules6 = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
[0:0] -A INPUT -p tcp -m multiport --dports 80,443 -m string --string "x" --algo bm -j ACCEPT
COMMIT
`
	idle = "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n"
)

// fill gives a namespace rules in both planes, one family each, and tables that
// decide nothing.
func fill(t *testing.T, n *netns.NS) {
	t.Helper()
	run(t, n, "create hosts hash:ip\nadd hosts 192.0.2.7\n", "ipset", "restore")
	run(t, n, rules4+idle, "iptables-legacy-restore", "-c")
	run(t, n, rules6, "ip6tables-nft-restore", "-c")
	run(t, n, idle, "iptables-nft-restore")
	run(t, n, "table inet own {\n chain input {\n type filter hook input priority 0; policy drop;\n }\n}\n", "nft", "-f", "-")
}

func sets(t *testing.T, n *netns.NS) (text []byte) {
	t.Helper()
	if err := n.Do(func() (err error) { text, err = live.Save(); return err }); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestInUse(t *testing.T) {
	n := newNS(t)
	if got := host.InUse(take(t, n)); len(got) > 0 {
		t.Errorf("in an empty namespace: %v", got)
	}
	fill(t, n)
	want := []host.Family{
		{Version: 4, Plane: host.Legacy, Parts: []string{"legacy table ip filter", "legacy table ip nat"}},
		{Version: 6, Plane: host.NFT, Parts: []string{"nf_tables table ip6 filter"}},
	}
	if diff := cmp.Diff(want, host.InUse(take(t, n))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Tables that nft made are none of iptables, whatever their names.
	run(t, n, `table ip nat {
	chain input {
		type filter hook input priority 10; policy drop;
		tcp dport { 22, 80 } accept
	}
}
table ip raw {
	set s {
		type ipv4_addr
	}
	chain INPUT {
		type filter hook input priority 11;
		ip saddr @s drop
	}
}
`, "nft", "-f", "-")
	if diff := cmp.Diff(want, host.InUse(take(t, n))); diff != "" {
		t.Errorf("with tables of nft (-want +got):\n%s", diff)
	}
	// A policy alone decides, and a family can be in both planes.
	run(t, n, "", "iptables-nft", "-P", "FORWARD", "DROP")
	want = append(want[:1:1], host.Family{Version: 4, Plane: host.NFT, Parts: []string{"nf_tables table ip filter"}}, want[1])
	if diff := cmp.Diff(want, host.InUse(take(t, n))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRules reads the text of both planes, and leaves no trace (G25).
func TestRules(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	before := take(t, n)
	names := func() (text string) {
		for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
			err := n.Do(func() error {
				b, err := os.ReadFile("/proc/thread-self/net/" + name)
				text += string(b) + "\n"
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return text
	}
	tables, counters := names(), run(t, n, "", "iptables-legacy-save", "-c")
	got := map[int]string{}
	for _, f := range host.InUse(before) {
		text, err := host.Rules(context.Background(), n, before, f, sets(t, n))
		if err != nil {
			t.Fatal(err)
		}
		got[f.Version] = string(text)
	}
	if diff := cmp.Diff(map[int]string{4: rules4, 6: rules6}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	after := take(t, n)
	if changed := snapshot.Changed(before, after); len(changed) > 0 || before.Generation != after.Generation || names() != tables {
		t.Errorf("reading changed %q, generation %d to %d, tables %q to %q", changed, before.Generation, after.Generation, tables, names())
	}
	if again := run(t, n, "", "iptables-legacy-save", "-c"); strip(again) != strip(counters) {
		t.Errorf("reading changed counters:\n%s\n%s", counters, again)
	}
}

// strip leaves out the lines with times.
func strip(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line[0] != '#' {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestLies is G29 and G22: tools that tell something else than the kernel holds, or
// break off with success, are found out.
func TestLies(t *testing.T) {
	n := newNS(t)
	fill(t, n)
	s := take(t, n)
	real, err := exec.LookPath("iptables-legacy-save")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		script string
		is     error
		text   string
	}{
		"another port":  {real + ` "$@" | sed 's/--dport 22/--dport 23/'`, host.ErrDump, "legacy table ip filter"},
		"a rule less":   {real + ` "$@" | grep -v MASQUERADE`, host.ErrDump, "legacy table ip nat"},
		"policy":        {real + ` "$@" | sed 's/INPUT DROP/INPUT ACCEPT/'`, host.ErrDump, "legacy table ip filter"},
		"breaks off":    {real + ` "$@" | head -n 12`, nil, "breaks off"},
		"tells nothing": {"exit 0", nil, "tells nothing"},
		"fails":         {"echo no >&2; exit 1", nil, "no"},
		"no rules":      {"echo '*filter'; echo COMMIT", nil, "table nat"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "iptables-legacy-save"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			text, err := host.Rules(context.Background(), n, s, host.InUse(s)[0], sets(t, n))
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %v and %q; text:\n%s", err, c.is, c.text, bytes.TrimSpace(text))
			}
		})
	}
	t.Run("not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		var missing *host.MissingError
		if _, err := host.Rules(context.Background(), n, s, host.InUse(s)[0], nil); !errors.As(err, &missing) {
			t.Errorf("error %v, want a MissingError", err)
		}
	})
}
