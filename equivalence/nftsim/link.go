package nftsim

import "fmt"

// jumpStack is how many chains can wait for one to return.
//
// Kernel: include/net/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE.
const jumpStack = 16

// link resolves the chains of verdicts, prepares the sets, and refuses what
// the kernel refuses at commit: missing chains, loops, and too many nested
// jumps.
func link(m *Machine) error {
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			s.index()
			for _, e := range s.Elements {
				if err := t.resolve(e.Verdict); err != nil {
					return fmt.Errorf("set %s: %w", s.Name, err)
				}
			}
		}
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, v := range ownVerdicts(r) {
					if err := t.resolve(v); err != nil {
						return fmt.Errorf("rule of message %d: %w", r.Message, err)
					}
				}
			}
		}
		depths := map[*Chain]int{}
		for _, c := range t.Chains {
			n, err := depth(c, depths)
			if err != nil {
				return err
			}
			if c.Base != nil && n >= jumpStack {
				return fmt.Errorf("chain %s of table %s: more than %d nested chains", c.Name, t.Name, jumpStack-1)
			}
		}
	}
	return nil
}

// resolve finds the chain that a verdict names.
func (t *Table) resolve(v *Verdict) error {
	if v == nil || v.Chain == "" {
		return nil
	}
	if v.to = t.chains[v.Chain]; v.to == nil {
		return fmt.Errorf("there is no chain %s in table %s", v.Chain, t.Name)
	}
	if v.to.Base != nil {
		return fmt.Errorf("%s to base chain %s", verdictNames[v.Code], v.Chain)
	}
	return nil
}

// ownVerdicts returns the verdicts that are written in a rule.
func ownVerdicts(r *Rule) []*Verdict {
	var all []*Verdict
	for _, i := range r.Instructions {
		if i, ok := i.(*Immediate); ok && i.Verdict != nil {
			all = append(all, i.Verdict)
		}
	}
	return all
}

// next returns the chains that a chain's rules can go on to.
func (c *Chain) next() []*Chain {
	var all []*Chain
	for _, r := range c.Rules {
		all = append(all, r.next()...)
	}
	return all
}

// next returns the chains that a rule can go on to.
func (r *Rule) next() []*Chain {
	var all []*Chain
	for _, v := range ownVerdicts(r) {
		if v.to != nil {
			all = append(all, v.to)
		}
	}
	for _, i := range r.Instructions {
		if l, ok := i.(*Lookup); ok && l.Set.Verdicts {
			for _, e := range l.Set.Elements {
				if e.Verdict != nil && e.Verdict.to != nil {
					all = append(all, e.Verdict.to)
				}
			}
		}
	}
	return all
}

// walking marks a chain whose depth is being counted.
const walking = -1

// depth counts how many chains deep a chain's rules lead, and finds loops. It
// counts a goto as the kernel does, like a jump.
//
// Kernel: net/netfilter/nf_tables_api.c, nft_chain_validate.
func depth(c *Chain, depths map[*Chain]int) (int, error) {
	if n, ok := depths[c]; ok {
		if n == walking {
			return 0, fmt.Errorf("chain %s of table %s leads to itself", c.Name, c.Table.Name)
		}
		return n, nil
	}
	depths[c] = walking
	deepest := 0
	for _, to := range c.next() {
		n, err := depth(to, depths)
		if err != nil {
			return 0, err
		}
		deepest = max(deepest, n+1)
	}
	depths[c] = deepest
	return deepest, nil
}
