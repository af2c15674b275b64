package extension

import (
	"errors"
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("bpf", func() iptables.Match { return new(bpfMatch) }) }

var (
	_ iptsim.Meaning       = (*bpfMatch)(nil)
	_ translate.Translator = (*bpfMatch)(nil)
	_ iptables.Validator   = (*bpfMatch)(nil)
)

// bpfMatch is "-m bpf": a classic BPF program, run on the packet from the network
// header on, returns something other than 0. A program can also be one that was
// loaded before, by its path.
//
// Kernel: net/netfilter/xt_bpf.c; net/core/filter.c, bpf_check_classic.
type bpfMatch struct {
	Code   iptables.Opt[bpfProgram]
	Pinned iptables.Opt[iptables.Word]
}

// A bpfProgram is the argument of "--bytecode".
type bpfProgram []predicate.BPFInstruction

// bpfMost is how many instructions a program can have.
const bpfMost = 64

// Set reads "N,op jt jf k,…": the number of instructions, and each as four numbers.
func (p *bpfProgram) Set(arg string) error {
	var length int
	head, rest, ok := strings.Cut(arg, ",")
	if _, err := fmt.Sscanf(head, "%d", &length); err != nil || !ok {
		return errors.New("expected the number of instructions, and a comma behind it")
	}
	if length < 1 || length > bpfMost {
		return fmt.Errorf("a program has 1 to %d instructions, not %d", bpfMost, length)
	}
	*p = nil
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(rest), ","), ",") {
		fields := strings.Fields(part)
		const numbers = 4
		if len(fields) != numbers {
			return fmt.Errorf("instruction %d is not four numbers: operation, two jumps and a constant", len(*p))
		}
		var n [numbers]uint64
		for i, most := range [numbers]uint64{1<<16 - 1, 1<<8 - 1, 1<<8 - 1, 1<<32 - 1} {
			var err error
			if n[i], err = parseDecimal(fields[i], most); err != nil {
				return fmt.Errorf("instruction %d: %w", len(*p), err)
			}
		}
		*p = append(*p, predicate.BPFInstruction{Code: uint16(n[0]), True: uint8(n[1]), False: uint8(n[2]), K: uint32(n[3])})
	}
	if len(*p) != length {
		return fmt.Errorf("there are %d instructions, and the number before them is %d", len(*p), length)
	}
	return p.check()
}

func parseDecimal(text string, most uint64) (n uint64, err error) {
	if len(text) == 0 || len(text) > 10 || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is no number from 0 to %d", text, most)
	}
	for _, digit := range text {
		n = n*10 + uint64(digit-'0')
	}
	if n > most {
		return 0, fmt.Errorf("%q is no number from 0 to %d", text, most)
	}
	return n, nil
}

// check refuses what the kernel refuses: an operation that does not exist, a jump
// behind the program, and an end other than a return.
func (p bpfProgram) check() error {
	for at, i := range p {
		if err := i.Check(at, len(p)); err != nil {
			return fmt.Errorf("instruction %d %w", at, err)
		}
	}
	if last := p[len(p)-1]; !last.Returns() {
		return errors.New("the last instruction does not return")
	}
	return nil
}

// String writes the program in quotes.
func (p *bpfProgram) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, `"%d`, len(*p))
	for _, i := range *p {
		fmt.Fprintf(&b, ",%d %d %d %d", i.Code, i.True, i.False, i.K)
	}
	b.WriteByte('"')
	return b.String()
}

func (*bpfMatch) Name() string { return "bpf" }

func (m *bpfMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("bytecode", &m.Code, 0),
		iptables.Bind("object-pinned", &m.Pinned, 0),
	}
}

// Validate wants one program.
func (m *bpfMatch) Validate(iptables.Context) []iptables.Problem {
	if m.Code.Present != m.Pinned.Present {
		return nil
	}
	return []iptables.Problem{{
		Code: "missing-option", Summary: "bpf needs exactly one program",
		Detail: "Give one of --bytecode and --object-pinned.",
	}}
}

func (m *bpfMatch) Meaning(iptables.Context) predicate.Meaning {
	if m.Pinned.Present {
		return predicate.Meaning{Match: predicate.Unmodelled{What: "a program that was loaded before"}}
	}
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.BPF{Program: m.Code.Value}}}
}

// Translate refuses every program.
func (m *bpfMatch) Translate(*translate.Rule) error {
	where := m.Code.Range
	if m.Pinned.Present {
		where = m.Pinned.Range
	}
	return &translate.Untranslatable{
		Code: "untranslatable-option", Summary: "nftables runs no BPF programs",
		Detail: "A rule of nftables compares, it does not branch and compute. Write what the program looks for as matches: protocol, ports, u32 for other bytes.",
		Range:  where,
	}
}
