package extension

import (
	"fmt"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("dscp", func() iptables.Match { return new(dscpMatch) }) }

var (
	_ iptsim.Meaning       = (*dscpMatch)(nil)
	_ translate.Translator = (*dscpMatch)(nil)
)

// dscpMatch is "-m dscp": the differentiated services codepoint, the first six
// bits of the type of service or traffic class.
//
// Kernel: net/netfilter/xt_dscp.c, dscp_mt.
type dscpMatch struct {
	DSCP iptables.Opt[codepoint]
}

// A codepoint is a number of six bits.
type codepoint uint8

// Set reads a number.
func (c *codepoint) Set(arg string) error {
	const most = 63
	n, err := iptables.ParseNumber(arg, most)
	*c = codepoint(n)
	return err
}

// String returns the number, hexadecimal.
func (c *codepoint) String() string { return fmt.Sprintf("0x%02x", uint8(*c)) }

// dscpClasses are the names of RFC 2474, RFC 2597 and RFC 3246.
var dscpClasses = func() map[string]codepoint {
	m := map[string]codepoint{"BE": 0, "EF": 46}
	for class := range 8 {
		m[fmt.Sprintf("CS%d", class)] = codepoint(8 * class)
	}
	for class := 1; class <= 4; class++ {
		for drop := 1; drop <= 3; drop++ {
			m[fmt.Sprintf("AF%d%d", class, drop)] = codepoint(8*class + 2*drop)
		}
	}
	return m
}()

func (*dscpMatch) Name() string { return "dscp" }

func (m *dscpMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("dscp", &m.DSCP, iptables.Required|iptables.Invertible),
		iptables.Rewrite("dscp-class", 1, iptables.Invertible, func(args []string, negated bool) ([]iptables.Replacement, error) {
			c, ok := dscpClasses[strings.ToUpper(args[0])]
			if !ok {
				return nil, fmt.Errorf("%q is no class of service: BE, EF, CS0 to CS7, AF11 to AF43", args[0])
			}
			return []iptables.Replacement{{Name: "dscp", Args: []string{c.String()}, Negated: negated}}, nil
		}),
	}
}

func (m *dscpMatch) Meaning(iptables.Context) predicate.Meaning {
	const first, behind = 0xfc, 2 // the bits of the byte, and how many others follow
	return predicate.Meaning{Match: negatedIf(m.DSCP.Negated, predicate.Masked{
		Field: predicate.Field{ID: predicate.TOS},
		Mask:  predicate.Number(first),
		Value: predicate.Number(uint64(m.DSCP.Value) << behind),
	})}
}

func (m *dscpMatch) Translate(r *translate.Rule) error {
	f := nftgen.IPDSCP
	if r.NFProto() == nftgen.IP6 {
		f = nftgen.IP6DSCP
	}
	r.Add(nftgen.Compare{Field: f, Op: comparison(m.DSCP.Negated), Value: nftgen.Value{byte(m.DSCP.Value)}})
	return nil
}
