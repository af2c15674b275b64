package extension

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

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
	_ translate.Templater  = (*ctTarget)(nil)
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

func (t *ctTarget) Action(c iptables.Context) predicate.Action {
	var effect predicate.Effect
	switch {
	case t.Notrack.Present:
		effect = predicate.Notrack{}
	case t.Timeout.Present:
		effect = predicate.UnmodelledEffect{What: "a policy of timeouts"}
	default:
		zone := predicate.Zone{Number: t.zone.number, Mark: t.zone.mark}
		switch {
		case t.zone.original && !t.zone.reply:
			zone.Of = predicate.ZoneOriginal
		case t.zone.reply && !t.zone.original:
			zone.Of = predicate.ZoneReply
		}
		// A choice of events of expectations alone is one of none of the connection.
		zone.Connection.Mask = t.Events.Present || t.Expected.Present
		zone.Connection.Events = uint32(t.Events.Value)
		if t.Helper.Present {
			zone.Connection.Helper = string(t.Helper.Value.Word)
			zone.Connection.Protocol = uint8(c.Rule.Protocol.Value) // Validate wants one
		}
		effect = zone
	}
	return predicate.Action{Effects: []predicate.Effect{effect}, Then: predicate.Continue}
}

// Template reports what the target is to the rules behind it. Only zones are for
// connection tracking itself.
func (t *ctTarget) Template() translate.Template {
	return translate.Template{Gives: !t.Notrack.Present, Helper: t.Helper.Present, Events: t.Events.Present || t.Expected.Present}
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
		return nil
	}
	*templates(s, c.Family) = true
	if t.Template().Events {
		*eventsChosen(s) = true
	}
	return nil
}

// givenTemplates is the key of whether a rule gives packets a template.
type givenTemplates struct{ family iptables.Family }

// templates returns the place of that.
func templates(s *translate.Shared, f iptables.Family) *bool {
	return translate.Value(s, givenTemplates{f}, func() *bool { return new(bool) })
}

// chosenEvents is the key of whether a rule of any family chooses events.
type chosenEvents struct{}

// eventsChosen returns the place of that.
func eventsChosen(s *translate.Shared) *bool {
	return translate.Value(s, chosenEvents{}, func() *bool { return new(bool) })
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

// Translate gives the packet a template with its zone, which counts as the first
// also when it says nothing; and, where the rule stands again behind connection
// tracking, the connection what the template says of it.
func (t *ctTarget) Translate(r *translate.Rule) error {
	switch {
	case t.Notrack.Present:
		r.Add(nftgen.Notrack{})
		return nil
	case r.Again:
		return t.toConnection(r)
	}
	if err := t.refuse(r.Context); err != nil {
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
	if t.Events.Present || t.Expected.Present {
		// The events of helpers, marks and secmarks.
		const unread = 1<<6 | 1<<7 | 1<<9
		detail := "Listeners are told of all that becomes of the expectations of connections whose events CT chooses, if some listened when the connection began; " +
			"iptables tells them what --expevents names. nftables chooses among the events of connections only."
		if t.Events.Value&unread != 0 {
			detail += " Besides, nft lists the events helper, mark and secmark by words that it does not read: load this text, which has a number, and not what nft lists."
		}
		r.Declare(translate.Deviation{Code: "ct-expectation-events", Detail: detail})
	}
	return nil
}

// toConnection adds what a new connection gets. Another template does not count
// then.
func (t *ctTarget) toConnection(r *translate.Rule) error {
	if t.Helper.Present {
		use := nftgen.Use{Object: helperObject(r, string(t.Helper.Value.Word))}
		if *eventsChosen(r.Shared) {
			// Expected connections come here for their events, and have the helper of the
			// expectation.
			const fresh = 1 << 3
			isNew := nftgen.AnyBit{Field: nftgen.CTState, Bits: wide32(fresh)}
			r.Branch(translate.Branch{Rows: []translate.Row{{Stmts: []nftgen.Stmt{isNew, use}, Then: translate.Next}}, Otherwise: translate.Match})
		} else {
			r.Add(use)
		}
	}
	if t.Events.Present || t.Expected.Present {
		// Of connections that are there already the events stay as they were chosen.
		const confirmed = 1 << 3
		r.Add(nftgen.AnyBit{Field: nftgen.CTStatus, Bits: wide32(confirmed), Not: true}, nftgen.SetEvents{Events: uint32(t.Events.Value)})
	}
	r.Add(nftgen.VerdictStmt{Kind: nftgen.Accept})
	return nil
}

// helperObject is the object of a helper for packets of the rule's family and
// protocol.
func helperObject(r *translate.Rule, name string) *nftgen.Object {
	kind := nftgen.ConnectionHelper{Name: name, Family: r.NFProto()}
	kind.Protocol, _ = r.ProtocolNumber()
	return translate.Value(r.Shared, kind, func() *nftgen.Object {
		if kind.Family == nftgen.IP6 {
			name += "_ip6"
		}
		return r.Shared.AddObject(&nftgen.Object{Name: name, Kind: kind})
	})
}

// refuse says what nftables has no form for.
func (t *ctTarget) refuse(c iptables.Context) error {
	no := func(where diag.Range, summary, detail string) error {
		return &translate.Untranslatable{Code: "untranslatable-option", Summary: summary, Detail: detail, Range: where}
	}
	switch proto, _ := c.ProtocolNumber(); {
	case t.Timeout.Present:
		return no(t.Timeout.Range, "CT --timeout is not translated",
			"nftables has objects of its own that hold the times (ct timeout), and knows nothing of the policies of nfct, of which the save file tells no more than the name. "+
				fmt.Sprintf("Write by hand, behind connection tracking, ct timeout set with an object of the times that nfct timeout get %s shows. ", t.Timeout.Value.Word)+
				"The kernel allows the extension itself in a table that is called raw only, so that it cannot be kept either.")
	case t.Helper.Present && proto != unix.IPPROTO_TCP && proto != unix.IPPROTO_UDP:
		return no(t.Helper.Range, "CT --helper is translated for TCP and UDP only",
			"nft has words for a helper of these two protocols, and the kernel has helpers for no others.")
	case t.Helper.Present && nftgen.EscapeBytes(string(t.Helper.Value.Word)) != string(t.Helper.Value.Word):
		return no(t.Helper.Range, "nft cannot read the name of the helper", "It takes no control characters in names, and the kernel has no such helper.")
	}
	if t.zone.mark {
		where := t.Zone.Range
		for _, o := range []iptables.Opt[ctZone]{t.ZoneOrig, t.ZoneReply} {
			if where.IsZero() {
				where = o.Range
			}
		}
		return no(where, "a zone by the mark is not translated",
			"The language of nft does not take a mark for a zone. Write a rule for each mark that occurs: -m mark --mark N -j CT --zone N.")
	}
	return nil
}
