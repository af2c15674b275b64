package rulegen

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// lists are the shapes that are lists of tuples in FORWARD.
var lists = Shapes[3:]

func tuplesOf(save []byte) []tuple {
	lines, first, end := forward(save)
	var ts []tuple
	for _, line := range lines[first:end] {
		ts = append(ts, parseTuple(line))
	}
	return ts
}

// firstShort is firstMatch for a packet that ends before its ports.
func firstShort(rules []tuple, p *probe) string {
	for i := range rules {
		t := rules[i]
		t.sports, t.dports = allPorts, allPorts
		if t.matches(p) {
			return t.short()
		}
	}
	return ""
}

// TestTuplesPrint wants tuples to be read as they were written.
func TestTuplesPrint(t *testing.T) {
	for _, s := range lists {
		lines, first, end := forward(s.Generate(300, 5))
		for _, line := range lines[first:end] {
			var b bytes.Buffer
			if read := parseTuple(line); !read.exact {
				t.Fatalf("%s: not all is read of %s", s.Name, line)
			} else if read.rule().write(&b, "FORWARD"); !bytes.Equal(b.Bytes(), line) {
				t.Fatalf("%s: %s is read as %s", s.Name, line, b.Bytes())
			}
		}
	}
}

func TestReorderKeepsRules(t *testing.T) {
	for _, s := range Shapes {
		text := s.Generate(500, 3)
		other := Reorder(text, 40, 4)
		a, first, end := forward(text)
		b, _, _ := forward(other)
		moved := 0
		for i := range a {
			if !bytes.Equal(a[i], b[i]) {
				if moved++; i < first || i >= end {
					t.Fatalf("%s: line %d has changed", s.Name, i+1)
				}
			}
		}
		if s.Name != "kube-proxy" && moved == 0 || s.Name == "kube-proxy" && moved > 0 {
			t.Errorf("%s: %d lines of %d have moved", s.Name, moved, end-first)
		}
		slices.SortFunc(a, bytes.Compare)
		slices.SortFunc(b, bytes.Compare)
		if !slices.EqualFunc(a, b, bytes.Equal) {
			t.Errorf("%s: other rules after the reordering", s.Name)
		}
		wantPrinted(t, s, other)
	}
}

// TestReorderMovesFar wants what is free to move to be moved: a blocklist can
// have any order.
func TestReorderMovesFar(t *testing.T) {
	text := Block(1000, 1)
	a, first, end := forward(text)
	b, _, _ := forward(Reorder(text, 40, 1))
	distance := 0
	for i, line := range a[first:end] {
		to := slices.IndexFunc(b[first:end], func(l []byte) bool { return bytes.Equal(l, line) })
		distance += max(to-i, i-to)
	}
	if mean := distance / (end - first); mean < 5 {
		t.Errorf("a rule moves by %d places", mean)
	}
}

// TestReorderSaysTheSame takes packets through both orders, most of them at the
// ends of what some rule matches.
func TestReorderSaysTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range lists {
		text := s.Generate(400, 9)
		a, b := tuplesOf(text), tuplesOf(Reorder(text, 40, 9))
		for i := range a {
			for range 30 {
				p := probeOf(r, &a[i])
				other := probeOf(r, &a[r.IntN(len(a))])
				switch r.IntN(4) {
				case 0:
					p.source = other.source
				case 1:
					p.destination = other.destination
				case 2:
					p.protocol, p.sport, p.dport = other.protocol, other.sport, other.dport
				}
				if x, y := firstMatch(a, &p), firstMatch(b, &p); x != y {
					t.Fatalf("%s: %+v meets %q and %q", s.Name, p, x, y)
				}
				if x, y := firstShort(a, &p), firstShort(b, &p); x != y {
					t.Fatalf("%s: %+v without ports meets %q and %q", s.Name, p, x, y)
				}
			}
		}
	}
}

func TestSwappable(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"-j ACCEPT", "-j DROP", false},
		{"-j ACCEPT", "-j ACCEPT", true},
		{"-s 10.0.0.0/8 -j ACCEPT", "-s 10.1.0.0/16 -j DROP", false},
		{"-s 10.0.0.0/8 -j ACCEPT", "-s 11.1.0.0/16 -j DROP", true},
		{"-d 2001:db8::/32 -j ACCEPT", "-d 2001:db9::/32 -j DROP", true},
		{"-s 10.0.0.0/8 -j ACCEPT", "-d 11.1.0.0/16 -j DROP", false},
		{"-s 10.0.0.0/8 -j ACCEPT", "! -s 10.0.0.0/8 -j DROP", false},
		{"-i eth0 -j ACCEPT", "-i eth1 -j DROP", true},
		{"-i eth+ -j ACCEPT", "-i eth1 -j DROP", false},
		{"-p tcp -j ACCEPT", "-p udp -j DROP", true},
		{"-p tcp -j ACCEPT", "-j DROP", false},
		{"-p tcp -m tcp --dport 1 -j DROP", "-p tcp -m tcp --dport 2 -j DROP", true},
		{"-p tcp -m tcp --dport 1 -j ACCEPT", "-p tcp -m tcp --dport 2 -j DROP", true},
		{"-p tcp -m tcp --dport 1:5 -j ACCEPT", "-p tcp -m tcp --dport 5:9 -j DROP", false},
		{"-p tcp -m tcp --dport 1 -j ACCEPT", "-p tcp -m tcp --sport 1 -j DROP", false},
		// A short segment is dropped by the first rule and accepted by the second.
		{"-p tcp -m tcp --dport 1 -j ACCEPT", "-p tcp -j ACCEPT", false},
		{"-p tcp -m tcp --dport 1 -j DROP", "-p tcp -j DROP", true},
		{"-p tcp -m multiport --dports 1,2 -j ACCEPT", "-p tcp -m multiport --dports 3,4 -j ACCEPT", false},
		{"-s 10.0.0.1/32 -m limit --limit 1/sec -j ACCEPT", "-s 10.0.0.2/32 -j DROP", false},
		{"-s 10.0.0.1/32 -j LOG --log-prefix a", "-s 10.0.0.1/32 -j LOG --log-prefix b", false},
		{"-s 10.0.0.1/32 -j LOG --log-prefix a", "-j LOG --log-prefix a", true},
		{"-s 10.0.0.1/255.0.255.0 -j ACCEPT", "-s 11.0.0.1/32 -j DROP", false},
	} {
		a, b := parseTuple([]byte("-A FORWARD "+c.a)), parseTuple([]byte("-A FORWARD "+c.b))
		if swappable(&a, &b) != c.want || swappable(&b, &a) != c.want {
			t.Errorf("%s and %s: want %v", c.a, c.b, c.want)
		}
	}
}
