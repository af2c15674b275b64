package nftgen

import "fmt"

// Dup is "dup to ADDRESS": a copy of the packet goes to a gateway. nft takes it in
// tables of one family.
type Dup struct{ Gateway Value }

var _ action = Dup{}

func (Dup) stmt()          {}
func (Dup) terminal() bool { return false }

func (s Dup) text(Family) string { return "dup to " + addressText(s.Gateway) }

func (s Dup) check() error {
	if len(s.Gateway) != 4 && len(s.Gateway) != 16 {
		return fmt.Errorf("write dup: %d bytes are no address", len(s.Gateway))
	}
	return nil
}

// dupAddress is NFTA_DUP_SREG_ADDR.
const dupAddress = 1

func (s Dup) compile(c *compiler) error {
	if want := map[int]Family{4: IP, 16: IP6}[len(s.Gateway)]; c.table != want {
		return fmt.Errorf("write dup: it stands in a table of family %s alone, not %s", want, c.table)
	}
	var a attributes
	a.u32(dupAddress, 1)
	c.add(immediate(1, s.Gateway), ownExpression{"dup", a})
	return nil
}

// OneFamily reports whether the table holds something that the kernel takes in
// tables of one family only.
func (t *Table) OneFamily() bool {
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				if _, dup := s.(Dup); dup {
					return true
				}
			}
		}
	}
	return t.XtRules() > 0
}
