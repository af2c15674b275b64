package main

import (
	"context"
	"testing"
	"time"

	"nftmigrate/apply"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

func need(t *testing.T) {
	t.Helper()
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.TUN, testkit.Tool("iptables-legacy-restore"), testkit.Tool("ip"))
}

// TestSwitches wants every packet to meet old or new rules, and each version to
// take over once.
func TestSwitches(t *testing.T) {
	need(t)
	for _, s := range shapes {
		for _, migrate := range []bool{false, true} {
			name := s.name
			if migrate {
				name += " migrate"
			}
			t.Run(name, func(t *testing.T) {
				o := options{way: staged, switches: 6, level: 2, migrate: migrate, pause: 5 * time.Millisecond}
				n := 400
				if s.name == "kube-proxy" {
					n = 100
				}
				res, err := s.scenario(n).run(o)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d packets, %d late, %d and %d flips", res.sent, res.late, res.flips[0], res.flips[1])
				if res.wrong() > 0 {
					t.Errorf("%d packets wrongly passed, %d wrongly dropped, %d sent elsewhere, of %d", res.wrongPassed, res.wrongDropped, res.wrongTarget, res.sent)
				}
				if res.sent < 100 || res.passed == 0 {
					t.Errorf("%d packets sent, %d came out: too few to tell", res.sent, res.passed)
				}
				for _, flips := range res.flips {
					if flips > res.switches {
						t.Errorf("verdicts turned %d times in %d switches", flips, res.switches)
					}
				}
				if s.name != "kube-proxy" && !migrate && res.flips[0]+res.flips[1] == 0 {
					t.Error("no verdict turned")
				}
			})
		}
	}
}

// TestOneTransactionIsCaught plants the way that is not atomic for packets: the
// traffic must notice.
func TestOneTransactionIsCaught(t *testing.T) {
	need(t)
	s := shapes[2].scenario(4000)
	for range 20 {
		res, err := s.run(options{way: naive, switches: 20, level: 2, pause: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if res.wrong() > 0 {
			t.Logf("%d of %d packets wrong", res.wrong(), res.sent)
			return
		}
	}
	t.Error("400 switches in one transaction, and no packet was wrong")
}

// TestSessions wants connections through NAT to live on.
func TestSessions(t *testing.T) {
	need(t)
	for _, migrate := range []bool{false, true} {
		res, err := sessions(options{way: staged, switches: 6, level: 2, migrate: migrate, pause: 5 * time.Millisecond}, 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", res)
		if res.lost+res.refused > 0 || res.exchanges == 0 {
			t.Errorf("migrate %v: %d sessions lost, %d refused, %d exchanges", migrate, res.lost, res.refused, res.exchanges)
		}
	}
}

// TestGapIsCaught plants a switch with nothing in between: segments must be
// lost, or sent again.
func TestGapIsCaught(t *testing.T) {
	need(t)
	gap := way{"gap", func(ns *netns.NS, b apply.Batch) error {
		if err := naive.commit(ns, apply.Batch{Messages: deletions(b)}); err != nil {
			return nil // there is none yet
		}
		time.Sleep(300 * time.Millisecond)
		return naive.commit(ns, b)
	}}
	first := true
	planted := way{"gap", func(ns *netns.NS, b apply.Batch) error {
		if first {
			first = false
			return naive.commit(ns, b)
		}
		return gap.commit(ns, b)
	}}
	res, err := sessions(options{way: planted, switches: 2, level: 2, pause: 300 * time.Millisecond}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if res.lost+res.refused+res.retransmitted == 0 {
		t.Errorf("nothing noticed: %+v", res)
	}
}

// TestWrongFateIsCaught plants packets whose fate is said wrongly.
func TestWrongFateIsCaught(t *testing.T) {
	need(t)
	s := shapes[0].scenario(100)
	for i := range s.packets {
		switch s.packets[i].fate {
		case pass:
			s.packets[i].to = map[uint32]bool{1: true}
		case drop:
			s.packets[i].fate = pass
		}
	}
	b, err := newBed()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	batch, err := translated(s.texts[0], 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply.Switch(context.Background(), b.ns, batch, apply.Options{}); err != nil {
		t.Fatal(err)
	}
	traffic := &sender{bed: b, packets: s.packets}
	traffic.start()
	time.Sleep(time.Second)
	if err := traffic.end(); err != nil {
		t.Fatal(err)
	}
	if traffic.wrongDropped == 0 || traffic.wrongTarget == 0 {
		t.Errorf("%d wrongly dropped and %d sent elsewhere, want both", traffic.wrongDropped, traffic.wrongTarget)
	}
}
