package extension

import (
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("CHECKSUM", func() iptables.Target { return new(checksumTarget) }) }

var (
	_ iptsim.Doing         = (*checksumTarget)(nil)
	_ translate.Translator = (*checksumTarget)(nil)
	_ iptables.Validator   = (*checksumTarget)(nil)
)

// checksumTarget is "-j CHECKSUM": it fills in the checksum of a packet for which a
// device was to do that. The packet on a wire is the same; a program on the host,
// or in a guest, that looks at checksums which nobody has filled in, is not.
//
// Kernel: net/netfilter/xt_CHECKSUM.c.
type checksumTarget struct {
	Fill iptables.Opt[iptables.Flag]
}

func (*checksumTarget) Name() string { return "CHECKSUM" }

func (t *checksumTarget) Options() iptables.Options {
	return iptables.Options{iptables.Bind("checksum-fill", &t.Fill, iptables.Required)}
}

func (t *checksumTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "CHECKSUM", "mangle", 0)
}

// Action is nothing that is compared: checksums are made right on both sides.
func (*checksumTarget) Action(iptables.Context) predicate.Action {
	return predicate.Action{Then: predicate.Continue}
}

func (*checksumTarget) Translate(r *translate.Rule) error {
	r.Add(nftgen.Counter{})
	r.Declare(translate.Deviation{
		Code: "checksum-fill",
		Detail: "nftables has no statement that fills in checksums. The rule counts packets and does nothing else: a program that looks at checksums " +
			"which a device has yet to fill in, an old DHCP client in a guest for instance, drops such packets.",
	})
	return nil
}
