package extension

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"nftmigrate/iptables"
)

// A zone is what "--zone", "--zone-orig" and "--zone-reply" say together: the last
// number counts, a mark beats it, and both directions are none.
//
// Kernel: net/netfilter/xt_CT.c, xt_ct_flags_to_dir.
type zone struct {
	number          uint16
	mark            bool
	original, reply bool
}

// A ctZone is the argument of one of them: a number of 16 bits, or "mark".
type ctZone struct {
	zone            *zone
	original, reply bool
}

// Set reads a zone.
func (z *ctZone) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, math.MaxUint16)
	switch {
	case arg == "mark":
		z.zone.mark = true
	case err != nil:
		return fmt.Errorf("%w; or write mark", err)
	default:
		z.zone.number = uint16(n)
	}
	z.zone.original, z.zone.reply = z.zone.original || z.original, z.zone.reply || z.reply
	return nil
}

// String writes the number or "mark".
func (z *ctZone) String() string {
	if z.zone.mark {
		return "mark"
	}
	return fmt.Sprint(z.zone.number)
}

// A ctHelper is the name of a helper of connection tracking.
type ctHelper struct{ iptables.Word }

// ctHelperMax is the longest name of a helper.
//
// Kernel: include/uapi/linux/netfilter/xt_CT.h.
const ctHelperMax = 15

// Set reads a name.
func (n *ctHelper) Set(arg string) error {
	if len(arg) > ctHelperMax {
		return fmt.Errorf("%q has %d bytes, and the name of a helper has at most %d", arg, len(arg), ctHelperMax)
	}
	n.Word = iptables.Word(arg)
	return nil
}

// IsDefault reports whether there is no name.
func (n *ctHelper) IsDefault() bool { return n.Word == "" }

// A timeoutName is the name of a policy of timeouts.
type timeoutName struct{ iptables.Word }

// timeoutNameMax is the longest name of a policy.
//
// Kernel: include/uapi/linux/netfilter/xt_CT.h.
const timeoutNameMax = 31

// Set reads a name.
func (n *timeoutName) Set(arg string) error {
	if len(arg) > timeoutNameMax {
		return fmt.Errorf("%q has %d bytes, and the name of a policy has at most %d", arg, len(arg), timeoutNameMax)
	}
	n.Word = iptables.Word(arg)
	return nil
}

// IsDefault reports whether there is no name.
func (n *timeoutName) IsDefault() bool { return n.Word == "" }

// ctEventNames are the events of a connection as the tool spells them, by the
// kernel's number.
//
// Kernel: include/uapi/linux/netfilter/nf_conntrack_common.h, enum
// ip_conntrack_events.
var ctEventNames = []string{
	"new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark",
}

// ctEvents is the argument of "--ctevents": a set of events.
type ctEvents uint32

// Set reads a list of names.
func (e *ctEvents) Set(arg string) error {
	bits, err := eventBits(arg, ctEventNames)
	*e = ctEvents(bits)
	return err
}

// String writes the names in the order of the kernel's numbers.
func (e *ctEvents) String() string { return eventWords(uint32(*e), ctEventNames) }

// expectationNames are the events of an expectation likewise.
var expectationNames = []string{"new"}

// expectationEvents is the argument of "--expevents".
type expectationEvents uint32

// Set reads a list of names.
func (e *expectationEvents) Set(arg string) error {
	bits, err := eventBits(arg, expectationNames)
	*e = expectationEvents(bits)
	return err
}

// String writes the names.
func (e *expectationEvents) String() string { return eventWords(uint32(*e), expectationNames) }

func eventBits(arg string, names []string) (uint32, error) {
	if arg == "" {
		return 0, errors.New("no event is named")
	}
	bits := uint32(0)
	for _, word := range strings.Split(arg, ",") {
		i := slices.Index(names, word)
		if i < 0 {
			return 0, fmt.Errorf("there is no event %q, only %s", word, strings.Join(names, ", "))
		}
		bits |= 1 << i
	}
	return bits, nil
}

func eventWords(bits uint32, names []string) string {
	var list []string
	for i, name := range names {
		if bits&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ",")
}
