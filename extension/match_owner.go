package extension

import (
	"fmt"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerMatch("owner", func() iptables.Match { return new(ownerMatch) }) }

var (
	_ iptsim.Meaning       = (*ownerMatch)(nil)
	_ translate.Translator = (*ownerMatch)(nil)
	_ translate.Keeper     = (*ownerMatch)(nil)
	_ iptables.Validator   = (*ownerMatch)(nil)
)

// ownerMatch is "-m owner": who owns the local socket that sent the packet. A
// packet of no socket is of no user and no group, so that only negated options
// hold for it; the same for a socket of the kernel, which has no file.
//
// Kernel: net/netfilter/xt_owner.c, owner_mt.
type ownerMatch struct {
	UID    iptables.Opt[ownerIDs]
	GID    iptables.Opt[ownerIDs]
	Exists iptables.Opt[iptables.Flag]
	Groups iptables.Opt[iptables.Flag]
}

func (*ownerMatch) Name() string { return "owner" }

func (m *ownerMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("socket-exists", &m.Exists, iptables.Invertible),
		iptables.Bind("uid-owner", &m.UID, iptables.Invertible),
		iptables.Bind("gid-owner", &m.GID, iptables.Invertible),
		iptables.Bind("suppl-groups", &m.Groups, 0),
	}
}

func (m *ownerMatch) Validate(c iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	if outside := c.Hooks &^ (iptables.Output | iptables.Postrouting); outside != 0 {
		problems = append(problems, iptables.Problem{
			Code:    "invalid-hook",
			Summary: "match owner is not valid in this chain",
			Detail: fmt.Sprintf("The kernel knows owners only of packets on their way out, in OUTPUT and POSTROUTING; chain %s is also reached from %s.",
				c.Chain, hookList(c.Table, outside)),
		})
	}
	if !m.UID.Present && !m.GID.Present && !m.Exists.Present {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "match owner needs an option",
			Detail:  "Give at least one of --uid-owner, --gid-owner and --socket-exists.",
		})
	}
	if m.Groups.Present && !m.GID.Present {
		problems = append(problems, iptables.Problem{
			Summary: "--suppl-groups needs --gid-owner",
			Detail:  "Give the group before it.",
			Range:   m.Groups.Range,
		})
	}
	for _, id := range []iptables.Opt[ownerIDs]{m.UID, m.GID} {
		if id.Value.High < id.Value.Low {
			problems = append(problems, iptables.Problem{
				Code:    "reversed-range",
				Summary: "a range of owners ends before it starts",
				Detail:  "The kernel refuses such a range. Write the lower number first.",
				Range:   id.Range,
			})
		}
	}
	return problems
}

func (m *ownerMatch) Meaning(iptables.Context) predicate.Meaning {
	switch {
	case m.Groups.Present && m.Exists.Negated:
		// Neither a socket nor none will do.
		return predicate.Meaning{Match: predicate.Const(false)}
	case m.Groups.Present:
		return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.OwnerGroups{
			UID: m.UID.Present, NotUID: m.UID.Negated, NotGID: m.GID.Negated,
			LowUID: m.UID.Value.Low, HighUID: m.UID.Value.High, LowGID: m.GID.Value.Low, HighGID: m.GID.Value.High,
		}}}
	}
	var all predicate.All
	add := func(p predicate.Predicate, negated bool) {
		if negated {
			p = predicate.Not{P: p}
		}
		all = append(all, p)
	}
	if m.Exists.Present {
		add(predicate.Present{Field: predicate.Field{ID: predicate.SocketExists}}, m.Exists.Negated)
	}
	if m.UID.Present {
		add(predicate.Between{
			Field: predicate.Field{ID: predicate.SocketUID},
			Low:   predicate.Number(uint64(m.UID.Value.Low)), High: predicate.Number(uint64(m.UID.Value.High)),
		}, m.UID.Negated)
	}
	if m.GID.Present {
		add(predicate.Between{
			Field: predicate.Field{ID: predicate.SocketGID},
			Low:   predicate.Number(uint64(m.GID.Value.Low)), High: predicate.Number(uint64(m.GID.Value.High)),
		}, m.GID.Negated)
	}
	return predicate.Meaning{Match: all}
}

// Translate adds the positive options as tests. The load of a user or group
// ends an nft rule when there is none, so that the negated options become
// reasons to leave the rule.
//
// Kernel: net/netfilter/nft_meta.c, nft_meta_get_eval_skugid.
func (m *ownerMatch) Translate(r *translate.Rule) error {
	if m.Groups.Present && m.Exists.Negated {
		r.Never()
		return nil
	}
	if m.Groups.Present {
		return &translate.Untranslatable{
			Code:    "untranslatable-option",
			Summary: "--suppl-groups has no nftables counterpart",
			Detail:  "nftables sees the primary group of a socket's owner only. Mark the processes by cgroup instead, or remove the option.",
			Range:   m.Groups.Range,
		}
	}
	var leave []translate.Row
	add := func(test nftgen.Stmt, negated bool) {
		if negated {
			leave = append(leave, translate.Row{Stmts: []nftgen.Stmt{test}, Then: translate.Fail})
		} else {
			r.Add(test)
		}
	}
	if m.Exists.Present {
		// Every user is at least 0.
		add(nftgen.Compare{Field: nftgen.MetaSKUID, Op: nftgen.Ge, Value: wide32(0)}, m.Exists.Negated)
		r.Declare(translate.Deviation{
			Code: "owner-kernel-socket",
			Detail: "Packets of sockets that belong to the kernel itself (NFS, WireGuard) have a socket but no owner: " +
				"--socket-exists is true for them, and nftables, which asks for the owner, says no.",
		})
	}
	if m.UID.Present {
		add(m.UID.Value.test(nftgen.MetaSKUID), m.UID.Negated)
	}
	if m.GID.Present {
		add(m.GID.Value.test(nftgen.MetaSKGID), m.GID.Negated)
	}
	if leave != nil {
		r.Branch(translate.Branch{Rows: leave, Otherwise: translate.Match})
	}
	return nil
}

// Keep is for --suppl-groups.
//
// Kernel: include/uapi/linux/netfilter/xt_owner.h, struct xt_owner_match_info.
func (m *ownerMatch) Keep(*translate.Rule) (translate.Kept, error) {
	const user, group, socket, groups = 1, 2, 4, 8
	var match, invert uint8
	option := func(present, negated bool, bit uint8) {
		if present {
			match |= bit
		}
		if negated {
			invert |= bit
		}
	}
	option(m.UID.Present, m.UID.Negated, user)
	option(m.GID.Present, m.GID.Negated, group)
	option(m.Exists.Present, m.Exists.Negated, socket)
	option(m.Groups.Present, false, groups)
	var info xtLayout
	info.u32(m.UID.Value.Low)
	info.u32(m.UID.Value.High)
	info.u32(m.GID.Value.Low)
	info.u32(m.GID.Value.High)
	info.u8(match)
	info.u8(invert)
	return translate.Kept{Name: "owner", Revision: 1, Info: info.data}, nil
}

// An ownerIDs is the argument of "--uid-owner" and "--gid-owner": a number or
// an inclusive range "a-b".
type ownerIDs struct{ Low, High uint32 }

// ownerMax is the highest number of a user or a group; the one above it means
// "none".
const ownerMax = 1<<32 - 2

// Set reads a number or a range. Names are refused: what they mean depends on
// the machine.
func (o *ownerIDs) Set(arg string) error {
	low, high, ranged := strings.Cut(arg, "-")
	first, err := iptables.ParseNumber(low, ownerMax)
	if err != nil {
		if low != "" && (low[0] < '0' || low[0] > '9') {
			return fmt.Errorf("%q is a name, and what it means depends on the machine; write the number (id %s tells it)", arg, arg)
		}
		return err
	}
	last := first
	if ranged {
		if last, err = iptables.ParseNumber(high, ownerMax); err != nil {
			return err
		}
	}
	*o = ownerIDs{uint32(first), uint32(last)}
	return nil
}

// String writes "a" or "a-b".
func (o *ownerIDs) String() string {
	s := strconv.FormatUint(uint64(o.Low), 10)
	if o.High != o.Low {
		s += "-" + strconv.FormatUint(uint64(o.High), 10)
	}
	return s
}

func (o ownerIDs) test(field nftgen.Field) nftgen.Stmt {
	if o.Low == o.High {
		return nftgen.Compare{Field: field, Op: nftgen.Eq, Value: wide32(o.Low)}
	}
	return nftgen.InSpan{Field: field, Low: wide32(o.Low), High: wide32(o.High)}
}
