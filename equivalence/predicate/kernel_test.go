package predicate_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/predicate"
	"nftmigrate/internal/netns"
	"nftmigrate/internal/testkit"
)

// A timedRule is a rule in INPUT of the kernel with the instance that is meant
// to behave like its match.
type timedRule struct {
	text     string
	instance predicate.Instance
}

// A send is a packet of the schedule: when, in milliseconds, and from
// 127.0.0.N.
type send struct {
	at int
	n  byte
}

// A kernelCase is a schedule for rules.
type kernelCase struct {
	name  string
	rules []timedRule
	sends []send
}

// hashlimitTests are those of rate limits by key. A packet has 29 bytes, which are two
// parts of 16.
func hashlimitTests() []kernelCase {
	table := func(name string, change func(h *predicate.Hashlimit)) predicate.Hashlimit {
		h := predicate.Hashlimit{
			Table: name, Expire: 60000, Collect: 1000, Most: 65536,
			Key: []predicate.KeyPart{{Field: predicate.Field{ID: predicate.SrcAddr}, Mask: predicate.Ones(32)}},
		}
		change(&h)
		return h
	}
	const slow = 0xffffffff / 5 // 64 bytes a second
	return []kernelCase{
		{
			"hashlimit by bytes",
			[]timedRule{
				{"-m hashlimit --hashlimit-upto 64b/s --hashlimit-mode srcip --hashlimit-name a", table("a", func(h *predicate.Hashlimit) { h.Average, h.Bytes = slow, true })},
				{"-m hashlimit --hashlimit-upto 64b/s --hashlimit-burst 100b --hashlimit-mode srcip --hashlimit-name b", table("b", func(h *predicate.Hashlimit) { h.Average, h.Bytes, h.Burst = slow, true, 100 })},
			},
			[]send{{0, 1}, {0, 1}, {0, 1}, {0, 2}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {600, 1}, {600, 1}, {1300, 1}, {3000, 1}, {3000, 1}, {3000, 1}},
		},
		{
			"hashlimit of windows",
			[]timedRule{
				{
					"-m hashlimit --hashlimit-upto 2/sec --hashlimit-burst 1 --hashlimit-mode srcip --hashlimit-name a --hashlimit-rate-match",
					table("a", func(h *predicate.Hashlimit) { h.Average, h.Burst, h.Window = 500000, 1, 1 }),
				},
				{
					"-m hashlimit --hashlimit-upto 64b/s --hashlimit-mode srcip --hashlimit-name b --hashlimit-rate-match --hashlimit-rate-interval 2",
					table("b", func(h *predicate.Hashlimit) { h.Average, h.Bytes, h.Window = slow, true, 2 }),
				},
			},
			[]send{{0, 1}, {0, 1}, {0, 1}, {0, 1}, {500, 1}, {500, 2}, {1300, 1}, {1300, 1}, {2600, 1}, {2600, 1}, {2600, 2}, {4900, 1}},
		},
	}
}

// TestAgainstKernel sends packets over lo by a schedule and compares which
// rules matched with the instances. Where the machine was too slow for the
// schedule to be unambiguous, it tries again.
func TestAgainstKernel(t *testing.T) {
	testkit.Need(t, testkit.Root, testkit.NetNS, testkit.Tool("iptables-legacy-restore"), testkit.Tool("iptables-legacy-save"))
	all := predicate.Ones(128)
	recent := func(m predicate.Recent) predicate.Recent {
		m.List, m.Mask = "t", all
		return m
	}
	tests := []kernelCase{
		{
			"limit",
			[]timedRule{
				{"-m limit --limit 5/sec --limit-burst 2", predicate.Limit{Average: 2000, Burst: 2}},
				{"-m limit --limit 100/min --limit-burst 1", predicate.Limit{Average: 6000, Burst: 1}},
			},
			[]send{{0, 1}, {0, 1}, {0, 1}, {100, 1}, {300, 1}, {300, 1}, {700, 1}, {1500, 1}, {1500, 1}, {1500, 1}, {1800, 1}, {2200, 2}},
		},
		{
			"recent with times",
			[]timedRule{
				{"-m recent --name t --update --seconds 1 --hitcount 3", recent(predicate.Recent{Op: predicate.RecentUpdate, Seconds: 1, HitCount: 3})},
				{"-m recent --name t --rcheck --seconds 1", recent(predicate.Recent{Op: predicate.RecentCheck, Seconds: 1})},
				{"-m recent ! --update --name t --seconds 1", recent(predicate.Recent{Op: predicate.RecentUpdate, Seconds: 1, Negate: true})},
				{"-m recent --name t --set", recent(predicate.Recent{Op: predicate.RecentSet})},
			},
			[]send{{0, 1}, {100, 1}, {200, 2}, {300, 1}, {600, 1}, {1400, 1}, {1800, 2}, {2700, 2}, {2700, 1}},
		},
		{
			"recent reaps and removes",
			[]timedRule{
				{"-s 127.0.0.9 -m recent --name t --rcheck --seconds 1 --reap", recent(predicate.Recent{Op: predicate.RecentCheck, Seconds: 1, Reap: true})},
				{"-m recent --name t --rcheck", recent(predicate.Recent{Op: predicate.RecentCheck})},
				{"-s 127.0.0.3 -m recent --name t --remove", recent(predicate.Recent{Op: predicate.RecentRemove})},
				{"-m recent --name t --set", recent(predicate.Recent{Op: predicate.RecentSet})},
			},
			[]send{{0, 1}, {0, 2}, {0, 3}, {0, 9}, {1500, 9}, {1600, 9}, {1700, 1}, {1700, 2}, {1700, 3}},
		},
		{
			"nth",
			[]timedRule{
				{"-m statistic --mode nth --every 3 --packet 1", predicate.Nth{Every: 3, Packet: 1}},
				{"-m statistic --mode nth --every 2 --packet 0", predicate.Nth{Every: 2}},
			},
			[]send{{0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}, {0, 1}},
		},
	}
	tests = append(tests, hashlimitTests()...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				got, early, late := play(t, tt.rules, tt.sends)
				if early != late {
					continue // a packet was near an edge
				}
				if got != early {
					t.Errorf("kernel\n%smodel\n%s", got, early)
				}
				return
			}
			testkit.NotHere(t, "the machine is too busy for the schedule")
		})
	}
}

// play runs a schedule. It returns which rules matched each packet: in the
// kernel, and by the model with the clock a little too early and too late.
func play(t *testing.T, rules []timedRule, sends []send) (kernel, early, late string) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		text := "*filter\n:INPUT ACCEPT [0:0]\n"
		for _, r := range rules {
			text += "-A INPUT -p udp " + r.text + "\n"
		}
		cmd := ns.Command("iptables-legacy-restore")
		cmd.Stdin = strings.NewReader(text + "COMMIT\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("restore: %w: %s", err, out)
		}
		before, after := newClock(rules), newClock(rules)
		counted := make([]int, len(rules))
		start := time.Now()
		for _, s := range sends {
			time.Sleep(time.Until(start.Add(time.Duration(s.at) * time.Millisecond)))
			t0 := time.Since(start)
			if err := sendUDP(s.n); err != nil {
				return err
			}
			t1 := time.Since(start)
			now, err := counters(ns)
			if err != nil {
				return err
			}
			// Ten milliseconds hide where in a jiffy the kernel is.
			early += before.ask(int64(t0-10*time.Millisecond), s.n)
			late += after.ask(int64(t1+10*time.Millisecond), s.n)
			for i := range rules {
				kernel += answer(now[i] != counted[i])
			}
			kernel += "\n"
			counted = now
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kernel, early, late
}

func answer(matched bool) string {
	if matched {
		return "y"
	}
	return "."
}

// sendUDP sends a packet over lo from 127.0.0.n, which is there when it
// returns.
func sendUDP(n byte) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer unix.Close(s)
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, n}}); err != nil {
		return fmt.Errorf("bind 127.0.0.%d: %w", n, err)
	}
	return unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9})
}

// counters reads the packets that each rule matched.
func counters(ns *netns.NS) ([]int, error) {
	out, err := ns.Command("iptables-legacy-save", "-c", "-t", "filter").Output()
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	var list []int
	for _, line := range bytes.Split(out, []byte("\n")) {
		var packets, size int
		if n, _ := fmt.Sscanf(string(line), "[%d:%d] -A INPUT", &packets, &size); n == 2 {
			list = append(list, packets)
		}
	}
	return list, nil
}

// A clock is the model: a reader whose time is set.
type clock struct {
	rules  []timedRule
	states predicate.States
	now    int64
	addr   byte
}

func newClock(rules []timedRule) *clock {
	c := &clock{rules: rules}
	for _, r := range rules {
		if l, ok := r.instance.(predicate.Loader); ok {
			l.Load(&c.states)
		}
	}
	return c
}

func (c *clock) ask(now int64, addr byte) string {
	c.now, c.addr = now+int64(time.Hour), addr
	var b strings.Builder
	for i, r := range c.rules {
		matched := false
		if only, _, ok := strings.Cut(strings.TrimPrefix(r.text, "-s 127.0.0."), " "); !ok || only == "-m" || only == fmt.Sprint(addr) {
			matched = predicate.Eval(predicate.Stateful{Instance: r.instance}, c, fmt.Sprint(i)) == predicate.Yes
		}
		b.WriteString(answer(matched))
	}
	return b.String() + "\n"
}

func (c *clock) Field(f predicate.Field) (predicate.Bits, predicate.Truth) {
	switch f.ID {
	case predicate.SrcAddr:
		return predicate.Number(0x7f000000 | uint64(c.addr)), predicate.Yes
	case predicate.TTL:
		return predicate.Number(64), predicate.Yes
	case predicate.TotalLength:
		return predicate.Number(29), predicate.Yes
	}
	return predicate.Bits{}, predicate.No
}

func (c *clock) States() *predicate.States { return &c.states }
func (c *clock) Now() int64                { return c.now }
