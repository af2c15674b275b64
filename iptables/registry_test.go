package iptables

import "sort"

// testRegistry is a registry of a few extensions with the options that the
// tests of this package use.
type testRegistry struct{}

var testMatches = map[string]func(f Family) Match{
	"tcp":       func(Family) Match { return new(tcpTest) },
	"udp":       func(Family) Match { return new(udpTest) },
	"multiport": func(Family) Match { return new(multiportTest) },
	"comment":   func(Family) Match { return new(commentTest) },
	"mark":      func(Family) Match { return new(markTest) },
	"length":    func(Family) Match { return new(lengthTest) },
	"mac":       func(Family) Match { return new(macTest) },
	"iprange":   func(Family) Match { return new(iprangeTest) },
}

var testTargets = map[string]func() Target{
	"LOG":  func() Target { return new(logTest) },
	"MARK": func() Target { return new(setMarkTest) },
}

func (testRegistry) NewMatch(f Family, name string) Match {
	if name == "ttl" && f == IPv4 {
		return new(lengthTest)
	}
	if fresh := testMatches[name]; fresh != nil {
		return fresh(f)
	}
	return nil
}

func (testRegistry) NewTarget(f Family, name string) Target {
	if name == "TTL" && f == IPv6 {
		return new(logTest)
	}
	if fresh := testTargets[name]; fresh != nil {
		return fresh()
	}
	return nil
}

func (testRegistry) ProtocolMatch(f Family, proto uint8) string {
	return map[uint8]string{6: "tcp", 17: "udp"}[proto]
}

func (testRegistry) Exists(name string) bool {
	return map[string]bool{"quota": true, "sctp": true, "string": true, "LED": true}[name] ||
		testMatches[name] != nil || testTargets[name] != nil
}

func (testRegistry) Matches(Family) []string { return sortedKeys(testMatches) }
func (testRegistry) Targets(Family) []string { return sortedKeys(testTargets) }

func sortedKeys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

type tcpTest struct {
	Sport, Dport Opt[PortSpan]
	Flags        Opt[TCPFlags]
}

func (*tcpTest) Name() string { return "tcp" }
func (m *tcpTest) Options() Options {
	return Options{
		Bind("sport", &m.Sport, Invertible), Alias("source-port", "sport"),
		Bind("dport", &m.Dport, Invertible), Alias("destination-port", "dport"),
		Bind("tcp-flags", &m.Flags, Invertible),
		Rewrite("syn", 0, Invertible, func(_ []string, negated bool) ([]Replacement, error) {
			return []Replacement{{Name: "tcp-flags", Args: []string{"FIN,SYN,RST,ACK", "SYN"}, Negated: negated}}, nil
		}),
	}
}

func (*tcpTest) Validate(c Context) []Problem { return needProtocol(c, 6) }

func needProtocol(c Context, protocols ...uint8) []Problem {
	proto, ok := c.ProtocolNumber()
	for _, p := range protocols {
		if ok && proto == p {
			return nil
		}
	}
	return []Problem{{Code: "needs-protocol", Summary: "the match needs -p", Detail: "Add it."}}
}

type udpTest struct{ Sport, Dport Opt[PortSpan] }

func (*udpTest) Name() string { return "udp" }
func (m *udpTest) Options() Options {
	return Options{Bind("sport", &m.Sport, Invertible), Bind("dport", &m.Dport, Invertible)}
}

func (*udpTest) Validate(c Context) []Problem { return needProtocol(c, 17) }

type multiportTest struct{ Sports, Dports Opt[PortList] }

func (*multiportTest) Name() string { return "multiport" }
func (m *multiportTest) Options() Options {
	return Options{
		Bind("sports", &m.Sports, Invertible), Alias("source-ports", "sports"),
		Bind("dports", &m.Dports, Invertible), Alias("destination-ports", "dports"),
	}
}

// Validate asks for -p before the ports, as multiport does; without ports it is
// refused too.
func (m *multiportTest) Validate(c Context) []Problem {
	if p := needProtocol(c, 6, 17, 132); p != nil {
		return p
	}
	ports := m.Dports.Range
	if m.Sports.Present {
		ports = m.Sports.Range
	}
	if m.Sports.Present == m.Dports.Present || c.Rule.Protocol.Range.Start > ports.Start {
		return []Problem{{Summary: "multiport needs -p before, and one list"}}
	}
	return nil
}

type commentTest struct{ Comment Opt[Text] }

func (*commentTest) Name() string       { return "comment" }
func (m *commentTest) Options() Options { return Options{Bind("comment", &m.Comment, Required)} }

type markTest struct{ Mark Opt[MarkMask] }

func (*markTest) Name() string { return "mark" }
func (m *markTest) Options() Options {
	return Options{Bind("mark", &m.Mark, Required|Invertible)}
}

type lengthTest struct{ Length Opt[U16Span] }

func (*lengthTest) Name() string { return "length" }
func (m *lengthTest) Options() Options {
	return Options{Bind("length", &m.Length, Required|Invertible)}
}

type macTest struct{ Source Opt[MAC] }

func (*macTest) Name() string { return "mac" }
func (m *macTest) Options() Options {
	return Options{Bind("mac-source", &m.Source, Required|Invertible)}
}

type iprangeTest struct{ Source, Destination Opt[AddressRange] }

func (*iprangeTest) Name() string { return "iprange" }
func (m *iprangeTest) Options() Options {
	return Options{Bind("src-range", &m.Source, Invertible), Bind("dst-range", &m.Destination, Invertible)}
}

type logTest struct {
	Prefix Opt[Text]
	Level  Opt[U8]
	UID    Opt[Flag]
}

func (*logTest) Name() string { return "LOG" }
func (t *logTest) Options() Options {
	return Options{Bind("log-prefix", &t.Prefix, 0), Bind("log-level", &t.Level, 0), Bind("log-uid", &t.UID, 0)}
}

type setMarkTest struct{ Mark Opt[MarkMask] }

func (*setMarkTest) Name() string { return "MARK" }
func (t *setMarkTest) Options() Options {
	return Options{Bind("set-xmark", &t.Mark, Required)}
}
