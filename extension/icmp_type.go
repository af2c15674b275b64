package extension

import (
	"fmt"
	"strings"

	"nftmigrate/iptables"
)

// An icmpType is a type of ICMP or ICMPv6 and the code that goes with it, or
// all codes.
type icmpType struct {
	Type      uint8
	Low, High uint8 // codes, inclusive: all of them, or one
}

// An icmpName is a name of a type, or of a type and a code.
type icmpName struct {
	name string
	kind icmpType
}

func icmpAnyCode(kind uint8) icmpType     { return icmpType{Type: kind, High: 0xff} }
func icmpTypeCode(kind, c uint8) icmpType { return icmpType{Type: kind, Low: c, High: c} }

// parseICMPType reads a name, which may be cut short as long as it remains
// clear, or "type" or "type/code" as numbers.
func parseICMPType(arg string, names []icmpName) (icmpType, error) {
	var found []icmpName
	for _, n := range names {
		if strings.HasPrefix(strings.ToLower(n.name), strings.ToLower(arg)) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
	case 1:
		return found[0].kind, nil
	default:
		return icmpType{}, fmt.Errorf("%q can be %s or %s", arg, found[0].name, found[1].name)
	}
	kind, code, withCode := strings.Cut(arg, "/")
	t, err := iptables.ParseNumber(kind, 255)
	if err != nil {
		return icmpType{}, fmt.Errorf("%q is neither a name of a type nor a number from 0 to 255", kind)
	}
	if !withCode {
		return icmpAnyCode(uint8(t)), nil
	}
	c, err := iptables.ParseNumber(code, 255)
	if err != nil {
		return icmpType{}, fmt.Errorf("the code %q is not a number from 0 to 255", code)
	}
	return icmpTypeCode(uint8(t), uint8(c)), nil
}

// String returns "type" or "type/code".
func (t icmpType) String() string {
	if t.Low == 0 && t.High == 0xff {
		return fmt.Sprint(t.Type)
	}
	return fmt.Sprintf("%d/%d", t.Type, t.Low)
}
