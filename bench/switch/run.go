package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/nfnetlink"
	"nftmigrate/internal/xtables"
)

// A way is how the kernel is brought from one version to the next.
type way struct {
	name   string
	commit func(ns *netns.NS, b apply.Batch) error
}

var (
	staged = way{"staged", func(ns *netns.NS, b apply.Batch) error {
		_, err := apply.Switch(context.Background(), ns, b, apply.Options{})
		return err
	}}
	// naive is one transaction, as nft -f of a file with flush ruleset is.
	naive = way{"naive", func(ns *netns.NS, b apply.Batch) error {
		_, err := apply.Commit(context.Background(), ns, []apply.Batch{b}, apply.Options{})
		return err
	}}
)

// options are what a run is made of.
type options struct {
	way      way
	switches int
	level    int
	migrate  bool // legacy to nft and back, rather than nft to nft
	pause    time.Duration
}

// result is what a run found.
type result struct {
	count
	switches int
	longest  time.Duration // of a switch
	took     time.Duration
}

// run sends packets while the rules are switched.
func (s scenario) run(o options) (result, error) {
	var res result
	b, err := newBed()
	if err != nil {
		return res, err
	}
	defer b.close()
	var batches [2]apply.Batch
	for i, text := range s.texts {
		if batches[i], err = translated(text, o.level); err != nil {
			return res, err
		}
	}
	var turn func(n int) error
	if o.migrate {
		turn, err = migration(b.ns, s.texts[0], batches[0], o.way)
		s.packets = without(s.packets, turns)
	} else {
		turn = func(n int) error { return o.way.commit(b.ns, batches[n%2]) }
		err = turn(0)
	}
	if err != nil {
		return res, err
	}
	if s.every > 0 {
		if err := b.commands("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=3"); err != nil {
			return res, err
		}
	}
	traffic := &sender{bed: b, packets: s.packets, every: s.every, cpu: runtime.NumCPU() - 1}
	traffic.start()
	begin := time.Now()
	time.Sleep(20 * time.Millisecond)
	for n := 1; n <= o.switches && err == nil; n++ {
		from := time.Now()
		if err = turn(n); err != nil {
			err = fmt.Errorf("switch %d: %w", n, err)
		}
		res.longest = max(res.longest, time.Since(from))
		res.switches++
		time.Sleep(o.pause)
	}
	time.Sleep(20 * time.Millisecond)
	if stopped := traffic.end(); err == nil {
		err = stopped
	}
	res.took, res.count = time.Since(begin), traffic.count
	return res, err
}

func without(packets []packet, f fate) []packet {
	var kept []packet
	for _, p := range packets {
		if p.fate != f {
			kept = append(kept, p)
		}
	}
	return kept
}

// migration loads the legacy tables of a text, and returns what goes from there
// to nft and, the next time, back: each plane is complete before the other one
// goes.
func migration(ns *netns.NS, text string, batch apply.Batch, w way) (func(n int) error, error) {
	if _, err := exec.LookPath("iptables-legacy-restore"); err != nil {
		return nil, err
	}
	c := ns.Command("iptables-legacy-restore")
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("iptables-legacy-restore: %w: %s", err, out)
	}
	x, err := xtables.Dial(ns)
	if err != nil {
		return nil, err
	}
	names, err := x.Names(unix.NFPROTO_IPV4)
	if err != nil {
		return nil, err
	}
	var tables []*xtables.Table
	for _, name := range names {
		t, err := x.Read(unix.NFPROTO_IPV4, name)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	removal := apply.Batch{Messages: deletions(batch)}
	return func(n int) error {
		if n%2 == 1 {
			if err := w.commit(ns, batch); err != nil {
				return err
			}
			for _, t := range tables {
				if err := x.Replace(xtables.Empty(t), nil); err != nil {
					return err
				}
			}
			return nil
		}
		for _, t := range tables {
			if err := x.Replace(t, nil); err != nil {
				return err
			}
		}
		return w.commit(ns, removal)
	}, nil
}

// deletions are the messages that delete the tables of a batch.
func deletions(b apply.Batch) []netlink.Message {
	var out []netlink.Message
	seen := map[nfnetlink.Table]bool{}
	for _, m := range b.Messages {
		kind, ours := nfnetlink.Kind(m)
		if table := nfnetlink.TableOf(m); ours && kind == unix.NFT_MSG_NEWTABLE && !seen[table] {
			seen[table] = true
			out = append(out, nfnetlink.Message(unix.NFT_MSG_DELTABLE, 0, table.Family, nfnetlink.AppendString(nil, unix.NFTA_TABLE_NAME, table.Name)))
		}
	}
	return out
}

func (s shape) scenario(n int) scenario { return s.make(n, rand.New(rand.NewPCG(uint64(n), 7))) }
