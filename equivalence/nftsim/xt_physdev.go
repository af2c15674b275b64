package nftsim

import (
	"bytes"
	"fmt"
	"strings"
)

func init() { registerXtMatch("physdev", 0, decodeXtPhysdev) }

// xtPhysdev asks for the ports of a bridge that a packet crosses.
//
// Kernel: net/netfilter/xt_physdev.c; include/uapi/linux/netfilter/xt_physdev.h,
// struct xt_physdev_info.
type xtPhysdev struct {
	in, out     string
	invert, ops uint8
}

// The options, in the order in which they are told.
var xtPhysdevOps = []struct {
	bit  uint8
	text func(m *xtPhysdev) string
}{
	{8, func(*xtPhysdev) string { return "from a port" }},
	{1, func(m *xtPhysdev) string { return fmt.Sprintf("from port %q", m.in) }},
	{16, func(*xtPhysdev) string { return "to a port" }},
	{2, func(m *xtPhysdev) string { return fmt.Sprintf("to port %q", m.out) }},
	{4, func(*xtPhysdev) string { return "bridged" }},
}

func decodeXtPhysdev(info []byte) (xtMatch, error) {
	r := xtReader{data: info}
	m := &xtPhysdev{}
	for _, name := range []*string{&m.in, &m.out} {
		*name = r.text(16)
		mask := r.bytes(16)
		exact := bytes.Repeat([]byte{0xff}, min(len(*name)+1, 16))
		wild := bytes.Repeat([]byte{0xff}, max(len(*name)-1, 0))
		set := bytes.TrimRight(mask, "\x00")
		if !bytes.Equal(set, exact) && !(strings.HasSuffix(*name, "+") && bytes.Equal(set, wild)) && (*name != "" || len(set) > 0) {
			return nil, notModelled{fmt.Sprintf("a mask %x of the port %q", mask, *name)}
		}
		if bytes.Equal(set, exact) && strings.HasSuffix(*name, "+") {
			return nil, notModelled{fmt.Sprintf("a port called %q", *name)}
		}
	}
	m.invert, m.ops = r.u8(), r.u8()
	if m.ops&^0x1f != 0 || m.invert&^m.ops != 0 {
		return nil, fmt.Errorf("the options %#x and %#x", m.ops, m.invert)
	}
	return m, r.end()
}

func (m *xtPhysdev) String() string {
	var words []string
	for _, o := range xtPhysdevOps {
		switch {
		case m.ops&o.bit == 0:
		case m.invert&o.bit != 0:
			words = append(words, "not "+o.text(m))
		default:
			words = append(words, o.text(m))
		}
	}
	return "bridge: " + strings.Join(words, ", ")
}

// negated is false: each option has its own negation.
func (*xtPhysdev) negated() bool { return false }

// holds answers for a packet that no bridge handed up.
func (m *xtPhysdev) holds(*execution) (match, known bool) { return m.ops == m.invert, true }
