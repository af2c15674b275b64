package nftsim_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nftmigrate/equivalence/nftsim"
	"nftmigrate/packet"
)

// A ringText is a ring of sets in words, one string for each rule: "?a" goes on
// when the source is in set a, "+a" puts it there, "~a" adds it without a new
// time, "-a" takes it out. Sets are s1, s2 and on, the slots, and p2, p3 and on,
// the pointers.
type ringText struct {
	hits, seconds int
	seen          []string // the chain that remembers
	asks, forgets string
	timeouts      map[string]int // in milliseconds, of sets that are unlike
	sizes         map[string]uint32
	destination   []string // sets that are used with the destination
	masked        []string // and under a mask
}

func newRing(hits, seconds int) *ringText {
	r := &ringText{hits: hits, seconds: seconds, timeouts: map[string]int{}, sizes: map[string]uint32{}}
	for i := 2; i <= hits; i++ {
		rule := fmt.Sprintf("?p%d +s%d -p%d", i, i, i)
		if i < hits {
			rule += fmt.Sprintf(" +p%d", i+1)
		}
		r.seen = append(r.seen, rule+" return")
	}
	last := "+s1"
	if hits > 1 {
		last += " +p2"
	}
	r.seen = append(r.seen, last)
	for _, s := range r.sets() {
		if s[0] == 's' {
			r.asks += "?" + s + " "
		}
		r.forgets += "-" + s + " "
	}
	return r
}

func (r *ringText) sets() []string {
	var list []string
	for i := 1; i <= r.hits; i++ {
		list = append(list, fmt.Sprintf("s%d", i))
	}
	for i := 2; i <= r.hits; i++ {
		list = append(list, fmt.Sprintf("p%d", i))
	}
	return list
}

// The ports by which packets say what they are to do.
const (
	seenPort = 1 + iota
	askPort
	forgetPort
)

// batch has a base chain that does by the port what the packet says. A packet
// that asks is dropped when the answer is yes.
func (r *ringText) batch() []netlink.Message {
	var list []netlink.Message
	for _, name := range r.sets() {
		flags := uint32(unix.NFT_SET_EVAL)
		size := uint32(1000)
		if n, ok := r.sizes[name]; ok {
			size = n
		}
		more := []encoder{nest(unix.NFTA_SET_DESC, u32(unix.NFTA_SET_DESC_SIZE, size))}
		if r.seconds > 0 {
			ms, ok := r.timeouts[name]
			if !ok {
				ms = 1000*r.seconds + 4
			}
			flags |= unix.NFT_SET_TIMEOUT
			more = append(more, u64(unix.NFTA_SET_TIMEOUT, uint64(ms)))
		}
		list = append(list, set(name, r.id(name), flags, 4, more...))
	}
	list = append(list, chain("seen"))
	for _, text := range r.seen {
		list = append(list, rule("seen", r.exprs(text)...))
	}
	jump := []encoder{verdict(nftsim.VerdictJump, "seen")}
	if r.hits == 1 {
		jump = r.exprs(r.seen[0])
	}
	return forward(append(list,
		rule("c", slices.Concat(tcpPort(seenPort), jump, []encoder{accept})...),
		rule("c", slices.Concat(tcpPort(askPort), r.exprs(r.asks), []encoder{drop})...),
		rule("c", slices.Concat(tcpPort(forgetPort), r.exprs(r.forgets), []encoder{accept})...))...)
}

func (r *ringText) id(name string) uint32 { return uint32(1 + slices.Index(r.sets(), name)) }

func (r *ringText) exprs(text string) []encoder {
	var list []encoder
	for _, word := range strings.Fields(text) {
		if word == "return" {
			list = append(list, verdict(nftsim.VerdictReturn, ""))
			continue
		}
		name, offset := word[1:], uint32(12)
		if slices.Contains(r.destination, word) {
			offset = 16
		}
		list = append(list, load(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, 4, 1))
		if slices.Contains(r.masked, word) {
			list = append(list, bitwise(1, 1, []byte{0xff, 0xff, 0xff, 0}, make([]byte, 4)))
		}
		op := uint32(nftsim.DynsetUpdate)
		switch {
		case word[0] == '?':
			list = append(list, lookup(name, r.id(name), 1))
			continue
		case word[0] == '-':
			op = uint32(nftsim.DynsetDelete)
		case word[0] == '~' || r.seconds == 0:
			op = uint32(nftsim.DynsetAdd)
		}
		list = append(list, expr("dynset", str(unix.NFTA_DYNSET_SET_NAME, name), u32(unix.NFTA_DYNSET_SET_ID, r.id(name)),
			u32(unix.NFTA_DYNSET_OP, op), u32(unix.NFTA_DYNSET_SREG_KEY, 1)))
	}
	return list
}

// ringRun is a machine of a ring, beside a list as xtables keeps it: all times
// at which the address was seen since it was forgotten.
type ringRun struct {
	t             testing.TB
	m             *nftsim.Machine
	hits, seconds int
	times         map[netip.Addr][]int64
}

func newRun(t testing.TB, r *ringText) *ringRun {
	run := &ringRun{t: t, m: mustDecode(t, r.batch()), hits: r.hits, seconds: r.seconds, times: map[netip.Addr][]int64{}}
	run.m.Reset()
	return run
}

const second = int64(1e9)

// do sends a packet to a port, and changes the list.
func (r *ringRun) do(port uint16, src netip.Addr, now int64) packet.Verdict {
	v, f := runOne(r.t, r.m, packet.Spec{Proto: packet.TCP, Src: src, DstPort: port, In: "eth0", Time: now})
	if v == packet.Undecided {
		r.t.Fatalf("undecided: %v", f.Unknown)
	}
	switch port {
	case seenPort:
		r.times[src] = append(slices.Clip(r.times[src]), now)
	case forgetPort:
		delete(r.times, src)
	}
	return v
}

// agrees asks both.
func (r *ringRun) agrees(src netip.Addr, now int64) bool {
	n := 0
	for _, t := range r.times[src] {
		if r.seconds == 0 || now-t <= int64(r.seconds)*second {
			n++
		}
	}
	return (r.do(askPort, src, now) == packet.Drop) == (n >= r.hits)
}

// left says what the list still knows, as far as it matters.
func (r *ringRun) left(src netip.Addr, now int64) string {
	var ages []int64
	for _, t := range r.times[src] {
		switch age := now - t; {
		case r.seconds == 0:
			ages = append(ages, 0)
		case age <= int64(r.seconds)*second:
			ages = append(ages, age)
		}
	}
	return fmt.Sprint(ages[max(0, len(ages)-r.hits):])
}

var anAddress = netip.MustParseAddr("192.0.2.77")

// explore goes through all states that ring and list can come to together, with
// times in whole seconds, until there is no new one. It returns the way to one
// in which they disagree, "" when there is none, and the number of states.
//
// What happens depends on which times are at most some seconds old, and so on
// the order of the times and of the moments at which they grow too old. Whole
// seconds bring about all orders of as many times as fit into the ring as long
// as there are more seconds than times.
func explore(t testing.TB, text *ringText) (counterexample string, states int) {
	r := newRun(t, text)
	type state struct {
		memory nftsim.Memory
		times  []int64
		now    int64
		way    string
	}
	seen := map[string]bool{}
	queue := []state{{memory: r.m.Memory()}}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for pause := range int64(text.seconds + 2) {
			now := s.now + pause*second
			for _, port := range []uint16{seenPort, forgetPort} {
				r.m.Recall(s.memory)
				r.times[anAddress] = s.times
				way := s.way + fmt.Sprintf(" %ds", pause)
				if !r.agrees(anAddress, now) {
					return way, len(seen)
				}
				r.do(port, anAddress, now)
				way += map[uint16]string{seenPort: " seen", forgetPort: " forget"}[port]
				if !r.agrees(anAddress, now) {
					return way, len(seen)
				}
				if key := r.m.Left(now) + r.left(anAddress, now); !seen[key] {
					seen[key] = true
					queue = append(queue, state{r.m.Memory(), slices.Clone(r.times[anAddress]), now, way})
				}
			}
		}
	}
	return "", len(seen)
}

// TestRingIsList shows what the proof takes for granted of rings that it
// recognises: their instructions answer what a list of recent addresses does.
func TestRingIsList(t *testing.T) {
	for hits := 1; hits <= 4; hits++ {
		for _, seconds := range []int{0, 1, 6} {
			t.Run(fmt.Sprintf("%d within %ds", hits, seconds), func(t *testing.T) {
				t.Parallel()
				text := newRing(hits, seconds)
				want := fmt.Sprintf("%d within %ds: ", hits, seconds)
				if got := mustDecode(t, text.batch()).Rings(text.hits); len(got) != 1 || !strings.HasPrefix(got[0], want) {
					t.Fatalf("recognised: %q", got)
				}
				way, states := explore(t, text)
				if way != "" {
					t.Errorf("unlike a list after%s", way)
				}
				if least := hits; states < least {
					t.Errorf("only %d states", states)
				}
				t.Logf("%d states", states)
			})
		}
	}
}

// TestRingTwice: of a rule of a ring that stands twice, the second is never met.
func TestRingTwice(t *testing.T) {
	for rule := range 2 {
		for at := range 3 {
			text := newRing(3, 6)
			text.seen = slices.Insert(text.seen, at, text.seen[rule])
			if got := mustDecode(t, text.batch()).Rings(text.hits); len(got) != 1 {
				t.Errorf("%q: recognised %q", text.seen, got)
			}
			if way, _ := explore(t, text); way != "" {
				t.Errorf("%q: unlike a list after%s", text.seen, way)
			}
		}
	}
}

// TestRingIsListAtLength runs random sequences of two addresses through rings of
// more hits.
func TestRingIsListAtLength(t *testing.T) {
	for _, hits := range []int{2, 5, 9, 20, 64} {
		t.Run(strconv.Itoa(hits), func(t *testing.T) {
			t.Parallel()
			r := newRun(t, newRing(hits, 60))
			random := rand.New(rand.NewPCG(uint64(hits), 1))
			addresses := []netip.Addr{anAddress, anAddress.Next()}
			now, yes := int64(0), 0
			for n := range 1000 {
				switch random.IntN(3) {
				case 0:
					now += second * int64(random.IntN(120/hits+2))
				case 1:
					if random.IntN(40) == 0 {
						now += second * (58 + random.Int64N(5))
					}
				}
				port := uint16(seenPort)
				if random.IntN(3*hits) == 0 {
					port = forgetPort
				}
				r.do(port, addresses[random.IntN(2)], now)
				for _, a := range addresses {
					if !r.agrees(a, now) {
						t.Fatalf("unlike a list after %d packets", n+1)
					}
					if r.do(askPort, a, now) == packet.Drop {
						yes++
					}
				}
			}
			if yes < 20 || yes > 1980 {
				t.Errorf("%d of 2000 answers are yes", yes)
			}
		})
	}
}

// ringBugs are rings that are none.
var ringBugs = []struct {
	name string
	edit func(r *ringText)
	// asks says that the ring is recognised, and that only the question is wrong,
	// which the proof sees as one.
	asks bool
	// harmless says that the ring is one, in a form that is not recognised.
	harmless bool
}{
	{name: "a slot is not written", edit: seen(1, "+s3 ", "")},
	{name: "another slot is written", edit: seen(1, "+s3", "+s2")},
	{name: "a time is not renewed", edit: seen(1, "+s3", "~s3")},
	{name: "the pointer is not renewed", edit: seen(0, "+p3", "~p3"), harmless: true},
	{name: "the pointer does not move on", edit: seen(0, " +p3", "")},
	{name: "the pointer stays", edit: seen(0, "-p2 ", "")},
	{name: "another pointer is deleted", edit: seen(0, "-p2", "-p3")},
	{name: "the last pointer stays", edit: seen(1, "-p3 ", "")},
	{name: "no return", edit: seen(0, " return", "")},
	{name: "no first pointer", edit: seen(2, " +p2", "")},
	{name: "no first slot", edit: seen(2, "+s1 ", "")},
	{name: "a rule too few", edit: func(r *ringText) { r.seen = r.seen[1:] }},
	{name: "the last rule first", edit: func(r *ringText) { r.seen = []string{r.seen[2], r.seen[0], r.seen[1]} }},
	{name: "a short pointer", edit: func(r *ringText) { r.timeouts["p2"] = 3004 }},
	{name: "a long pointer", edit: func(r *ringText) { r.timeouts["p2"] = 9004 }, harmless: true},
	{name: "a short slot", edit: func(r *ringText) { r.timeouts["s2"] = 5004 }},
	{name: "a long slot", edit: func(r *ringText) { r.timeouts["s2"] = 7004 }},
	{name: "a tick too short", edit: func(r *ringText) {
		for _, s := range r.sets() {
			r.timeouts[s] = 6000
		}
	}},
	{name: "the last slot is not forgotten", edit: func(r *ringText) { r.forgets = strings.Replace(r.forgets, "-s3 ", "", 1) }},
	{name: "another slot is not forgotten", edit: func(r *ringText) { r.forgets = strings.Replace(r.forgets, "-s2 ", "", 1) }, harmless: true},
	{name: "nothing is forgotten", edit: func(r *ringText) { r.forgets = "" }, asks: true},
	{name: "a pointer is not forgotten", edit: func(r *ringText) { r.forgets = strings.Replace(r.forgets, "-p2 ", "", 1) }, harmless: true},
	{name: "a slot is not asked", edit: func(r *ringText) { r.asks = strings.Replace(r.asks, "?s2 ", "", 1) }, asks: true},
	{name: "a pointer is asked", edit: func(r *ringText) { r.asks += "?p2" }},
	{name: "a slot is looked up before it is written", edit: seen(1, "+s3", "?s3 +s3")},
	{name: "the destination is written", edit: func(r *ringText) { r.destination = []string{"+s2"} }},
	{name: "the destination is forgotten", edit: func(r *ringText) { r.destination = []string{"-s3"} }},
	{name: "the network is written", edit: func(r *ringText) { r.masked = []string{"+s2"} }},
	{name: "the network is asked", edit: func(r *ringText) { r.masked = []string{"?s2"} }},
	{name: "sets for fewer addresses than a list holds", edit: func(r *ringText) { r.sizes["s2"] = 99 }, harmless: true},
}

func seen(rule int, old, new string) func(*ringText) {
	return func(r *ringText) { r.seen[rule] = strings.Replace(r.seen[rule], old, new, 1) }
}

// TestRingBugs plants bugs in a ring of three hits: none is recognised, but as
// single sets, and explore, which is to show that rings are right, shows that
// they are not.
func TestRingBugs(t *testing.T) {
	for _, bug := range ringBugs {
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			text := newRing(3, 6)
			before := fmt.Sprint(*text)
			bug.edit(text)
			if fmt.Sprint(*text) == before {
				t.Fatal("the edit does not apply")
			}
			if got := mustDecode(t, text.batch()).Rings(text.hits); (len(got) > 0) != bug.asks {
				t.Errorf("recognised: %q", got)
			}
			if way, states := explore(t, text); (way == "") != bug.harmless {
				t.Errorf("counterexample %q after %d states", way, states)
			}
		})
	}
}

// TestRingMutants makes random edits of rings. What is recognised must be right.
func TestRingMutants(t *testing.T) {
	t.Parallel()
	const mutants = 400
	random := rand.New(rand.NewPCG(5, 6))
	recognised, wrong := 0, 0
	for n := range mutants {
		text := newRing(2+random.IntN(2), 3)
		for range 1 + random.IntN(2) {
			text.mutate(random)
		}
		found := mustDecode(t, text.batch()).Rings(text.hits)
		if len(found) == 0 {
			wrong++
			continue
		}
		recognised++
		if way, _ := explore(t, text); way != "" || !strings.HasPrefix(found[0], fmt.Sprintf("%d within 3s", text.hits)) {
			t.Errorf("mutant %d: recognised %q, unlike a list after %q: %v", n, found, way, *text)
		}
	}
	if recognised < mutants/20 || wrong < mutants/20 {
		t.Errorf("%d of %d are recognised", recognised, mutants)
	}
}

// mutate changes a word, its place, or the order of rules.
func (r *ringText) mutate(random *rand.Rand) {
	rule := random.IntN(len(r.seen))
	words := strings.Fields(r.seen[rule])
	at, other := random.IntN(len(words)), random.IntN(len(words))
	sets := r.sets()
	switch random.IntN(7) {
	case 0:
		words = slices.Delete(words, at, at+1)
	case 1, 2:
		words[at], words[other] = words[other], words[at]
	case 3:
		words[at] = words[at][:1] + sets[random.IntN(len(sets))]
	case 4:
		words = slices.Insert(words, at, string("?+-"[random.IntN(3)])+sets[random.IntN(len(sets))])
	case 6:
		r.seen = slices.Insert(r.seen, random.IntN(len(r.seen)+1), r.seen[rule])
		return
	case 5:
		other := random.IntN(len(r.seen))
		r.seen[rule], r.seen[other] = r.seen[other], r.seen[rule]
		return
	}
	for i, word := range words {
		if strings.HasPrefix(word, "r") {
			words[i] = "return"
		}
	}
	r.seen[rule] = strings.Join(words, " ")
}
