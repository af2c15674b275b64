package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("physdev", func() iptables.Match { return new(physdevMatch) }) }

var (
	_ iptsim.Meaning       = (*physdevMatch)(nil)
	_ translate.Translator = (*physdevMatch)(nil)
	_ translate.Keeper     = (*physdevMatch)(nil)
	_ iptables.Validator   = (*physdevMatch)(nil)
)

// physdevMatch is "-m physdev": the ports of a bridge that a bridged packet
// crosses. A packet that no bridge handed up matches when all options are
// negated. Tables of IP in nf_tables do not see the ports.
//
// Kernel: net/netfilter/xt_physdev.c.
type physdevMatch struct {
	IsIn    iptables.Opt[iptables.Flag]
	In      iptables.Opt[portName]
	IsOut   iptables.Opt[iptables.Flag]
	Out     iptables.Opt[portName]
	Bridged iptables.Opt[iptables.Flag]
}

func (*physdevMatch) Name() string { return "physdev" }

func (m *physdevMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("physdev-is-in", &m.IsIn, iptables.Invertible),
		iptables.Bind("physdev-in", &m.In, iptables.Invertible),
		iptables.Bind("physdev-is-out", &m.IsOut, iptables.Invertible),
		iptables.Bind("physdev-out", &m.Out, iptables.Invertible),
		iptables.Bind("physdev-is-bridged", &m.Bridged, iptables.Invertible),
	}
}

func (m *physdevMatch) Validate(c iptables.Context) []iptables.Problem {
	switch {
	case !m.IsIn.Present && !m.In.Present && !m.IsOut.Present && !m.Out.Present && !m.Bridged.Present:
		return []iptables.Problem{{
			Code: "missing-option", Summary: "match physdev needs an option",
			Detail: "Give at least one of --physdev-in, --physdev-out, --physdev-is-in, --physdev-is-out and --physdev-is-bridged.",
		}}
	case (m.Out.Present || m.IsOut.Present) && (!m.Bridged.Present || m.Bridged.Negated) && c.Hooks&iptables.Output != 0:
		return []iptables.Problem{{
			Code: "invalid-hook", Summary: "match physdev does not know the port yet in OUTPUT",
			Detail: "The kernel takes --physdev-out and --physdev-is-out there only with --physdev-is-bridged. Put the rule into FORWARD or POSTROUTING.",
		}}
	}
	return nil
}

// Meaning is about packets that no bridge handed up; only such are modelled.
func (m *physdevMatch) Meaning(iptables.Context) predicate.Meaning {
	var words []string
	option := func(present, negated bool, text string) {
		if !present {
			return
		}
		if negated {
			text = "not " + text
		}
		words = append(words, text)
	}
	option(m.IsIn.Present, m.IsIn.Negated, "from a port")
	option(m.In.Present, m.In.Negated, fmt.Sprintf("from port %q", string(m.In.Value)))
	option(m.IsOut.Present, m.IsOut.Negated, "to a port")
	option(m.Out.Present, m.Out.Negated, fmt.Sprintf("to port %q", string(m.Out.Value)))
	option(m.Bridged.Present, m.Bridged.Negated, "bridged")
	unbridged := true
	for _, w := range words {
		unbridged = unbridged && strings.HasPrefix(w, "not ")
	}
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.BridgePorts{Words: strings.Join(words, ", "), Unbridged: unbridged}}}
}

// Translate has no form: of a packet that a bridge hands to a table of IP, nf_tables
// knows the bridge and not the port.
func (*physdevMatch) Translate(*translate.Rule) error {
	return &translate.Untranslatable{
		Code:    "untranslatable-match",
		Summary: "match physdev has no nftables counterpart",
		Detail: "The ports of a bridge are known in tables of the family bridge only, which see other packets at other places. " +
			"Write the rule for such a table by hand (iifname and oifname there are ports); on a host without bridges, take the rule out, or where all options are negated, the match.",
	}
}

// Keep writes the structure.
//
// Kernel: include/uapi/linux/netfilter/xt_physdev.h, struct xt_physdev_info.
func (m *physdevMatch) Keep(*translate.Rule) (translate.Kept, error) {
	var invert, mask uint8
	option := func(present, negated bool, bit uint8) {
		if present {
			mask |= bit
		}
		if negated {
			invert |= bit
		}
	}
	option(m.In.Present, m.In.Negated, 1)
	option(m.Out.Present, m.Out.Negated, 2)
	option(m.Bridged.Present, m.Bridged.Negated, 4)
	option(m.IsIn.Present, m.IsIn.Negated, 8)
	option(m.IsOut.Present, m.IsOut.Negated, 16)
	var info xtLayout
	for _, name := range []portName{m.In.Value, m.Out.Value} {
		info.text(string(name), interfaceNameSize)
		compared := len(name) + 1 // with its end
		if strings.HasSuffix(string(name), "+") {
			compared = len(name) - 1
		}
		if name == "" {
			compared = 0
		}
		info.text(strings.Repeat("\xff", compared), interfaceNameSize)
	}
	info.u8(invert)
	info.u8(mask)
	return translate.Kept{Name: "physdev", Info: info.data}, nil
}

// A portName is the name of a port of a bridge; a trailing "+" matches every name
// with that beginning. Other than of -i and -o, one for every name is printed.
type portName string

// Set reads a name of up to 15 bytes.
func (p *portName) Set(arg string) error {
	if len(arg) >= interfaceNameSize {
		return fmt.Errorf("%q has %d bytes, and the name of a port has at most %d", arg, len(arg), interfaceNameSize-1)
	}
	*p = portName(arg)
	return nil
}

// String returns the name as it was given.
func (p *portName) String() string { return string(*p) }
