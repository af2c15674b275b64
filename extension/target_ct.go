package extension

import (
	"fmt"

	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("CT", func() iptables.Target { return new(ctTarget) }) }

var (
	_ iptsim.Doing         = (*ctTarget)(nil)
	_ translate.Translator = (*ctTarget)(nil)
	_ iptables.Validator   = (*ctTarget)(nil)
)

// ctTarget is "-j CT": how connection tracking will treat the packet. With
// "--notrack" it is exempted, and the other options have no effect.
//
// Kernel: net/netfilter/xt_CT.c, xt_ct_target and xt_ct_tg_check.
type ctTarget struct {
	Notrack   iptables.Opt[iptables.Flag]
	Helper    iptables.Opt[iptables.Word]
	Timeout   iptables.Opt[iptables.Word]
	Events    iptables.Opt[iptables.Word]
	Expected  iptables.Opt[iptables.Word]
	Zone      iptables.Opt[iptables.Word]
	ZoneOrig  iptables.Opt[iptables.Word]
	ZoneReply iptables.Opt[iptables.Word]
}

func (*ctTarget) Name() string { return "CT" }

func (t *ctTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("notrack", &t.Notrack, 0),
		iptables.Bind("helper", &t.Helper, 0),
		iptables.Bind("timeout", &t.Timeout, 0),
		iptables.Bind("ctevents", &t.Events, 0),
		iptables.Bind("expevents", &t.Expected, 0),
		iptables.Bind("zone-orig", &t.ZoneOrig, 0),
		iptables.Bind("zone-reply", &t.ZoneReply, 0),
		iptables.Bind("zone", &t.Zone, 0),
	}
}

func (t *ctTarget) Validate(c iptables.Context) []iptables.Problem {
	return placement(c, "CT", "raw", 0)
}

func (t *ctTarget) Action(iptables.Context) predicate.Action {
	var effect predicate.Effect = predicate.Notrack{}
	if !t.Notrack.Present {
		effect = predicate.UnmodelledEffect{What: "CT without --notrack"}
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

// Translate supports "--notrack". The kernel then looks at no other option.
func (t *ctTarget) Translate(r *translate.Rule) error {
	if t.Notrack.Present {
		r.Add(nftgen.Notrack{})
		return nil
	}
	for _, o := range []struct {
		name    string
		present bool
		where   diag.Range
	}{
		{"helper", t.Helper.Present, t.Helper.Range},
		{"timeout", t.Timeout.Present, t.Timeout.Range},
		{"ctevents", t.Events.Present, t.Events.Range},
		{"expevents", t.Expected.Present, t.Expected.Range},
		{"zone", t.Zone.Present, t.Zone.Range},
		{"zone-orig", t.ZoneOrig.Present, t.ZoneOrig.Range},
		{"zone-reply", t.ZoneReply.Present, t.ZoneReply.Range},
	} {
		if o.present {
			return &translate.Untranslatable{
				Code:    "untranslatable-option",
				Summary: fmt.Sprintf("CT --%s is not translated", o.name),
				Detail: fmt.Sprintf("Of target CT, only --notrack is translated. Remove the rule and state --%s in nftables by hand, "+
					"in a chain behind connection tracking where it is about helpers, timeouts or events.", o.name),
				Range: o.where,
			}
		}
	}
	return &translate.Untranslatable{
		Code:    "untranslatable-option",
		Summary: "CT without options is not translated",
		Detail:  "The rule attaches an empty template to the packet. It changes nothing else; remove it.",
	}
}
