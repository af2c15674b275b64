package iptables

import (
	"bufio"
	"io"
	"strconv"
)

// PrintOptions choose what Print writes.
type PrintOptions struct {
	// Counters writes the counters of rules, as "iptables-save -c".
	Counters bool
}

// Print writes a ruleset as iptables-save writes it after iptables-restore -c
// has read it, without comment lines. The tables keep the order of the ruleset,
// where iptables-save has that in which the kernel happens to list them.
func Print(w io.Writer, r *Ruleset, opts PrintOptions) error {
	out := bufio.NewWriterSize(w, 1<<16)
	var b []byte
	for _, t := range r.Tables {
		out.WriteString("*" + t.Name + "\n")
		for _, c := range t.Chains {
			out.Write(appendChain(b[:0], c))
		}
		for _, c := range t.Chains {
			for _, rule := range c.Rules {
				b = b[:0]
				if opts.Counters {
					var n Counters
					if rule.Counters != nil {
						n = *rule.Counters
					}
					b = append(appendCounters(b, n), ' ')
				}
				b = append(appendRule(b, rule, c.Name), '\n')
				out.Write(b)
			}
		}
		out.WriteString("COMMIT\n")
	}
	return out.Flush()
}

func appendChain(b []byte, c *Chain) []byte {
	policy := c.Policy
	if policy == "" {
		policy = "-"
	}
	b = append(append(b, ':'), c.Name...)
	b = append(append(b, ' '), policy...)
	return append(appendCounters(append(b, ' '), c.Counters), '\n')
}

func appendCounters(b []byte, c Counters) []byte {
	b = strconv.AppendUint(append(b, '['), c.Packets, 10)
	b = strconv.AppendUint(append(b, ':'), c.Bytes, 10)
	return append(b, ']')
}

// PrintRule returns a rule of the named chain as iptables-save writes it,
// without counters and line end.
func PrintRule(r *Rule, chain string) string {
	return string(appendRule(nil, r, chain))
}

func appendRule(b []byte, r *Rule, chain string) []byte {
	b = append(append(b, "-A "...), chain...)
	b = appendAddress(b, " -s ", r.Source)
	b = appendAddress(b, " -d ", r.Destination)
	b = appendBase(b, " -i ", r.In.Present && !r.In.Value.IsDefault(), r.In.Negated, string(r.In.Value))
	b = appendBase(b, " -o ", r.Out.Present && !r.Out.Value.IsDefault(), r.Out.Negated, string(r.Out.Value))
	b = appendBase(b, " -p ", r.Protocol.Present && !r.Protocol.Value.IsDefault(), r.Protocol.Negated, r.Protocol.Value.String())
	b = appendBase(b, " -f", r.Fragment.Present, r.Fragment.Negated, "")
	for _, use := range r.Matches {
		b = append(append(b, " -m "...), use.Match.Name()...)
		b = appendExtension(b, use.Match)
	}
	switch r.Action.Kind {
	case NoAction:
	case Goto:
		b = append(append(b, " -g "...), r.Action.Name...)
	default:
		b = append(append(b, " -j "...), r.Action.Name...)
		if r.Action.Target != nil {
			b = appendExtension(b, r.Action.Target)
		}
	}
	return b
}

func appendAddress(b []byte, option string, a Opt[Address]) []byte {
	if !a.Present || a.Value.IsAny() && !a.Negated {
		return b
	}
	return a.Value.append(appendBase(b, option, true, a.Negated, ""))
}

func appendBase(b []byte, option string, present, negated bool, value string) []byte {
	if !present {
		return b
	}
	if negated {
		b = append(b, " !"...)
	}
	return append(append(b, option...), value...)
}

// PrintMatch returns a match as iptables-save writes it in a rule: "-m limit
// --limit 5/min".
func PrintMatch(m Match) string { return string(appendExtension([]byte("-m "+m.Name()), m)) }

// PrintTarget returns a target likewise: "-j MARK --set-xmark 0x1/0xffffffff".
func PrintTarget(t Target) string { return string(appendExtension([]byte("-j "+t.Name()), t)) }

// appendExtension appends the options of a match or target.
func appendExtension(b []byte, e interface{ Options() Options }) []byte {
	if p, ok := e.(Printer); ok {
		for _, o := range p.PrintOptions() {
			b = appendOption(b, o.Name, o.Negated)
			for _, arg := range o.Args {
				b = append(append(b, ' '), arg...)
			}
		}
		return b
	}
	for _, o := range e.Options() {
		if !o.printed() {
			continue
		}
		b = appendOption(b, o.Name, *o.negated)
		if m, ok := o.value.(MultiValue); ok {
			for _, arg := range m.Args() {
				b = append(append(b, ' '), arg...)
			}
			continue
		}
		b = append(append(b, ' '), o.value.String()...)
	}
	return b
}

func appendOption(b []byte, name string, negated bool) []byte {
	if negated {
		b = append(b, " !"...)
	}
	return append(append(b, " --"...), name...)
}
