package apply_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
)

// TestRestoreCorpus loads each real ruleset with iptables-nft, deletes its
// tables by a commit, restores them, and wants identical raw dumps.
func TestRestoreCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-nft-restore"), testkit.Tool("ip6tables-nft-restore"))
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		for _, tool := range []string{"iptables", "ip6tables"} {
			n := newNS(t)
			cmd := n.Command(tool+"-nft-restore", "--counters")
			cmd.Stdin = bytes.NewReader(text)
			if cmd.Run() == nil && len(dump(t, n).Messages) > 0 {
				loaded++
				t.Run(filepath.Base(file)+" "+tool, func(t *testing.T) { deleteAndRestore(t, n, tool) })
			}
			n.Close()
		}
	}
	t.Logf("%d rulesets were loaded", loaded)
	if loaded == 0 {
		t.Error("no ruleset could be loaded")
	}
}

func deleteAndRestore(t *testing.T, n *netns.NS, tool string) {
	before, saved := dump(t, n), run(t, n, "", tool+"-nft-save", "-c")
	var batch []netlink.Message
	for _, table := range before.Tables() {
		batch = append(batch, nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, table.Family, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, table.Name)))
	}
	receipt := commit(t, n, apply.Batch{Messages: batch})
	if left := dump(t, n).Messages; len(left) > 0 {
		t.Fatalf("%d messages are left after the tables were deleted", len(left))
	}
	if err := apply.Restore(context.Background(), n, receipt.Before); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(printed(before.Messages, everything), printed(dump(t, n).Messages, everything)); diff != "" {
		t.Errorf("raw dumps (-before +after):\n%.2000s", diff)
	}
	if diff := cmp.Diff(rulesOf(saved), rulesOf(run(t, n, "", tool+"-nft-save", "-c"))); diff != "" {
		t.Errorf("%s-nft-save -c (-before +after):\n%.2000s", tool, diff)
	}
}
