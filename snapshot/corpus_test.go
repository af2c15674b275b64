package snapshot

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// TestCorpus loads each real ruleset, into the legacy tables and into those of
// iptables-nft, and tries the snapshot of it (G13).
func TestCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte("COMMIT")) {
			continue
		}
		n := newNS(t)
		for _, tool := range []string{"iptables-legacy-restore", "iptables-nft-restore", "ip6tables-legacy-restore", "ip6tables-nft-restore"} {
			cmd := n.Command(tool, "--counters")
			cmd.Stdin = bytes.NewReader(text)
			if cmd.Run() == nil {
				tried++
			}
		}
		tryAll(t, n, filepath.Base(file))
		n.Close()
	}
	t.Logf("%d rulesets were loaded", tried)
	if tried == 0 {
		t.Error("no ruleset could be loaded")
	}
}

// tryAll wants everything to come back, and nothing untried.
func tryAll(t *testing.T, n *netns.NS, name string) {
	t.Helper()
	s := roundTrip(t, takeOf(t, n))
	trial, err := s.Try(context.Background())
	if err != nil || len(trial.Untried) > 0 || len(trial.Same) != len(s.Parts()) {
		t.Errorf("%s: %d parts, %d came back, untried %v: %v", name, len(s.Parts()), len(trial.Same), trial.Untried, err)
	}
}

// TestOtherTools tries what the tools for bridges and ARP put into nf_tables.
func TestOtherTools(t *testing.T) {
	n := newNS(t)
	testkit.Need(t, testkit.Tool("ebtables-nft"), testkit.Tool("arptables-nft"))
	for _, command := range [][]string{
		{"ebtables-nft", "-A", "FORWARD", "-p", "IPv4", "--ip-src", "192.0.2.1", "-j", "DROP"},
		{"ebtables-nft", "-A", "FORWARD", "-p", "IPv4", "--ip-proto", "udp", "-j", "mark", "--mark-set", "7"},
		{"ebtables-nft", "-A", "FORWARD", "-p", "ARP", "--arp-opcode", "1", "-j", "ACCEPT"},
		{"ebtables-nft", "-A", "FORWARD", "-p", "IPv6", "--ip6-proto", "udp", "-j", "ACCEPT"},
		{"ebtables-nft", "-A", "FORWARD", "-p", "802_1Q", "--vlan-id", "7", "-j", "ACCEPT"},
		{"ebtables-nft", "-A", "FORWARD", "-p", "!", "IPv4", "-j", "mark", "--mark-set", "7"},
		{"ebtables-nft", "-A", "FORWARD", "--among-src", "00:01:02:03:04:05=192.0.2.1,00:01:02:03:04:06=192.0.2.2", "-j", "ACCEPT"},
		{"ebtables-nft", "-A", "FORWARD", "--limit", "3/s", "-j", "mark", "--mark-set", "7"},
		{"ebtables-nft", "-P", "FORWARD", "DROP"},
		{"arptables-nft", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"},
		{"arptables-nft", "-A", "OUTPUT", "-j", "mangle", "--mangle-ip-s", "192.0.2.9"},
	} {
		run(t, n, "", command[0], command[1:]...)
	}
	tryAll(t, n, "ebtables and arptables")
}
