package rulegen

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// A probe is a packet as far as tuples see it.
type probe struct {
	source, destination netip.Addr
	protocol            string
	sport, dport        uint16
}

func (t *tuple) matches(p *probe) bool {
	ported := p.protocol == "tcp" || p.protocol == "udp"
	return (!t.source.IsValid() || t.source.Contains(p.source)) &&
		(!t.destination.IsValid() || t.destination.Contains(p.destination)) &&
		(t.protocol == "" || t.protocol == p.protocol) &&
		(!ported || t.sports.contains(p.sport) && t.dports.contains(p.dport))
}

// firstMatch returns what the first rule does that matches, "" when none does.
func firstMatch(rules []tuple, p *probe) string {
	for i := range rules {
		if rules[i].matches(p) {
			return rules[i].action
		}
	}
	return ""
}

// probeOf returns a random packet that a rule matches, more often at the ends of
// its ranges than in the middle.
func probeOf(r *rand.Rand, t *tuple) probe {
	v6 := t.source.IsValid() && t.source.Addr().Is6() || t.destination.IsValid() && t.destination.Addr().Is6()
	addr := func(n netip.Prefix) netip.Addr {
		switch {
		case n.IsValid():
			return addrIn(r, n)
		case v6:
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], r.Uint64())
			binary.BigEndian.PutUint64(b[8:], r.Uint64())
			return netip.AddrFrom16(b)
		}
		return randomPrefix(r, 32).Addr()
	}
	port := func(s span) uint16 {
		switch r.IntN(3) {
		case 0:
			return s.low
		case 1:
			return s.high
		}
		return s.low + uint16(r.IntN(int(s.high-s.low)+1))
	}
	p := probe{source: addr(t.source), destination: addr(t.destination), protocol: t.protocol, sport: port(t.sports), dport: port(t.dports)}
	if p.protocol == "" {
		p.protocol = oneOf(r, []string{"tcp", "udp", "icmp"})
	}
	return p
}

// probes is how many packets are tried with each rule that an edit is about.
const probes = 24

// noticed reports whether some packet finds that an edit makes a difference. It
// is true too where packets are not looked for.
func (m *mutant) noticed(at int, e *edit) bool {
	if m.tuples == nil {
		return true
	}
	i, _ := slices.BinarySearch(m.rules, at)
	now, rest := []tuple{parseTuple([]byte(e.first))}, m.tuples[i+1:]
	if e.second != "" {
		now, rest = append(now, parseTuple([]byte(e.second))), m.tuples[i+2:]
	}
	for _, t := range []tuple{m.tuples[i], now[0]} {
		for range probes {
			p := probeOf(m.Rand, &t)
			if firstMatch(m.tuples[:i], &p) != "" {
				continue
			}
			after := cmp.Or(firstMatch(now, &p), firstMatch(rest, &p), m.policy)
			if cmp.Or(firstMatch(m.tuples[i:], &p), m.policy) != after {
				return true
			}
		}
	}
	return false
}
