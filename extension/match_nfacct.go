package extension

import (
	"errors"
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("nfacct", func() iptables.Match { return new(nfacctMatch) }) }

var (
	_ iptsim.Meaning       = (*nfacctMatch)(nil)
	_ translate.Translator = (*nfacctMatch)(nil)
	_ translate.Collector  = (*nfacctMatch)(nil)
)

// nfacctMatch is "-m nfacct": it counts the packet in an accounting object, and
// holds. Of an object that has a quota it holds only once that is used up; which
// have one, the rules do not say.
//
// Kernel: net/netfilter/xt_nfacct.c; net/netfilter/nfnetlink_acct.c,
// nfnl_acct_overquota.
type nfacctMatch struct {
	Object iptables.Opt[nfacctName]
}

func (*nfacctMatch) Name() string { return "nfacct" }

func (m *nfacctMatch) Options() iptables.Options {
	return iptables.Options{iptables.Bind("nfacct-name", &m.Object, iptables.Required)}
}

// An nfacctName is the name of an accounting object.
type nfacctName struct{ iptables.Text }

// nfacctNameMax is the longest name that iptables keeps, NFACCT_NAME_MAX - 1.
const nfacctNameMax = 31

// Set reads a name, of which the tool keeps the beginning.
func (n *nfacctName) Set(arg string) error {
	if arg == "" {
		return errors.New("the name of an accounting object cannot be empty")
	}
	n.Text = iptables.Text(arg[:min(len(arg), nfacctNameMax)])
	return nil
}

// String writes the name quoted where need be, behind the second space that the
// tool prints.
func (n *nfacctName) String() string { return " " + n.Text.String() }

func (*nfacctMatch) Meaning(iptables.Context) predicate.Meaning {
	return predicate.Meaning{Match: predicate.Const(true)}
}

// nfacctCounters are the counters of a ruleset by the name of the accounting
// object. Both families count in one.
type nfacctCounters map[nfacctName]*nftgen.Object

type nfacctKey struct{}

func counters(s *translate.Shared) nfacctCounters {
	return translate.Value(s, nfacctKey{}, func() nfacctCounters { return nfacctCounters{} })
}

// Collect makes the counter.
func (m *nfacctMatch) Collect(s *translate.Shared, _ iptables.Context) error {
	if name := m.Object.Value; counters(s)[name] == nil {
		counters(s)[name] = s.AddObject(&nftgen.Object{Name: string(name.Text), Kind: nftgen.NamedCounter{}})
	}
	return nil
}

// Translate counts in a named counter of the table.
func (m *nfacctMatch) Translate(r *translate.Rule) error {
	counter := counters(r.Shared)[m.Object.Value]
	r.Add(nftgen.Use{Object: counter})
	r.Declare(translate.Deviation{
		Code: "nfacct-object",
		Detail: fmt.Sprintf("Packets are counted in counters of the table (\"nft list counters\"), which start at 0 and which the nfacct tool does not see; "+
			"%q is the counter %s. An object with a quota held only once it was used up: the save file does not tell, and the counter always holds.",
			string(m.Object.Value.Text), counter.Name),
	})
	return nil
}
