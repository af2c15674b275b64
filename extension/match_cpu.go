package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("cpu", func() iptables.Match { return new(cpuMatch) }) }

var (
	_ iptsim.Meaning       = (*cpuMatch)(nil)
	_ translate.Translator = (*cpuMatch)(nil)
)

// cpuMatch is "-m cpu": the CPU that handles the packet.
//
// Kernel: net/netfilter/xt_cpu.c.
type cpuMatch struct {
	CPU iptables.Opt[iptables.U32]
}

func (*cpuMatch) Name() string { return "cpu" }

func (m *cpuMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("cpu", &m.CPU, iptables.Required|iptables.Invertible),
	}
}

func (m *cpuMatch) Meaning(iptables.Context) predicate.Meaning {
	number := predicate.Number(uint64(m.CPU.Value))
	return predicate.Meaning{Match: negatedIf(m.CPU.Negated, predicate.Equal(predicate.Field{ID: predicate.CPU}, number))}
}

func (m *cpuMatch) Translate(r *translate.Rule) error {
	r.Add(nftgen.Compare{Field: nftgen.MetaCPU, Op: comparison(m.CPU.Negated), Value: wide32(uint32(m.CPU.Value))})
	return nil
}
