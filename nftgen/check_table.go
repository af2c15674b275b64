package nftgen

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hookNames are the words for the hooks, by their NF_INET_* numbers.
var hookNames = []string{
	unix.NF_INET_PRE_ROUTING: "prerouting", unix.NF_INET_LOCAL_IN: "input", unix.NF_INET_FORWARD: "forward",
	unix.NF_INET_LOCAL_OUT: "output", unix.NF_INET_POST_ROUTING: "postrouting",
}

// checkTables refuses tables that cannot stand together, and each that cannot
// be written.
func checkTables(rs *Ruleset) ([]*Table, error) {
	if rs == nil || rs.Table == nil {
		return nil, fmt.Errorf("there is no table")
	}
	if rs.Other != nil && rs.Other.Family == rs.Table.Family {
		return nil, fmt.Errorf("two tables of the family %v", rs.Table.Family)
	}
	for _, t := range rs.Tables() {
		if _, err := checkTable(t); err != nil {
			return nil, err
		}
	}
	return rs.Tables(), nil
}

// checkTable refuses a table with names, chains, sets or objects that cannot be
// written, or that statements name and it does not hold. Rules are checked one
// by one later.
func checkTable(t *Table) (*Table, error) {
	if t.Family != Inet && t.Family != IP && t.Family != IP6 {
		return nil, fmt.Errorf("the table has the family %d", t.Family)
	}
	if !ValidName(t.Name) {
		return nil, fmt.Errorf("%q is no name of a table", t.Name)
	}
	chains, sets := map[string]bool{}, map[string]bool{}
	held := map[*Set]bool{}
	if err := checkHoles(t); err != nil {
		return nil, err
	}
	objects, err := checkObjects(t)
	if err != nil {
		return nil, err
	}
	for _, s := range t.Sets {
		if err := s.check(); err != nil {
			return nil, err
		}
		if sets[s.Name] {
			return nil, fmt.Errorf("the set %s is there twice", s.Name)
		}
		sets[s.Name], held[s] = true, true
	}
	for _, c := range t.Chains {
		if err := c.check(); err != nil {
			return nil, err
		}
		if chains[c.Name] {
			return nil, fmt.Errorf("the chain %s is there twice", c.Name)
		}
		chains[c.Name] = true
	}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				if err := checkReferences(s, chains, held, objects); err != nil {
					return nil, fmt.Errorf("chain %s: %w", c.Name, err)
				}
			}
		}
	}
	return t, nil
}

// checkHoles refuses a table with nothing where a set, chain or rule should
// be.
func checkHoles(t *Table) error {
	if slices.Contains(t.Sets, nil) || slices.Contains(t.Chains, nil) {
		return fmt.Errorf("the table holds nothing in place of a set or a chain")
	}
	for _, c := range t.Chains {
		if slices.Contains(c.Rules, nil) {
			return fmt.Errorf("the chain %q holds nothing in place of a rule", c.Name)
		}
	}
	return nil
}

func checkReferences(s Stmt, chains map[string]bool, sets map[*Set]bool, objects map[*Object]bool) error {
	var set *Set
	switch s := s.(type) {
	case VerdictStmt:
		if s.Chain != "" && !chains[s.Chain] {
			return fmt.Errorf("there is no chain %q to go to", s.Chain)
		}
		return nil
	case Use:
		if !objects[s.Object] {
			return fmt.Errorf("a rule uses an object that is not in the table")
		}
		return nil
	case InSet:
		set = s.Set
	case Vmap:
		for _, name := range s.leads() {
			if !chains[name] {
				return fmt.Errorf("there is no chain %q to go to", name)
			}
		}
		if s.Map.Name == "" {
			return nil
		}
		set = s.Map
	default:
		if set = SetOf(s); set == nil {
			return nil
		}
	}
	if !sets[set] {
		return fmt.Errorf("a %T uses a set that is not in the table", s)
	}
	return nil
}

func (c *Chain) check() error {
	if !ValidName(c.Name) {
		return fmt.Errorf("%q is no name of a chain", c.Name)
	}
	b := c.Base
	if b == nil {
		return nil
	}
	if int(b.Hook) >= len(hookNames) {
		return fmt.Errorf("chain %s: there is no hook %d", c.Name, b.Hook)
	}
	if !strings.Contains(" filter nat route ", " "+b.Type+" ") {
		return fmt.Errorf("chain %s: there is no type %q", c.Name, b.Type)
	}
	return nil
}
