package predicate

import (
	"fmt"
	"strings"
	"testing"
)

const second = int64(1e9)

// TestLimit goes by hand: 3 a minute with a burst of 2 fills 40 seconds worth
// of credits and pays 20 for a packet.
func TestLimit(t *testing.T) {
	l := Stateful{Limit{Average: 200000, Burst: 2}}
	r := &fake{now: 100 * second}
	steps := []struct {
		at   int64
		want Truth
	}{
		{100 * second, Yes}, {100 * second, Yes}, {100 * second, No},
		{119 * second, No},
		// A refused packet costs nothing: 20 s after the second one there is
		// credit again. A jiffy less is too early.
		{120*second - 1, No}, {120 * second, Yes}, {120 * second, No},
		// However long the pause, no more than the burst.
		{1000 * second, Yes}, {1000 * second, Yes}, {1000 * second, No},
	}
	for i, s := range steps {
		r.now = s.at
		if got := Eval(l, r, "rule"); got != s.want {
			t.Errorf("packet %d at %d ns: %v, want %v", i, s.at, got, s.want)
		}
	}
	if got := Eval(l, r, "other rule"); got != Yes {
		t.Errorf("another rule's bucket: %v", got)
	}
}

func TestLimitCredits(t *testing.T) {
	// 10000 a second is a tenth of a millisecond: 3.2 credits, cut to 3.
	if got := credits(1); got != 3 {
		t.Errorf("credits(1) = %d", got)
	}
	// A day: the product does not fit, so it is divided first.
	if got := credits(864000000); got != 86400*HZ*creditsPerJiffy {
		t.Errorf("credits of a day = %d", got)
	}
	for _, tt := range []struct {
		l    Limit
		want bool
	}{{Limit{100, 0}, true}, {Limit{864000000, 1}, false}, {Limit{864000000, 2}, true}, {Limit{10000, 5}, false}} {
		if got := tt.l.Overflows(); got != tt.want {
			t.Errorf("%+v overflows: %v", tt.l, got)
		}
	}
}

func TestNth(t *testing.T) {
	tests := []struct {
		n    Nth
		want string
	}{
		{Nth{Every: 3}, "y..y..y.."},
		{Nth{Every: 3, Packet: 1}, ".y..y..y."},
		{Nth{Every: 3, Packet: 2}, "..y..y..y"},
		{Nth{Every: 1}, "yyyyyyyyy"},
	}
	for _, tt := range tests {
		r := &fake{}
		var got strings.Builder
		for range 9 {
			got.WriteByte(".y"[Eval(Stateful{tt.n}, r, "rule")-No])
		}
		if got.String() != tt.want {
			t.Errorf("%+v: %s, want %s", tt.n, got.String(), tt.want)
		}
	}
}

// recentStep is one packet that one rule looks at.
type recentStep struct {
	at    float64 // seconds
	addr  uint64
	ttl   uint64
	rule  Recent
	want  Truth
	out   bool // on its way out
	local bool
}

func (s recentStep) run(r *fake) Truth {
	r.now = int64(s.at * 1e9)
	r.fields = map[Field]Bits{{ID: SrcAddr}: Number(s.addr), {ID: DstAddr}: Number(0xdd), ttl: Number(s.ttl)}
	if s.out {
		r.fields[Field{ID: OutInterface}] = Name("eth0")
	}
	if s.local {
		r.fields[Field{ID: SocketExists}] = Number(1)
	}
	return Eval(Stateful{s.rule}, r, "")
}

func TestRecent(t *testing.T) {
	list := func(op RecentOp, change func(m *Recent)) Recent {
		m := Recent{List: "l", Op: op, Mask: Ones(128)}
		if change != nil {
			change(&m)
		}
		return m
	}
	set, remove := list(RecentSet, nil), list(RecentRemove, nil)
	within := func(op RecentOp, seconds, hits uint32) Recent {
		return list(op, func(m *Recent) { m.Seconds, m.HitCount = seconds, hits })
	}
	not := func(m Recent) Recent { m.Negate = true; return m }
	tests := map[string][]recentStep{
		"the usual guard: fourth connection in a minute": {
			{at: 0, addr: 1, rule: set, want: Yes}, {at: 0, addr: 1, rule: within(RecentUpdate, 60, 4), want: No},
			{at: 1, addr: 1, rule: set, want: Yes}, {at: 1, addr: 1, rule: within(RecentUpdate, 60, 4), want: No},
			{at: 2, addr: 1, rule: set, want: Yes}, {at: 2, addr: 1, rule: within(RecentUpdate, 60, 4), want: No},
			{at: 3, addr: 1, rule: set, want: Yes}, {at: 3, addr: 1, rule: within(RecentUpdate, 60, 4), want: Yes},
			{at: 3, addr: 2, rule: within(RecentUpdate, 60, 1), want: No},
			// The update of the match counts as a fifth time.
			{at: 62.5, addr: 1, rule: within(RecentCheck, 60, 2), want: Yes},
			{at: 62.5, addr: 1, rule: within(RecentCheck, 60, 3), want: No},
		},
		"the edge of the window": {
			{at: 10, addr: 1, rule: set, want: Yes},
			{at: 20, addr: 1, rule: within(RecentCheck, 10, 0), want: Yes},
			{at: 20.004, addr: 1, rule: within(RecentCheck, 10, 0), want: No},
		},
		"rcheck leaves the time, update moves it": {
			{at: 0, addr: 1, rule: set, want: Yes},
			{at: 9, addr: 1, rule: within(RecentCheck, 10, 0), want: Yes},
			{at: 11, addr: 1, rule: within(RecentCheck, 10, 0), want: No},
			{at: 11, addr: 1, rule: within(RecentUpdate, 10, 0), want: No},
			{at: 11, addr: 1, rule: within(RecentUpdate, 20, 0), want: Yes},
			{at: 20, addr: 1, rule: within(RecentCheck, 10, 0), want: Yes},
		},
		"remove": {
			{at: 0, addr: 1, rule: remove, want: No}, {at: 0, addr: 1, rule: not(remove), want: Yes},
			{at: 0, addr: 1, rule: set, want: Yes}, {at: 0, addr: 1, rule: remove, want: Yes},
			{at: 0, addr: 1, rule: list(RecentCheck, nil), want: No},
		},
		"a negated set adds and is false": {
			{at: 0, addr: 1, rule: not(set), want: No}, {at: 0, addr: 1, rule: not(set), want: No},
			{at: 0, addr: 1, rule: list(RecentCheck, nil), want: Yes},
		},
		"a negated update moves the time when the test fails": {
			{at: 0, addr: 1, rule: set, want: Yes},
			{at: 5, addr: 1, rule: not(within(RecentUpdate, 10, 0)), want: No},
			{at: 11, addr: 1, rule: not(within(RecentUpdate, 10, 0)), want: Yes},
			{at: 20, addr: 1, rule: within(RecentCheck, 10, 0), want: Yes},
		},
		"ttl": {
			{at: 0, addr: 1, ttl: 64, rule: set, want: Yes},
			{at: 0, addr: 1, ttl: 63, rule: list(RecentCheck, func(m *Recent) { m.CheckTTL = true }), want: No},
			{at: 0, addr: 1, ttl: 64, rule: list(RecentCheck, func(m *Recent) { m.CheckTTL = true }), want: Yes},
			// Forwarded, it had one more when it came; a local one had not.
			{at: 0, addr: 1, ttl: 63, out: true, rule: list(RecentCheck, func(m *Recent) { m.CheckTTL = true }), want: Yes},
			{at: 0, addr: 1, ttl: 63, out: true, local: true, rule: list(RecentCheck, func(m *Recent) { m.CheckTTL = true }), want: No},
		},
		"side and mask": {
			{at: 0, addr: 0x0a000001, rule: list(RecentSet, func(m *Recent) { m.Mask = Number(0xffffff00) }), want: Yes},
			{at: 0, addr: 0x0a0000ff, rule: list(RecentCheck, nil), want: Yes},
			{at: 0, addr: 0x0a000101, rule: list(RecentCheck, nil), want: No},
			{at: 0, addr: 0x0a000001, rule: list(RecentCheck, func(m *Recent) { m.Destination = true }), want: No},
			{at: 0, addr: 0x0a000001, rule: list(RecentCheck, func(m *Recent) { m.List = "other" }), want: No},
			{at: 0, addr: 0x0a000001, rule: list(RecentCheck, func(m *Recent) { m.IPv6 = true }), want: No},
		},
		"reap forgets the one unseen the longest": {
			{at: 0, addr: 1, rule: set, want: Yes}, {at: 8, addr: 2, rule: set, want: Yes},
			{at: 12, addr: 2, rule: list(RecentCheck, func(m *Recent) { m.Seconds, m.Reap = 10, true }), want: Yes},
			{at: 12, addr: 1, rule: list(RecentCheck, nil), want: No},
			{at: 12, addr: 2, rule: list(RecentCheck, nil), want: Yes},
		},
	}
	for name, steps := range tests {
		r := &fake{}
		for i, s := range steps {
			if got := s.run(r); got != s.want {
				t.Errorf("%s: step %d (%v at %gs): %v, want %v", name, i, s.rule.Describe(), s.at, got, s.want)
			}
		}
	}
}

// TestRecentForgets fills a list beyond its 100 addresses.
func TestRecentForgets(t *testing.T) {
	r := &fake{}
	set, check := Recent{List: "l", Op: RecentSet, Mask: Ones(128)}, Recent{List: "l", Op: RecentCheck, Mask: Ones(128)}
	for a := range uint64(100) {
		recentStep{at: float64(a), addr: a, rule: set}.run(r)
	}
	recentStep{at: 100, addr: 0, rule: set}.run(r) // now the latest
	recentStep{at: 101, addr: 1000, rule: set}.run(r)
	for addr, want := range map[uint64]Truth{0: Yes, 1: No, 2: Yes, 1000: Yes} {
		if got := (recentStep{at: 102, addr: addr, rule: check}).run(r); got != want {
			t.Errorf("address %d: %v, want %v", addr, got, want)
		}
	}
}

// TestRecentTimes counts how many times of an address are remembered.
func TestRecentTimes(t *testing.T) {
	for _, tt := range []struct {
		hits, times, ask uint32
		want             Truth
	}{
		{0, 40, 32, Yes}, {0, 40, 33, No}, {33, 70, 64, Yes}, {33, 70, 65, No}, {32, 40, 33, No},
	} {
		r := &fake{}
		set := Recent{List: "l", Op: RecentSet, Mask: Ones(128)}
		set.Load(&r.states)
		Recent{List: "l", Op: RecentCheck, HitCount: tt.hits}.Load(&r.states)
		for range tt.times {
			recentStep{addr: 1, rule: set}.run(r)
		}
		ask := Recent{List: "l", Op: RecentCheck, HitCount: tt.ask}
		if got := (recentStep{addr: 1, rule: ask}).run(r); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	for want, i := range map[string]Instance{
		"limit one packet per 20s burst 5": Limit{200000, 5},
		"packet 1 of every 4":              Nth{4, 1},
		"not recent update source in list ssh within 60s at least 4 times reaping": Recent{List: "ssh", Op: RecentUpdate, Negate: true, Seconds: 60, HitCount: 4, Reap: true},
	} {
		if got := fmt.Sprint(Stateful{i}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
