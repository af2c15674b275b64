package extension

import (
	"fmt"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("ecn", func() iptables.Match { return new(ecnMatch) }) }

var (
	_ iptsim.Meaning       = (*ecnMatch)(nil)
	_ translate.Translator = (*ecnMatch)(nil)
	_ iptables.Validator   = (*ecnMatch)(nil)
)

// ecnMatch is "-m ecn": the bits of explicit congestion notification in the IP
// header, as a number, and those in the header of TCP.
//
// A TCP header of less than 20 bytes has no bits, and none that are not set. Later
// fragments are taken to begin with a TCP header.
//
// Kernel: net/netfilter/xt_ecn.c.
type ecnMatch struct {
	ECE, CWR iptables.Opt[iptables.Flag]
	ECT      iptables.Opt[ecnBits]
}

// ecnBits are the two bits of RFC 3168, section 5.
type ecnBits uint8

// Set reads a number from 0 to 3.
func (b *ecnBits) Set(arg string) error {
	const most = 3
	n, err := iptables.ParseNumber(arg, most)
	*b = ecnBits(n)
	return err
}

// String returns the number.
func (b *ecnBits) String() string { return fmt.Sprint(uint8(*b)) }

func (*ecnMatch) Name() string { return "ecn" }

func (m *ecnMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ecn-tcp-ece", &m.ECE, iptables.Invertible),
		iptables.Bind("ecn-tcp-cwr", &m.CWR, iptables.Invertible),
		iptables.Bind("ecn-ip-ect", &m.ECT, iptables.Invertible),
	}
}

func (m *ecnMatch) Validate(c iptables.Context) []iptables.Problem {
	if m.ECE.Present || m.CWR.Present {
		return requireProtocol(c, "ecn", protocolTCP)
	}
	if m.ECT.Present {
		return nil
	}
	return []iptables.Problem{{
		Code:    "missing-option",
		Summary: "match ecn needs an option",
		Detail:  "Give at least one of --ecn-tcp-ece, --ecn-tcp-cwr and --ecn-ip-ect.",
	}}
}

func (m *ecnMatch) Meaning(iptables.Context) predicate.Meaning {
	const (
		ece, cwr = 0x40, 0x80 // RFC 9293, section 3.1
		last     = 0x03
	)
	all := predicate.All{}
	if m.ECT.Present {
		all = append(all, negatedIf(m.ECT.Negated, predicate.Masked{
			Field: predicate.Field{ID: predicate.TOS}, Mask: predicate.Number(last), Value: predicate.Number(uint64(m.ECT.Value)),
		}))
	}
	if m.ECE.Present || m.CWR.Present {
		all = append(all, predicate.Present{Field: predicate.Field{ID: predicate.TransportByte, Arg: 19}})
	}
	for _, bit := range []struct {
		o    iptables.Opt[iptables.Flag]
		mask uint64
	}{{m.ECE, ece}, {m.CWR, cwr}} {
		if bit.o.Present {
			all = append(all, negatedIf(bit.o.Negated, predicate.Masked{
				Field: predicate.Field{ID: predicate.TransportByte, Arg: 13}, Mask: predicate.Number(bit.mask), Value: predicate.Number(bit.mask),
			}))
		}
	}
	return predicate.Meaning{Match: all}
}

// Translate tests the bits of TCP at once. Behind them it loads the end of the
// header, which a header that is cut off does not have. Both are loads that, like
// xtables, do not look whether the packet is a later fragment
// (net/netfilter/nf_tables_core.c, nft_payload_fast_eval).
func (m *ecnMatch) Translate(r *translate.Rule) error {
	if m.ECT.Present {
		f := nftgen.IPECN
		if r.NFProto() == nftgen.IP6 {
			f = nftgen.IP6ECN
		}
		r.Add(nftgen.Compare{Field: f, Op: comparison(m.ECT.Negated), Value: nftgen.Value{byte(m.ECT.Value)}})
	}
	if !m.ECE.Present && !m.CWR.Present {
		return nil
	}
	var mask, value byte
	if m.ECE.Present {
		mask |= 1 << 6
		if !m.ECE.Negated {
			value |= 1 << 6
		}
	}
	if m.CWR.Present {
		mask |= 1 << 7
		if !m.CWR.Negated {
			value |= 1 << 7
		}
	}
	r.Add(
		nftgen.Compare{Field: nftgen.TCPFlags, Mask: nftgen.Value{mask}, Op: nftgen.Eq, Value: nftgen.Value{value}},
		nftgen.Compare{Field: nftgen.TCPUrgent, Op: nftgen.Ge, Value: nftgen.Value{0, 0}},
	)
	return nil
}
