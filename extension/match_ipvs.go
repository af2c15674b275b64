package extension

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("ipvs", func() iptables.Match { return new(ipvsMatch) }) }

var (
	_ iptsim.Meaning     = (*ipvsMatch)(nil)
	_ translate.Keeper   = (*ipvsMatch)(nil)
	_ iptables.Validator = (*ipvsMatch)(nil)
	_ iptables.Printer   = (*ipvsMatch)(nil)
)

// ipvsMatch is "-m ipvs": the packet is one of a virtual server, and of which.
// nf_tables does not know of virtual servers.
//
// Kernel: net/netfilter/xt_ipvs.c.
type ipvsMatch struct {
	IPVS    iptables.Opt[iptables.Flag]
	Proto   iptables.Opt[ctProtocol]
	Address iptables.Opt[ipvsAddress]
	Port    iptables.Opt[ipvsPort]
	Dir     iptables.Opt[ctDirection]
	Method  iptables.Opt[ipvsMethod]
	Control iptables.Opt[ipvsPort]
}

func (*ipvsMatch) Name() string { return "ipvs" }

func (m *ipvsMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ipvs", &m.IPVS, iptables.Invertible),
		iptables.Bind("vproto", &m.Proto, iptables.Invertible),
		iptables.Bind("vaddr", &m.Address, iptables.Invertible),
		iptables.Bind("vport", &m.Port, iptables.Invertible),
		iptables.Bind("vdir", &m.Dir, 0),
		iptables.Bind("vmethod", &m.Method, iptables.Invertible),
		iptables.Bind("vportctl", &m.Control, iptables.Invertible),
	}
}

// PrintOptions leaves --ipvs out beside others, which imply it.
func (m *ipvsMatch) PrintOptions() []iptables.Printed {
	list := m.Options().Print()
	if len(list) > 1 {
		list = slices.DeleteFunc(list, func(p iptables.Printed) bool { return p.Name == "ipvs" })
	}
	return list
}

// others reports whether there is an option beside --ipvs.
func (m *ipvsMatch) others() bool {
	return m.Proto.Present || m.Address.Present || m.Port.Present || m.Dir.Present || m.Method.Present || m.Control.Present
}

func (m *ipvsMatch) Validate(c iptables.Context) []iptables.Problem {
	switch {
	case !m.IPVS.Present && !m.others():
		return []iptables.Problem{{
			Code: "missing-option", Summary: "match ipvs needs an option",
			Detail: "Give --ipvs, or say which virtual server.",
		}}
	case m.IPVS.Negated && m.others():
		return []iptables.Problem{{
			Summary: "! --ipvs cannot stand beside other options of ipvs",
			Detail:  "What is not of a virtual server has no properties of one. Remove the others, or the exclamation mark.", Range: m.IPVS.Range,
		}}
	case m.Address.Present && m.Address.Value.Addr.Is6() != (c.Family == iptables.IPv6):
		return []iptables.Problem{{
			Code: "address-family", Summary: "the address of the virtual server is of the other family",
			Detail: "Move the rule to the ruleset of the other family.", Range: m.Address.Range,
		}}
	}
	return nil
}

func (m *ipvsMatch) Meaning(iptables.Context) predicate.Meaning {
	var words []string
	add := func(given, negated bool, format string, args ...any) {
		if !given {
			return
		}
		text := fmt.Sprintf(format, args...)
		if negated {
			text = "not " + text
		}
		words = append(words, text)
	}
	if !m.others() {
		add(true, m.IPVS.Negated, "any")
	}
	add(m.Proto.Present, m.Proto.Negated, "protocol %d", m.Proto.Value.Number)
	add(m.Address.Present, m.Address.Negated, "address %s/%s", field16(m.Address.Value.Addr), hex.EncodeToString(m.Address.Value.mask()))
	add(m.Port.Present, m.Port.Negated, "port %d", m.Port.Value)
	add(m.Dir.Present, false, "direction %s", m.Dir.Value.String())
	add(m.Method.Present, m.Method.Negated, "method %s", string(m.Method.Value))
	add(m.Control.Present, m.Control.Negated, "controlled by port %d", m.Control.Value)
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Outside{Words: "virtual server: " + strings.Join(words, ", ")}}}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_ipvs.h, struct xt_ipvs_mtinfo;
// include/uapi/linux/ip_vs.h.
func (m *ipvsMatch) Keep(*translate.Rule) (translate.Kept, error) {
	bitmask, invert := uint8(1), uint8(0) // of a virtual server, which all imply
	for bit, o := range []struct{ given, negated bool }{
		{m.IPVS.Present, m.IPVS.Negated}, {m.Proto.Present, m.Proto.Negated}, {m.Address.Present, m.Address.Negated},
		{m.Port.Present, m.Port.Negated}, {m.Dir.Present, m.Dir.Value.Reply}, {m.Method.Present, m.Method.Negated},
		{m.Control.Present, m.Control.Negated},
	} {
		if o.given {
			bitmask |= 1 << bit
		}
		if o.negated {
			invert |= 1 << bit
		}
	}
	var info xtLayout
	if a := m.Address.Value; m.Address.Present {
		info.text(string(a.Addr.AsSlice()), 16)
		info.text(string(a.field()), 16)
	} else {
		info.text("", 32)
	}
	port := func(p ipvsPort) {
		info.u8(uint8(p >> 8))
		info.u8(uint8(p))
	}
	port(m.Port.Value)
	info.u8(uint8(m.Proto.Value.Number))
	info.u8(map[ipvsMethod]uint8{"MASQ": 0, "IPIP": 2, "GATE": 3}[m.Method.Value])
	port(m.Control.Value)
	info.u8(invert)
	info.u8(bitmask)
	return translate.Kept{Name: "ipvs", Info: info.data}, nil
}

// An ipvsAddress is an address with a prefix length.
type ipvsAddress struct {
	ctAddress
	bare bool // without a prefix
}

// Set reads an address.
func (a *ipvsAddress) Set(arg string) error {
	a.bare = !strings.Contains(arg, "/")
	return a.ctAddress.Set(arg)
}

// mask is what of the kernel's field is compared, for the proof.
func (a *ipvsAddress) mask() []byte {
	mask := make([]byte, 16)
	for i := range mask {
		switch n := a.Bits - 8*i; {
		case a.bare, n >= 8:
			mask[i] = 0xff
		case n > 0:
			mask[i] = 0xff << (8 - n)
		}
	}
	return mask
}

// field is the mask as the tool fills it: altogether where no prefix is written.
func (a *ipvsAddress) field() []byte {
	if a.bare {
		return bytes.Repeat([]byte{0xff}, 16)
	}
	prefix, _ := allOnes(a.Addr.BitLen()).Prefix(a.Bits)
	return prefix.Addr().AsSlice()
}

// An ipvsPort is a port, printed as a number.
type ipvsPort uint16

// Set reads a number or the name of a service.
func (p *ipvsPort) Set(arg string) error {
	n, err := iptables.ParsePort(arg)
	*p = ipvsPort(n)
	return err
}

// String writes the number.
func (p *ipvsPort) String() string { return fmt.Sprint(uint16(*p)) }

// An ipvsMethod is how packets get to a server.
type ipvsMethod string

// Set reads a method in any case.
func (m *ipvsMethod) Set(arg string) error {
	*m = ipvsMethod(strings.ToUpper(arg))
	if *m != "GATE" && *m != "IPIP" && *m != "MASQ" {
		return fmt.Errorf("%q is none of GATE, IPIP and MASQ", arg)
	}
	return nil
}

// String writes it in capitals.
func (m *ipvsMethod) String() string { return string(*m) }
