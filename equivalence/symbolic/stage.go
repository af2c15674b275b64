package symbolic

import (
	"nftmigrate/equivalence/bdd"
	"nftmigrate/packet"
)

// A Compiler is a machine whose rules can be compiled to functions.
type Compiler interface {
	// Collect notes the tests of device names that the rules make for packets of
	// an IP version, and lists the instances that they ask, in the order of the
	// rules; an instance that several rules share comes once.
	Collect(version int, tests *NameTests) []Instance
	// Compile returns the stages that see packets of the space's version.
	// slots[i] is the slot of the i-th instance that Collect listed.
	Compile(s *Space, slots []Slot) []Stage
}

// A Stage is a stage of a machine, with its function.
type Stage struct {
	Name     string
	Hook     packet.Hook
	Priority int32
	Kind     packet.StageKind
	// Function compiles the stage: from the variables as the packet enters it to
	// leaves with the verdicts Accept, Drop and Undecided. Stages of one machine
	// that share chains share the work.
	Function func() bdd.Ref
}
