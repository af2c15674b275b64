package rulegen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// Mutate returns a text that says something else in one place, and what was
// changed: a port by one, a bit of an address, a negation that is left out, a
// rule that changes places with the next, or what a rule does. What is "" when
// there is nothing to change.
//
// In a text whose rules all are in FORWARD of table filter, accept or drop, and
// test nothing but addresses, protocol and ports, some packet is sure to notice:
// it was looked for. Elsewhere other rules may hide the change.
func Mutate(save []byte, seed uint64) (mutated []byte, what string) {
	m := &mutant{Rand: rand.New(rand.NewPCG(seed, 202))}
	m.read(save)
	if len(m.rules) == 0 {
		return save, ""
	}
	const patience = 2000
	for range patience {
		at := oneOf(m.Rand, m.rules)
		edit := oneOf(m.Rand, edits)(m, at)
		if edit == nil || edit.first == string(m.lines[at]) || !m.noticed(at, edit) {
			continue
		}
		lines := slices.Clone(m.lines)
		lines[at] = []byte(edit.first)
		if edit.second != "" {
			lines[at+1] = []byte(edit.second)
		}
		return bytes.Join(lines, nil), fmt.Sprintf("line %d, %s: %s", at+1, edit.what, bytes.TrimSpace(m.lines[at]))
	}
	return save, ""
}

// A mutant is a text that is about to be changed.
type mutant struct {
	*rand.Rand
	lines  [][]byte
	rules  []int               // the lines that are rules
	tables []string            // of each line
	chains map[[2]string][]int // the lines of the rules, by table and chain
	user   map[[2]string]bool  // chains that are not built-in
	tuples []tuple             // the rules, when a packet can be looked for
	policy string              // behind them
}

// An edit is a new text for a line and, when they change places, the next one.
type edit struct {
	first, second string
	what          string
}

// edits are the ways to change a rule. Each returns nil when the rule has
// nothing of the kind.
var edits = []func(m *mutant, at int) *edit{
	(*mutant).port, (*mutant).address, (*mutant).negation, (*mutant).neighbour, (*mutant).action,
}

func (m *mutant) read(save []byte) {
	m.lines = slices.Collect(bytes.Lines(save))
	m.tables = make([]string, len(m.lines))
	m.chains, m.user = make(map[[2]string][]int), make(map[[2]string]bool)
	m.tuples = make([]tuple, 0)
	table := ""
	for i, line := range m.lines {
		switch words := strings.Fields(string(line)); {
		case len(words) == 0:
		case line[0] == '*':
			table = words[0][1:]
		case line[0] == ':' && len(words) > 1 && words[1] == "-":
			m.user[[2]string{table, words[0][1:]}] = true
		case table == "filter" && words[0] == ":FORWARD" && len(words) > 1:
			m.policy = "-j " + words[1]
		case words[0] == "-A" && len(words) > 2:
			m.rules = append(m.rules, i)
			key := [2]string{table, words[1]}
			m.chains[key] = append(m.chains[key], i)
			m.remember(table, line)
		}
		m.tables[i] = table
	}
}

// remember collects the rules as tuples while all of them are of the kind.
func (m *mutant) remember(table string, line []byte) {
	if m.tuples == nil {
		return
	}
	t := parseTuple(line)
	if table != "filter" || !isForward(line) || !t.exact || t.in != "" || t.out != "" || t.action != "-j ACCEPT" && t.action != "-j DROP" {
		m.tuples = nil
		return
	}
	m.tuples = append(m.tuples, t)
}

// chain returns the rules of the chain that a rule stands in.
func (m *mutant) chain(at int) []int {
	return m.chains[[2]string{m.tables[at], strings.Fields(string(m.lines[at]))[1]}]
}

// word replaces one of the words of a rule for which change has another one. It
// is given the word and the one before it.
func (m *mutant) word(at int, change func(before, word string) string) *edit {
	words := strings.Split(strings.TrimSuffix(string(m.lines[at]), "\n"), " ")
	for _, i := range m.Perm(len(words)) {
		if i < 3 {
			continue
		}
		now := change(words[i-1], words[i])
		if now == "" || now == words[i] {
			continue
		}
		what := fmt.Sprintf("%s %s instead of %s", words[i-1], now, words[i])
		words[i] = now
		return &edit{first: strings.Join(words, " ") + "\n", what: what}
	}
	return nil
}

// port moves a port, or one end of a range, by one.
func (m *mutant) port(at int) *edit {
	return m.word(at, func(before, word string) string {
		switch before {
		case "--sport", "--dport", "--sports", "--dports":
		default:
			return ""
		}
		list := strings.Split(word, ",")
		i := m.IntN(len(list))
		s, err := parseSpan(list[i])
		if err != nil {
			return ""
		}
		isRange := s.low != s.high
		end := &s.low
		if isRange && oneIn(m.Rand, 2) {
			end = &s.high
		}
		if *end == allPorts.high || *end > 1 && oneIn(m.Rand, 2) {
			*end--
		} else {
			*end++
		}
		if !isRange {
			s.high = s.low
		}
		list[i] = s.String()
		return strings.Join(list, ",")
	})
}

// address turns over one of the last bits of a network.
func (m *mutant) address(at int) *edit {
	return m.word(at, func(before, word string) string {
		if before != "-s" && before != "-d" {
			return ""
		}
		p, err := parsePrefix(word)
		if err != nil || p.Bits() == 0 {
			return ""
		}
		b := p.Addr().AsSlice()
		bit := p.Bits() - 1 - m.IntN(min(p.Bits(), 16))
		b[bit/8] ^= 0x80 >> (bit % 8)
		a, _ := netip.AddrFromSlice(b)
		return netip.PrefixFrom(a, p.Bits()).String()
	})
}

// negation leaves out an exclamation mark.
func (m *mutant) negation(at int) *edit {
	before, after, found := strings.Cut(string(m.lines[at]), " ! ")
	if !found {
		return nil
	}
	option, _, _ := strings.Cut(after, " ")
	return &edit{first: before + " " + after, what: option + " without its negation"}
}

// neighbour changes places with the next rule, when some packet may match both.
func (m *mutant) neighbour(at int) *edit {
	chain := m.chain(at)
	i, _ := slices.BinarySearch(chain, at)
	if i+1 >= len(chain) || chain[i+1] != at+1 {
		return nil
	}
	a, b := parseTuple(m.lines[at]), parseTuple(m.lines[at+1])
	if a.action == b.action || a.disjoint(&b) {
		return nil
	}
	return &edit{first: string(m.lines[at+1]), second: string(m.lines[at]), what: "changed places with the next"}
}

// action does something else: accept instead of drop, or what another rule of
// the chain does.
func (m *mutant) action(at int) *edit {
	line := strings.TrimSuffix(string(m.lines[at]), "\n")
	now := m.plainAction(at)
	if now == "" {
		return nil
	}
	var others []string
	if m.tables[at] != "nat" && now != "-j RETURN" {
		others = []string{"-j ACCEPT", "-j DROP"}
	}
	for _, i := range m.chain(at) {
		if a := m.plainAction(i); a != "" && !slices.Contains(others, a) {
			others = append(others, a)
		}
	}
	others = slices.DeleteFunc(others, func(a string) bool { return a == now })
	if len(others) == 0 {
		return nil
	}
	other := oneOf(m.Rand, others)
	return &edit{first: strings.TrimSuffix(line, now) + other + "\n", what: other + " instead of " + now}
}

// plainAction returns what a rule does when that is a verdict, or a chain to go
// to, which any rule of the chain may do as well.
func (m *mutant) plainAction(at int) string {
	action := parseTuple(m.lines[at]).action
	switch action {
	case "-j ACCEPT", "-j DROP", "-j RETURN":
		return action
	}
	if words := strings.Fields(action); len(words) == 2 && m.user[[2]string{m.tables[at], words[1]}] {
		return action
	}
	return ""
}
