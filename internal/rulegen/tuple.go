package rulegen

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A tuple is what a rule says about addresses, interfaces, protocol and ports. A
// part that the rule does not test has its zero value, or all ports.
type tuple struct {
	source, destination netip.Prefix
	in, out             string
	protocol            string
	sports, dports      span
	header              bool   // the rule reads the header behind that of IP
	action              string // with -j or -g and all options
	// exact tuples say all that the rule says. Others leave tests out, so that
	// they match more packets.
	exact bool
}

// A span is a range of ports, ends included.
type span struct{ low, high uint16 }

var allPorts = span{0, math.MaxUint16}

func (s span) contains(port uint16) bool { return s.low <= port && port <= s.high }
func (s span) disjoint(o span) bool      { return s.high < o.low || o.high < s.low }

func (s span) String() string {
	if s.low == s.high {
		return strconv.Itoa(int(s.low))
	}
	return fmt.Sprintf("%d:%d", s.low, s.high)
}

// rule returns the rule that a tuple without interfaces stands for.
func (t tuple) rule() rule {
	r := rule{protocol: t.protocol, action: t.action}
	if t.source.IsValid() {
		r.source = t.source.String()
	}
	if t.destination.IsValid() {
		r.destination = t.destination.String()
	}
	match := t.protocol
	if t.sports != allPorts {
		match += " --sport " + t.sports.String()
	}
	if t.dports != allPorts {
		match += " --dport " + t.dports.String()
	}
	if match != t.protocol {
		r.matches = []string{match}
	}
	return r
}

// parseTuple reads the rule of a line as it is printed.
func parseTuple(line []byte) tuple {
	t := tuple{sports: allPorts, dports: allPorts, exact: true}
	words := strings.Fields(string(line))
	if len(words) > 2 {
		words = words[2:] // -A CHAIN
	}
	for len(words) > 0 {
		known := 2 // an option and its value
		switch {
		case words[0] == "-j" || words[0] == "-g":
			t.action = strings.Join(words, " ")
			return t
		case words[0] == "!":
			t.exact, known = false, min(3, len(words))
		case len(words) == 1 || !t.option(words[0], words[1]):
			t.exact, known = false, 1
		}
		words = words[known:]
	}
	return t
}

// option reads one option with its value. It returns false when it knows them
// not.
func (t *tuple) option(name, value string) (known bool) {
	var err error
	switch name {
	case "-s":
		t.source, err = parsePrefix(value)
	case "-d":
		t.destination, err = parsePrefix(value)
	case "-i":
		t.in = value
	case "-o":
		t.out = value
	case "-p":
		t.protocol = value
	case "-m":
		t.header = true
		return value == "tcp" || value == "udp"
	case "--sport":
		t.sports, err = parseSpan(value)
	case "--dport":
		t.dports, err = parseSpan(value)
	default:
		return false
	}
	return err == nil
}

// parsePrefix reads an address with a prefix length. A mask with holes is not
// read.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		return single(a), err
	}
	return netip.ParsePrefix(s)
}

func parseSpan(s string) (span, error) {
	first, last, isRange := strings.Cut(s, ":")
	if !isRange {
		last = first
	}
	low, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return allPorts, err
	}
	high, err := strconv.ParseUint(last, 10, 16)
	if err != nil {
		return allPorts, err
	}
	return span{uint16(low), uint16(high)}, nil
}

// disjoint reports whether no packet with whole headers matches both.
func (t *tuple) disjoint(o *tuple) bool {
	return t.apart(o) || t.protocol == o.protocol && (t.sports.disjoint(o.sports) || t.dports.disjoint(o.dports))
}

// apart reports the same for packets that end before their ports.
func (t *tuple) apart(o *tuple) bool {
	return t.source.IsValid() && o.source.IsValid() && !t.source.Overlaps(o.source) ||
		t.destination.IsValid() && o.destination.IsValid() && !t.destination.Overlaps(o.destination) ||
		t.protocol != "" && o.protocol != "" && t.protocol != o.protocol ||
		devicesDiffer(t.in, o.in) || devicesDiffer(t.out, o.out)
}

func devicesDiffer(a, b string) bool {
	return a != "" && b != "" && a != b && !strings.HasSuffix(a, "+") && !strings.HasSuffix(b, "+")
}

// short is what becomes of a packet that ends before its ports: a match that
// reads them drops it.
//
// Kernel: net/netfilter/xt_tcpudp.c.
func (t *tuple) short() string {
	if t.header {
		return "-j DROP"
	}
	return t.action
}

// swappable reports whether two neighbours can change places without any packet
// noticing.
func swappable(a, b *tuple) bool {
	return a.exact && b.exact &&
		(a.action == b.action || a.disjoint(b)) &&
		(a.short() == b.short() || a.apart(b))
}

// forward returns the lines of a text, and which of them are the rules of chain
// FORWARD in table filter: from first, up to but not including end.
func forward(save []byte) (lines [][]byte, first, end int) {
	lines = slices.Collect(bytes.Lines(save))
	table := slices.IndexFunc(lines, func(line []byte) bool { return string(line) == "*filter\n" })
	if table < 0 {
		return lines, 0, 0
	}
	first = table + slices.IndexFunc(lines[table:], isForward)
	if first < table {
		return lines, 0, 0
	}
	end = first
	for end < len(lines) && isForward(lines[end]) {
		end++
	}
	return lines, first, end
}

func isForward(line []byte) bool { return bytes.HasPrefix(line, []byte("-A FORWARD ")) }
