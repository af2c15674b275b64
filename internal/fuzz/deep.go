package main

import (
	"fmt"
	"strings"
)

// A ladder is user chains of which each leads to the next: deeper than nf_tables
// lets chains be nested.
type ladder []chain

// ladder returns now and then a ladder for a table, of packets that come from
// all of its built-in chains.
func (g *generator) ladder(table string, builtin []string) ladder {
	if g.IntN(8) != 0 {
		return nil
	}
	var l ladder
	for i := range 14 + g.IntN(1+g.IntN(40)) {
		l = append(l, chain{table: table, name: fmt.Sprintf("deep%d", i), from: builtin})
	}
	return l
}

// declare returns the lines that declare the chains.
func (l ladder) declare() string {
	var b strings.Builder
	for _, c := range l {
		fmt.Fprintf(&b, ":%s - [0:0]\n", c.name)
	}
	return b.String()
}

// rungs returns the rules of a ladder: in each chain one that leads to the next,
// with few others around it, and a last one from a built-in chain. The rules of
// the user chains that stand beside it are not led to.
func (g *generator) rungs(l ladder, builtin string) string {
	if len(l) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-A %s %s-j %s\n", builtin, g.entrance(), l[0].name)
	for i, c := range l {
		for range g.IntN(3) / 2 {
			b.WriteString(g.rule(c, nil) + "\n")
		}
		if g.IntN(3) == 0 {
			fmt.Fprintf(&b, "-A %s %s-j RETURN\n", c.name, g.entrance())
		}
		if i+1 < len(l) {
			fmt.Fprintf(&b, "-A %s %s%s %s\n", c.name, g.entrance(), g.pick("-j", "-j", "-j", "-j", "-g"), l[i+1].name)
		}
		if i+2 < len(l) && g.IntN(10) == 0 {
			fmt.Fprintf(&b, "-A %s %s-j %s\n", c.name, g.entrance(), l[i+2].name)
		}
		for range g.IntN(4) / 3 {
			b.WriteString(g.rule(c, nil) + "\n")
		}
	}
	return b.String()
}

// entrance returns tests that many packets pass.
func (g *generator) entrance() string {
	switch g.IntN(7) {
	case 0:
		return g.not() + "-s " + g.network() + " "
	case 1:
		return g.not() + "-d " + g.network() + " "
	case 2:
		return "-p tcp "
	case 3:
		return "-m mark " + g.not() + "--mark 0x1/0x1 "
	case 4:
		return "! -p udp "
	}
	return ""
}
