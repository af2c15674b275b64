package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("set", func() iptables.Match { return new(setMatch) }) }

var (
	_ iptsim.Meaning       = (*setMatch)(nil)
	_ translate.Translator = (*setMatch)(nil)
	_ iptables.Validator   = (*setMatch)(nil)
)

// setMatch is "-m set": an ipset holds what the directions take from the packet,
// or with --return-nomatch has it among its exceptions.
//
// What the options about counters compare are the counters of the element that is
// found.
//
// Kernel: net/netfilter/xt_set.c; net/netfilter/ipset/ip_set_core.c.
type setMatch struct {
	Set              iptables.Opt[setArgument]
	ReturnNomatch    iptables.Opt[iptables.Flag]
	UpdateCounters   iptables.Opt[negatedFlag]
	UpdateSubcounter iptables.Opt[negatedFlag]
	PacketsEq        iptables.Opt[counterValue]
	PacketsLt        iptables.Opt[counterValue]
	PacketsGt        iptables.Opt[counterValue]
	BytesEq          iptables.Opt[counterValue]
	BytesLt          iptables.Opt[counterValue]
	BytesGt          iptables.Opt[counterValue]
}

// A setArgument is the name of an ipset, and from which side of a packet each of
// its dimensions is taken.
type setArgument struct {
	name   string
	source []bool
}

// setNameMax is the longest name of an ipset, and dimensionsMax the most
// directions that a rule can give.
//
// Kernel: include/uapi/linux/netfilter/ipset/ip_set.h, IPSET_MAXNAMELEN and
// IPSET_DIM_MAX.
const (
	setNameMax    = 31
	dimensionsMax = 6
)

// Count is the number of arguments.
func (*setArgument) Count() int { return 2 }

// Set reads the name; it is here to make the type a value.
func (a *setArgument) Set(arg string) error { return a.SetArgs([]string{arg, "src"}) }

// SetArgs reads the name and the directions.
func (a *setArgument) SetArgs(args []string) error {
	if len(args[0]) > setNameMax || args[0] == "" {
		return fmt.Errorf("%q cannot be the name of a set: it has more than %d bytes", args[0], setNameMax)
	}
	a.name, a.source = args[0], nil
	for word := range strings.SplitSeq(args[1], ",") {
		switch word {
		case "src", "dst":
			a.source = append(a.source, word == "src")
		default:
			return fmt.Errorf("%q is not a direction: write src or dst for each dimension, separated by commas", word)
		}
	}
	if len(a.source) > dimensionsMax {
		return fmt.Errorf("there are more than %d directions", dimensionsMax)
	}
	return nil
}

// Args writes both.
func (a *setArgument) Args() []string { return strings.Split(a.String(), " ") }

// String returns name and directions.
func (a *setArgument) String() string {
	words := make([]string, len(a.source))
	for i, source := range a.source {
		words[i] = "dst"
		if source {
			words[i] = "src"
		}
	}
	return a.name + " " + strings.Join(words, ",")
}

// negatedFlag is a flag that has an effect only when negated.
type negatedFlag struct{ iptables.Flag }

// IsUnnegatedDefault reports that iptables-save prints the flag only when it is
// negated.
func (*negatedFlag) IsUnnegatedDefault() bool { return true }

// A counterValue is what a counter is compared with.
type counterValue uint64

// Set reads a number.
func (c *counterValue) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 1<<64-1)
	*c = counterValue(n)
	return err
}

// String returns the number.
func (c *counterValue) String() string { return fmt.Sprint(uint64(*c)) }

func (*setMatch) Name() string { return "set" }

func (m *setMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("match-set", &m.Set, iptables.Required|iptables.Invertible),
		iptables.Bind("return-nomatch", &m.ReturnNomatch, 0),
		iptables.Bind("update-counters", &m.UpdateCounters, iptables.Invertible),
		iptables.Bind("update-subcounters", &m.UpdateSubcounter, iptables.Invertible),
		iptables.Bind("packets-eq", &m.PacketsEq, iptables.Invertible),
		iptables.Bind("packets-lt", &m.PacketsLt, 0),
		iptables.Bind("packets-gt", &m.PacketsGt, 0),
		iptables.Bind("bytes-eq", &m.BytesEq, iptables.Invertible),
		iptables.Bind("bytes-lt", &m.BytesLt, 0),
		iptables.Bind("bytes-gt", &m.BytesGt, 0),
		iptables.Alias("set", "match-set"),
	}
}

func (m *setMatch) Validate(iptables.Context) []iptables.Problem {
	var list []iptables.Problem
	for _, of := range []struct {
		name  string
		given []bool
	}{
		{"packets", []bool{m.PacketsEq.Present, m.PacketsLt.Present, m.PacketsGt.Present}},
		{"bytes", []bool{m.BytesEq.Present, m.BytesLt.Present, m.BytesGt.Present}},
	} {
		n := 0
		for _, given := range of.given {
			if given {
				n++
			}
		}
		if n > 1 {
			list = append(list, iptables.Problem{
				Summary: "a counter is compared twice",
				Detail:  fmt.Sprintf("Give one of --%s-eq, --%s-lt and --%s-gt.", of.name, of.name, of.name),
			})
		}
	}
	return list
}

// counted returns the first comparison of a counter.
func (m *setMatch) counted() (o iptables.Opt[counterValue], name string) {
	for _, of := range []struct {
		name string
		o    iptables.Opt[counterValue]
	}{
		{"packets-eq", m.PacketsEq}, {"packets-lt", m.PacketsLt}, {"packets-gt", m.PacketsGt},
		{"bytes-eq", m.BytesEq}, {"bytes-lt", m.BytesLt}, {"bytes-gt", m.BytesGt},
	} {
		if of.o.Present {
			return of.o, of.name
		}
	}
	return o, ""
}

func (m *setMatch) Meaning(iptables.Context) predicate.Meaning {
	if m.PacketsEq.Present || m.PacketsLt.Present || m.PacketsGt.Present || m.BytesEq.Present || m.BytesLt.Present || m.BytesGt.Present {
		return predicate.Meaning{Match: predicate.Unmodelled{What: "the counters of an ipset"}}
	}
	return predicate.Meaning{Match: negatedIf(m.Set.Negated, predicate.NamedSet{
		Name: m.Set.Value.name, Source: m.Set.Value.source, ReturnNomatch: m.ReturnNomatch.Present,
	})}
}

func (m *setMatch) Translate(r *translate.Rule) error {
	if o, name := m.counted(); o.Present {
		return &translate.Untranslatable{
			Summary: fmt.Sprintf("--%s has no counterpart in nftables", name),
			Detail:  "nf_tables counts the packets of an element, but no rule can read such a counter, nor can --keep-xt keep the match: it names the ipset by a number of the running kernel. Remove the option, or use a quota or a limit in a rule of its own.",
			Range:   o.Range,
		}
	}
	return r.TestSet(translate.SetTest{
		Name: m.Set.Value.name, Source: m.Set.Value.source, Not: m.Set.Negated, Range: m.Set.Range,
		ReturnNomatch: m.ReturnNomatch.Present, Uncounted: m.UpdateCounters.Present && m.UpdateCounters.Negated,
	})
}
