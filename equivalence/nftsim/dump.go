package nftsim

import (
	"bufio"
	"fmt"
	"io"
)

// Dump writes the machine's chains and rules in the notation of nft
// --debug=netlink. A rule begins with the family, table and chain, and with
// its comment and message, if any, after a number sign.
func (m *Machine) Dump(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			s.dump(b)
		}
		for _, c := range t.Chains {
			if c.Base != nil {
				policy := "accept"
				if c.Base.Drop {
					policy = "drop"
				}
				fmt.Fprintf(b, "%s %s %s type %s hook %d prio %d policy %s\n\n",
					familyNames[t.Family], t.Name, c.Name, c.Base.Type, c.Base.Hook, c.Base.Priority, policy)
			}
			for _, r := range c.Rules {
				fmt.Fprintf(b, "%s %s %s # message %d %s\n", familyNames[t.Family], t.Name, c.Name, r.Message, r.Comment)
				for _, i := range r.Instructions {
					fmt.Fprintf(b, "  %s\n", i)
				}
				fmt.Fprintln(b)
			}
		}
	}
	return b.Flush()
}

func (s *Set) dump(w io.Writer) {
	fmt.Fprintf(w, "%s %s %x size %d timeout %dms\n", s.Name, s.Table.Name, s.Flags, s.Size, s.Timeout/1e6)
	for _, e := range s.Elements {
		fmt.Fprintf(w, "  element %s", words(e.Key))
		if e.KeyEnd != nil {
			fmt.Fprintf(w, " - %s", words(e.KeyEnd))
		}
		if e.End {
			fmt.Fprint(w, " end")
		}
		if e.Data != nil {
			fmt.Fprintf(w, " : %s", words(e.Data))
		}
		if e.Verdict != nil {
			fmt.Fprintf(w, " : %s", e.Verdict)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}
