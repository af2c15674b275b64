package extension

import (
	"errors"
	"fmt"
	"net/netip"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTargetFor(v4, "TEE", func() iptables.Target { return new(teeTarget) })
	registerTargetFor(v6, "TEE", func() iptables.Target {
		return &teeTarget{Gateway: iptables.Opt[teeGateway]{Value: teeGateway{six: true}}}
	})
}

var (
	_ iptsim.Doing         = (*teeTarget)(nil)
	_ translate.Translator = (*teeTarget)(nil)
	_ translate.Keeper     = (*teeTarget)(nil)
)

// teeTarget is "-j TEE": a copy of the packet goes to a gateway, by a device when
// one is named; the packet itself goes on.
//
// Kernel: net/netfilter/xt_TEE.c.
type teeTarget struct {
	Gateway iptables.Opt[teeGateway]
	Device  iptables.Opt[teeDevice]
}

func (*teeTarget) Name() string { return "TEE" }

func (t *teeTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("gateway", &t.Gateway, iptables.Required),
		iptables.Bind("oif", &t.Device, 0),
	}
}

func (t *teeTarget) Action(iptables.Context) predicate.Action {
	var effect predicate.Effect = predicate.Dup{Gateway: t.Gateway.Value.address}
	if t.Device.Present {
		effect = predicate.External{What: fmt.Sprintf("copy to %s by %q", field16(t.Gateway.Value.address), string(t.Device.Value.Word))}
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

// Translate supports copies that go where the routes say.
func (t *teeTarget) Translate(r *translate.Rule) error {
	if t.Device.Present {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "TEE --oif is not translated",
			Detail: "nftables takes a device by its number on the host that loads the rules, which changes when the device is made anew; xtables follows the name. " +
				"Leave --oif out where the routes say the same, or write dup to ADDRESS device NAME by hand.",
			Range: t.Device.Range,
		}
	}
	r.Add(nftgen.Dup{Gateway: t.Gateway.Value.address.AsSlice()})
	return nil
}

// Keep is for --oif.
//
// Kernel: include/uapi/linux/netfilter/xt_TEE.h, struct xt_tee_tginfo.
func (t *teeTarget) Keep(*translate.Rule) (translate.Kept, error) {
	var info xtLayout
	info.text(string(t.Gateway.Value.address.AsSlice()), 16)
	info.text(string(t.Device.Value.Word), 16)
	info.pointer()
	return translate.Kept{Name: "TEE", Revision: 1, Info: info.data}, nil
}

// A teeGateway is the argument of "--gateway": an address of the family.
type teeGateway struct {
	address netip.Addr
	six     bool
}

// Set reads an address.
func (g *teeGateway) Set(arg string) error {
	var host iptables.HostAddress
	if err := host.Set(arg); err != nil {
		return err
	}
	switch {
	case host.Addr.Is6() != g.six:
		return fmt.Errorf("%q is an address of the other family", arg)
	case host.Addr.IsUnspecified():
		return errors.New("nobody has the address of all zeros")
	}
	g.address = host.Addr
	return nil
}

// String writes the address.
func (g *teeGateway) String() string { return iptables.AddrString(g.address) }

// A teeDevice is the argument of "--oif". The tool keeps what a name can have.
type teeDevice struct{ iptables.Word }

// Set reads a name.
func (d *teeDevice) Set(arg string) error {
	const most = 15 // IFNAMSIZ - 1
	d.Word = iptables.Word(arg[:min(len(arg), most)])
	return nil
}

// IsDefault reports whether there is no name.
func (d *teeDevice) IsDefault() bool { return d.Word == "" }
