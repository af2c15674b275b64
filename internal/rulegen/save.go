package rulegen

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// A save is a save file in the making. Its text is in the order of
// iptables-save, whatever the order in which chains are filled.
type save struct {
	tables []*table
}

// A table has its built-in chains first, then those that were asked for.
type table struct {
	name    string
	chains  []*chain
	builtin int
	byName  map[string]*chain
}

// A chain is filled at three places, so that rules can be added before its end
// after its end was written.
type chain struct {
	name, policy     string
	head, body, tail []rule
}

// A rule is a rule in parts, in the order in which iptables-save prints them.
// "! " before a value of the first five negates it.
type rule struct {
	source, destination, in, out, protocol string

	matches []string
	action  string // with -j or -g
}

// table adds a table with its built-in chains, all of policy ACCEPT.
func (s *save) table(name string, builtin ...string) *table {
	t := &table{name: name, builtin: len(builtin), byName: make(map[string]*chain)}
	for _, c := range builtin {
		t.chain(c).policy = "ACCEPT"
	}
	s.tables = append(s.tables, t)
	return t
}

// named returns the table of a name, which there is.
func (s *save) named(name string) *table {
	return s.tables[slices.IndexFunc(s.tables, func(t *table) bool { return t.name == name })]
}

// chain returns the chain of a name, which it adds when there is none.
func (t *table) chain(name string) *chain {
	c := t.byName[name]
	if c == nil {
		c = &chain{name: name, policy: "-"}
		t.byName[name] = c
		t.chains = append(t.chains, c)
	}
	return c
}

// add adds rules to the body.
func (c *chain) add(rules ...rule) { c.body = append(c.body, rules...) }

// begin adds rules before the body, end behind it.
func (c *chain) begin(rules ...rule) { c.head = append(c.head, rules...) }
func (c *chain) end(rules ...rule)   { c.tail = append(c.tail, rules...) }

// rules returns how many rules there are.
func (s *save) rules() int {
	n := 0
	for _, t := range s.tables {
		for _, c := range t.chains {
			n += len(c.head) + len(c.body) + len(c.tail)
		}
	}
	return n
}

// text returns the save file.
func (s *save) text() []byte {
	var b bytes.Buffer
	for _, t := range s.tables {
		slices.SortFunc(t.chains[t.builtin:], func(a, b *chain) int { return cmp.Compare(a.name, b.name) })
		b.WriteString("*" + t.name + "\n")
		for _, c := range t.chains {
			b.WriteString(":" + c.name + " " + c.policy + " [0:0]\n")
		}
		for _, c := range t.chains {
			for _, part := range [][]rule{c.head, c.body, c.tail} {
				for _, r := range part {
					r.write(&b, c.name)
				}
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.Bytes()
}

func (r rule) write(b *bytes.Buffer, chain string) {
	b.WriteString("-A ")
	b.WriteString(chain)
	for _, o := range [...]struct{ name, value string }{
		{"-s ", r.source}, {"-d ", r.destination}, {"-i ", r.in}, {"-o ", r.out}, {"-p ", r.protocol},
	} {
		if o.value == "" {
			continue
		}
		b.WriteByte(' ')
		value, negated := strings.CutPrefix(o.value, "! ")
		if negated {
			b.WriteString("! ")
		}
		b.WriteString(o.name)
		b.WriteString(value)
	}
	for _, m := range r.matches {
		b.WriteString(" -m ")
		b.WriteString(m)
	}
	b.WriteByte(' ')
	b.WriteString(r.action)
	b.WriteByte('\n')
}

// with returns the rule with one more match.
func (r rule) with(match string) rule {
	r.matches = append(slices.Clip(r.matches), match)
	return r
}

// to returns the rule with another action.
func (r rule) to(action string) rule {
	r.action = action
	return r
}
