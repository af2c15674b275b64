package extension

import (
	"errors"
	"strings"

	"nftmigrate/equivalence/iptsim"
	"nftmigrate/equivalence/predicate"
	"nftmigrate/iptables"
	"nftmigrate/nftgen"
	"nftmigrate/translate"
)

func init() { registerTarget("NFLOG", func() iptables.Target { return new(nflogTarget) }) }

var (
	_ iptsim.Doing         = (*nflogTarget)(nil)
	_ translate.Translator = (*nflogTarget)(nil)
	_ iptables.Validator   = (*nflogTarget)(nil)
)

// nflogTarget is "-j NFLOG": a message with the packet to the programs that
// listen to a group; the packet goes on. "--nflog-range" is read and has no
// effect.
//
// Kernel: net/netfilter/xt_NFLOG.c.
type nflogTarget struct {
	Prefix    iptables.Opt[nflogPrefix]
	Group     iptables.Opt[nflogNumber]
	Range     iptables.Opt[nflogRange]
	Size      iptables.Opt[iptables.U32]
	Threshold iptables.Opt[nflogNumber]
}

func (*nflogTarget) Name() string { return "NFLOG" }

func (t *nflogTarget) Options() iptables.Options {
	return iptables.Options{
		iptables.Bind("nflog-prefix", &t.Prefix, 0),
		iptables.Bind("nflog-group", &t.Group, 0),
		iptables.Bind("nflog-range", &t.Range, 0),
		iptables.Bind("nflog-size", &t.Size, 0),
		iptables.Bind("nflog-threshold", &t.Threshold, 0),
	}
}

func (t *nflogTarget) Validate(iptables.Context) []iptables.Problem {
	if !t.Range.Present || !t.Size.Present {
		return nil
	}
	return []iptables.Problem{{
		Summary: "--nflog-range and --nflog-size exclude each other",
		Detail:  "Give --nflog-size alone; --nflog-range has no effect.",
		Range:   t.Range.Range,
	}}
}

func (t *nflogTarget) Action(iptables.Context) predicate.Action {
	log := predicate.LogGroup{
		Prefix: string(t.Prefix.Value), Group: uint16(t.Group.Value.U16), SnapLen: -1, Threshold: uint16(t.Threshold.Value.U16),
	}
	if t.Size.Present {
		log.SnapLen = int64(t.Size.Value)
	}
	return predicate.Action{Effects: []predicate.Effect{log}, Then: predicate.Continue}
}

func (t *nflogTarget) Translate(r *translate.Rule) error {
	prefix := string(t.Prefix.Value)
	written := writablePrefix(prefix)
	if written != prefix {
		r.Declare(translate.Deviation{Code: "log-prefix-characters", Detail: unwritable(prefix)})
	}
	r.Add(nftgen.LogGroup{
		Prefix: written, Group: uint16(t.Group.Value.U16),
		Snaps: t.Size.Present, SnapLen: uint32(t.Size.Value), Threshold: uint16(t.Threshold.Value.U16),
	})
	return nil
}

// nflogPrefixMax is how many bytes of a prefix the kernel keeps.
//
// Kernel: include/uapi/linux/netfilter/xt_NFLOG.h, struct xt_nflog_info.
const nflogPrefixMax = 63

// An nflogPrefix is the argument of "--nflog-prefix". It is cut to what the
// kernel keeps, as iptables does.
type nflogPrefix string

// Set reads a prefix.
func (p *nflogPrefix) Set(arg string) error {
	if arg == "" {
		return errors.New("an empty prefix is not valid; leave the option out")
	}
	if strings.Contains(arg, "\n") {
		return errors.New("a newline is not allowed in a log prefix")
	}
	*p = nflogPrefix(arg[:min(len(arg), nflogPrefixMax)])
	return nil
}

// String writes the prefix with the quotes of iptables-save.
func (p *nflogPrefix) String() string { return iptables.Quote(string(*p)) }

// An nflogNumber is a number of 16 bits that is not printed when it is 0.
type nflogNumber struct{ iptables.U16 }

// IsDefault reports whether the number is 0.
func (n *nflogNumber) IsDefault() bool { return n.U16 == 0 }

// An nflogRange is the argument of "--nflog-range", not printed when it is 0.
type nflogRange struct{ iptables.U32 }

// IsDefault reports whether the number is 0.
func (n *nflogRange) IsDefault() bool { return n.U32 == 0 }
