package equivalence

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"nftmigrate/equivalence/symbolic"
)

// at is a packet at another time.
func (c candidate) at(t time.Duration) (candidate, bool) {
	c.spec.Time = int64(t)
	pkt, err := c.spec.Packet()
	c.packet = pkt
	return c, err == nil
}

// timed looks for a difference of states that remember addresses for some time:
// bursts of packets with pauses between them, and then packets in random order,
// from the address that a class needs and from others that a mask tells apart
// from it. Other states are shown without it.
func (p *prover) timed(c *check, w witness, of *consulted) (Difference, bool) {
	t := &timing{check: c}
	t.read(p, of)
	if len(t.pauses) == 0 && len(t.masks) == 0 {
		return Difference{}, false
	}
	t.cast(w, of)
	for _, run := range t.bursts() {
		if i := c.firstUnlike(run); i >= 0 {
			return c.smallest(run[:i+1]), true
		}
	}
	for seed := range uint64(timedRuns) {
		if p.ctx.Err() != nil || p.walked >= maxWalked {
			break
		}
		p.walked++
		run := t.walk(rand.New(rand.NewPCG(seed, 0)))
		if i := c.firstUnlike(run); i >= 0 {
			return c.smallest(run[:i+1]), true
		}
	}
	return Difference{}, false
}

const (
	// timedRuns is how many random sequences are tried for a class, maxWalked for
	// all, and timedPackets how many packets each has at least.
	timedRuns    = 100
	maxWalked    = 1000
	timedPackets = 30
	// maxTimes bounds how often a packet is repeated.
	maxTimes = 80
	// maxActors bounds the packets of which sequences are made.
	maxActors = 16
	// aside is by how much a pause is longer or shorter than what a state
	// remembers: far enough for the clocks of both sides, and less than a second.
	aside = 500 * time.Millisecond
)

// timing makes sequences of packets.
type timing struct {
	*check
	pauses []time.Duration
	masks  [][]byte
	times  int         // how many packets of a kind change what a state answers
	actors []candidate // the witness first
}

// read finds pauses and masks that tell states apart.
func (t *timing) read(p *prover, of *consulted) {
	t.times = 1
	pause := func(d time.Duration) {
		if d > 0 && !slices.Contains(t.pauses, d) {
			t.pauses = append(t.pauses, d)
		}
	}
	for _, slot := range of.slots {
		in := p.space.InstanceOf(slot)
		if in.Mask != nil && !slices.ContainsFunc(t.masks, func(m []byte) bool { return slices.Equal(m, in.Mask) }) {
			t.masks = append(t.masks, in.Mask)
		}
		if s := in.Lasts; s != 0 {
			off := min(aside, s/4)
			pause(s - off)
			pause(s + off)
			pause(s/2 + off/5)
		}
		if in.Lasts != 0 || in.Mask != nil {
			t.times = max(t.times, min(in.Turns, maxTimes))
		}
	}
	slices.Sort(t.pauses)
}

// cast lists the packets: the witness and its companions, then the same with
// addresses that masks tell apart.
func (t *timing) cast(w witness, of *consulted) {
	t.actors = []candidate{w.candidate}
	for _, c := range of.companions {
		t.actors = append(t.actors, c.candidate)
	}
	var flips []int
	flip := func(m []byte) {
		for i := len(m) - 1; i >= 0; i-- {
			if m[i] != 0 {
				if bit := 8*(len(m)-1-i) + bits.TrailingZeros8(m[i]); !slices.Contains(flips, bit) {
					flips = append(flips, bit)
				}
				return
			}
		}
	}
	for i, m := range t.masks {
		flip(m)
		for _, o := range t.masks[:i] {
			if len(o) == len(m) {
				apart := make([]byte, len(m))
				for k := range m {
					apart[k] = m[k] ^ o[k]
				}
				flip(apart)
			}
		}
	}
	for _, c := range slices.Clone(t.actors) {
		for _, bit := range flips {
			for _, destination := range []bool{false, true} {
				v := c
				if destination {
					v.spec.Dst = flipped(v.spec.Dst, bit)
				} else {
					v.spec.Src = flipped(v.spec.Src, bit)
				}
				if _, ok := v.at(0); ok && len(t.actors) < maxActors {
					t.actors = append(t.actors, v)
				}
			}
		}
	}
}

// flipped is an address with another bit, counted from the last.
func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	if at := len(b) - 1 - bit/8; at >= 0 {
		b[at] ^= 1 << (bit % 8)
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}

// bursts are sequences in order: some packets of a kind, a pause, and the
// witness, or one more burst, a pause and the witness.
func (t *timing) bursts() [][]candidate {
	var list [][]candidate
	w := t.actors[0]
	for _, c := range t.actors {
		many := slices.Repeat([]candidate{c}, t.times)
		list = append(list, t.clocked(0, many, []candidate{w}))
		for _, pause := range t.pauses {
			list = append(list,
				t.clocked(pause, many, []candidate{w}),
				t.clocked(pause, many, many, []candidate{w}))
		}
	}
	return list
}

// clocked puts a pause between parts of a sequence.
func (t *timing) clocked(pause time.Duration, parts ...[]candidate) []candidate {
	var run []candidate
	now := time.Duration(0)
	for _, part := range parts {
		for _, c := range part {
			if c, ok := c.at(now); ok {
				run = append(run, c)
			}
		}
		now += pause
	}
	return run
}

// walk is a random sequence. Most packets come at the time of the one before.
func (t *timing) walk(r *rand.Rand) []candidate {
	var run []candidate
	now := time.Duration(0)
	few := t.actors
	if r.IntN(2) == 0 {
		few = t.actors[:min(len(t.actors), 2)]
	}
	patience := 2 + r.IntN(2*t.times+2) // packets between pauses, about
	for len(run) < timedPackets+4*t.times {
		if len(t.pauses) > 0 && r.IntN(patience) == 0 {
			now += t.pauses[r.IntN(len(t.pauses))]
		}
		c, ok := few[r.IntN(len(few))].at(now)
		if !ok {
			break
		}
		run = append(run, c)
	}
	return run
}

// unpaired says in words which state of a class has no counterpart, "" when all
// have one.
func (p *prover) unpaired(of finding) string {
	for _, side := range [][]symbolic.Slot{p.pairing.AloneA, p.pairing.AloneB} {
		for _, slot := range p.slotsIn(of) {
			if !slices.Contains(side, slot) {
				continue
			}
			in := p.space.InstanceOf(slot)
			for _, code := range in.Needs {
				if !p.accepts(code) {
					return "state " + in.String() + " is known only with the deviation " + code + ", which is not accepted"
				}
			}
			return "state " + in.String() + " has no counterpart that the proof knows"
		}
	}
	return ""
}
