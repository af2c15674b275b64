package predicate_test

import (
	"bytes"
	"encoding/binary"
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

// datagram is what sendUDP sends, as far as a program can foresee it: identification,
// source port and checksums are 0.
func (c *clock) datagram() []byte {
	return []byte{
		0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0, 0, 127, 0, 0, c.addr, 127, 0, 0, 1,
		0, 0, 0, 9, 0, 9, 0, 0, 'x',
	}
}

// byteTests are those of matches that look at bytes of the packet.
func byteTests() []kernelCase {
	program := func(list ...[4]uint32) predicate.BPF {
		var b predicate.BPF
		for _, i := range list {
			b.Program = append(b.Program, predicate.BPFInstruction{Code: uint16(i[0]), True: uint8(i[1]), False: uint8(i[2]), K: i[3]})
		}
		return b
	}
	u32 := func(low, high uint64, first uint32, steps ...predicate.U32Step) predicate.U32 {
		return predicate.U32{
			Steps: append([]predicate.U32Step{{Number: first}}, steps...),
			Spans: []predicate.Span{{Low: predicate.Number(low), High: predicate.Number(high)}},
		}
	}
	op := func(operator string, number uint32) predicate.U32Step {
		return predicate.U32Step{Operator: operator, Number: number}
	}
	rules := []timedRule{
		{`-m bpf --bytecode "4,48 0 0 9,21 0 1 17,6 0 0 1,6 0 0 0"`, program([4]uint32{48, 0, 0, 9}, [4]uint32{21, 0, 1, 17}, [4]uint32{6, 0, 0, 1}, [4]uint32{6, 0, 0, 0})},
		// The destination port behind a header of any length.
		{
			`-m bpf --bytecode "5,177 0 0 0,72 0 0 2,21 0 1 9,6 0 0 65535,6 0 0 0"`,
			program([4]uint32{177, 0, 0, 0}, [4]uint32{72, 0, 0, 2}, [4]uint32{21, 0, 1, 9}, [4]uint32{6, 0, 0, 65535}, [4]uint32{6, 0, 0, 0}),
		},
		// Arithmetic on the source address and the length: (n * 3 - 6) ^ 29 ^ 29.
		{
			`-m bpf --bytecode "8,32 0 0 12,84 0 0 255,36 0 0 3,20 0 0 6,129 0 0 0,172 0 0 0,172 0 0 0,22 0 0 0"`,
			program([4]uint32{32, 0, 0, 12}, [4]uint32{84, 0, 0, 255}, [4]uint32{36, 0, 0, 3}, [4]uint32{20, 0, 0, 6}, [4]uint32{129, 0, 0, 0},
				[4]uint32{172, 0, 0, 0}, [4]uint32{172, 0, 0, 0}, [4]uint32{22, 0, 0, 0}),
		},
		{`-m bpf --bytecode "2,32 0 0 26,6 0 0 1"`, program([4]uint32{32, 0, 0, 26}, [4]uint32{6, 0, 0, 1})},
		{`-m bpf --bytecode "2,48 0 0 28,6 0 0 1"`, program([4]uint32{48, 0, 0, 28}, [4]uint32{6, 0, 0, 1})},
		{`-m bpf --bytecode "3,48 0 0 15,148 0 0 2,22 0 0 0"`, program([4]uint32{48, 0, 0, 15}, [4]uint32{148, 0, 0, 2}, [4]uint32{22, 0, 0, 0})},
		{`-m string --string "x" --algo bm`, predicate.Search{Pattern: "x", To: 65535}},
		{`-m string --string "X" --algo kmp --icase --from 20`, predicate.Search{Pattern: "X", To: 65535, AnyCase: true, From: 20}},
		{`-m string --string "X" --algo bm`, predicate.Search{Pattern: "X", To: 65535}},
		{`-m string --hex-string "|7f0000|" --algo bm --from 13`, predicate.Search{Pattern: "\x7f\x00\x00", From: 13, To: 65535}},
		{`-m string --hex-string "|7f0000|" --algo bm --from 13 --to 18`, predicate.Search{Pattern: "\x7f\x00\x00", From: 13, To: 18}},
		{`-m u32 --u32 "0>>22&0x3C@0&0xffff=9"`, u32(9, 9, 0, op(">>", 22), op("&", 0x3c), op("@", 0), op("&", 0xffff))},
		{`-m u32 --u32 "0>>22&0x3C@0&0xffff@16&0xff=0:255"`, u32(0, 255, 0, op(">>", 22), op("&", 0x3c), op("@", 0), op("&", 0xffff), op("@", 16), op("&", 0xff))},
		{`-m u32 --u32 "8>>16&0xff@8=0"`, u32(0, 0, 8, op(">>", 16), op("&", 0xff), op("@", 8))},
		{`-m u32 --u32 "12&0xff@11>>24=127"`, u32(127, 127, 12, op("&", 0xff), op("@", 11), op(">>", 24))},
	}
	return []kernelCase{{"bytes", rules, []send{{0, 1}, {0, 2}, {0, 3}, {0, 4}}}}
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
	tests = append(append(tests, hashlimitTests()...), byteTests()...)
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
	case predicate.PacketByte:
		if b := c.datagram(); int(f.Arg) < len(b) {
			return predicate.Number(uint64(b[f.Arg])), predicate.Yes
		}
	case predicate.PacketWord:
		if b := c.datagram(); int(f.Arg)+4 <= len(b) {
			return predicate.Number(uint64(binary.BigEndian.Uint32(b[f.Arg:]))), predicate.Yes
		}
	}
	return predicate.Bits{}, predicate.No
}

func (c *clock) States() *predicate.States { return &c.states }
func (c *clock) Now() int64                { return c.now }
