package equivalence

import (
	"slices"

	"nftmigrate/equivalence/symbolic"
	"nftmigrate/packet"
)

// Join makes one machine of several that run side by side in one host: iptables
// and ip6tables, of which each sees the packets of its family, or tables of one family
// that hang at the same hooks. Of stages at one hook with one priority, packets meet
// that of the earlier machine first. The kernel orders them by when they were
// registered, so whoever cannot rely on that compares both orders.
func Join(machines ...Machine) Machine {
	if len(machines) == 1 {
		return machines[0]
	}
	return joined(machines)
}

type joined []Machine

func (j joined) Stages() []packet.Stage {
	var all []packet.Stage
	for _, m := range j {
		all = append(all, m.Stages()...)
	}
	return all
}

func (j joined) NeedsConntrack(version int) bool {
	for _, m := range j {
		if m.NeedsConntrack(version) {
			return true
		}
	}
	return false
}

func (j joined) Suggestions() []packet.Suggestion {
	var all []packet.Suggestion
	for _, m := range j {
		all = append(all, m.Suggestions()...)
	}
	return all
}

func (j joined) Reset() {
	for _, m := range j {
		m.Reset()
	}
}

// compiles reports whether a machine, or each of those that it was made of, is a
// [symbolic.Compiler].
func compiles(m Machine) bool {
	if j, ok := m.(joined); ok {
		return !slices.ContainsFunc(j, func(m Machine) bool { return !compiles(m) })
	}
	_, ok := m.(symbolic.Compiler)
	return ok
}

// Collect makes a [symbolic.Compiler] of machines that are all compilers.
func (j joined) Collect(version int, tests *symbolic.NameTests) []symbolic.Instance {
	var all []symbolic.Instance
	for _, m := range j {
		if c, ok := m.(symbolic.Compiler); ok {
			all = append(all, c.Collect(version, tests)...)
		}
	}
	return all
}

// Compile likewise.
func (j joined) Compile(s *symbolic.Space, slots []symbolic.Slot) *symbolic.Program {
	all := &symbolic.Program{}
	for _, m := range j {
		c, ok := m.(symbolic.Compiler)
		if !ok {
			continue
		}
		n := len(c.Collect(s.Version, &symbolic.NameTests{}))
		p := c.Compile(s, slots[:n])
		all.Stages, all.Chains = append(all.Stages, p.Stages...), append(all.Chains, p.Chains...)
		slots = slots[n:]
	}
	return all
}
