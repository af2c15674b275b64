package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("state", func() iptables.Match { return new(stateMatch) }) }

var (
	_ iptsim.Meaning       = (*stateMatch)(nil)
	_ translate.Translator = (*stateMatch)(nil)
)

// stateMatch is "-m state", the older spelling of "-m conntrack --ctstate",
// which iptables-save keeps. It does not know SNAT and DNAT.
//
// Kernel: net/netfilter/xt_conntrack.c; iptables has loaded that match in place
// of xt_state.c since 1.4.12.
type stateMatch struct {
	State iptables.Opt[connStates]
}

// connStates are the states of --state.
type connStates struct{ States ctStates }

// Set reads states with commas between them.
func (s *connStates) Set(arg string) error {
	var states ctStates
	if err := states.Set(arg); err != nil {
		return err
	}
	if nat := states & (ctSNAT | ctDNAT); nat != 0 {
		return fmt.Errorf("%s is known to -m conntrack --ctstate only", &nat)
	}
	s.States = states
	return nil
}

// String returns the states in the order of iptables-save.
func (s *connStates) String() string { return s.States.String() }

func (*stateMatch) Name() string { return "state" }

func (m *stateMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("state", &m.State, iptables.Required|iptables.Invertible),
	}
}

func (m *stateMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: negatedIf(m.State.Negated, stateAmong(m.State.Value.States))}
}

func (m *stateMatch) Translate(r *translate.Rule) error {
	r.Add(ctStateTest(m.State.Value.States, m.State.Negated))
	return nil
}
