package extension

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/translate"
)

func init() {
	registerMatchFor(v4, "recent", func() iptables.Match { return newRecentMatch(32) })
	registerMatchFor(v6, "recent", func() iptables.Match { return newRecentMatch(128) })
}

func newRecentMatch(width int) *recentMatch {
	ones := make([]byte, width/8)
	for i := range ones {
		ones[i] = 0xff
	}
	mask, _ := netip.AddrFromSlice(ones)
	return &recentMatch{
		List:   iptables.Opt[recentName]{Value: "DEFAULT", Present: true},
		Mask:   iptables.Opt[recentMask]{Value: recentMask{mask}, Present: true},
		Source: iptables.Opt[iptables.Flag]{Present: true},
	}
}

var (
	_ iptsim.Meaning       = (*recentMatch)(nil)
	_ translate.Translator = (*recentMatch)(nil)
	_ translate.Collector  = (*recentMatch)(nil)
	_ iptables.Validator   = (*recentMatch)(nil)
	_ iptables.Printer     = (*recentMatch)(nil)
)

// recentMatch is "-m recent": a named list of addresses, with the times at
// which they were seen. --set adds to it and is true; --rcheck asks whether an
// address was seen (HitCount times, within Seconds); --update is --rcheck that
// adds when the answer is yes; --remove takes an address out, and is true when
// it was there. "!" turns the answer around, not what is done.
//
// Kernel: net/netfilter/xt_recent.c.
type recentMatch struct {
	Set      iptables.Opt[iptables.Flag]
	Check    iptables.Opt[iptables.Flag]
	Update   iptables.Opt[iptables.Flag]
	Remove   iptables.Opt[iptables.Flag]
	Seconds  iptables.Opt[recentSeconds]
	Reap     iptables.Opt[iptables.Flag]
	HitCount iptables.Opt[recentHits]
	TTL      iptables.Opt[iptables.Flag]
	List     iptables.Opt[recentName]
	Mask     iptables.Opt[recentMask]
	Source   iptables.Opt[iptables.Flag]
	Dest     iptables.Opt[iptables.Flag]
}

func (*recentMatch) Name() string { return "recent" }

func (m *recentMatch) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("set", &m.Set, iptables.Invertible),
		iptables.Bind("rcheck", &m.Check, iptables.Invertible),
		iptables.Bind("update", &m.Update, iptables.Invertible),
		iptables.Bind("remove", &m.Remove, iptables.Invertible),
		iptables.Bind("seconds", &m.Seconds, 0),
		iptables.Bind("reap", &m.Reap, 0),
		iptables.Bind("hitcount", &m.HitCount, 0),
		iptables.Bind("rttl", &m.TTL, 0),
		iptables.Bind("name", &m.List, 0),
		iptables.Bind("mask", &m.Mask, 0),
		iptables.Bind("rsource", &m.Source, 0),
		iptables.Bind("rdest", &m.Dest, 0),
	}
}

// PrintOptions prints one side only; --rdest takes the place of the default.
func (m *recentMatch) PrintOptions() []iptables.Printed {
	c := *m
	c.Source.Present = !c.Dest.Present
	return c.Options().Print()
}

func (m *recentMatch) Validate(iptables.Context) []iptables.Problem {
	var problems []iptables.Problem
	problem := func(o iptables.Opt[iptables.Flag], summary, detail string) {
		problems = append(problems, iptables.Problem{Summary: summary, Detail: detail, Range: o.Range})
	}
	operations := 0
	for _, o := range []iptables.Opt[iptables.Flag]{m.Set, m.Check, m.Update, m.Remove} {
		if o.Present {
			operations++
		}
	}
	if operations != 1 {
		problems = append(problems, iptables.Problem{
			Code:    "missing-option",
			Summary: "match recent needs exactly one operation",
			Detail:  "Give one of --set, --rcheck, --update and --remove.",
		})
	}
	asks := m.Check.Present || m.Update.Present
	if !asks && (m.Seconds.Present || m.HitCount.Value != 0 || m.TTL.Present || m.Reap.Present) {
		problem(m.TTL, "--seconds, --hitcount, --rttl and --reap belong to --rcheck and --update",
			"The kernel refuses them with --set and --remove.")
	}
	if m.Reap.Present && !m.Seconds.Present {
		problem(m.Reap, "--reap needs --seconds", "Say how old an address is to be when it is forgotten.")
	}
	if m.Dest.Present && !m.Source.Range.IsZero() {
		problem(m.Dest, "--rsource and --rdest exclude each other", "Only the one given last would have an effect. Remove the other.")
	}
	return problems
}

func (m *recentMatch) Meaning(c iptables.Context) predicate.Meaning {
	op, use := predicate.RecentCheck, m.Check
	switch {
	case m.Set.Present:
		op, use = predicate.RecentSet, m.Set
	case m.Update.Present:
		op, use = predicate.RecentUpdate, m.Update
	case m.Remove.Present:
		op, use = predicate.RecentRemove, m.Remove
	}
	return predicate.Meaning{Match: predicate.Stateful{Instance: predicate.Recent{
		List:        string(m.List.Value),
		Op:          op,
		Negate:      use.Negated,
		Destination: m.Dest.Present,
		Mask:        predicate.Addr(m.Mask.Value.Addr),
		Seconds:     uint32(m.Seconds.Value),
		HitCount:    uint32(m.HitCount.Value),
		CheckTTL:    m.TTL.Present,
		Reap:        m.Reap.Present,
		IPv6:        c.Family == iptables.IPv6,
	}}}
}

// A recentSeconds is an age. iptables-save prints it as a signed number.
type recentSeconds uint32

// Set reads a number from 1.
func (s *recentSeconds) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, 1<<32-1)
	if err == nil && n == 0 {
		err = errors.New("0 seconds is no age, expected a number from 1")
	}
	*s = recentSeconds(n)
	return err
}

// String writes the number.
func (s *recentSeconds) String() string { return strconv.Itoa(int(int32(*s))) }

// A recentHits is how many times an address has to have been seen. 0 is as if
// it was not given.
type recentHits uint32

// recentHitsMax is the largest count that the kernel takes: XT_RECENT_MAX_NSTAMPS - 1.
const recentHitsMax = 65535

// Set reads a number.
func (h *recentHits) Set(arg string) error {
	n, err := iptables.ParseNumber(arg, recentHitsMax)
	*h = recentHits(n)
	return err
}

// String writes the number.
func (h *recentHits) String() string { return strconv.FormatUint(uint64(*h), 10) }

// IsDefault reports whether the count was 0.
func (h *recentHits) IsDefault() bool { return *h == 0 }

// A recentName is the name of a list. It is also a file name of the kernel, and
// prints without quotes.
type recentName string

// recentNameMax is the longest name that iptables keeps, XT_RECENT_NAME_LEN - 1.
const recentNameMax = 199

// Set reads a name.
func (n *recentName) Set(arg string) error {
	if arg == "" || arg == "." || arg == ".." || strings.Contains(arg, "/") {
		return fmt.Errorf("%q is no name of a list, which the kernel shows as a file", arg)
	}
	*n = recentName(arg[:min(len(arg), recentNameMax)])
	return nil
}

// String writes the name.
func (n *recentName) String() string { return string(*n) }

// A recentMask is applied to addresses before they are looked up. It need not
// be contiguous.
type recentMask struct{ netip.Addr }

// Set reads a mask written like an address.
func (m *recentMask) Set(arg string) error {
	a, err := netip.ParseAddr(arg)
	if err != nil || a.Zone() != "" || a.BitLen() != m.BitLen() {
		return fmt.Errorf("%q is no mask of the family, expected one like %s", arg, m)
	}
	m.Addr = a
	return nil
}

// String writes the mask like an address.
func (m *recentMask) String() string { return m.Addr.String() }
