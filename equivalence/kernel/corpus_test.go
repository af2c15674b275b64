package kernel

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/testkit"
	"nftmigrate/packet"
)

// TestCorpus runs real rulesets in legacy xtables and, as iptables-nft loads
// them, in nf_tables, where most matches are the same kernel code.
func TestCorpus(t *testing.T) {
	dir := testkit.Corpus(t)
	needKernel(t)
	testkit.Need(t, testkit.Tool("iptables-nft-restore"), testkit.Tool("ip6tables-nft-restore"))
	var files []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			save, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x, err := NewXtables(testHost(), save, nil, Options{})
			tool := "iptables-nft-restore"
			var v6 bool
			var refused *RulesetError
			if errors.As(err, &refused) {
				x, err = NewXtables(testHost(), nil, save, Options{})
				tool, v6 = "ip6tables-nft-restore", true
			}
			if errors.As(err, &refused) {
				testkit.NotHere(t, "not loadable here: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			batch, err := compileSave(tool, save)
			if err != nil {
				testkit.NotHere(t, "not loadable here: %v", err)
			}
			n, err := NewNftables(testHost(), batch, Options{})
			if errors.As(err, &refused) {
				testkit.NotHere(t, "not loadable here: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			r := rand.New(rand.NewPCG(*seed, 0))
			accepted := 0
			for i := range *count / 20 {
				s := randomPacket(r)
				if s.Src.Is6() != v6 {
					continue
				}
				p := build(t, s)
				a, errA := x.Run(p)
				b, errB := n.Run(p)
				if errA != nil && !errors.Is(errA, ErrNotRunnable) || errB != nil && !errors.Is(errB, ErrNotRunnable) {
					t.Fatal(errA, errB)
				}
				if a.Verdict == packet.Accept {
					accepted++
				}
				if (errA == nil) != (errB == nil) || errA == nil && !same(a, b) {
					t.Fatalf("packet %d: % x in %q:\n  xtables %s %v %v\nnf_tables %s %v %v", i, p.Data, p.In,
						describe(a), a.Observed.State, errA, describe(b), b.Observed.State, errB)
				}
			}
			t.Logf("%d accepted", accepted)
		})
	}
}

// compileSave loads a save file by iptables-nft and returns what it loaded.
func compileSave(tool string, save []byte) ([]message, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	cmd := ns.Command(tool)
	cmd.Stdin = strings.NewReader(string(save))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(tool + ": " + string(out))
	}
	return readBack(ns)
}

func readBack(ns *netns.NS) (batch []message, err error) {
	err = ns.Do(func() error {
		c, err := nfnetlink.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		dump, err := nfnetlink.DumpRuleset(c)
		if err == nil {
			batch = nfnetlink.Replay(dump.Messages)
		}
		return err
	})
	return batch, err
}
