package equivalence

import (
	"slices"

	"nftmigrate/packet"
)

// A deviation is a declared difference between the engines, or of a
// translation: recognised by what became of a packet, never by which rules are
// there.
//
// docs/deviations.md describes each; a kernel test shows each once.
type deviation struct {
	code string
	// engine deviations apply to every ruleset, the others only when the
	// translation declared them.
	engine   bool
	explains func(p *packet.Packet, a, b packet.Fate, aspects []Aspect) bool
}

var deviations = []deviation{
	{
		// xtables drops packets with truncated or malformed transport headers
		// inside a match; nf_tables goes on with the next rule.
		code: "hotdrop", engine: true,
		explains: func(_ *packet.Packet, a, _ packet.Fate, _ []Aspect) bool { return a.Hotdrop },
	},
	{
		// ip6tables looks through AH headers for the protocol and the ports,
		// nf_tables stops at them.
		code: "ipv6-ah", engine: true,
		explains: func(p *packet.Packet, _, _ packet.Fate, _ []Aspect) bool { return packet.HasAuthentication(p.Data) },
	},
	{
		// A key that packets add and delete many times within a second is not
		// added again until the kernel has collected what was deleted.
		code: "set-churn", engine: true,
		explains: func(_ *packet.Packet, _, b packet.Fate, _ []Aspect) bool {
			return slices.Contains(b.Declared, "set-churn")
		},
	},
	{
		// Later rules can measure the length or look for the option, and so mark, log or
		// answer unlike, or drop.
		code: "tcpmss-adds-option",
		explains: func(_ *packet.Packet, a, b packet.Fate, aspects []Aspect) bool {
			if a.Verdict != packet.Accept || b.Verdict != packet.Accept {
				return slices.Contains(a.Declared, "tcpmss-adds-option")
			}
			const option = 4 // bytes, added again by a rule behind one that took it away
			more := len(a.Data) - len(b.Data)
			return slices.Contains(aspects, AspectData) && more > 0 && more%option == 0
		},
	},
	{
		// IPv6 between addresses of the host, over an MTU of more than 16 bits. Later
		// rules can look at the size, and so mark, log or answer unlike, or drop.
		code: "tcpmss-loopback",
		explains: func(_ *packet.Packet, a, b packet.Fate, aspects []Aspect) bool {
			dropped := a.Verdict != packet.Accept || b.Verdict != packet.Accept
			return slices.Contains(a.Declared, "tcpmss-loopback") && (dropped || slices.Contains(aspects, AspectData))
		},
	},
	// The kernel's lists of recent addresses are short, forget when --reap says
	// so, and look at the TTL; a connection can have counters and no packet in
	// them yet; its rate buckets are refilled in steps. The machine of iptables
	// tells when that decides.
	{code: "recent-list-size", explains: declaredBySource("recent-list-size")},
	{code: "recent-reap", explains: declaredBySource("recent-reap")},
	{code: "recent-ttl", explains: declaredBySource("recent-ttl")},
	{code: "connbytes-uncounted", explains: declaredBySource("connbytes-uncounted")},
	{code: "connlimit-established", explains: declaredBySource("connlimit-established")},
	{code: "hashlimit-expiry", explains: declaredBySource("hashlimit-expiry")},
	{code: "hbh-position", explains: declaredBySource("hbh-position")},
	{code: "srh-segments-left", explains: declaredBySource("srh-segments-left")},
	{code: "hashlimit-bytes", explains: declaredBySource("hashlimit-bytes")},
	{code: "hashlimit-ah-ports", explains: declaredBySource("hashlimit-ah-ports")},
	{code: "ipv6-header-end", explains: declaredBySource("ipv6-header-end")},
	{code: "tcpmss-reading", explains: declaredBySource("tcpmss-reading")},
	{code: "tcpoptstrip-odd", explains: declaredBySource("tcpoptstrip-odd")},
	{
		// Without a word to change, the packet is dropped, and nothing asks for the error.
		code: "npt-no-error",
		explains: func(_ *packet.Packet, a, _ packet.Fate, aspects []Aspect) bool {
			return slices.Equal(aspects, []Aspect{AspectEvents}) && a.Verdict == packet.Drop && slices.Contains(a.Declared, "npt-no-error")
		},
	},
	{code: "ecn-fragment", explains: declaredBySource("ecn-fragment")},
	{code: "limit-resolution", explains: declaredBySource("limit-resolution")},
	{code: "limit-tick", explains: declaredBySource("limit-tick")},
	{
		code: "log-prefix-characters",
		explains: func(_ *packet.Packet, a, b packet.Fate, aspects []Aspect) bool {
			return slices.Equal(aspects, []Aspect{AspectEvents}) && slices.EqualFunc(a.Events, b.Events, equalButPrefix)
		},
	},
}

// declaredBySource explains what the first machine says it is about.
func declaredBySource(code string) func(*packet.Packet, packet.Fate, packet.Fate, []Aspect) bool {
	return func(_ *packet.Packet, a, _ packet.Fate, _ []Aspect) bool { return slices.Contains(a.Declared, code) }
}

// equalButPrefix compares events, but not the prefixes of log messages.
func equalButPrefix(x, y packet.Event) bool {
	logX, isLog := x.(packet.LogEvent)
	logY, both := y.(packet.LogEvent)
	if isLog && both {
		logX.Prefix, logY.Prefix = "", ""
		return logX == logY
	}
	return x == y
}

// explained names the declared deviation that explains a difference, or is "".
func (c *check) explained(p *packet.Packet, a, b packet.Fate, aspects []Aspect) string {
	if c.o.Strict {
		return ""
	}
	for _, d := range deviations {
		if (d.engine || c.declared(d.code)) && d.explains(p, a, b, aspects) {
			return d.code
		}
	}
	return ""
}

// engines reports whether the engines treat a packet unlike, whatever became of
// it.
func (c *check) engines(p *packet.Packet, a, b packet.Fate) bool {
	return !c.o.Strict && slices.ContainsFunc(deviations, func(d deviation) bool {
		return d.engine && d.explains(p, a, b, nil)
	})
}

func (c *check) declared(code string) bool {
	for _, d := range c.o.Deviations {
		if d == code {
			return true
		}
	}
	return false
}
