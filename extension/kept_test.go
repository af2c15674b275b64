package extension_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// confirmKept holds the extensions of xtables in a batch against those that
// iptables-nft writes for the same rules: names, revisions and structures are
// the same bytes, apart from what the kernel fills in. The batch is committed,
// too.
func (a *archive) confirmKept(t *testing.T, r *result) {
	t.Helper()
	testkit.Need(t, testkit.Tool("iptables-nft-restore"), testkit.Tool("ip6tables-nft-restore"))
	kept := compatExpressions(t, commit(t, r.batch.Messages))
	if len(kept) == 0 {
		t.Errorf("no rule of the batch has an extension of xtables")
	}
	var theirs [][]byte
	for _, side := range []struct{ rules, tool string }{{"rules.v4", "iptables-nft"}, {"rules.v6", "ip6tables-nft"}} {
		if rules := a.file(side.rules); rules != nil {
			theirs = append(theirs, compatExpressions(t, dumpOf(t, side.tool, rules))...)
		}
	}
	for _, e := range kept {
		if !slices.ContainsFunc(theirs, func(x []byte) bool { return bytes.Equal(x, e) }) {
			t.Errorf("iptables-nft writes no extension\n%x\nit writes\n%x", e, theirs)
		}
	}
}

// dumpOf returns what the kernel holds after a tool has restored rules.
func dumpOf(t *testing.T, tool string, rules []byte) []netlink.Message {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	restore := ns.Command(tool + "-restore")
	restore.Env = append(restore.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	restore.Stdin = bytes.NewReader(rules)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%s-restore: %v: %s", tool, err, out)
	}
	var dump *nfnetlink.Dump
	err = ns.Do(func() error {
		conn, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		dump, err = nfnetlink.DumpRuleset(conn)
		return err
	})
	if err != nil {
		t.Fatalf("list what %s-restore made: %v", tool, err)
	}
	return dump.Messages
}

// compatExpressions returns the "match" and "target" expressions of rules.
func compatExpressions(t *testing.T, messages []netlink.Message) [][]byte {
	t.Helper()
	var found [][]byte
	for _, m := range messages {
		if m.Header.Type != netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE) {
			continue
		}
		attributes, err := netlink.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			t.Fatalf("read a rule: %v", err)
		}
		for _, a := range attributes {
			if a.Type&^unix.NLA_F_NESTED != unix.NFTA_RULE_EXPRESSIONS {
				continue
			}
			list, err := netlink.UnmarshalAttributes(a.Data)
			if err != nil {
				t.Fatalf("read the expressions of a rule: %v", err)
			}
			for _, e := range list {
				if bytes.Contains(e.Data[:min(len(e.Data), 16)], []byte("match\x00")) || bytes.Contains(e.Data[:min(len(e.Data), 16)], []byte("target\x00")) {
					found = append(found, e.Data)
				}
			}
		}
	}
	return found
}
