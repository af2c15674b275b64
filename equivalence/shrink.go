package equivalence

import (
	"reflect"

	"nftmigrate/packet"
)

// shrink finds a small packet, and as few packets before it as needed, that
// show the difference which the last packet of a run showed.
func (c *check) shrink(run []candidate) Difference {
	last := run[len(run)-1]
	before := c.prefix(run[:len(run)-1], last)
	best := last
	for changed := true; changed; {
		changed = false
		for _, simpler := range simplifiers {
			spec := best.spec
			simpler(&spec)
			if n := len(before); n > 0 {
				spec.Time = max(spec.Time, before[n-1].spec.Time)
			}
			if reflect.DeepEqual(spec, best.spec) {
				continue
			}
			p, err := spec.Packet()
			if err != nil {
				continue
			}
			next := candidate{spec: spec, packet: p}
			if c.differs(before, next) {
				best, changed = next, true
			}
		}
	}
	return c.explain(before, best)
}

// prefix returns the packets that have to run before one for it to differ.
func (c *check) prefix(run []candidate, last candidate) []candidate {
	if c.differs(nil, last) {
		return nil
	}
	// Halve from the front as long as the difference stays, then try to leave
	// out single packets.
	needed := run
	for len(needed) > 1 {
		half := needed[len(needed)/2:]
		if !c.differs(half, last) {
			break
		}
		needed = half
	}
	const maxSingle = 400
	for chunk := len(needed) / 2; chunk > 0; chunk /= 2 {
		for at := 0; at+chunk <= len(needed) && len(needed) <= maxSingle*chunk; {
			without := append(append([]candidate(nil), needed[:at]...), needed[at+chunk:]...)
			if c.differs(without, last) {
				needed = without
			} else {
				at += chunk
			}
		}
	}
	return needed
}

// differs runs packets from fresh state and reports whether the last one's
// fates differ without an explanation.
func (c *check) differs(before []candidate, last candidate) bool {
	if c.tracked[last.packet.Version()] && packet.IsFragment(last.packet.Data) {
		return false
	}
	c.replay(before)
	c.walkA.Trace, c.walkB.Trace = c.keep != "", c.keep != ""
	a, b, aspects, why := c.step(last.packet)
	c.walkA.Trace, c.walkB.Trace = false, false
	return len(aspects) > 0 && why == "" && (c.keep == "" || c.keep == deciders(a, b))
}

// deciders names the rules that decided about a packet on both sides.
func deciders(a, b packet.Fate) string { return lastPlace(a) + "|" + lastPlace(b) }

// explain runs a difference once more, with traces.
func (c *check) explain(before []candidate, last candidate) Difference {
	c.replay(before)
	c.walkA.Trace, c.walkB.Trace = true, true
	defer func() { c.walkA.Trace, c.walkB.Trace = false, false }()
	d := Difference{Packet: last.packet, Host: c.host, Count: 1}
	d.A, d.B = c.walkA.Run(last.packet), c.walkB.Run(last.packet)
	d.Aspects = Differ(d.A, d.B)
	for _, b := range before {
		d.Before = append(d.Before, b.packet)
	}
	return d
}

// simplifiers each make a packet more ordinary.
var simplifiers = []func(*packet.Spec){
	func(s *packet.Spec) { s.Payload, s.Length = nil, 0 },
	func(s *packet.Spec) { s.Truncate, s.Keep = false, 0 },
	func(s *packet.Spec) { s.DataOffset, s.Reserved = 0, 0 },
	func(s *packet.Spec) { s.Fragmented, s.FragmentOffset, s.MoreFragments = false, 0, false },
	func(s *packet.Spec) { s.IPOptions, s.Headers = nil, nil },
	func(s *packet.Spec) { s.MSS, s.TCPOptions = 0, nil },
	func(s *packet.Spec) { s.BadChecksum = false },
	func(s *packet.Spec) { s.TTL = 64 },
	func(s *packet.Spec) { s.TOS, s.ID, s.FlowLabel, s.FragmentID, s.Seq, s.Ack = 0, 0, 0, 0, 0, 0 },
	func(s *packet.Spec) { s.Window, s.Urgent = 0, 0 },
	func(s *packet.Spec) { s.Mark = 0 },
	func(s *packet.Spec) { s.Entry = nil },
	func(s *packet.Spec) { s.ConnMark = 0 },
	func(s *packet.Spec) { s.Priority = 0 },
	func(s *packet.Spec) { s.Random = nil },
	func(s *packet.Spec) { s.Socket = nil },
	func(s *packet.Spec) { s.Status = 0 },
	func(s *packet.Spec) { s.State, s.Reply = packet.New, false },
	func(s *packet.Spec) { s.Reply = false },
	func(s *packet.Spec) { s.TCPFlags = 0x02 },
	func(s *packet.Spec) { s.Code = 0 },
	func(s *packet.Spec) { s.Type = 8 },
	func(s *packet.Spec) { s.SrcPort = 40000 },
	func(s *packet.Spec) { s.DstPort = 80 },
	func(s *packet.Spec) { s.Proto = packet.TCP },
	func(s *packet.Spec) { s.PktType = packet.TypeHost },
	func(s *packet.Spec) { s.Link = nil },
	func(s *packet.Spec) { s.Time = 0 },
}
