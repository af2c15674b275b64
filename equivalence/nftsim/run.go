package nftsim

import (
	"strings"

	"nftmigrate/packet"
)

// undecided ends a stage at something that is not modelled.
func undecided(f *packet.Flight, why string) packet.Verdict {
	f.Unknown = append(f.Unknown, why)
	return packet.Undecided
}

// place is where a packet comes back to after a jump.
type place struct {
	chain *Chain
	rule  int
}

// runChain runs a packet through a base chain.
//
// Kernel: net/netfilter/nf_tables_core.c, nft_do_chain.
func (m *Machine) runChain(base *Chain, stage string, f *packet.Flight) packet.Verdict {
	x := &m.run
	*x = execution{machine: m, flight: f, header: parseHeader(f.Data), states: m.states}
	if !sees(base.Table.Family, x.header.version) {
		return packet.Accept
	}
	if base.Base.Type == "nat" && f.NAT != nil && f.NAT.Destination == destinationHook(f.Hook) {
		// An earlier chain has set the translation up; the kernel asks no more.
		return packet.Accept
	}
	if base.Table.Unknown != "" {
		return undecided(f, base.Table.Unknown)
	}
	var stack []place
	at := place{chain: base}
	for {
		if at.chain.Unknown != "" {
			return undecided(f, at.chain.Unknown)
		}
		v, r := x.runRules(&at, stage)
		if r == unsure {
			return undecided(f, x.why)
		}
		switch v.Code {
		case VerdictAccept:
			return packet.Accept
		case VerdictDrop:
			return packet.Drop
		case VerdictJump:
			if len(stack) >= jumpStack {
				return packet.Drop
			}
			stack = append(stack, at)
			at = place{chain: v.to}
			continue
		case VerdictGoto:
			at = place{chain: v.to}
			continue
		}
		if len(stack) == 0 {
			return x.policy(base, stage)
		}
		at, stack = stack[len(stack)-1], stack[:len(stack)-1]
	}
}

// destinationHook says whether translation at a hook is of destinations.
func destinationHook(h packet.Hook) bool { return h == packet.Prerouting || h == packet.Output }

func (x *execution) policy(base *Chain, stage string) packet.Verdict {
	v, text := packet.Accept, "accept"
	if base.Base.Drop {
		v, text = packet.Drop, "drop"
	}
	x.flight.Step(packet.Step{Stage: stage, Text: "policy", Result: text})
	return v
}

// runRules runs the rules of a chain from a place on until one decides, and
// moves the place behind it. At the end of the chain the verdict is return.
func (x *execution) runRules(at *place, stage string) (Verdict, result) {
	for at.rule < len(at.chain.Rules) {
		rule := at.chain.Rules[at.rule]
		at.rule++
		r := x.runRule(rule, stage)
		if r == decides || r == unsure {
			return x.verdict, r
		}
	}
	return Verdict{Code: VerdictReturn}, decides
}

func (x *execution) runRule(rule *Rule, stage string) result {
	r := x.runInstructions(rule, stage)
	if x.flight.Visit != nil {
		x.flight.Visit(rule, x.look(r))
	}
	return r
}

// look is how a rule went that ended so.
func (x *execution) look(r result) packet.Look {
	switch {
	case r == breaks, r == unsure:
		return packet.Missed
	case r == decides && (x.verdict.Code == VerdictAccept || x.verdict.Code == VerdictDrop):
		return packet.Decided
	}
	return packet.Matched
}

func (x *execution) runInstructions(rule *Rule, stage string) result {
	if x.flight.Traced {
		return x.traceRule(rule, stage)
	}
	for _, i := range rule.Instructions {
		if r := i.exec(x); r != proceed {
			return r
		}
	}
	return proceed
}

// traceRule runs a rule and records each expression with what it left in its
// register.
func (x *execution) traceRule(rule *Rule, stage string) result {
	var text []string
	end, outcome := proceed, "continue"
	for _, i := range rule.Instructions {
		line := i.String()
		if end = i.exec(x); end == proceed {
			if l, ok := i.(loader); ok {
				to, n := l.loads()
				line += " = " + words(x.regs.load(to, n))
			}
		}
		text = append(text, line)
		if end != proceed {
			outcome = map[result]string{
				breaks: "no match at " + i.String(), decides: x.verdict.String(), unsure: "unknown: " + x.why,
			}[end]
			break
		}
	}
	x.flight.Step(packet.Step{
		Stage: stage + ruleChain(rule, stage), Place: rule.Comment,
		Text: strings.Join(text, "\n"), Result: outcome,
	})
	return end
}

// ruleChain names the chain of a rule that is not in the stage's base chain.
func ruleChain(rule *Rule, stage string) string {
	if rule.Chain.Base != nil {
		return ""
	}
	return " in " + rule.Chain.Name
}

// A loader is an instruction that leaves a value in registers.
type loader interface {
	// loads returns the first register and the number of bytes.
	loads() (Register, int)
}
