package optimize

import (
	"encoding/binary"
	"slices"

	"nftmigrate/nftgen"
)

// An outcome is what becomes of packets that pass a rule, as an element of a map can
// tell it: a verdict, or the value that an action takes.
type outcome struct {
	verdict nftgen.VerdictStmt
	// action is what takes the value, "" for a verdict; rules of different actions
	// have different shapes.
	action action
	value  string // as nftgen has it, most significant byte first
}

// An action takes a value.
type action string

const (
	setMark   action = "mark"
	dnat      action = "dnat"
	dnatPort  action = "dnat port"
	snat      action = "snat"
	dnat6     action = "dnat 6"
	dnat6Port action = "dnat 6 port"
	snat6     action = "snat 6"
)

// natActions are those of translations, by whether they are of destinations, of IPv6,
// and have a port. Sources with ports are seldom, and left alone.
var natActions = map[[3]bool]action{
	{true, false, false}: dnat, {true, false, true}: dnatPort, {false, false, false}: snat,
	{true, true, false}: dnat6, {true, true, true}: dnat6Port, {false, true, false}: snat6,
}

// ends reports whether packets with the outcome meet no other rule of the chain.
func (x outcome) ends() bool {
	return x.verdict.Kind != nftgen.Jump && x.action != setMark
}

// outcomeOf reads the last statement of a rule; ok is false for one that a map cannot
// stand for.
func outcomeOf(s nftgen.Stmt) (x outcome, ok bool) {
	switch s := s.(type) {
	case nftgen.VerdictStmt:
		return outcome{verdict: s}, s.Kind != nftgen.Continue
	case nftgen.Assign:
		constant := s.From == nil && !slices.ContainsFunc(s.Keep, func(b byte) bool { return b != 0 })
		return outcome{action: setMark, value: string(s.Xor)}, constant && s.Field.Text == nftgen.MetaMark.Text && len(s.Xor) == 4
	case nftgen.NAT:
		plain := s.Low != nil && (s.High == nil || string(s.High) == string(s.Low)) && s.Prefix == 0 && s.Map == nil &&
			s.Flags == nftgen.NATFlags{} && !s.FromZero && (s.HiPort == 0 || s.HiPort == s.LowPort)
		a, known := natActions[[3]bool{s.Destination, len(s.Low) == 16, s.LowPort != 0}]
		value := slices.Clone(s.Low)
		if s.LowPort != 0 {
			value = append(binary.BigEndian.AppendUint16(value, s.LowPort), 0, 0)
		}
		return outcome{action: a, value: string(value)}, plain && known
	}
	return x, false
}

// data is the type of the values, nil for verdicts.
func (a action) data() *nftgen.Datatype {
	switch a {
	case "":
		return nil
	case setMark:
		return nftgen.MetaMark.Type
	}
	return nftgen.NATData(map[bool]int{true: 16, false: 4}[a == dnat6 || a == dnat6Port || a == snat6], a.port())
}

func (a action) port() bool { return a == dnatPort || a == dnat6Port }

// lookup is the statement that takes what a map has for a packet.
func (a action) lookup(fields []nftgen.Field, masks []nftgen.Value, set *nftgen.Set) nftgen.Stmt {
	switch a {
	case "":
		return nftgen.Vmap{Fields: fields, Masks: masks, Map: set}
	case setMark:
		return nftgen.MapAssign{Field: nftgen.MetaMark, Fields: fields, Masks: masks, Map: set}
	}
	return nftgen.NATMap{Destination: a != snat && a != snat6, Fields: fields, Masks: masks, Map: set}
}
