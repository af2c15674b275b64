package extension_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
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
	stored, err := tryCommit(t, r.batch.Messages)
	of := dumpOf
	switch {
	case err != nil && a.file("lacks") != nil:
		t.Logf("this kernel is without %s: %v", bytes.TrimSpace(a.file("lacks")), err)
		testkit.Need(t, testkit.Tool("strace"))
		stored, of = r.batch.Messages, sentBy
	case err != nil:
		t.Fatalf("commit the batch: %v", err)
	}
	kept := compatExpressions(t, stored)
	if len(kept) == 0 {
		t.Errorf("no rule of the batch has an extension of xtables")
	}
	var theirs [][]byte
	for _, side := range []struct{ rules, tool string }{{"rules.v4", "iptables-nft"}, {"rules.v6", "ip6tables-nft"}} {
		if rules := a.file(side.rules); rules != nil {
			theirs = append(theirs, compatExpressions(t, of(t, side.tool, rules))...)
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

// sentBy returns what a tool sends to the kernel to restore rules, whether the
// kernel takes it or not.
func sentBy(t *testing.T, tool string, rules []byte) []netlink.Message {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace: %v", err)
	}
	defer ns.Close()
	calls := filepath.Join(t.TempDir(), "calls")
	restore := ns.Command("strace", "-o", calls, "-e", "trace=sendmsg", "-e", "write=all", tool+"-restore")
	restore.Env = append(restore.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	restore.Stdin = bytes.NewReader(rules)
	out, _ := restore.CombinedOutput() // the kernel refuses what it does not have
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatalf("%s-restore under strace: %v: %s", tool, err, out)
	}
	// Behind each call stands what it wrote: " | 00010  1c 00 ...  .... |".
	var data []byte
	for line := range strings.Lines(string(text)) {
		const place, width = len(" | 00000  "), 3*16 + 1
		if !strings.HasPrefix(line, " | ") || len(line) < place+width {
			continue
		}
		row, err := hex.DecodeString(strings.ReplaceAll(line[place:place+width], " ", ""))
		if err != nil {
			t.Fatalf("read %q: %v", line, err)
		}
		data = append(data, row...)
	}
	var messages []netlink.Message
	for len(data) >= unix.NLMSG_HDRLEN {
		var m netlink.Message
		length := int(nlenc.Uint32(data[:4]))
		if err := m.UnmarshalBinary(data[:length]); err != nil {
			t.Fatalf("read what %s-restore sends: %v", tool, err)
		}
		messages, data = append(messages, m), data[length:]
	}
	return messages
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
