package extension

import (
	"fmt"
	"slices"
	"strings"

	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() {
	registerTarget("CT", func() iptables.Target {
		t := new(ctTarget)
		t.Zone.Value = ctZone{zone: &t.zone}
		t.ZoneOrig.Value = ctZone{zone: &t.zone, original: true}
		t.ZoneReply.Value = ctZone{zone: &t.zone, reply: true}
		return t
	})
}

var (
	_ iptsim.Doing         = (*ctTarget)(nil)
	_ translate.Translator = (*ctTarget)(nil)
	_ translate.Collector  = (*ctTarget)(nil)
	_ iptables.Validator   = (*ctTarget)(nil)
	_ iptables.Printer     = (*ctTarget)(nil)
)

// ctTarget is "-j CT": how connection tracking will treat the packet. With
// "--notrack" it is exempted, and the other options have no effect. Else it gets a
// template, from which a new connection has its zone, helper, timeouts and events;
// the first that a packet gets counts.
//
// Kernel: net/netfilter/xt_CT.c, xt_ct_target and xt_ct_tg_check.
type ctTarget struct {
	Notrack   iptables.Opt[iptables.Flag]
	Helper    iptables.Opt[ctHelper]
	Timeout   iptables.Opt[timeoutName]
	Events    iptables.Opt[ctEvents]
	Expected  iptables.Opt[expectationEvents]
	Zone      iptables.Opt[ctZone]
	ZoneOrig  iptables.Opt[ctZone]
	ZoneReply iptables.Opt[ctZone]
	zone      zone // what the three say together
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

// PrintOptions writes the zone as one option, as the tool keeps it.
func (t *ctTarget) PrintOptions() []iptables.Printed {
	list := slices.DeleteFunc(t.Options().Print(), func(o iptables.Printed) bool { return strings.HasPrefix(o.Name, "zone") })
	name := "zone"
	switch {
	case t.zone.original && !t.zone.reply:
		name = "zone-orig"
	case t.zone.reply && !t.zone.original:
		name = "zone-reply"
	}
	switch {
	case t.zone.mark:
		list = append(list, iptables.Printed{Name: name, Args: []string{"mark"}})
	case t.zone.number != 0:
		list = append(list, iptables.Printed{Name: name, Args: []string{fmt.Sprint(t.zone.number)}})
	}
	return list
}

func (t *ctTarget) Validate(c iptables.Context) []iptables.Problem {
	problems := placement(c, "CT", "raw", 0)
	proto, one := c.ProtocolNumber()
	for _, o := range []struct {
		name    string
		present bool
		where   diag.Range
	}{{"helper", t.Helper.Present, t.Helper.Range}, {"timeout", t.Timeout.Present, t.Timeout.Range}} {
		if o.present && !t.Notrack.Present && (!one || proto == 0) {
			problems = append(problems, iptables.Problem{
				Code:    "missing-protocol",
				Summary: fmt.Sprintf("CT --%s needs a protocol", o.name),
				Detail:  "A helper, and a policy of timeouts, is of one protocol. Write -p with it before the target.",
				Range:   o.where,
			})
		}
	}
	return problems
}

func (t *ctTarget) Action(iptables.Context) predicate.Action {
	var effect predicate.Effect
	switch {
	case t.Notrack.Present:
		effect = predicate.Notrack{}
	case t.Helper.Present || t.Timeout.Present || t.Events.Present || t.Expected.Present || t.zone.mark:
		effect = predicate.UnmodelledEffect{What: "CT with more than a zone"}
	default:
		zone := predicate.Zone{Number: t.zone.number}
		switch {
		case t.zone.original && !t.zone.reply:
			zone.Of = predicate.ZoneOriginal
		case t.zone.reply && !t.zone.original:
			zone.Of = predicate.ZoneReply
		}
		effect = zone
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

// exemptions is the key of whether a rule of a family exempts packets from
// tracking.
type exemptions struct{ family iptables.Family }

// exempts returns the place of that.
func exempts(s *translate.Shared, f iptables.Family) *bool {
	return translate.Value(s, exemptions{f}, func() *bool { return new(bool) })
}

// Collect notes rules that exempt packets.
func (t *ctTarget) Collect(s *translate.Shared, c iptables.Context) error {
	if t.Notrack.Present {
		*exempts(s, c.Family) = true
	} else {
		*templates(s, c.Family) = true
	}
	return nil
}

// givenTemplates is the key of whether a rule gives packets a template.
type givenTemplates struct{ family iptables.Family }

// templates returns the place of that.
func templates(s *translate.Shared, f iptables.Family) *bool {
	return translate.Value(s, givenTemplates{f}, func() *bool { return new(bool) })
}

// aboutTemplate refuses a match of table raw that asks for what only a connection
// has, when a rule gives templates: xtables reads the template, which has a mark
// of 0 and no bytes, and nftables ends the rule.
func aboutTemplate(r *translate.Rule) error {
	if r.Context.Table != "raw" || !*templates(r.Shared, r.Context.Family) {
		return nil
	}
	return &translate.Untranslatable{
		Summary: "a rule of table raw asks about a connection, and CT gives templates",
		Detail: "Before connection tracking iptables reads what -j CT left instead of a connection, and nftables reads nothing. " +
			"Ask in table mangle, or take the match out: no packet has a connection here.",
	}
}

// Translate supports "--notrack", behind which the kernel looks at no other
// option, and zones.
func (t *ctTarget) Translate(r *translate.Rule) error {
	if t.Notrack.Present {
		r.Add(nftgen.Notrack{})
		return nil
	}
	if err := t.late(); err != nil {
		return err
	}
	if *exempts(r.Shared, r.Context.Family) {
		// nftables would track again what a rule has exempted.
		r.Add(nftgen.AnyBit{Field: nftgen.CTState, Bits: wide32(1 << 6), Not: true})
	}
	set := nftgen.SetZone{Zone: t.zone.number}
	if t.zone.original != t.zone.reply {
		set.Of = nftgen.ZoneReply
		if t.zone.original {
			set.Of = nftgen.ZoneOriginal
		}
	}
	r.Add(set)
	return nil
}

// late refuses what nftables can only do behind connection tracking, or not at
// all.
func (t *ctTarget) late() error {
	const behind = "nftables does it behind connection tracking, to packets of connections that are not confirmed yet: state it by hand in a chain " +
		"of priority -199 at the same hook, for packets of ct state new that no earlier rule of table raw accepts, drops, exempts or gives a template. "
	for _, o := range []struct {
		name    string
		present bool
		where   diag.Range
		detail  string
	}{
		{"helper", t.Helper.Present, t.Helper.Range, behind + fmt.Sprintf("The statement is ct helper set, with an object of type %q.", string(t.Helper.Value.Word))},
		{"timeout", t.Timeout.Present, t.Timeout.Range, behind + "The statement is ct timeout set, with an object that has the times of the policy, which the save file does not tell."},
		{"ctevents", t.Events.Present, t.Events.Range, behind + "The statement is ct event set."},
		{"expevents", t.Expected.Present, t.Expected.Range, "nftables has no statement for the events of expectations. Leave the option out: all events are told then."},
	} {
		if o.present {
			return &translate.Untranslatable{
				Code:    "untranslatable-option",
				Summary: fmt.Sprintf("CT --%s is not translated", o.name),
				Detail:  o.detail,
				Range:   o.where,
			}
		}
	}
	if t.zone.mark {
		where := t.Zone.Range
		for _, o := range []iptables.Opt[ctZone]{t.ZoneOrig, t.ZoneReply} {
			if where.IsZero() {
				where = o.Range
			}
		}
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "a zone by the mark is not translated",
			Detail: "The language of nft does not take a mark for a zone. Write a rule for each mark that occurs: " +
				"-m mark --mark N -j CT --zone N.",
			Range: where,
		}
	}
	return nil
}
