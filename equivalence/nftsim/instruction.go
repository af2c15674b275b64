package nftsim

import (
	"errors"
	"fmt"

	"nftmigrate/packet"
)

// An Instruction is one decoded expression: registers, offsets, constants. It
// is not changed by running. String returns it in the notation of nft
// --debug=netlink, in brackets.
type Instruction interface {
	fmt.Stringer
	// exec runs the instruction on the registers and the packet.
	exec(x *execution) result
}

// A result says how a rule goes on after an instruction.
type result uint8

const (
	proceed result = iota
	breaks         // the rule does not match
	decides        // the verdict register was written
	unsure         // not modelled; execution.why says what
)

// A VerdictCode is what the verdict register can hold.
//
// Kernel: include/uapi/linux/netfilter/nf_tables.h, enum nft_verdicts.
type VerdictCode int32

// The verdicts.
const (
	VerdictDrop     VerdictCode = 0
	VerdictAccept   VerdictCode = 1
	VerdictContinue VerdictCode = -1
	VerdictBreak    VerdictCode = -2
	VerdictJump     VerdictCode = -3
	VerdictGoto     VerdictCode = -4
	VerdictReturn   VerdictCode = -5
)

var verdictNames = map[VerdictCode]string{
	VerdictDrop: "drop", VerdictAccept: "accept", VerdictContinue: "continue", VerdictBreak: "break",
	VerdictJump: "jump", VerdictGoto: "goto", VerdictReturn: "return",
}

// A Verdict is a verdict with the chain of a jump or goto.
type Verdict struct {
	Code  VerdictCode
	Chain string
	to    *Chain
}

func (v Verdict) String() string {
	if v.Chain != "" {
		return verdictNames[v.Code] + " -> " + v.Chain
	}
	return verdictNames[v.Code]
}

// execution is a packet on its way through the rules of one base chain.
type execution struct {
	machine *Machine
	flight  *packet.Flight
	header  header
	regs    registers
	verdict Verdict
	why     string
	// states holds the stateful instructions of rules, or those of the set
	// element whose instructions are running.
	states states
}

// states are the states of stateful instructions.
type states map[Instruction]any

// state returns the state of an instruction, made by fresh at first use. What
// the packet meets then depends on earlier ones.
func state[T any](x *execution, i Instruction, fresh func() *T) *T {
	x.flight.Volatile = true
	if s, ok := x.states[i].(*T); ok {
		return s
	}
	s := fresh()
	x.states[i] = s
	return s
}

// unknown ends a run at something that is not modelled.
func (x *execution) unknown(format string, args ...any) result {
	x.why = fmt.Sprintf(format, args...)
	return unsure
}

// decide writes the verdict register.
func (x *execution) decide(v Verdict) result {
	switch v.Code {
	case VerdictContinue:
		return proceed
	case VerdictBreak:
		return breaks
	}
	x.verdict = v
	return decides
}

// scope is what an expression sees of its surroundings while it is decoded.
type scope struct {
	table *Table
	// sets of the table that were made so far in the batch, by ID.
	ids map[uint32]*Set
}

// expressions are the decoders by the kernel's name of the expression.
var expressions = map[string]func(s *scope, data []byte) (Instruction, error){}

// register enters a decoder; each expression's file does it.
func register(name string, decode func(s *scope, data []byte) (Instruction, error)) {
	if _, ok := expressions[name]; ok {
		panic("nftsim: expression " + name + " registered twice")
	}
	expressions[name] = decode
}

// decodeInstruction decodes one expression. What is not known becomes an
// instruction that makes packets undecided.
func decodeInstruction(s *scope, name string, data []byte) (Instruction, error) {
	decode, ok := expressions[name]
	if !ok {
		return &Unknown{Expression: name, Why: fmt.Sprintf("expression %q is not modelled", name)}, nil
	}
	i, err := decode(s, data)
	if errors.As(err, new(notModelled)) {
		return &Unknown{Expression: name, Why: fmt.Sprintf("expression %q: %v", name, err)}, nil
	}
	return i, err
}

// Unknown is an expression that is not modelled, or that has an attribute or a
// value that is not.
type Unknown struct {
	Expression string
	Why        string
}

func (i *Unknown) String() string { return fmt.Sprintf("[ %s: not modelled ]", i.Expression) }

func (i *Unknown) exec(x *execution) result { return x.unknown("%s", i.Why) }
