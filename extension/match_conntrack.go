package extension

import (
	"fmt"

	"nftmigrate/diag"
	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() { registerMatch("conntrack", func() iptables.Match { return new(conntrackMatch) }) }

var (
	_ iptsim.Meaning       = (*conntrackMatch)(nil)
	_ translate.Translator = (*conntrackMatch)(nil)
	_ iptables.Validator   = (*conntrackMatch)(nil)
)

// conntrackMatch is "-m conntrack": what connection tracking says of a packet.
//
// SNAT and DNAT are no states but bits of the connection's status; --ctstate
// holds when the state or one of those bits is in the list. For a packet
// without an entry (INVALID, UNTRACKED) the result of --ctstate is that of the
// whole match, whatever the other options say, and without --ctstate the match
// is false, whatever is negated.
//
// Kernel: net/netfilter/xt_conntrack.c, conntrack_mt and
// ct_proto_port_check_v3.
type conntrackMatch struct {
	State  iptables.Opt[ctStates]
	Proto  iptables.Opt[ctProtocol]
	Status iptables.Opt[ctStatus]
	Expire iptables.Opt[iptables.U32Span]
	Dir    iptables.Opt[ctDirection]

	OrigSrc, OrigDst, ReplSrc, ReplDst                 iptables.Opt[ctAddress]
	OrigSrcPort, OrigDstPort, ReplSrcPort, ReplDstPort iptables.Opt[ctPorts]
}

func (*conntrackMatch) Name() string { return "conntrack" }

func (m *conntrackMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("ctstate", &m.State, iptables.Invertible),
		iptables.Bind("ctproto", &m.Proto, iptables.Invertible),
		iptables.Bind("ctorigsrc", &m.OrigSrc, iptables.Invertible),
		iptables.Bind("ctorigdst", &m.OrigDst, iptables.Invertible),
		iptables.Bind("ctreplsrc", &m.ReplSrc, iptables.Invertible),
		iptables.Bind("ctrepldst", &m.ReplDst, iptables.Invertible),
		iptables.Bind("ctorigsrcport", &m.OrigSrcPort, iptables.Invertible),
		iptables.Bind("ctorigdstport", &m.OrigDstPort, iptables.Invertible),
		iptables.Bind("ctreplsrcport", &m.ReplSrcPort, iptables.Invertible),
		iptables.Bind("ctrepldstport", &m.ReplDstPort, iptables.Invertible),
		iptables.Bind("ctstatus", &m.Status, iptables.Invertible),
		iptables.Bind("ctexpire", &m.Expire, iptables.Invertible),
		iptables.Bind("ctdir", &m.Dir, 0),
	}
}

func (m *conntrackMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if !m.State.Present && !m.asksEntry() {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: `match "conntrack" needs an option`,
			Detail:  "Without any, iptables refuses it. Add --ctstate or another option of it.",
		})
	}
	for _, a := range []iptables.Opt[ctAddress]{m.OrigSrc, m.OrigDst, m.ReplSrc, m.ReplDst} {
		if a.Present && a.Value.Addr.Is4() != (c.Family == iptables.IPv4) {
			problems = append(problems, wrongFamily(c, a.Range))
		}
	}
	return problems
}

// wrongFamily is the problem of an address that the tool would not read.
func wrongFamily(c iptables.Context, where diag.Range) iptables.Problem {
	return iptables.Problem{
		Code:    "address-family",
		Summary: "the address is of the other family",
		Detail:  fmt.Sprintf("%s takes only its own addresses.", c.Family),
		Range:   where,
	}
}

// ctStateMeaning gives each state its predicate.
var ctStateMeaning = []struct {
	state ctStates
	holds predicate.Predicate
}{
	{ctInvalid, stateIs(predicate.StateInvalid)},
	{ctNew, stateIs(predicate.StateNew)},
	{ctRelated, stateIs(predicate.StateRelated)},
	{ctEstablished, stateIs(predicate.StateEstablished)},
	{ctUntracked, stateIs(predicate.StateUntracked)},
	{ctSNAT, statusBit(1 << 4)},
	{ctDNAT, statusBit(1 << 5)},
}

func stateIs(bit uint64) predicate.Predicate {
	return predicate.Equal(predicate.Field{ID: predicate.CTState}, predicate.Number(bit))
}

// statusBit holds when a bit of enum ip_conntrack_status is set: 4 is
// IPS_SRC_NAT_BIT, 5 is IPS_DST_NAT_BIT.
func statusBit(bit uint64) predicate.Predicate {
	return predicate.Masked{Field: predicate.Field{ID: predicate.CTStatus}, Mask: predicate.Number(bit), Value: predicate.Number(bit)}
}

// stateAmong holds when the packet's state, or the translation of its
// connection, is among the given ones.
func stateAmong(states ctStates) predicate.Predicate {
	var any predicate.Any
	for _, s := range ctStateMeaning {
		if states&s.state != 0 {
			any = append(any, s.holds)
		}
	}
	return any
}

func (m *conntrackMatch) Meaning(iptables.Context) predicate.Meaning {
	entry := predicate.Present{Field: predicate.Field{ID: predicate.CTDirection}}
	of := m.entryMeaning()
	if !m.State.Present {
		return predicate.Meaning{Match: append(predicate.All{entry}, of...)}
	}
	state := negatedIf(m.State.Negated, stateAmong(m.State.Value))
	if len(of) == 0 {
		return predicate.Meaning{Match: state}
	}
	return predicate.Meaning{Match: predicate.All{state, predicate.Any{predicate.Not{P: entry}, of}}}
}

// entryMeaning is what the options other than --ctstate say of a packet that
// has an entry.
func (m *conntrackMatch) entryMeaning() predicate.All {
	var all predicate.All
	if m.Dir.Present {
		direction := uint64(0)
		if m.Dir.Value.Reply {
			direction = 1
		}
		all = append(all, predicate.Equal(predicate.Field{ID: predicate.CTDirection}, predicate.Number(direction)))
	}
	for _, a := range []struct {
		opt   iptables.Opt[ctAddress]
		field predicate.FieldID
	}{
		{m.OrigSrc, predicate.CTOrigSrc}, {m.OrigDst, predicate.CTOrigDst},
		{m.ReplSrc, predicate.CTReplSrc}, {m.ReplDst, predicate.CTReplDst},
	} {
		if !a.opt.Present {
			continue
		}
		width := a.opt.Value.Addr.BitLen()
		mask := predicate.Ones(width).Xor(predicate.Ones(width - a.opt.Value.Bits))
		all = append(all, negatedIf(a.opt.Negated, predicate.Masked{
			Field: predicate.Field{ID: a.field},
			Mask:  mask,
			Value: predicate.Addr(a.opt.Value.Addr).And(mask),
		}))
	}
	if m.Proto.Present {
		all = append(all, negatedIf(m.Proto.Negated, predicate.Equal(
			predicate.Field{ID: predicate.CTProtocol}, predicate.Number(uint64(m.Proto.Value.Number)))))
	}
	for _, p := range []struct {
		opt   iptables.Opt[ctPorts]
		field predicate.FieldID
	}{
		{m.OrigSrcPort, predicate.CTOrigSrcPort}, {m.OrigDstPort, predicate.CTOrigDstPort},
		{m.ReplSrcPort, predicate.CTReplSrcPort}, {m.ReplDstPort, predicate.CTReplDstPort},
	} {
		if p.opt.Present {
			all = append(all, negatedIf(p.opt.Negated, predicate.Between{
				Field: predicate.Field{ID: p.field},
				Low:   predicate.Number(uint64(p.opt.Value.Low)),
				High:  predicate.Number(uint64(p.opt.Value.High)),
			}))
		}
	}
	if m.Status.Present {
		var any predicate.Any
		for bit := uint64(1); bit <= uint64(m.Status.Value); bit <<= 1 {
			if uint64(m.Status.Value)&bit != 0 {
				any = append(any, statusBit(bit))
			}
		}
		all = append(all, negatedIf(m.Status.Negated, any))
	}
	if m.Expire.Present {
		all = append(all, negatedIf(m.Expire.Negated, predicate.Between{
			Field: predicate.Field{ID: predicate.CTExpire},
			Low:   predicate.Number(uint64(m.Expire.Value.Low)),
			High:  predicate.Number(uint64(m.Expire.Value.High)),
		}))
	}
	return all
}
