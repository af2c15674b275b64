package nftsim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rings describes the rings of a number of hits that a machine's rules are
// recognised for, in order.
func (m *Machine) Rings(hits int) []string {
	found := m.findRings()
	seen := map[*ring]bool{}
	for _, use := range found.uses {
		seen[use.ring] = true
	}
	var list []string
	for r := range seen {
		if r.Hits != hits {
			continue
		}
		var slots, pointers []string
		for _, s := range r.slots {
			slots = append(slots, s.Name)
		}
		for _, s := range r.pointers {
			pointers = append(pointers, s.Name)
		}
		list = append(list, fmt.Sprintf("%d within %ds: %s, %s", r.Hits, r.Seconds, strings.Join(slots, " "), strings.Join(pointers, " ")))
	}
	slices.Sort(list)
	return list
}

// A Memory is what packets have left in the sets of a machine.
type Memory map[*Set]map[string]Element

// Memory copies it.
func (m *Machine) Memory() Memory {
	out := Memory{}
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			out[s] = map[string]Element{}
			for k, e := range s.live {
				out[s][k] = *e
			}
		}
	}
	return out
}

// Recall puts it back.
func (m *Machine) Recall(from Memory) {
	for s, list := range from {
		s.reset()
		for k, e := range list {
			s.live[k] = &e
		}
	}
}

// Left says what is in the sets at a time, and for how long.
func (m *Machine) Left(now int64) string {
	var b strings.Builder
	for _, t := range m.Tables {
		for _, s := range t.Sets {
			for _, k := range slices.Sorted(maps.Keys(s.live)) {
				switch e := s.live[k]; {
				case e.deleted || e.expired(now):
				case e.Expires == 0:
					fmt.Fprintf(&b, "%s %x, ", s.Name, k)
				default:
					fmt.Fprintf(&b, "%s %x %d, ", s.Name, k, e.Expires-now)
				}
			}
		}
	}
	return b.String()
}
